/* The calls about tags: of a stream by its name, or of a resource by its ARN. */
#include "base/alloc.h"
#include "client/client.h"
#include "client/kstream_admin.h"
#include "proto/api.pb-c.h"

/* A public struct followed by what owns the memory. */
struct tag_list_result {
    struct kstream_tag_list list; /* first member */
    struct ks_arena arena;
};

KS_DEFINE_CLEANUP(struct kstream_tag_list, kstream_tag_list_free)

static enum ks_status check_named(const char *whose, struct ks_error *err)
{
    if (!whose || whose[0] == '\0')
        return ks_fail(err, KS_INVALID, 0, "whose tags these are is missing");
    return KS_OK;
}

/* ---- adding and removing ---- */

enum ks_status client_tags_make(
    const struct kstream_tag *tags, size_t count, Kstream__Tag ***out_list, struct ks_error *err)
{
    enum ks_status st = client_check_list(tags, count, "the list of tags", err);
    if (st)
        return st;
    Kstream__Tag **list = ks_calloc(count + 1, sizeof(Kstream__Tag *) + sizeof(Kstream__Tag));
    if (!list)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu tags", count);
    Kstream__Tag *messages = (Kstream__Tag *)(void *)(list + count + 1);
    for (size_t i = 0; i < count; i++) {
        list[i] = &messages[i];
        kstream__tag__init(list[i]);
        list[i]->key = client_text(tags[i].key);
        list[i]->value = client_text(tags[i].value ? tags[i].value : "");
    }
    *out_list = list;
    return KS_OK;
}

/* Tags to add, or keys of those to remove. */
struct tag_change {
    const char *whose;
    const struct kstream_tag *tags;
    const char *const *keys;
    size_t count;
    const struct kstream_setting_options *options;
};

/* An exchange whose answer has nothing in it. */
static enum ks_status tag_command(struct kstream_client *client, const struct tag_change *change,
    enum ks_op op, const ProtobufCMessage *request, struct ks_error *err)
{
    struct client_exchange exchange = {.op = op,
        .request = request,
        .deadline_ns =
            client_call_deadline_ns(client, CLIENT_OPTION(change->options, timeout_ms, 0)),
        .is_repeatable = true};
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, &exchange, &arena, &message, err);
    ks_arena_fini(&arena);
    return st;
}

static enum ks_status add_tags(
    struct kstream_client *client, const struct tag_change *change, struct ks_error *err)
{
    KS_AUTO_FREE Kstream__Tag **list = NULL;
    Kstream__AddTagsToStreamRequest request = KSTREAM__ADD_TAGS_TO_STREAM_REQUEST__INIT;
    enum ks_status st = check_named(change->whose, err);
    if (!st)
        st = client_tags_make(change->tags, change->count, &list, err);
    if (st)
        return st;
    CLIENT_NAME_STREAM(&request, change->whose);
    request.has_dry_run = request.dry_run = CLIENT_OPTION(change->options, dry_run, 0) != 0;
    request.tags = list;
    request.n_tags = change->count;
    return tag_command(client, change, KS_OP_ADD_TAGS_TO_STREAM, &request.base, err);
}

static enum ks_status remove_tags(
    struct kstream_client *client, const struct tag_change *change, struct ks_error *err)
{
    Kstream__RemoveTagsFromStreamRequest request = KSTREAM__REMOVE_TAGS_FROM_STREAM_REQUEST__INIT;
    enum ks_status st = check_named(change->whose, err);
    if (!st)
        st = client_check_list(change->keys, change->count, "the list of keys", err);
    if (st)
        return st;
    CLIENT_NAME_STREAM(&request, change->whose);
    request.has_dry_run = request.dry_run = CLIENT_OPTION(change->options, dry_run, 0) != 0;
    request.tag_keys = client_texts(change->keys);
    request.n_tag_keys = change->count;
    return tag_command(client, change, KS_OP_REMOVE_TAGS_FROM_STREAM, &request.base, err);
}

static enum ks_status tag_resource(
    struct kstream_client *client, const struct tag_change *change, struct ks_error *err)
{
    KS_AUTO_FREE Kstream__Tag **list = NULL;
    Kstream__TagResourceRequest request = KSTREAM__TAG_RESOURCE_REQUEST__INIT;
    enum ks_status st = check_named(change->whose, err);
    if (!st)
        st = client_tags_make(change->tags, change->count, &list, err);
    if (st)
        return st;
    request.resource_arn = client_text(change->whose);
    request.has_dry_run = request.dry_run = CLIENT_OPTION(change->options, dry_run, 0) != 0;
    request.tags = list;
    request.n_tags = change->count;
    return tag_command(client, change, KS_OP_TAG_RESOURCE, &request.base, err);
}

static enum ks_status untag_resource(
    struct kstream_client *client, const struct tag_change *change, struct ks_error *err)
{
    Kstream__UntagResourceRequest request = KSTREAM__UNTAG_RESOURCE_REQUEST__INIT;
    enum ks_status st = check_named(change->whose, err);
    if (!st)
        st = client_check_list(change->keys, change->count, "the list of keys", err);
    if (st)
        return st;
    request.resource_arn = client_text(change->whose);
    request.has_dry_run = request.dry_run = CLIENT_OPTION(change->options, dry_run, 0) != 0;
    request.tag_keys = client_texts(change->keys);
    request.n_tag_keys = change->count;
    return tag_command(client, change, KS_OP_UNTAG_RESOURCE, &request.base, err);
}

enum kstream_status kstream_add_tags(struct kstream_client *client, const char *stream,
    const struct kstream_tag *tags, size_t count, const struct kstream_setting_options *options,
    struct kstream_error *err)
{
    const struct tag_change change = {
        .whose = stream, .tags = tags, .count = count, .options = options};
    struct ks_error inner = client_begin(client);
    enum ks_status st = add_tags(client, &change, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_remove_tags(struct kstream_client *client, const char *stream,
    const char *const *keys, size_t count, const struct kstream_setting_options *options,
    struct kstream_error *err)
{
    const struct tag_change change = {
        .whose = stream, .keys = keys, .count = count, .options = options};
    struct ks_error inner = client_begin(client);
    enum ks_status st = remove_tags(client, &change, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_tag_resource(struct kstream_client *client, const char *resource_arn,
    const struct kstream_tag *tags, size_t count, const struct kstream_setting_options *options,
    struct kstream_error *err)
{
    const struct tag_change change = {
        .whose = resource_arn, .tags = tags, .count = count, .options = options};
    struct ks_error inner = client_begin(client);
    enum ks_status st = tag_resource(client, &change, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_untag_resource(struct kstream_client *client, const char *resource_arn,
    const char *const *keys, size_t count, const struct kstream_setting_options *options,
    struct kstream_error *err)
{
    const struct tag_change change = {
        .whose = resource_arn, .keys = keys, .count = count, .options = options};
    struct ks_error inner = client_begin(client);
    enum ks_status st = untag_resource(client, &change, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

/* ---- listing ---- */

static enum ks_status tag_list(struct kstream_client *client, struct client_exchange *exchange,
    struct kstream_tag_list **out_list, struct ks_error *err)
{
    enum ks_status st = client_check_place(out_list, err);
    if (st)
        return st;
    struct tag_list_result *result = ks_zalloc(sizeof *result);
    if (!result)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a list of tags");
    ks_arena_init(&result->arena, CLIENT_ANSWER_BYTES_MAX);
    KS_CLEANUP(kstream_tag_list_freep) struct kstream_tag_list *owned = &result->list;
    exchange->is_repeatable = true;
    ProtobufCMessage *message = NULL;
    st = client_call(client, exchange, &result->arena, &message, err);
    if (st)
        return st;
    Kstream__TagEntry *const *entries = NULL;
    if (exchange->op == KS_OP_LIST_TAGS_FOR_STREAM) {
        const Kstream__ListTagsForStreamResponse *answer = (const void *)message;
        entries = answer->tags;
        result->list.tag_count = answer->n_tags;
        result->list.has_more = answer->has_more_tags;
    } else {
        const Kstream__ListTagsForResourceResponse *answer = (const void *)message;
        entries = answer->tags;
        result->list.tag_count = answer->n_tags;
    }
    struct kstream_tag *tags =
        ks_arena_zalloc(&result->arena, (result->list.tag_count + 1) * sizeof *tags);
    if (!tags)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu tags", result->list.tag_count);
    for (size_t i = 0; i < result->list.tag_count; i++)
        tags[i] = (struct kstream_tag){entries[i]->key, entries[i]->value ? entries[i]->value : ""};
    result->list.tags = tags;
    *out_list = KS_TAKE(owned);
    return KS_OK;
}

enum kstream_status kstream_list_tags(struct kstream_client *client, const char *stream,
    const struct kstream_list_tags_options *options, struct kstream_tag_list **out_list,
    struct kstream_error *err)
{
    Kstream__ListTagsForStreamRequest request = KSTREAM__LIST_TAGS_FOR_STREAM_REQUEST__INIT;
    uint32_t limit = CLIENT_OPTION(options, limit, 0);
    if (stream)
        CLIENT_NAME_STREAM(&request, stream);
    request.has_limit = limit > 0;
    request.limit = (int32_t)KS_MIN(limit, (uint32_t)INT32_MAX);
    request.exclusive_start_tag_key =
        client_text(CLIENT_OPTION(options, exclusive_start_tag_key, NULL));
    struct client_exchange exchange = {.op = KS_OP_LIST_TAGS_FOR_STREAM,
        .request = &request.base,
        .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0))};
    struct ks_error inner = client_begin(client);
    enum ks_status st = check_named(stream, &inner);
    if (!st)
        st = tag_list(client, &exchange, out_list, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

enum kstream_status kstream_list_tags_of_resource(struct kstream_client *client,
    const char *resource_arn, const struct kstream_call_options *options,
    struct kstream_tag_list **out_list, struct kstream_error *err)
{
    Kstream__ListTagsForResourceRequest request = KSTREAM__LIST_TAGS_FOR_RESOURCE_REQUEST__INIT;
    request.resource_arn = client_text(resource_arn);
    struct client_exchange exchange = {.op = KS_OP_LIST_TAGS_FOR_RESOURCE,
        .request = &request.base,
        .deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0))};
    struct ks_error inner = client_begin(client);
    enum ks_status st = check_named(resource_arn, &inner);
    if (!st)
        st = tag_list(client, &exchange, out_list, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

void kstream_tag_list_free(struct kstream_tag_list *list)
{
    if (!list)
        return;
    struct tag_list_result *result = KS_CONTAINER_OF(list, struct tag_list_result, list);
    ks_arena_fini(&result->arena);
    ks_free(result);
}
