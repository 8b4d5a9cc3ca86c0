/* list-streams and list-shards: all pages, or as many items as are asked for. */
#include "proto/limits.h"
#include "tools/ctl_describe.h"

#include <stdio.h>
#include <string.h>

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
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

/* A page's streams, at most so many. False: out of memory. */
static bool add_page(
    const struct kstream_stream_list *page, size_t items, json_t *names, json_t *summaries)
{
    for (size_t i = 0; i < page->stream_count && i < items; i++) {
        if (json_array_append_new(names, ctl_json_text(page->streams[i].stream_name)) != 0 ||
            json_array_append_new(summaries, summary_to_json(&page->streams[i])) != 0)
            return false;
    }
    return true;
}

/* The pages from after the name in last on, which ends as the last name listed. */
static enum kstream_status list_pages(struct ctl *ctl, json_t *names, json_t *summaries,
    char last[KS_STREAM_NAME_BYTES_MAX + 1], uint64_t items_max, bool *out_has_more,
    struct kstream_error *err)
{
    struct kstream_list_streams_options options = KSTREAM_LIST_STREAMS_OPTIONS_INIT;
    *out_has_more = true;
    while (*out_has_more && json_array_size(names) < items_max) {
        options.exclusive_start_stream_name = last[0] ? last : NULL;
        struct kstream_stream_list *page = NULL;
        enum kstream_status st = kstream_list_streams(ctl->client, &options, &page, err);
        if (st)
            return st;
        size_t left = (size_t)(items_max - json_array_size(names));
        bool is_fine = add_page(page, left, names, summaries);
        size_t taken = KS_MIN(page->stream_count, left);
        *out_has_more = (page->has_more || taken < page->stream_count) && taken > 0;
        if (taken > 0)
            snprintf(
                last, KS_STREAM_NAME_BYTES_MAX + 1, "%s", page->streams[taken - 1].stream_name);
        kstream_stream_list_free(page);
        if (!is_fine)
            return fail_memory(err);
    }
    return KSTREAM_OK;
}

enum kstream_status ctl_run_list_streams(struct ctl *ctl, struct kstream_error *err)
{
    uint64_t items_max = 0;
    enum kstream_status st = ctl_number(
        ctl, CTL_MAX_ITEMS, (struct ctl_range){1, UINT32_MAX, UINT32_MAX}, &items_max, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    char last[KS_STREAM_NAME_BYTES_MAX + 1] = "";
    if (ctl_has(ctl, CTL_STARTING_TOKEN))
        snprintf(last, sizeof last, "%s", ctl_text(ctl, CTL_STARTING_TOKEN));
    json_t *names = json_array();
    json_t *summaries = json_array();
    bool has_more = false;
    if (!names || !summaries)
        st = fail_memory(err);
    else
        st = list_pages(ctl, names, summaries, last, items_max, &has_more, err);
    if (!st) {
        ctl->result = json_pack("{s:O, s:O}", "StreamNames", names, "StreamSummaries", summaries);
        ctl->list_member = "StreamSummaries";
        if (!ctl->result ||
            (has_more && !ctl_json_add(ctl->result, "NextToken", ctl_json_text(last))))
            st = fail_memory(err);
    }
    json_decref(names);
    json_decref(summaries);
    return st;
}

/* ---- list-shards ---- */

#define TOKEN_BYTES 1024

enum kstream_status ctl_each_shard(
    struct ctl *ctl, ctl_shard_fn each, void *arg, struct kstream_error *err)
{
    char token[TOKEN_BYTES] = "";
    for (;;) {
        struct kstream_list_shards_options options = KSTREAM_LIST_SHARDS_OPTIONS_INIT;
        options.next_token = token[0] ? token : NULL;
        struct kstream_shard_list *page = NULL;
        enum kstream_status st = kstream_list_shards(
            ctl->client, options.next_token ? NULL : ctl->stream, &options, &page, err);
        if (st)
            return st;
        bool is_fine = true;
        for (size_t i = 0; is_fine && i < page->shard_count; i++)
            is_fine = each(&page->shards[i], arg);
        int length = snprintf(token, sizeof token, "%s", page->next_token ? page->next_token : "");
        kstream_shard_list_free(page);
        if (!is_fine)
            return fail_memory(err);
        if (length >= TOKEN_BYTES)
            return ctl_fail(err, KSTREAM_PROTOCOL, "the broker's NextToken is too long");
        if (length == 0)
            return KSTREAM_OK;
    }
}

static bool append_shard(const struct kstream_shard *shard, void *arg)
{
    json_t *shards = arg;
    return json_array_append_new(shards, ctl_shard_to_json(shard)) == 0;
}

enum kstream_status ctl_run_list_shards(struct ctl *ctl, struct kstream_error *err)
{
    enum kstream_status st = ctl_connect(ctl, err);
    if (st)
        return st;
    json_t *shards = json_array();
    st = ctl_each_shard(ctl, append_shard, shards, err);
    if (!st) {
        ctl->result = json_pack("{s:O}", "Shards", shards);
        ctl->list_member = "Shards";
        st = ctl->result ? KSTREAM_OK : fail_memory(err);
    }
    json_decref(shards);
    return st;
}
