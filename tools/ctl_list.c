/*
 * list-streams and list-shards. By themselves they fetch every page, or with --max-items as many as
 * are needed; with an option of the API's own paging they give one page as the API does.
 */
#include "base/clock.h"
#include "proto/limits.h"
#include "tools/ctl_describe.h"
#include "tools/ctl_param.h"
#include "tools/ctl_time.h"

#include <stdio.h>
#include <string.h>

#define TOKEN_BYTES 1024

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* What both have. */
struct paging {
    bool is_one_page; /* an option of the API's own paging is given */
    uint64_t items_max;
    uint64_t page_size; /* 0: the broker's */
};

static enum kstream_status read_paging(struct ctl *ctl, enum ctl_option_id size_of_page,
    enum ctl_option_id exclusive_start, struct paging *out, struct kstream_error *err)
{
    uint64_t items_max = 0;
    uint64_t page_size = 0;
    uint64_t one_page_size = 0;
    struct ctl_range range = {1, KS_LIST_LIMIT_MAX, 0};
    enum kstream_status st = ctl_number(
        ctl, CTL_MAX_ITEMS, (struct ctl_range){1, UINT32_MAX, UINT32_MAX}, &items_max, err);
    if (!st)
        st = ctl_number(ctl, CTL_PAGE_SIZE, range, &page_size, err);
    if (!st)
        st = ctl_number(ctl, size_of_page, range, &one_page_size, err);
    if (st)
        return st;
    bool is_one_page = one_page_size > 0 || ctl_has(ctl, exclusive_start) ||
                       ctl_has(ctl, CTL_NEXT_TOKEN) || ctl_has(ctl, CTL_NO_PAGINATE);
    bool has_items = ctl_has(ctl, CTL_MAX_ITEMS) || ctl_has(ctl, CTL_STARTING_TOKEN);
    if (is_one_page && has_items)
        return ctl_fail(err, KSTREAM_USAGE,
            "'--max-items' and '--starting-token' go through pages by themselves: they exclude "
            "'--%s', '--%s', '--next-token' and '--no-paginate'",
            ctl_option_name(size_of_page), ctl_option_name(exclusive_start));
    *out = (struct paging){.is_one_page = is_one_page,
        .items_max = items_max,
        .page_size = one_page_size ? one_page_size : page_size};
    return KSTREAM_OK;
}

/* Takes list. */
static enum kstream_status give_list(struct ctl *ctl, const char *member, json_t *list,
    const char *next_token, struct kstream_error *err)
{
    if (!ctl->result)
        ctl->result = json_object();
    ctl->list_member = member;
    bool is_fine =
        ctl_json_add(ctl->result, member, list) &&
        (!next_token || ctl_json_add(ctl->result, "NextToken", ctl_json_text(next_token)));
    return is_fine ? KSTREAM_OK : fail_memory(err);
}

/* ---- list-streams ---- */

static json_t *summary_to_json(const struct kstream_stream_summary *summary)
{
    json_t *object = json_object();
    bool is_fine = ctl_json_add(object, "StreamName", ctl_json_text(summary->stream_name)) &&
                   ctl_json_add(object, "StreamARN", ctl_json_text(summary->stream_arn)) &&
                   ctl_json_add(object, "StreamStatus", ctl_json_text(summary->stream_status));
    if (is_fine && summary->stream_mode)
        is_fine = ctl_json_add(
            object, "StreamModeDetails", json_pack("{s:s}", "StreamMode", summary->stream_mode));
    if (is_fine)
        is_fine = ctl_json_add(
            object, "StreamCreationTimestamp", ctl_json_time(summary->creation_unix_ms));
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

/* The streams listed so far. */
struct stream_list {
    json_t *names;
    json_t *summaries;
    char last[KS_STREAM_NAME_BYTES_MAX + 1]; /* the name to go on behind */
    bool has_more;
};

/* A page's streams, at most so many. False: out of memory. */
static bool add_streams(
    struct stream_list *list, const struct kstream_stream_list *page, uint64_t items_max)
{
    size_t left = (size_t)(items_max - json_array_size(list->names));
    size_t taken = KS_MIN(page->stream_count, left);
    for (size_t i = 0; i < taken; i++) {
        const struct kstream_stream_summary *stream = &page->streams[i];
        if (json_array_append_new(list->names, ctl_json_text(stream->stream_name)) != 0 ||
            json_array_append_new(list->summaries, summary_to_json(stream)) != 0)
            return false;
        snprintf(list->last, sizeof list->last, "%s", stream->stream_name);
    }
    list->has_more = (page->has_more || taken < page->stream_count) && taken > 0;
    return true;
}

static enum kstream_status list_all_streams(struct ctl *ctl, const struct paging *paging,
    struct stream_list *list, struct kstream_error *err)
{
    if (ctl_has(ctl, CTL_STARTING_TOKEN))
        snprintf(list->last, sizeof list->last, "%s", ctl_text(ctl, CTL_STARTING_TOKEN));
    list->has_more = true;
    while (list->has_more && json_array_size(list->names) < paging->items_max) {
        struct kstream_list_streams_options options = KSTREAM_LIST_STREAMS_OPTIONS_INIT;
        options.timeout_ms = ctl->timeout_ms;
        options.limit = (uint32_t)paging->page_size;
        options.exclusive_start_stream_name = list->last[0] ? list->last : NULL;
        struct kstream_stream_list *page = NULL;
        enum kstream_status st = kstream_list_streams(ctl->client, &options, &page, err);
        if (st)
            return st;
        bool is_fine = add_streams(list, page, paging->items_max);
        kstream_stream_list_free(page);
        if (!is_fine)
            return fail_memory(err);
    }
    return give_list(ctl, "StreamSummaries", json_incref(list->summaries),
        list->has_more ? list->last : NULL, err);
}

static enum kstream_status list_page_of_streams(struct ctl *ctl, const struct paging *paging,
    struct stream_list *list, struct kstream_error *err)
{
    struct kstream_list_streams_options options = KSTREAM_LIST_STREAMS_OPTIONS_INIT;
    options.timeout_ms = ctl->timeout_ms;
    options.limit = (uint32_t)paging->page_size;
    options.exclusive_start_stream_name = ctl_text(ctl, CTL_EXCLUSIVE_START_STREAM);
    options.next_token = ctl_text(ctl, CTL_NEXT_TOKEN);
    struct kstream_stream_list *page = NULL;
    enum kstream_status st = kstream_list_streams(ctl->client, &options, &page, err);
    if (st)
        return st;
    if (!add_streams(list, page, UINT32_MAX) ||
        !ctl_json_add(ctl->result, "HasMoreStreams", json_boolean(page->has_more)))
        st = fail_memory(err);
    else
        st = give_list(ctl, "StreamSummaries", json_incref(list->summaries), page->next_token, err);
    kstream_stream_list_free(page);
    return st;
}

enum kstream_status ctl_run_list_streams(struct ctl *ctl, struct kstream_error *err)
{
    struct paging paging = {.is_one_page = false};
    enum kstream_status st = read_paging(ctl, CTL_LIMIT, CTL_EXCLUSIVE_START_STREAM, &paging, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    struct stream_list list = {.names = json_array(), .summaries = json_array()};
    ctl->result = json_pack("{s:O}", "StreamNames", list.names);
    if (!list.names || !list.summaries || !ctl->result)
        st = fail_memory(err);
    else if (paging.is_one_page)
        st = list_page_of_streams(ctl, &paging, &list, err);
    else
        st = list_all_streams(ctl, &paging, &list, err);
    json_decref(list.names);
    json_decref(list.summaries);
    if (st) {
        json_decref(ctl->result);
        ctl->result = NULL;
    }
    return st;
}

/* ---- shards: the filter ---- */

struct filter {
    json_t *object; /* the texts below lie in it */
    const char *type;
    const char *shard_id;
    uint64_t timestamp_unix_ms;
};

static enum kstream_status read_time(const char *text, uint64_t *out_ms, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st =
        ctl_time_from_text(text, ks_clock_unix_ms(&ks_clock_system), out_ms, &inner);
    return ctl_fail_from(err, st, &inner);
}

/* A time of JSON is a text or seconds. */
static enum kstream_status filter_time(struct filter *filter, struct kstream_error *err)
{
    const json_t *time = json_object_get(filter->object, "Timestamp");
    if (json_is_number(time)) {
        filter->timestamp_unix_ms = (uint64_t)(json_number_value(time) * 1000);
        return KSTREAM_OK;
    }
    return time ? read_time(json_string_value(time), &filter->timestamp_unix_ms, err) : KSTREAM_OK;
}

static enum kstream_status read_filter(
    const struct ctl *ctl, struct filter *out, struct kstream_error *err)
{
    const char *text = ctl_text(ctl, CTL_SHARD_FILTER);
    if (!text)
        return KSTREAM_OK;
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st =
        ctl_param_structure(ctl_option_name(CTL_SHARD_FILTER), text, &out->object, &inner);
    if (st)
        return ctl_fail_from(err, st, &inner);
    for (void *at = json_object_iter(out->object); at;
         at = json_object_iter_next(out->object, at)) {
        const char *name = json_object_iter_key(at);
        bool is_time = strcmp(name, "Timestamp") == 0;
        bool is_known = is_time || strcmp(name, "Type") == 0 || strcmp(name, "ShardId") == 0;
        bool is_number = json_is_number(json_object_iter_value(at));
        if (!is_known || !(json_is_string(json_object_iter_value(at)) || (is_time && is_number)))
            return ctl_fail(err, KSTREAM_USAGE,
                "'--shard-filter': '%.40s' is none of Type, ShardId and Timestamp", name);
    }
    out->type = json_string_value(json_object_get(out->object, "Type"));
    out->shard_id = json_string_value(json_object_get(out->object, "ShardId"));
    if (!out->type)
        return ctl_fail(err, KSTREAM_USAGE, "'--shard-filter': Type is missing");
    return filter_time(out, err);
}

/* ---- shards: the lists ---- */

static enum kstream_status next_shards(struct ctl *ctl,
    const struct kstream_list_shards_options *options, char token[TOKEN_BYTES],
    struct kstream_shard_list **out_page, struct kstream_error *err)
{
    enum kstream_status st = kstream_list_shards(
        ctl->client, options->next_token ? NULL : ctl->stream, options, out_page, err);
    if (st)
        return st;
    const char *next = (*out_page)->next_token ? (*out_page)->next_token : "";
    if (snprintf(token, TOKEN_BYTES, "%s", next) < TOKEN_BYTES)
        return KSTREAM_OK;
    kstream_shard_list_free(*out_page);
    *out_page = NULL;
    KS_IGNORE(ctl_fail(err, KSTREAM_PROTOCOL, "the broker's NextToken is too long"), "fills err");
    return KSTREAM_PROTOCOL;
}

enum kstream_status ctl_each_shard(
    struct ctl *ctl, ctl_shard_fn each, void *arg, struct kstream_error *err)
{
    char token[TOKEN_BYTES] = "";
    do {
        struct kstream_list_shards_options options = KSTREAM_LIST_SHARDS_OPTIONS_INIT;
        options.next_token = token[0] ? token : NULL;
        struct kstream_shard_list *page = NULL;
        enum kstream_status st = next_shards(ctl, &options, token, &page, err);
        if (st)
            return st;
        bool is_fine = true;
        for (size_t i = 0; is_fine && i < page->shard_count; i++)
            is_fine = each(&page->shards[i], arg);
        kstream_shard_list_free(page);
        if (!is_fine)
            return fail_memory(err);
    } while (token[0]);
    return KSTREAM_OK;
}

/* At most so many of them. False: out of memory. */
static bool add_shards(json_t *shards, const struct kstream_shard_list *page, uint64_t items_max)
{
    for (size_t i = 0; i < page->shard_count && json_array_size(shards) < items_max; i++)
        if (json_array_append_new(shards, ctl_shard_to_json(&page->shards[i])) != 0)
            return false;
    return true;
}

/* All pages, or what --max-items leaves of them; then the token is the last shard. */
static enum kstream_status list_all_shards(struct ctl *ctl, const struct paging *paging,
    struct kstream_list_shards_options options, json_t *shards, struct kstream_error *err)
{
    char token[TOKEN_BYTES] = "";
    bool has_more = false;
    options.exclusive_start_shard_id = ctl_text(ctl, CTL_STARTING_TOKEN);
    do {
        struct kstream_shard_list *page = NULL;
        enum kstream_status st = next_shards(ctl, &options, token, &page, err);
        if (st)
            return st;
        size_t before = json_array_size(shards);
        bool is_fine = add_shards(shards, page, paging->items_max);
        has_more = token[0] || json_array_size(shards) - before < page->shard_count;
        kstream_shard_list_free(page);
        if (!is_fine)
            return fail_memory(err);
        /* Only the first request says where to begin. */
        options.exclusive_start_shard_id = NULL;
        options.filter_type = NULL;
        options.filter_shard_id = NULL;
        options.filter_timestamp_unix_ms = 0;
        options.next_token = token;
    } while (token[0] && json_array_size(shards) < paging->items_max);
    const json_t *last = json_array_get(shards, json_array_size(shards) - 1);
    return give_list(ctl, "Shards", json_incref(shards),
        has_more ? json_string_value(json_object_get(last, "ShardId")) : NULL, err);
}

static enum kstream_status list_page_of_shards(struct ctl *ctl,
    struct kstream_list_shards_options options, json_t *shards, struct kstream_error *err)
{
    char token[TOKEN_BYTES] = "";
    struct kstream_shard_list *page = NULL;
    options.exclusive_start_shard_id = ctl_text(ctl, CTL_EXCLUSIVE_START_SHARD);
    options.next_token = ctl_text(ctl, CTL_NEXT_TOKEN);
    enum kstream_status st = next_shards(ctl, &options, token, &page, err);
    if (st)
        return st;
    bool is_fine = add_shards(shards, page, UINT64_MAX);
    kstream_shard_list_free(page);
    return is_fine ? give_list(ctl, "Shards", json_incref(shards), token[0] ? token : NULL, err)
                   : fail_memory(err);
}

/* As in Kinesis it tells a stream from an older one of the same name; to the second, as it is
 * shown. */
static enum kstream_status check_creation(struct ctl *ctl, struct kstream_error *err)
{
    const char *text = ctl_text(ctl, CTL_STREAM_CREATION);
    uint64_t unix_ms = 0;
    if (!text)
        return KSTREAM_OK;
    enum kstream_status st = read_time(text, &unix_ms, err);
    struct kstream_stream *about = NULL;
    if (!st)
        st = kstream_describe_stream_summary(ctl->client, ctl->stream, NULL, &about, err);
    if (!st && about->creation_unix_ms / 1000 != unix_ms / 1000)
        st = ctl_fail(err, KSTREAM_NOT_FOUND, "stream '%.128s' was not created at %.40s",
            ctl->stream_name, text);
    kstream_stream_free(about);
    return st;
}

static enum kstream_status list_shards(
    struct ctl *ctl, const struct filter *filter, struct kstream_error *err)
{
    struct paging paging = {.is_one_page = false};
    enum kstream_status st =
        read_paging(ctl, CTL_MAX_RESULTS, CTL_EXCLUSIVE_START_SHARD, &paging, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (!st)
        st = check_creation(ctl, err);
    if (st)
        return st;
    struct kstream_list_shards_options options = KSTREAM_LIST_SHARDS_OPTIONS_INIT;
    options.timeout_ms = ctl->timeout_ms;
    options.max_results = (uint32_t)paging.page_size;
    options.filter_type = filter->type;
    options.filter_shard_id = filter->shard_id;
    options.filter_timestamp_unix_ms = filter->timestamp_unix_ms;
    json_t *shards = json_array();
    if (!shards)
        return fail_memory(err);
    st = paging.is_one_page ? list_page_of_shards(ctl, options, shards, err)
                            : list_all_shards(ctl, &paging, options, shards, err);
    json_decref(shards);
    return st;
}

enum kstream_status ctl_run_list_shards(struct ctl *ctl, struct kstream_error *err)
{
    struct filter filter = {.object = NULL};
    enum kstream_status st = KSTREAM_OK;
    if (ctl->stream && ctl_has(ctl, CTL_NEXT_TOKEN))
        st = ctl_fail(err, KSTREAM_USAGE, "'--next-token' knows its stream: leave the stream out");
    if (!st)
        st = read_filter(ctl, &filter, err);
    if (!st)
        st = list_shards(ctl, &filter, err);
    json_decref(filter.object);
    return st;
}
