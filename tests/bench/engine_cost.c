/*
 * A fixed piece of work on the whole engine, without threads, on a disk of memory: what callgrind
 * counts of it repeats to the instruction. tests/bench/cost runs it.
 *
 *     engine_cost put_1k|put_100|put_many|get_1k|get_100      prints how many records were measured
 *
 * put: routed puts of 256 KiB, as a producer sends them, from the frame to its answer: taken
 * apart, validated, appended, four to a journal block, and every 2 MiB to segments. put_many: of 1
 * KiB, to a thousand shards, 64 of them a frame. get: all of it read again in answers of up to 1
 * MiB, from segments, and each record validated as a consumer does. Counted are measured_put and
 * measured_get with all that they call.
 */
#include "base/alloc.h"
#include "base/map_copy.h"
#include "proto/batch.h"
#include "proto/get_records.h"
#include "proto/put_records.h"
#include "storage/catalog.h"
#include "storage/engine.h"
#include "storage/kv_model.h"
#include "storage/registry.h"
#include "tests/bench/memory_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES 32u
#define FRAME_RECORDS_BYTES (256u << 10)
#define FRAMES_PER_BLOCK 4u
#define FLUSH_BYTES (2u << 20)
#define JOURNAL_FILE_BYTES (8u << 20)
#define SEGMENT_BYTES (16u << 20)
#define READ_BYTES (1u << 20)
#define PRODUCER 77u
#define MANY_SHARDS 1000u
#define MANY_PARTS 64u

struct work {
    struct ks_io *io;
    struct ks_kv_model *catalog;
    struct ks_kv *kv;
    struct ks_fake_clock clock;
    struct ks_engine *engine;
    struct ks_mailbox mailbox;
    struct ks_stream *stream;
    struct ks_buf frames[FRAMES];
    uint32_t record_bytes;
    uint32_t shard_count;
    uint32_t part_count; /* of a frame */
    uint64_t records;
};

static void must(enum ks_status st, const struct ks_error *error, const char *what)
{
    if (!st)
        return;
    fprintf(
        stderr, "engine_cost: %s: %s: %s\n", what, ks_status_name(st), error ? error->text : "");
    exit(1);
}

/* ---- the engine ---- */

static enum ks_status no_index(
    void *arg, bool erase_first, struct ks_kv **out_kv, struct ks_error *err)
{
    (void)arg;
    (void)erase_first;
    (void)err;
    *out_kv = NULL;
    return KS_OK;
}

static void on_poison(void *arg, const struct ks_error *error)
{
    (void)arg;
    must(error->status, error, "poisoned");
}

/* Once through every step that has work; false: none had. */
static bool run_steps(struct work *work)
{
    struct ks_step *steps[16];
    size_t count = ks_engine_steps(work->engine, steps, KS_COUNT_OF(steps));
    bool is_any = false;
    for (size_t i = 0; i < count; i++) {
        if (!steps[i]->begin(steps[i]->self))
            continue;
        steps[i]->run(steps[i]->self);
        steps[i]->end(steps[i]->self);
        is_any = true;
    }
    ks_mailbox_deliver(&work->mailbox);
    return is_any;
}

static void settle(struct work *work)
{
    while (run_steps(work))
        ;
}

static void ignore_mail(struct ks_mail *mail)
{
    (void)mail;
}

static void open_engine(struct work *work)
{
    struct ks_error error = KS_ERROR_INIT;
    work->io = memory_disk_create();
    KS_ASSERT(work->io);
    ks_map_guard_install();
    const struct ks_kv_model_options catalog = {.table_count = KS_TABLE_COUNT};
    must(ks_kv_model_create(&catalog, &work->catalog, &error), &error, "catalog");
    must(ks_kv_model_open(work->catalog, &work->kv, &error), &error, "catalog");
    ks_fake_clock_init(&work->clock, 1700000000000);
    must(ks_mailbox_init(&work->mailbox, false, &error), &error, "mailbox");
    struct ks_engine_options options = {.io = work->io,
        .catalog = work->kv,
        .open_index = no_index,
        .clock = &work->clock.clock,
        .events = &ks_events_ignore,
        .random_seed = 1,
        .on_poison = on_poison};
    ks_engine_limits_default(&options.limits);
    /* No short first file, which would be made anew in the middle. */
    options.limits.journal_first_file_bytes = JOURNAL_FILE_BYTES;
    options.limits.journal_file_bytes = JOURNAL_FILE_BYTES;
    options.limits.journal_bytes = 3u * JOURNAL_FILE_BYTES;
    options.limits.segment_bytes = SEGMENT_BYTES;
    options.limits.flush_log_bytes = FLUSH_BYTES;
    if (work->shard_count == 1)
        options.limits.flush_bytes = FLUSH_BYTES;
    must(ks_engine_open(&options, &work->engine, &error), &error, "open");
    settle(work);
}

static void make_stream(struct work *work)
{
    struct ks_error error = KS_ERROR_INIT;
    struct ks_admin admin = {.mail = {.deliver = ignore_mail}, .home = &work->mailbox};
    const struct ks_stream_spec spec = {.name = "cost",
        .shard_count = work->shard_count,
        .retention_hours = 24,
        .record_bytes_max = 1u << 20};
    must(ks_stream_create(work->engine, &spec, &admin, &error), &error, "create");
    settle(work);
    must(admin.status, &admin.error, "create");
    work->stream = admin.stream;
}

/* ---- frames ---- */

/* Records of up to bytes; keys of 16 bytes. */
static uint32_t fill_records(
    const struct work *work, struct ks_buf *records, size_t bytes, uint32_t name)
{
    KS_AUTO_FREE uint8_t *data = ks_malloc(work->record_bytes);
    size_t each = ks_record_encoded_bytes(16, work->record_bytes, false);
    uint32_t count = 0;
    KS_ASSERT(data && ks_buf_reserve(records, bytes));
    memset(data, 'x', work->record_bytes);
    for (; (count + 1) * each <= bytes; count++) {
        char key[32];
        snprintf(key, sizeof key, "key-%05u-%06u", name, count);
        memcpy(data, key, 16);
        const struct ks_record record = {
            .key = ks_view_of(key, 16), .data = ks_view_of(data, work->record_bytes)};
        KS_IGNORE(ks_record_encode(&record, records->data + records->bytes), "it is in the record");
        records->bytes += each;
    }
    return count;
}

/* The shards take turns. */
static uint32_t shard_of(const struct work *work, uint32_t frame, uint32_t part)
{
    return (frame * work->part_count + part) % work->shard_count;
}

static void make_part(struct work *work, uint32_t frame, uint32_t number, struct ks_put_part *part,
    struct ks_buf *records)
{
    uint32_t turn = (frame * work->part_count + number) / work->shard_count;
    ks_buf_init(records, FRAME_RECORDS_BYTES);
    uint32_t count = fill_records(work, records, FRAME_RECORDS_BYTES / work->part_count, frame);
    *part = (struct ks_put_part){.producer_id = PRODUCER,
        .producer_sequence = turn + 1,
        .is_first = turn == 0,
        .shard_index = shard_of(work, frame, number),
        .record_count = count,
        .records = ks_view_of(records->data, records->bytes)};
    work->records += count;
}

static void make_frame(struct work *work, uint32_t number)
{
    struct ks_put_part parts[MANY_PARTS];
    struct ks_buf records[MANY_PARTS];
    struct ks_buf *frame = &work->frames[number];
    ks_buf_init(frame, KS_FRAME_BYTES_MAX);
    for (uint32_t i = 0; i < work->part_count; i++)
        make_part(work, number, i, &parts[i], &records[i]);
    const struct ks_put_routed put = {.request_id = number + 1,
        .stream_id = ks_view_of_text(work->stream->id),
        .routing_epoch = work->stream->routing_epoch,
        .parts = parts,
        .part_count = work->part_count};
    uint8_t head[KS_PUT_HEAD_BYTES_MAX];
    bool is_made = ks_buf_append(frame, head, ks_put_routed_encode_head(&put, head));
    for (uint32_t i = 0; i < work->part_count; i++) {
        uint8_t part_head[KS_PUT_PART_HEAD_BYTES_MAX];
        is_made = is_made &&
                  ks_buf_append(frame, part_head, ks_put_part_encode_head(&parts[i], part_head)) &&
                  ks_buf_append(frame, records[i].data, records[i].bytes);
        ks_buf_fini(&records[i]);
    }
    KS_ASSERT(is_made);
}

/* ---- put ---- */

struct put {
    struct ks_append appends[MANY_PARTS];
    uint32_t part_count;
    uint32_t pending;
    uint64_t request_id;
};

static void put_answer(const struct put *put)
{
    static struct ks_put_response response;
    struct ks_buf answer;
    response.part_count = put->part_count;
    for (uint32_t i = 0; i < put->part_count; i++)
        response.parts[i] = (struct ks_put_result){.first_sequence = put->appends[i].first_sequence,
            .arrival_unix_ms = put->appends[i].arrival_unix_ms,
            .record_count = put->appends[i].record_count};
    const struct ks_response_head head = {.request_id = put->request_id, .op = KS_OP_PUT_RECORDS};
    ks_buf_init(&answer, KS_FRAME_BYTES_MAX);
    must(ks_put_response_append(&answer, &head, &response), NULL, "answer");
    ks_buf_fini(&answer);
}

static struct put in_block[FRAMES_PER_BLOCK];

static void put_done(struct ks_mail *mail)
{
    const struct ks_append *append = KS_CONTAINER_OF(mail, struct ks_append, mail);
    struct put *put =
        &in_block[(size_t)((const char *)append - (const char *)in_block) / sizeof *in_block];
    must(append->status, NULL, "append");
    if (--put->pending == 0)
        put_answer(put);
}

static void put_part(struct work *work, const struct ks_put_request *request, uint32_t number,
    struct ks_append *append)
{
    struct ks_error error = KS_ERROR_INIT;
    const struct ks_put_part *part = &request->parts[number];
    const struct ks_record_limits limits = {
        .record_bytes_max = work->stream->record_bytes_max, .count_max = KS_PUT_ROUTED_RECORDS_MAX};
    *append = (struct ks_append){.mail = {.deliver = put_done},
        .home = &work->mailbox,
        .records = part->records,
        .record_count = part->record_count,
        .routing_epoch = request->routing_epoch,
        .producer_id = part->producer_id,
        .producer_sequence = part->producer_sequence,
        .is_producer_first = part->is_first};
    must(ks_records_validate(part->records, part->record_count, &limits, &append->body_crc, &error),
        &error, "records");
    const struct ks_shard *shard = ks_stream_shard(work->stream, part->shard_index);
    must(ks_log_append(shard->log, append, &error), &error, "append");
}

static void put_frame(struct work *work, const struct ks_buf *bytes, struct put *put)
{
    struct ks_error error = KS_ERROR_INIT;
    struct ks_frame frame;
    struct ks_request_view request;
    struct ks_put_request routed;
    must(ks_frame_parse(ks_view_of(bytes->data, bytes->bytes), &frame, &error), &error, "frame");
    must(ks_request_peek(frame.body, &request, &error), &error, "request");
    must(ks_put_request_decode(request.message, &routed, &error), &error, "put");
    put->request_id = request.request_id;
    put->part_count = routed.part_count;
    put->pending = routed.part_count;
    for (uint32_t i = 0; i < routed.part_count; i++)
        put_part(work, &routed, i, &put->appends[i]);
}

static void put_frames(struct work *work, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        put_frame(work, &work->frames[i], &in_block[i % FRAMES_PER_BLOCK]);
        if ((i + 1) % FRAMES_PER_BLOCK == 0)
            settle(work);
    }
}

/* The second half: every shard has records by then. */
__attribute__((noinline)) static void measured_put(struct work *work)
{
    put_frames(work, FRAMES / 2, FRAMES);
}

/* ---- get ---- */

static void check_extent(struct ks_view rest, uint64_t *bytes)
{
    while (rest.bytes > 0) {
        struct ks_batch_view batch;
        struct ks_record_walk walk;
        struct ks_record_view record;
        must(ks_batch_decode(rest, &batch), NULL, "batch");
        ks_record_walk_init(&walk, batch.records);
        while (ks_record_walk_next(&walk, &record) == KS_OK) {
            if (!ks_record_crc_is_right(&record))
                must(KS_CORRUPT, NULL, "record");
            *bytes += record.data.bytes;
        }
        rest = ks_view_of(rest.data + batch.stored_bytes, rest.bytes - batch.stored_bytes);
    }
}

__attribute__((noinline)) static void measured_get(struct work *work)
{
    struct ks_log *log = work->stream->shards[0].log;
    struct ks_read_request request = {.from_sequence = 1,
        .bytes_max = READ_BYTES,
        .records_max = KS_GET_RECORDS_MAX,
        .may_block = true};
    char iterator[] = "an iterator";
    uint64_t count = 0;
    uint64_t bytes = 0;
    while (count < work->records) {
        struct ks_error error = KS_ERROR_INIT;
        struct ks_read read;
        struct ks_buf answer;
        must(ks_log_read(log, &request, &read, &error), &error, "read");
        Kstream__GetRecordsResponse response = KSTREAM__GET_RECORDS_RESPONSE__INIT;
        response.next_shard_iterator = iterator;
        response.skip_records = read.skip;
        response.take_records = read.take;
        ks_buf_init(&answer, KS_FRAME_BYTES_MAX);
        must(ks_get_response_append_prefix(&answer, 1, 0, &response, read.bytes), NULL, "answer");
        for (uint32_t i = 0; i < read.extent_count; i++)
            check_extent(read.extents[i], &bytes);
        request.from_sequence = read.next_sequence;
        ks_buf_fini(&answer);
        ks_read_release(&read);
        count = read.next_sequence - 1;
    }
    KS_ASSERT(bytes >= work->records * work->record_bytes);
}

/* ---- main ---- */

static void close_engine(struct work *work)
{
    ks_stream_unref(work->stream);
    ks_engine_destroy(work->engine);
    ks_mailbox_deliver(&work->mailbox);
    ks_mailbox_fini(&work->mailbox);
    ks_kv_close(work->kv);
    ks_kv_model_destroy(work->catalog);
    memory_disk_destroy(work->io);
    for (uint32_t i = 0; i < FRAMES; i++)
        ks_buf_fini(&work->frames[i]);
}

int main(int argc, char **argv)
{
    static struct work work;
    const char *name = argc == 2 ? argv[1] : "";
    bool is_put = strncmp(name, "put_", 4) == 0;
    bool is_get = strncmp(name, "get_", 4) == 0;
    bool is_many = strcmp(name, "put_many") == 0;
    work.record_bytes = is_many || strcmp(name + (name[0] ? 4 : 0), "1k") == 0 ? 1024 : 100;
    work.shard_count = is_many ? MANY_SHARDS : 1;
    work.part_count = is_many ? MANY_PARTS : 1;
    if (!is_put && !is_get) {
        fputs("usage: engine_cost put_1k|put_100|put_many|get_1k|get_100\n", stderr);
        return 2;
    }
    open_engine(&work);
    make_stream(&work);
    for (uint32_t i = 0; i < FRAMES; i++)
        make_frame(&work, i);
    put_frames(&work, 0, FRAMES / 2);
    measured_put(&work);
    if (is_get)
        measured_get(&work);
    printf("%llu\n", (unsigned long long)(is_get ? work.records : work.records / 2));
    close_engine(&work);
    return 0;
}
