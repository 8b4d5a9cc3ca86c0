/* make_corpus FOLDER: writes the seeds of corpus/ from kstream's own encoders. Run it when a format
 * changes. */
#include "base/alloc.h"
#include "proto/api.pb-c.h"
#include "proto/get_records.h"
#include "proto/put_records.h"
#include "storage/journal_format.h"
#include "tests/unit/proto/sample_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *folder;
static struct sample_batch sample;

static void save(const char *target, const char *name, const void *data, size_t bytes)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, target);
    (void)mkdir(path, 0755);
    (void)snprintf(path, sizeof path, "%s/%s/%s", folder, target, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

static void save_text(const char *target, const char *name, const char *text)
{
    save(target, name, text, strlen(text));
}

static void save_batches(void)
{
    sample_batch_golden(&sample);
    save("batch", "golden", sample.bytes, sample.bytes_used);
    save("record", "golden",
        sample.bytes + sample.bytes_used - sample.header.padding_bytes -
            sample.header.records_bytes,
        sample.header.records_bytes);
    sample.header.kind = KS_BATCH_CLOSE;
    sample.header.record_count = 0;
    sample.header.producer_id = 0;
    sample.header.producer_sequence = 0;
    sample.header.flags = 0;
    sample_batch_encode(&sample, 1);
    save("batch", "close", sample.bytes, sample.bytes_used);
    sample.header.kind = KS_BATCH_DAMAGED;
    sample.header.record_count = 9;
    sample_batch_encode(&sample, 128);
    save("batch", "damaged", sample.bytes, sample.bytes_used);
}

/* Frames carry a length, the targets of messages a letter or number in front: frame_at is where the
 * message begins. */
static void save_message(
    const char *name, char letter, const struct ks_buf *frame, struct ks_view message)
{
    static uint8_t bytes[65536];
    save("frame", name, frame->data, frame->bytes);
    bytes[0] = (uint8_t)letter;
    memcpy(bytes + 1, message.data, message.bytes);
    save("put_records", name, bytes, message.bytes + 1);
}

static void save_puts(void)
{
    sample_batch_golden(&sample);
    struct ks_put_part part = {.shard_index = 1,
        .record_count = 3,
        .producer_id = 7,
        .producer_sequence = 1,
        .is_first = true,
        .records = ks_view_of(sample.bytes + 85, sample.header.records_bytes)};
    struct ks_put_routed routed = {.request_id = 1,
        .stream_id = ks_view_of_text("abcdefghij0123456789-abc"),
        .routing_epoch = 3,
        .parts = &part,
        .part_count = 1};
    struct ks_buf frame;
    ks_buf_init(&frame, 65536);
    uint8_t head[KS_PUT_HEAD_BYTES_MAX];
    struct ks_request_view request;
    KS_ASSERT(ks_buf_append(&frame, head, ks_put_routed_encode_head(&routed, head)));
    KS_ASSERT(ks_buf_append(&frame, head, ks_put_part_encode_head(&part, head)));
    KS_ASSERT(ks_buf_append(&frame, part.records.data, part.records.bytes));
    KS_ASSERT(!ks_request_peek(ks_view_of(frame.data + 4, frame.bytes - 4), &request, NULL));
    save_message("routed", 'p', &frame, request.message);

    struct ks_put_entry entries[2] = {
        {.has_key = true, .has_data = true, .key = ks_view_of_text("user-1")},
        {.has_key = true,
            .has_data = true,
            .has_explicit_hash = true,
            .key = ks_view_of_text("ключ"),
            .data = ks_view_of_text("data"),
            .explicit_hash = ks_view_of_text("170141183460469231731687303715884105728")}};
    struct ks_put_plain plain = {.request_id = 2,
        .stream = {.name = ks_view_of_text("orders"),
            .arn = ks_view_of_text("arn:aws:kinesis:us-east-1:000000000000:stream/orders")},
        .entries = entries,
        .entry_count = 2};
    frame.bytes = 0;
    KS_ASSERT(!ks_put_plain_append(&frame, &plain));
    KS_ASSERT(!ks_request_peek(ks_view_of(frame.data + 4, frame.bytes - 4), &request, NULL));
    save_message("plain", 'p', &frame, request.message);
    ks_buf_fini(&frame);
}

static void save_letter_and_message(
    const char *target, const char *name, char letter, const void *message, size_t bytes)
{
    static uint8_t both[65536];
    KS_ASSERT(bytes < sizeof both);
    both[0] = (uint8_t)letter;
    memcpy(both + 1, message, bytes);
    save(target, name, both, bytes + 1);
}

/* The end of a shard that was split; a saved position; endpoints. */
static void save_client(void)
{
    Kstream__HashKeyRange range = KSTREAM__HASH_KEY_RANGE__INIT;
    range.starting_hash_key = (char *)"0";
    range.ending_hash_key = (char *)"170141183460469231731687303715884105727";
    Kstream__ChildShard child = KSTREAM__CHILD_SHARD__INIT;
    char *parents[] = {(char *)"shardId-000000000000"};
    child.shard_id = (char *)"shardId-000000000001";
    child.n_parent_shards = 1;
    child.parent_shards = parents;
    child.hash_key_range = &range;
    Kstream__ChildShard *children[] = {&child, &child};
    Kstream__GetRecordsResponse end = KSTREAM__GET_RECORDS_RESPONSE__INIT;
    end.n_child_shards = 2;
    end.child_shards = children;
    uint8_t bytes[1024];
    size_t packed = kstream__get_records_response__pack(&end, bytes);
    KS_ASSERT(packed <= sizeof bytes);
    save_letter_and_message("client", "end", 'b', bytes, packed);
    save_text("client", "saved",
        "skstream-reader-1 clicks shardId-000000000001=after:"
        "49590338271490256608559692538361571095921575989136588898 shardId-000000000002=end");
    save_text("client", "endpoint", "ekstream://[::1]:7420");
    save_text("client", "unix", "eunix:/run/kstream/native.sock");
}

static void save_answers(void)
{
    static struct ks_put_response answer = {.part_count = 2, .record_count = 3};
    answer.parts[0] = (struct ks_put_result){.shard_index = 1,
        .first_sequence = 10,
        .record_count = 2,
        .arrival_unix_ms = 1700000000123};
    answer.parts[1] = (struct ks_put_result){.shard_index = 2,
        .record_count = 1,
        .status = KS_PRODUCER_GAP,
        .expected_producer_sequence = 4};
    answer.record_parts[1] = 1;
    struct ks_response_head head = {
        .request_id = 3, .put_credit_bytes = 1u << 20, .op = KS_OP_PUT_RECORDS};
    struct ks_buf frame;
    struct ks_response_view view;
    ks_buf_init(&frame, 65536);
    KS_ASSERT(!ks_put_response_append(&frame, &head, &answer));
    KS_ASSERT(!ks_response_peek(ks_view_of(frame.data + 4, frame.bytes - 4), &view, NULL));
    save_message("answer", 'r', &frame, view.message);
    frame.bytes = 0;
    Kstream__GetRecordsResponse records = KSTREAM__GET_RECORDS_RESPONSE__INIT;
    records.take_records = 3;
    records.next_shard_iterator = (char *)"AAAA";
    KS_ASSERT(!ks_get_response_append_prefix(&frame, 4, 0, &records, sample.bytes_used));
    KS_ASSERT(ks_buf_append(&frame, sample.bytes, sample.bytes_used));
    save("frame", "records", frame.data, frame.bytes);
    KS_ASSERT(!ks_response_peek(ks_view_of(frame.data + 4, frame.bytes - 4), &view, NULL));
    save_letter_and_message("client", "records", 'b', view.message.data, view.message.bytes);
    ks_buf_fini(&frame);
    const char single[] = "s\x0a\x06orders\x12\x04"
                          "data\x1a\x06user-1\x22\x01"
                          "7\x2a\x01"
                          "8";
    save("put_records", "single", single, sizeof single - 1);
}

static void save_operation(const char *name, uint8_t number, const ProtobufCMessage *message)
{
    uint8_t bytes[4096] = {number};
    size_t packed = protobuf_c_message_pack(message, bytes + 1);
    KS_ASSERT(packed < sizeof bytes);
    save("api", name, bytes, packed + 1);
}

static uint8_t number_of(enum ks_op op, bool is_response)
{
    size_t i = (size_t)(ks_operation_by_number((uint32_t)op) - ks_operations);
    return (uint8_t)(2 * i + (is_response ? 1 : 0));
}

static void save_operations(void)
{
    Kstream__StreamModeDetails mode = KSTREAM__STREAM_MODE_DETAILS__INIT;
    mode.stream_mode = (char *)"PROVISIONED";
    Kstream__Tag tag = KSTREAM__TAG__INIT;
    tag.key = tag.value = (char *)"team";
    Kstream__Tag *tags[] = {&tag};
    Kstream__CreateStreamRequest create = KSTREAM__CREATE_STREAM_REQUEST__INIT;
    create.stream_name = (char *)"orders";
    create.has_shard_count = 1;
    create.shard_count = 4;
    create.stream_mode_details = &mode;
    create.n_tags = 1;
    create.tags = tags;
    save_operation("create", number_of(KS_OP_CREATE_STREAM, false), &create.base);
    Kstream__GetShardIteratorRequest iterator = KSTREAM__GET_SHARD_ITERATOR_REQUEST__INIT;
    iterator.shard_id = (char *)"shardId-000000000001";
    iterator.shard_iterator_type = (char *)"AT_SEQUENCE_NUMBER";
    iterator.starting_sequence_number =
        (char *)"49590338271490256608559692538361571095921575989136588898";
    save_operation("iterator", number_of(KS_OP_GET_SHARD_ITERATOR, false), &iterator.base);
    Kstream__ShardFilter filter = KSTREAM__SHARD_FILTER__INIT;
    filter.type = (char *)"AT_LATEST";
    Kstream__ListShardsRequest list = KSTREAM__LIST_SHARDS_REQUEST__INIT;
    list.shard_filter = &filter;
    list.has_max_results = 1;
    list.max_results = -1;
    save_operation("list_shards", number_of(KS_OP_LIST_SHARDS, false), &list.base);
    Kstream__RoutingShard shard = KSTREAM__ROUTING_SHARD__INIT;
    Kstream__RoutingShard *shards[] = {&shard};
    Kstream__DescribeRoutingResponse routing = KSTREAM__DESCRIBE_ROUTING_RESPONSE__INIT;
    routing.stream_name = routing.stream_id = routing.stream_status = (char *)"x";
    routing.n_shards = 1;
    routing.shards = shards;
    save_operation("routing", number_of(KS_OP_DESCRIBE_ROUTING, true), &routing.base);
}

/* A file with the first block of a run and one of two batches, and a block torn in its payload. */
static void save_journal(void)
{
    static uint8_t file[4 * 4096];
    static const struct ks_journal_entry rows[2] = {
        {.type = KS_JOURNAL_DATA,
            .log_id = 1,
            .first_sequence = 1,
            .last_sequence = 3,
            .offset = 0,
            .bytes = 100},
        {.type = KS_JOURNAL_DATA,
            .log_id = 2,
            .first_sequence = 9,
            .last_sequence = 9,
            .offset = 100,
            .bytes = 50},
    };
    static const struct ks_journal_end ends[2] = {
        {.log_id = 1, .last_sequence = 3}, {.log_id = 2, .last_sequence = 9}};
    struct ks_journal_predecessor predecessor = {.run_id = 1, .lsn = 8, .crc = 7};
    struct ks_journal_file_header header = {.uuid = "kstream",
        .number = 1,
        .file_bytes = 16384,
        .run_id = 2,
        .first_lsn = 10,
        .flags = KS_JOURNAL_FIRST_OF_RUN,
        .predecessor = predecessor};
    ks_journal_file_header_encode(&header, file);
    struct ks_journal_block_header block = {.uuid = "kstream",
        .run_id = 2,
        .lsn = 10,
        .flags = KS_JOURNAL_FIRST_OF_RUN,
        .predecessor = predecessor};
    block.payload_crc = ks_journal_payload_crc(&block, ks_view_of(NULL, 0));
    ks_journal_head_encode(&block, NULL, NULL, file + 4096);
    for (size_t i = 2; i < 4; i++) {
        uint8_t *at = file + i * 4096;
        block = (struct ks_journal_block_header){.uuid = "kstream",
            .run_id = 2,
            .lsn = 9 + i,
            .durable_lsn = 8 + i,
            .entry_count = 2,
            .payload_bytes = 150,
            .ordinals_before = i == 2 ? 0 : 4,
            .last_ordinals = i == 2 ? 0 : 4,
            .end_count = i == 2 ? 0 : 2};
        uint8_t *payload = at + ks_journal_head_bytes(2, block.end_count);
        memset(payload, (int)i, 150);
        block.payload_crc = ks_journal_payload_crc(&block, ks_view_of(payload, 150));
        ks_journal_head_encode(&block, rows, ends, at);
    }
    save("journal", "whole", file, sizeof file);
    file[3 * 4096 + 300] ^= 1;
    save("journal", "torn", file, sizeof file);
    memset(file, 0, 2 * 4096);
    save("journal", "bad_start", file, sizeof file);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    folder = argv[1];
    save_batches();
    save_puts();
    save_answers();
    save_client();
    save_operations();
    save_journal();
    save_text("sequence", "number", "49590338271490256608559692538361571095921575989136588898");
    save_text("sequence", "shard", "shardId-000000000007");
    save_text("sequence", "hash", "340282366920938463463374607431768211455");
    return EXIT_SUCCESS;
}
