/* The verbs about single records: put-record, get-shard-iterator, get-records. */
#include "base/clock.h"
#include "proto/api.pb-c.h"
#include "proto/limits.h"
#include "tools/ctl_dry_run.h"
#include "tools/ctl_param.h"
#include "tools/ctl_time.h"

#include <errno.h>
#include <string.h>

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- put-record ---- */

/* One of --data, which may name a file, and --data-base64. */
static enum kstream_status take_data(
    const struct ctl *ctl, struct ks_buf *data, struct kstream_error *err)
{
    const char *text = ctl_text(ctl, CTL_DATA);
    const char *base64 = ctl_text(ctl, CTL_DATA_BASE64);
    const char *format = ctl_text(ctl, CTL_CLI_BINARY_FORMAT);
    if ((text == NULL) == (base64 == NULL))
        return ctl_fail(err, KSTREAM_USAGE, "one of '--data' and '--data-base64' is needed");
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = KS_OK;
    if (base64)
        st = ctl_param_bytes(ctl_option_name(CTL_DATA_BASE64), base64, true, data, &inner);
    else if (ctl->args.is_bare[CTL_DATA] && text[0] == '@')
        st = ctl_param_file(ctl_option_name(CTL_DATA), text + 1, data, &inner);
    else
        st = ctl_param_bytes(
            ctl_option_name(CTL_DATA), text, format && strcmp(format, "base64") == 0, data, &inner);
    return ctl_fail_from(err, st, &inner);
}

static enum kstream_status put_record_dry(
    struct ctl *ctl, const struct ks_buf *data, struct kstream_error *err)
{
    Kstream__PutRecordRequest request = KSTREAM__PUT_RECORD_REQUEST__INIT;
    /* protobuf-c's texts are not const; they are only read. */
    const char *const texts[] = {ctl_text(ctl, CTL_PARTITION_KEY),
        ctl_text(ctl, CTL_EXPLICIT_HASH_KEY), ctl_text(ctl, CTL_SEQUENCE_FOR_ORDERING)};
    memcpy(&request.partition_key, &texts[0], sizeof texts[0]);
    memcpy(&request.explicit_hash_key, &texts[1], sizeof texts[1]);
    memcpy(&request.sequence_number_for_ordering, &texts[2], sizeof texts[2]);
    request.has_data = true;
    request.data = (ProtobufCBinaryData){.len = data->bytes, .data = data->data};
    enum kstream_status st = ctl_check_request(&request.base, err);
    struct kstream_stream *about = NULL;
    if (!st)
        st = kstream_describe_stream_summary(ctl->client, ctl->stream, NULL, &about, err);
    size_t bytes = data->bytes + strlen(texts[0]);
    if (!st && about->max_record_size_kib && bytes > (size_t)about->max_record_size_kib << 10)
        st = ctl_fail(err, KSTREAM_TOO_LARGE, "the record has %zu bytes, the stream takes %u KiB",
            bytes, about->max_record_size_kib);
    kstream_stream_free(about);
    if (st)
        return ctl_would_not(ctl, st);
    return ctl_would(ctl, err, "store %zu bytes in stream '%s' under key '%s'", data->bytes,
        ctl->stream_name, texts[0]);
}

enum kstream_status ctl_run_put_record(struct ctl *ctl, struct kstream_error *err)
{
    /* `record put clicks - --key laptop` is put with that key. */
    if (ctl->args.is_bare[CTL_DATA] && strcmp(ctl_text(ctl, CTL_DATA), "-") == 0) {
        ctl->args.values[CTL_KEY] = ctl_text(ctl, CTL_PARTITION_KEY);
        return ctl_run_put(ctl, err);
    }
    KS_CLEANUP(ks_buf_fini) struct ks_buf data;
    ks_buf_init(&data, KS_FRAME_BYTES_MAX);
    enum kstream_status st = take_data(ctl, &data, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    if (ctl_is_dry_run(ctl))
        return put_record_dry(ctl, &data, err);
    const char *key = ctl_text(ctl, CTL_PARTITION_KEY);
    struct kstream_put_options options = KSTREAM_PUT_OPTIONS_INIT;
    options.timeout_ms = ctl->timeout_ms;
    options.explicit_hash_key = ctl_text(ctl, CTL_EXPLICIT_HASH_KEY);
    options.sequence_number_for_ordering = ctl_text(ctl, CTL_SEQUENCE_FOR_ORDERING);
    struct kstream_put_result result;
    st = kstream_put_record(
        ctl->client, ctl->stream, key, strlen(key), data.data, data.bytes, &options, &result, err);
    if (st)
        return st;
    ctl->result = json_pack(
        "{s:s, s:s}", "ShardId", result.shard_id, "SequenceNumber", result.sequence_number);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

/* ---- get-shard-iterator ---- */

/* The type with what it needs, and nothing that it does not. */
static enum kstream_status take_position(
    struct ctl *ctl, struct kstream_position *out, struct kstream_error *err)
{
    const char *type = ctl_text(ctl, CTL_ITERATOR_TYPE);
    const char *sequence = ctl_text(ctl, CTL_STARTING_SEQUENCE);
    const char *time = ctl_text(ctl, CTL_TIMESTAMP);
    bool wants_sequence = strstr(type, "SEQUENCE_NUMBER") != NULL;
    bool wants_time = strcmp(type, "AT_TIMESTAMP") == 0;
    if (wants_sequence != (sequence != NULL))
        return ctl_fail(err, KSTREAM_USAGE, "'--shard-iterator-type %.40s' %s '--%s'", type,
            wants_sequence ? "needs" : "does not go with", ctl_option_name(CTL_STARTING_SEQUENCE));
    if (wants_time != (time != NULL))
        return ctl_fail(err, KSTREAM_USAGE, "'--shard-iterator-type %.40s' %s '--%s'", type,
            wants_time ? "needs" : "does not go with", ctl_option_name(CTL_TIMESTAMP));
    struct ks_error inner = KS_ERROR_INIT;
    uint64_t unix_ms = 0;
    if (strcmp(type, "TRIM_HORIZON") == 0) {
        *out = kstream_from_trim_horizon();
    } else if (strcmp(type, "LATEST") == 0) {
        *out = kstream_from_latest();
    } else if (strcmp(type, "AT_SEQUENCE_NUMBER") == 0) {
        *out = kstream_from_sequence_number(sequence);
    } else if (strcmp(type, "AFTER_SEQUENCE_NUMBER") == 0) {
        *out = kstream_after_sequence_number(sequence);
    } else if (wants_time) {
        enum ks_status st =
            ctl_time_from_text(time, ks_clock_unix_ms(&ks_clock_system), &unix_ms, &inner);
        *out = kstream_from_time_ms(unix_ms);
        return ctl_fail_from(err, st, &inner);
    } else {
        ctl->hint = "TRIM_HORIZON, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER and "
                    "AFTER_SEQUENCE_NUMBER are the types";
        return ctl_fail(err, KSTREAM_USAGE, "unknown '--shard-iterator-type %.40s'", type);
    }
    return KSTREAM_OK;
}

enum kstream_status ctl_run_get_shard_iterator(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_position position;
    enum kstream_status st = take_position(ctl, &position, err);
    if (!st)
        st = ctl_connect(ctl, err);
    char iterator[KSTREAM_ITERATOR_BYTES];
    if (!st)
        st = kstream_get_shard_iterator(
            ctl->client, ctl->stream, ctl_text(ctl, CTL_SHARD_ID), &position, NULL, iterator, err);
    if (st)
        return st;
    ctl->result = json_pack("{s:s}", "ShardIterator", iterator);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

/* ---- get-records ---- */

/* Data as Kinesis writes it, or for a table as the text it is. */
static json_t *data_to_json(const struct kstream_record *record, bool for_people)
{
    if (for_people && ctl_is_plain_text(record->data, record->data_bytes))
        return json_stringn(record->data, record->data_bytes);
    return ctl_json_bytes(record->data, record->data_bytes);
}

static json_t *record_to_json(const struct kstream_batch *batch, size_t index, bool for_people)
{
    const struct kstream_record *record = kstream_batch_record(batch, index);
    char sequence[KSTREAM_SEQUENCE_BYTES];
    kstream_batch_sequence_number(batch, index, sequence);
    json_t *object = json_pack("{s:s}", "SequenceNumber", sequence);
    bool is_fine =
        ctl_json_add(object, "ApproximateArrivalTimestamp", ctl_json_time(record->arrival_unix_ms));
    if (is_fine && record->lost_records)
        is_fine =
            ctl_json_add(object, "LostRecords", json_integer((json_int_t)record->lost_records));
    else if (is_fine)
        is_fine =
            ctl_json_add(object, "Data", data_to_json(record, for_people)) &&
            ctl_json_add(object, "PartitionKey", json_stringn(record->key, record->key_bytes));
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *children_to_json(const struct kstream_batch *batch)
{
    size_t count = 0;
    const struct kstream_child_shard *children = kstream_batch_child_shards(batch, &count);
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++) {
        json_t *parents = json_array();
        for (size_t p = 0; p < children[i].parent_count; p++)
            KS_IGNORE(json_array_append_new(parents, json_string(children[i].parent_shard_ids[p])),
                "without memory the pack below fails as well");
        json_t *child = json_pack("{s:s, s:o, s:{s:s, s:s}}", "ShardId", children[i].shard_id,
            "ParentShards", parents, "HashKeyRange", "StartingHashKey",
            children[i].starting_hash_key, "EndingHashKey", children[i].ending_hash_key);
        if (json_array_append_new(array, child) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *batch_to_json(const struct kstream_batch *batch, bool for_people)
{
    json_t *records = json_array();
    bool is_fine = records != NULL;
    for (size_t i = 0; is_fine && i < kstream_batch_count(batch); i++)
        is_fine = json_array_append_new(records, record_to_json(batch, i, for_people)) == 0;
    json_t *object = json_object();
    is_fine = is_fine && ctl_json_add(object, "Records", json_incref(records));
    if (is_fine && kstream_batch_next_iterator(batch))
        is_fine = ctl_json_add(
            object, "NextShardIterator", json_string(kstream_batch_next_iterator(batch)));
    is_fine = is_fine && ctl_json_add(object, "MillisBehindLatest",
                             json_integer((json_int_t)kstream_batch_millis_behind_latest(batch)));
    size_t child_count = 0;
    KS_IGNORE(kstream_batch_child_shards(batch, &child_count), "only the count is wanted");
    if (is_fine && child_count > 0)
        is_fine = ctl_json_add(object, "ChildShards", children_to_json(batch));
    json_decref(records);
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

/* The data alone, a line each. */
static enum kstream_status print_raw(const struct kstream_batch *batch, struct kstream_error *err)
{
    for (size_t i = 0; i < kstream_batch_count(batch); i++) {
        const struct kstream_record *record = kstream_batch_record(batch, i);
        if (record->lost_records)
            continue;
        if (record->data_bytes > 0)
            fwrite(record->data, 1, record->data_bytes, stdout);
        fputc('\n', stdout);
    }
    if (fflush(stdout) == 0)
        return KSTREAM_OK;
    int errnum = errno;
    KS_IGNORE(ctl_fail(err, KSTREAM_IO, "cannot write the records: %s", strerror(errnum)),
        "returned below");
    err->system_error = errnum;
    return KSTREAM_IO;
}

enum kstream_status ctl_run_get_records(struct ctl *ctl, struct kstream_error *err)
{
    uint64_t limit = 0;
    enum kstream_status st =
        ctl_number(ctl, CTL_LIMIT, (struct ctl_range){1, KS_GET_RECORDS_MAX, 0}, &limit, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    struct kstream_get_options options = KSTREAM_GET_OPTIONS_INIT;
    options.timeout_ms = ctl->timeout_ms;
    options.limit = (uint32_t)limit;
    struct kstream_batch *batch = NULL;
    st = kstream_get_records(ctl->client, ctl_text(ctl, CTL_SHARD_ITERATOR), &options, &batch, err);
    if (st)
        return st;
    if (ctl->output.format == CTL_OUTPUT_TEXT && !ctl->output.query && !ctl->output.columns &&
        !ctl->output.sort_by) {
        st = print_raw(batch, err);
    } else {
        ctl->list_member = "Records";
        ctl->result = batch_to_json(batch, ctl->output.format == CTL_OUTPUT_TABLE);
        st = ctl->result ? KSTREAM_OK : fail_memory(err);
    }
    uint64_t lost = kstream_batch_lost_records(batch);
    if (!st && lost > 0)
        st = ctl_fail(err, KSTREAM_PARTIAL, "%llu record%s damaged in the broker's storage",
            (unsigned long long)lost, lost == 1 ? " is" : "s are");
    kstream_batch_free(batch);
    return st;
}
