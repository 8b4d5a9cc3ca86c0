/* put-records: up to 500 records in one request, given as the aws CLI takes them. */
#include "base/alloc.h"
#include "proto/api.pb-c.h"
#include "proto/limits.h"
#include "tools/ctl_dry_run.h"
#include "tools/ctl_param.h"

#include <stdio.h>
#include <string.h>

struct put_records {
    struct ctl *ctl;
    json_t *list; /* of objects; keys point into it */
    size_t count;
    struct kstream_put_entry *entries;
    struct ks_buf *data; /* of each; entries point into them */
    struct kstream_put_result *results;
};

static void put_records_fini(struct put_records *put)
{
    for (size_t i = 0; put->data && i < put->count; i++)
        ks_buf_fini(&put->data[i]);
    ks_free(put->data);
    ks_free(put->entries);
    ks_free(put->results);
    json_decref(put->list);
}

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- what --records says ---- */

/* Takes value: an object, or a list of them. */
static enum kstream_status add_records(
    struct put_records *put, json_t *value, struct kstream_error *err)
{
    bool is_fine = json_is_array(value) ? json_array_extend(put->list, value) == 0
                                        : json_array_append(put->list, value) == 0;
    json_decref(value);
    if (!is_fine)
        return fail_memory(err);
    if (json_array_size(put->list) <= KS_PUT_RECORDS_MAX)
        return KSTREAM_OK;
    return ctl_fail(err, KSTREAM_USAGE, "'--records': at most %u records fit a request",
        (unsigned)KS_PUT_RECORDS_MAX);
}

static enum kstream_status read_records(struct put_records *put, struct kstream_error *err)
{
    const char *option = ctl_option_name(CTL_RECORDS);
    enum kstream_status st = KSTREAM_OK;
    const char *text = NULL;
    for (size_t i = 0; !st && (text = ctl_args_item(&put->ctl->args, CTL_RECORDS, i)); i++) {
        json_t *value = NULL;
        struct ks_error inner = KS_ERROR_INIT;
        st = ctl_fail_from(err, ctl_param_structure(option, text, &value, &inner), &inner);
        if (!st)
            st = add_records(put, value, err);
    }
    return st;
}

/* NULL: not given. */
static enum kstream_status take_text(const json_t *record, size_t index, const char *member,
    const char **out_text, struct kstream_error *err)
{
    const json_t *value = json_object_get(record, member);
    *out_text = json_string_value(value);
    if (!value || json_is_null(value) || json_is_string(value))
        return KSTREAM_OK;
    return ctl_fail(err, KSTREAM_USAGE,
        "'--records': %s of record %zu is to be a text; in the short form put commas in quotes",
        member, index + 1);
}

static enum kstream_status check_members(json_t *record, size_t index, struct kstream_error *err)
{
    static const char *const known[] = {"Data", "PartitionKey", "ExplicitHashKey"};
    if (!json_is_object(record))
        return ctl_fail(
            err, KSTREAM_USAGE, "'--records': record %zu is to be an object", index + 1);
    for (void *at = json_object_iter(record); at; at = json_object_iter_next(record, at)) {
        const char *name = json_object_iter_key(at);
        size_t i = 0;
        while (i < KS_COUNT_OF(known) && strcmp(known[i], name) != 0)
            i++;
        if (i == KS_COUNT_OF(known))
            return ctl_fail(err, KSTREAM_USAGE,
                "'--records': record %zu: '%.40s' is none of Data, PartitionKey, ExplicitHashKey",
                index + 1, name);
    }
    return KSTREAM_OK;
}

static enum kstream_status take_entry(
    struct put_records *put, size_t index, struct kstream_error *err)
{
    json_t *record = json_array_get(put->list, index);
    struct kstream_put_entry *entry = &put->entries[index];
    const char *format = ctl_text(put->ctl, CTL_CLI_BINARY_FORMAT);
    const char *data = NULL;
    enum kstream_status st = check_members(record, index, err);
    if (!st)
        st = take_text(record, index, "Data", &data, err);
    if (!st)
        st = take_text(record, index, "PartitionKey", &entry->key, err);
    if (!st)
        st = take_text(record, index, "ExplicitHashKey", &entry->explicit_hash_key, err);
    if (st)
        return st;
    if (!data || !entry->key)
        return ctl_fail(
            err, KSTREAM_USAGE, "'--records': record %zu needs Data and PartitionKey", index + 1);
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status read = ctl_param_bytes(ctl_option_name(CTL_RECORDS), data,
        format && strcmp(format, "base64") == 0, &put->data[index], &inner);
    entry->key_bytes = strlen(entry->key);
    entry->data = put->data[index].data;
    entry->data_bytes = put->data[index].bytes;
    return ctl_fail_from(err, read, &inner);
}

static enum kstream_status take_entries(struct put_records *put, struct kstream_error *err)
{
    put->count = json_array_size(put->list);
    if (put->count == 0)
        return ctl_fail(err, KSTREAM_USAGE, "'--records': there is none");
    put->entries = ks_calloc(put->count, sizeof *put->entries);
    put->data = ks_calloc(put->count, sizeof *put->data);
    put->results = ks_calloc(put->count, sizeof *put->results);
    if (!put->entries || !put->data || !put->results)
        return fail_memory(err);
    for (size_t i = 0; i < put->count; i++)
        ks_buf_init(&put->data[i], CTL_PARAM_BYTES_MAX);
    enum kstream_status st = KSTREAM_OK;
    for (size_t i = 0; !st && i < put->count; i++)
        st = take_entry(put, i, err);
    return st;
}

/* ---- the answer ---- */

static json_t *result_to_json(const struct kstream_put_result *result)
{
    if (result->status == KSTREAM_OK)
        return json_pack(
            "{s:s, s:s}", "SequenceNumber", result->sequence_number, "ShardId", result->shard_id);
    return json_pack("{s:s, s:s}", "ErrorCode", kstream_status_exception(result->status),
        "ErrorMessage", kstream_strerror(result->status));
}

static enum kstream_status give_results(struct put_records *put, struct kstream_error *err)
{
    json_t *records = json_array();
    size_t failed = 0;
    bool is_fine = records != NULL;
    for (size_t i = 0; is_fine && i < put->count; i++) {
        failed += put->results[i].status != KSTREAM_OK;
        is_fine = json_array_append_new(records, result_to_json(&put->results[i])) == 0;
    }
    put->ctl->result =
        json_pack("{s:I, s:O}", "FailedRecordCount", (json_int_t)failed, "Records", records);
    put->ctl->list_member = "Records";
    json_decref(records);
    return is_fine && put->ctl->result ? KSTREAM_OK : fail_memory(err);
}

/* What a dry run can know: that the stream is there, and that the broker's rules are kept. */
static enum kstream_status put_dry(struct put_records *put, struct kstream_error *err)
{
    Kstream__PutRecordsRequestEntry entries[KS_PUT_RECORDS_MAX];
    Kstream__PutRecordsRequestEntry *pointers[KS_PUT_RECORDS_MAX];
    Kstream__PutRecordsRequest request = KSTREAM__PUT_RECORDS_REQUEST__INIT;
    size_t bytes = 0;
    for (size_t i = 0; i < put->count; i++) {
        kstream__put_records_request_entry__init(&entries[i]);
        /* protobuf-c's texts are not const; they are only read. */
        memcpy(&entries[i].partition_key, &put->entries[i].key, sizeof put->entries[i].key);
        memcpy(&entries[i].explicit_hash_key, &put->entries[i].explicit_hash_key,
            sizeof put->entries[i].explicit_hash_key);
        entries[i].has_data = true;
        entries[i].data =
            (ProtobufCBinaryData){.len = put->data[i].bytes, .data = put->data[i].data};
        bytes += put->data[i].bytes;
        pointers[i] = &entries[i];
    }
    request.n_records = put->count;
    request.records = pointers;
    enum kstream_status st = ctl_check_request(&request.base, err);
    struct kstream_stream *about = NULL;
    if (!st)
        st = kstream_describe_stream_summary(put->ctl->client, put->ctl->stream, NULL, &about, err);
    kstream_stream_free(about);
    if (st)
        return ctl_would_not(put->ctl, st);
    return ctl_would(put->ctl, err, "store %zu record%s of %zu bytes in stream '%s'", put->count,
        put->count == 1 ? "" : "s", bytes, put->ctl->stream_name);
}

enum kstream_status ctl_run_put_records(struct ctl *ctl, struct kstream_error *err)
{
    KS_CLEANUP(put_records_fini) struct put_records put = {.ctl = ctl, .list = json_array()};
    enum kstream_status st = put.list ? read_records(&put, err) : fail_memory(err);
    if (!st)
        st = take_entries(&put, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    if (ctl_is_dry_run(ctl))
        return put_dry(&put, err);
    struct kstream_call_options options = KSTREAM_CALL_OPTIONS_INIT;
    options.timeout_ms = ctl->timeout_ms;
    st = kstream_put_records(
        ctl->client, ctl->stream, put.entries, put.count, &options, put.results, err);
    if (st && st != KSTREAM_PARTIAL)
        return st;
    struct kstream_error memory_err = KSTREAM_ERROR_INIT;
    enum kstream_status given = give_results(&put, st ? &memory_err : err);
    return st ? st : given;
}
