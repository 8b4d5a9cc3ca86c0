/* Tags of a stream: by its name (AddTagsToStream...) or as a resource (TagResource...). */
#include "daemon/ops_setting.h"

#include <string.h>
#include <strings.h>

/* ---- what may stand in a tag ---- */

/* The next character of valid UTF-8. */
static uint32_t take_character(const uint8_t **text)
{
    const uint8_t *at = *text;
    unsigned more = *at < 0x80 ? 0 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
    uint32_t character = more == 0 ? *at : *at & (0x3fu >> more);
    for (unsigned i = 1; i <= more; i++)
        character = character << 6 | (at[i] & 0x3f);
    *text = at + more + 1;
    return character;
}

/* Letters, digits and blanks of Unicode, and a few signs. '%' is let through here: it has a
 * complaint of its own. */
static bool is_tag_character(uint32_t c)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               strchr(" _.:/=+-@%", (int)c);
    return (c >= 0xc0 && c < 0x2000) || (c >= 0x2c00 && c < 0xd800) || c >= 0x10000;
}

static bool is_tag_text(const char *text)
{
    for (const uint8_t *at = (const uint8_t *)text; *at;)
        if (!is_tag_character(take_character(&at)))
            return false;
    return true;
}

static bool is_system_key(const char *key)
{
    return strncasecmp(key, "aws:", 4) == 0;
}

static bool fail_characters(struct ks_call *call)
{
    ks_call_fail_text(call, KS_INVALID,
        "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white "
        "space, _ . / = + - %% @.");
    return false;
}

static bool fail_system_key(struct ks_call *call)
{
    ks_call_fail_text(call, KS_INVALID,
        "Some tag keys in the request started with 'aws:'. System tags cannot be modified.");
    return false;
}

bool ks_call_tags_fit(
    struct ks_call *call, const char *stream_name, Kstream__Tag *const *tags, size_t count)
{
    bool has_percent = false;
    for (size_t i = 0; i < count; i++) {
        const char *value = tags[i]->value ? tags[i]->value : "";
        if (!is_tag_text(tags[i]->key) || !is_tag_text(value))
            return fail_characters(call);
        if (is_system_key(tags[i]->key))
            return fail_system_key(call);
        has_percent = has_percent || strchr(tags[i]->key, '%') || strchr(value, '%');
    }
    if (!has_percent)
        return true;
    ks_call_fail_text(call, KS_INVALID,
        "Failed to add tags to stream %s under account %s because some tags contained illegal "
        "characters. The allowed characters are Unicode letters, white-spaces, "
        "'_',',','/','=','+','-','@'.",
        stream_name, call->server->config->aws_account_id);
    return false;
}

void ks_call_fail_tag_limit(struct ks_call *call, const char *stream_name)
{
    ks_call_fail_text(call, KS_INVALID,
        "Failed to add tags to stream %s under account %s because a given stream cannot have more "
        "than %u tags associated with it.",
        stream_name, call->server->config->aws_account_id, KS_TAGS_PER_STREAM_MAX);
}

struct ks_tag *ks_tags_in(struct ks_arena *arena, Kstream__Tag *const *tags, size_t count)
{
    struct ks_tag *list = ks_arena_alloc(arena, (count + 1) * sizeof(list[0]));
    for (size_t i = 0; list && i < count; i++)
        list[i] = (struct ks_tag){tags[i]->key, tags[i]->value ? tags[i]->value : ""};
    return list;
}

/* ---- adding and removing ---- */

static void refuse_limit(struct ks_call *call, const struct ks_setting_work *work)
{
    ks_call_fail_tag_limit(call, work->stream_name);
}

/* Whether the stream would have too many. */
static void add_dry(
    struct ks_call *call, const struct ks_stream *stream, const struct ks_setting_work *work)
{
    struct ks_tags *tags = NULL;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st =
        ks_tags_with(stream->tags, work->change.tags, work->change.tag_count, &tags, &error);
    if (stream->status == KS_STREAM_DELETING)
        ks_call_fail_not_active(call, stream);
    else if (st == KS_LIMIT)
        refuse_limit(call, work);
    else if (st)
        ks_call_fail(call, st, &error);
    else
        ks_call_finish(call, call->response);
    ks_tags_unref(tags);
}

/* Tags of a request. */
struct wanted_tags {
    Kstream__Tag *const *tags;
    size_t count;
    bool is_dry_run;
};

static void add_tags(
    struct ks_call *call, const struct ks_stream_address *address, const struct wanted_tags *wanted)
{
    Kstream__Tag *const *tags = wanted->tags;
    size_t count = wanted->count;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = ks_call_resolve(call, address);
    if (!stream || !ks_call_tags_fit(call, stream->name, tags, count))
        return;
    struct ks_setting_work *work = ks_setting_work_make(call, stream);
    if (!work)
        return;
    work->refuse_limit = refuse_limit;
    work->change = (struct ks_setting_change){.setting = KS_SETTING_TAGS_ADD,
        .tags = ks_tags_in(&call->arena, tags, count),
        .tag_count = (uint32_t)count};
    if (!work->change.tags)
        ks_call_fail_memory(call);
    else if (wanted->is_dry_run)
        add_dry(call, stream, work);
    else
        ks_setting_start(call);
}

/* Keys of a request. */
struct wanted_keys {
    char *const *keys;
    size_t count;
    bool is_dry_run;
};

static void remove_tags(
    struct ks_call *call, const struct ks_stream_address *address, const struct wanted_keys *wanted)
{
    char *const *keys = wanted->keys;
    size_t count = wanted->count;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = ks_call_resolve(call, address);
    if (!stream)
        return;
    struct ks_tag *tags = ks_arena_alloc(&call->arena, (count + 1) * sizeof(tags[0]));
    if (!tags) {
        ks_call_fail_memory(call);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_tag_text(keys[i])) {
            fail_characters(call);
            return;
        }
        if (is_system_key(keys[i])) {
            fail_system_key(call);
            return;
        }
        tags[i] = (struct ks_tag){keys[i], ""};
    }
    struct ks_setting_work *work = ks_setting_work_make(call, stream);
    if (!work)
        return;
    work->change = (struct ks_setting_change){
        .setting = KS_SETTING_TAGS_REMOVE, .tags = tags, .tag_count = (uint32_t)count};
    if (!wanted->is_dry_run)
        ks_setting_start(call);
    else if (stream->status == KS_STREAM_DELETING)
        ks_call_fail_not_active(call, stream);
    else
        ks_call_finish(call, call->response);
}

void ks_op_add_tags_to_stream(struct ks_call *call, const ProtobufCMessage *message)
{
    static const Kstream__AddTagsToStreamResponse empty =
        KSTREAM__ADD_TAGS_TO_STREAM_RESPONSE__INIT;
    const Kstream__AddTagsToStreamRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    call->response = &empty.base;
    const struct wanted_tags wanted = {request->tags, request->n_tags, request->dry_run};
    add_tags(call, &address, &wanted);
}

void ks_op_remove_tags_from_stream(struct ks_call *call, const ProtobufCMessage *message)
{
    static const Kstream__RemoveTagsFromStreamResponse empty =
        KSTREAM__REMOVE_TAGS_FROM_STREAM_RESPONSE__INIT;
    const Kstream__RemoveTagsFromStreamRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    const struct wanted_keys wanted = {request->tag_keys, request->n_tag_keys, request->dry_run};
    call->response = &empty.base;
    remove_tags(call, &address, &wanted);
}

/* ---- of a resource ---- */

/* A resource is a stream; of a consumer, none is registered. False: the call has failed. */
static bool resource_address(
    struct ks_call *call, const char *arn, const char *stream_id, struct ks_stream_address *out)
{
    *out = (struct ks_stream_address){
        ks_view_of(NULL, 0), ks_view_of_text(arn), ks_view_of_optional(stream_id)};
    if (!strstr(arn, "/consumer/"))
        return true;
    ks_call_fail_text(call, KS_NOT_FOUND, "Consumer %.700s not found.", arn);
    return false;
}

void ks_op_tag_resource(struct ks_call *call, const ProtobufCMessage *message)
{
    static const Kstream__TagResourceResponse empty = KSTREAM__TAG_RESOURCE_RESPONSE__INIT;
    const Kstream__TagResourceRequest *request = (const void *)message;
    const struct wanted_tags wanted = {request->tags, request->n_tags, request->dry_run};
    struct ks_stream_address address;
    call->response = &empty.base;
    if (resource_address(call, request->resource_arn, request->stream_id, &address))
        add_tags(call, &address, &wanted);
}

void ks_op_untag_resource(struct ks_call *call, const ProtobufCMessage *message)
{
    static const Kstream__UntagResourceResponse empty = KSTREAM__UNTAG_RESOURCE_RESPONSE__INIT;
    const Kstream__UntagResourceRequest *request = (const void *)message;
    const struct wanted_keys wanted = {request->tag_keys, request->n_tag_keys, request->dry_run};
    struct ks_stream_address address;
    call->response = &empty.base;
    if (resource_address(call, request->resource_arn, request->stream_id, &address))
        remove_tags(call, &address, &wanted);
}

/* ---- listing ---- */

/* Some tags of a set. */
struct tag_page {
    uint32_t from;
    uint32_t count;
};

static bool list_fill(struct ks_call *call, const struct ks_tags *tags, struct tag_page page,
    Kstream__TagEntry ***out_list)
{
    struct ks_arena *arena = &call->arena;
    Kstream__TagEntry **list = ks_arena_alloc(arena, ((size_t)page.count + 1) * sizeof(list[0]));
    Kstream__TagEntry *entries =
        ks_arena_alloc(arena, ((size_t)page.count + 1) * sizeof(entries[0]));
    if (!list || !entries)
        return false;
    for (uint32_t i = 0; i < page.count; i++) {
        const struct ks_tag *tag = &tags->items[page.from + i];
        kstream__tag_entry__init(&entries[i]);
        entries[i].key = ks_arena_strdup(arena, tag->key);
        entries[i].value = ks_arena_strdup(arena, tag->value);
        if (!entries[i].key || !entries[i].value)
            return false;
        list[i] = &entries[i];
    }
    *out_list = list;
    return true;
}

void ks_op_list_tags_for_stream(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__ListTagsForStreamRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = ks_call_resolve(call, &address);
    if (!stream)
        return;
    const char *after = request->exclusive_start_tag_key;
    uint32_t count = stream->tags ? stream->tags->count : 0;
    struct tag_page page = {.from = 0};
    while (after && page.from < count && strcmp(stream->tags->items[page.from].key, after) <= 0)
        page.from++;
    page.count = count - page.from;
    if (request->has_limit)
        page.count = KS_MIN(page.count, (uint32_t)request->limit);
    Kstream__ListTagsForStreamResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (response)
        kstream__list_tags_for_stream_response__init(response);
    if (!response || !list_fill(call, stream->tags, page, &response->tags)) {
        ks_call_fail_memory(call);
        return;
    }
    response->n_tags = page.count;
    response->has_more_tags = page.from + page.count < count;
    ks_call_finish(call, &response->base);
}

void ks_op_list_tags_for_resource(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__ListTagsForResourceRequest *request = (const void *)message;
    struct ks_stream_address address;
    if (!resource_address(call, request->resource_arn, request->stream_id, &address))
        return;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = ks_call_resolve(call, &address);
    if (!stream)
        return;
    const struct tag_page page = {.from = 0, .count = stream->tags ? stream->tags->count : 0};
    Kstream__ListTagsForResourceResponse *response =
        ks_arena_alloc(&call->arena, sizeof(*response));
    if (response)
        kstream__list_tags_for_resource_response__init(response);
    if (!response || !list_fill(call, stream->tags, page, &response->tags)) {
        ks_call_fail_memory(call);
        return;
    }
    response->n_tags = page.count;
    ks_call_finish(call, &response->base);
}
