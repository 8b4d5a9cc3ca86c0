/* Segments, files, index and reads together, on the simulated disk. */
#include "proto/catalog.pb-c.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/store_world.h"

#include <stdio.h>

static struct world world;

static void setup(void)
{
    world_init(&world);
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 2), KS_OK);
}

static void append_many(struct ks_log *log, uint32_t batches, uint32_t records, uint32_t bytes)
{
    for (uint32_t i = 0; i < batches; i++) {
        ck_assert_int_eq(world_append(&world, log, records, bytes), KS_OK);
        ks_fake_clock_advance_ms(&world.clock, 1);
        if (i % 8 == 7)
            world_pump(&world);
    }
    world_pump(&world);
}

/* Fills segments of 64 KiB until at least count are sealed. */
static uint64_t fill_segments(struct ks_log *log, uint32_t count)
{
    while (world.engine->counters[KS_COUNT_SEGMENTS_SEALED] < count) {
        append_many(log, 16, 3, 300);
        world_flush(&world);
    }
    return log->next_sequence - 1;
}

START_TEST(flushed_records_read_back_across_segments)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t last = fill_segments(log, 3);
    ck_assert_uint_gt(log->segments.count, 3);
    ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), last);
    ck_assert_uint_eq(world.damage_events, 0);
    ck_assert_uint_gt(world.engine->counters[KS_COUNT_READS_MAP], 0);
    world_fini(&world);
}
END_TEST

START_TEST(records_survive_a_power_cut_at_any_stage)
{
    for (int clean = 0; clean < 2; clean++) {
        setup();
        uint64_t last = fill_segments(world_log(&world, "orders", 1), 2);
        append_many(world_log(&world, "orders", 1), 5, 2, 100);
        world_restart(&world, clean);
        struct ks_log *log = world_log(&world, "orders", 1);
        ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), last + 10);
        append_many(log, 40, 3, 300);
        world_flush(&world);
        world_restart(&world, clean);
        log = world_log(&world, "orders", 1);
        ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), last + 130);
        ck_assert_uint_eq(world.damage_events, 0);
        world_fini(&world);
    }
}
END_TEST

START_TEST(every_start_in_a_sealed_segment_is_found)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    fill_segments(log, 1);
    world_restart(&world, true);
    log = world_log(&world, "orders", 0);
    /* Backwards, so that no read goes on where another one ended. */
    for (uint64_t from = log->next_sequence - 1; from > 7; from -= 7) {
        struct ks_read read;
        struct ks_read_request request = {
            .from_sequence = from, .bytes_max = 1, .records_max = 1, .may_block = true};
        ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
        ck_assert_uint_eq(read.take, 1);
        struct ks_batch_view batch;
        ck_assert_int_eq(ks_batch_decode(read.extents[0], &batch), KS_OK);
        ck_assert_uint_eq(batch.header.first_sequence + read.skip, from);
        ks_read_release(&read);
    }
    ck_assert_uint_gt(world.engine->counters[KS_COUNT_INDEX_LOOKUPS], 0);
    ck_assert_uint_eq(world.dropped_events, 0);
    world_fini(&world);
}
END_TEST

START_TEST(a_read_that_may_not_wait_says_so)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t last = fill_segments(log, 1);
    world_restart(&world, false);
    log = world_log(&world, "orders", 0);
    struct ks_read read;
    struct ks_read_request request = {
        .from_sequence = last / 2, .bytes_max = 4096, .records_max = 10};
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_WOULD_BLOCK);
    request.may_block = true;
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
    request.from_sequence = read.next_sequence;
    ks_read_release(&read);
    /* Going on where a read ended needs no index. */
    request.may_block = false;
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
    ks_read_release(&read);
    world_fini(&world);
}
END_TEST

START_TEST(a_time_leads_to_the_first_record_of_it_or_later)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t start = world.clock.unix_ms;
    fill_segments(log, 2);
    append_many(log, 3, 3, 100);
    uint64_t previous = 0;
    for (uint64_t ms = start - 1; ms < world.clock.unix_ms + 2; ms += 3) {
        uint64_t found = 0;
        ck_assert_int_eq(ks_log_find_time(log, ms, true, &found, NULL), KS_OK);
        ck_assert_uint_ge(found, ks_max_u64(previous, 1));
        previous = found;
        if (found > log->next_sequence - 1)
            continue;
        struct ks_read read;
        struct ks_read_request request = {.from_sequence = ks_max_u64(found, 2) - 1,
            .bytes_max = 4096,
            .records_max = 1,
            .may_block = true};
        ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
        if (found > 1)
            ck_assert_uint_lt(read.last_arrival_unix_ms, ms);
        ks_read_release(&read);
        request.from_sequence = found;
        ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
        ck_assert_uint_ge(read.last_arrival_unix_ms, ms);
        ks_read_release(&read);
    }
    ck_assert_uint_eq(previous, log->next_sequence);
    world_fini(&world);
}
END_TEST

/* A world with one sealed segment of 32 KiB, and what it holds. */
static uint64_t setup_small_segment(
    char path[KS_FILE_PATH_BYTES], uint64_t *out_file_bytes, bool has_no_index)
{
    world_init(&world);
    world.limits.segment_bytes = 32768;
    world.has_no_index = has_no_index;
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    uint64_t last = fill_segments(world_log(&world, "orders", 0), 1);
    const struct ks_segment *segment = world_log(&world, "orders", 0)->segments.items[0];
    ks_files_path(segment->file_id, path);
    *out_file_bytes = segment->file_bytes;
    return last;
}

/* Batches and footer, with the index and without. */
START_TEST(a_flipped_bit_costs_one_batch_and_is_told)
{
    char path[KS_FILE_PATH_BYTES];
    uint64_t file_bytes = 0;
    uint64_t last = setup_small_segment(path, &file_bytes, _i % 2);
    struct ks_log *log = world_log(&world, "orders", 0);
    for (uint64_t at = KS_SEGMENT_HEADER_BYTES + (uint64_t)_i; at < file_bytes; at += 9) {
        unsigned bit = (unsigned)(at % 8);
        ks_io_sim_flip_bit(world.disk, path, at, bit);
        uint64_t damaged = 0;
        uint64_t intact = world_read_all(&world, log, 1, &damaged);
        ck_assert_uint_eq(intact + damaged, last);
        ck_assert_uint_le(damaged, 3);
        uint64_t found = 0;
        ck_assert_int_eq(
            ks_log_find_time(log, world.clock.unix_ms - (uint64_t)_i, true, &found, NULL), KS_OK);
        ks_io_sim_flip_bit(world.disk, path, at, bit);
    }
    ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), last);
    world_fini(&world);
}
END_TEST

/* The header is looked at once after a start: a file that is not the one meant serves nothing. */
START_TEST(a_flipped_bit_in_the_header_costs_its_segment_and_is_told)
{
    char path[KS_FILE_PATH_BYTES];
    uint64_t file_bytes = 0;
    uint64_t last = setup_small_segment(path, &file_bytes, false);
    for (uint64_t at = 1; at < KS_SEGMENT_HEADER_BYTES; at += 311) {
        world_restart(&world, true);
        struct ks_log *log = world_log(&world, "orders", 0);
        uint64_t held = log->segments.items[0]->last_sequence;
        ks_io_sim_flip_bit(world.disk, path, at, 0);
        uint64_t damaged = 0;
        ck_assert_uint_eq(world_read_all(&world, log, 1, &damaged), last - held);
        ck_assert_uint_eq(damaged, held);
        ck_assert_uint_eq(world.damage_events, 1);
        ks_io_sim_flip_bit(world.disk, path, at, 0);
        world.damage_events = 0;
    }
    world_fini(&world);
}
END_TEST

START_TEST(an_unreadable_sector_costs_the_batches_it_touches)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t last = fill_segments(log, 1);
    char path[KS_FILE_PATH_BYTES];
    ks_files_path(log->segments.items[0]->file_id, path);
    world_restart(&world, true);
    log = world_log(&world, "orders", 0);
    world.limits.pinned_bytes_max = 0;
    world.engine->options.limits.pinned_bytes_max =
        0; /* copies only: maps do not see read errors */
    ks_io_sim_fail_reads(world.disk, path, 20480, 512);
    uint64_t damaged = 0;
    uint64_t intact = world_read_all(&world, log, 1, &damaged);
    ck_assert_uint_eq(intact + damaged, last);
    ck_assert_uint_gt(damaged, 0);
    ck_assert_uint_le(damaged, 6);
    world_fini(&world);
}
END_TEST

/* Rewrites the offsets of a segment's entries in the index. */
static void index_shift(const struct ks_segment *segment, uint32_t by)
{
    struct ks_index_entry entry;
    struct ks_kv *kv = ks_index_kv(world.engine->index);
    for (uint64_t sequence = segment->last_sequence; sequence >= segment->first_sequence;
         sequence = entry.sequence - 1) {
        if (ks_index_find(world.engine->index, segment, sequence, &entry, NULL))
            return;
        uint8_t key[24];
        uint8_t value[20];
        ks_store_u64be(key, segment->file_id);
        ks_store_u64be(key + 8, segment->generation);
        ks_store_u64be(key + 16, entry.sequence);
        ks_store_u64le(value, entry.sequence);
        ks_store_u64le(value + 8, entry.arrival_unix_ms);
        ks_store_u32le(value + 16, entry.offset + by);
        struct ks_kv_txn *txn = NULL;
        ck_assert_int_eq(ks_kv_begin(kv, true, &txn, NULL), KS_OK);
        ck_assert_int_eq(
            ks_kv_put(txn, 0, ks_view_of(key, sizeof key), ks_view_of(value, sizeof value), NULL),
            KS_OK);
        ck_assert_int_eq(ks_kv_commit(txn, NULL), KS_OK);
    }
}

START_TEST(an_index_that_lies_is_dropped_and_costs_nothing)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t last = fill_segments(log, 1);
    world_restart(&world, true);
    log = world_log(&world, "orders", 0);
    /* As after a power cut that the index was trusted in spite of: every entry leads elsewhere. */
    index_shift(log->segments.items[0], 64);
    struct ks_read read;
    struct ks_read_request request = {
        .from_sequence = last / 2, .bytes_max = 4096, .records_max = 1, .may_block = true};
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
    ck_assert_uint_eq(read.next_sequence, last / 2 + 1);
    ks_read_release(&read);
    ck_assert_uint_eq(world.dropped_events, 1);
    ck_assert_uint_eq(world.damage_events, 0);
    world_pump(&world);
    ck_assert_uint_eq(world_read_all(&world, log, last / 2, NULL), last - last / 2 + 1);
    world_fini(&world);
}
END_TEST

START_TEST(a_deleted_stream_gives_its_files_back_when_the_last_read_ends)
{
    setup();
    struct ks_log *log = ks_log_ref(world_log(&world, "orders", 0));
    fill_segments(log, 1);
    struct ks_read read;
    struct ks_read_request request = {
        .from_sequence = 1, .bytes_max = 4096, .records_max = 10, .may_block = true};
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_OK);
    world.engine->options.limits.pool_files = 8; /* room for every file given back */
    ck_assert_int_eq(world_delete(&world, "orders"), KS_OK);
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_NOT_FOUND);
    ck_assert_int_eq(world_append(&world, log, 1, 1), KS_NOT_FOUND);
    struct ks_stream *stream = NULL;
    ck_assert_int_eq(ks_registry_find(world.engine, "orders", &stream), KS_NOT_FOUND);
    /* Other streams take over the pool; the pinned bytes must stay what they were. */
    ck_assert_int_eq(world_create(&world, "others", 1), KS_OK);
    fill_segments(world_log(&world, "others", 0), 4);
    uint64_t damaged = 0;
    struct ks_view rest = read.extents[0];
    struct ks_batch_view batch;
    ck_assert_int_eq(ks_batch_decode(rest, &batch), KS_OK);
    ck_assert_int_eq(ks_batch_verify(&batch), KS_OK);
    ck_assert_uint_eq(batch.header.log_id, ks_log_id(log));
    ks_read_release(&read);
    world_pump(&world);
    ck_assert_uint_gt(world.engine->counters[KS_COUNT_FILES_RECYCLED], 0);
    ks_log_unref(log);
    world_restart(&world, false);
    log = world_log(&world, "others", 0);
    ck_assert_uint_eq(world_read_all(&world, log, 1, &damaged), log->next_sequence - 1);
    ck_assert_uint_eq(damaged, 0);
    ck_assert_uint_eq(world.engine->recovery.files_quarantined, 0);
    world_fini(&world);
}
END_TEST

/* Used files are kept, at full size, only while there is plenty of space. */
START_TEST(a_deleted_stream_gives_its_space_back_when_space_is_short)
{
    setup();
    fill_segments(world_log(&world, "orders", 0), 3);
    ck_assert_int_eq(world_delete(&world, "orders"), KS_OK);
    world_pump(&world);
    uint64_t kept = ks_io_sim_used_bytes(world.disk);
    uint64_t segment = world.limits.segment_bytes;
    ck_assert_uint_gt(world.limits.pool_files, 1);
    ks_io_sim_set_capacity(world.disk, kept + segment);
    world_pump(&world);
    ck_assert_uint_le(ks_io_sim_used_bytes(world.disk), kept - segment);
    ck_assert_int_eq(world_create(&world, "others", 1), KS_OK);
    append_many(world_log(&world, "others", 0), 8, 3, 300);
    world_flush(&world);
    world_restart(&world, false);
    ck_assert_uint_eq(world.engine->recovery.files_quarantined, 0);
    ck_assert_uint_eq(world_read_all(&world, world_log(&world, "others", 0), 1, NULL), 24);
    world_fini(&world);
}
END_TEST

START_TEST(a_stream_is_there_after_a_restart_and_its_ids_are_never_reused)
{
    setup();
    struct ks_stream *before = NULL;
    ck_assert_int_eq(ks_registry_find(world.engine, "orders", &before), KS_OK);
    uint64_t number = before->number;
    uint64_t log_id = ks_log_id(before->shards[1].log);
    char id[25];
    memcpy(id, before->id, sizeof id);
    ck_assert_uint_eq(strlen(id), 24);
    ck_assert_int_eq(id[20], '-');
    ks_stream_unref(before);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_EXISTS);
    world_restart(&world, false);
    struct ks_stream *after = NULL;
    ck_assert_int_eq(ks_registry_find_id(world.engine, id, &after), KS_OK);
    ck_assert_uint_eq(after->number, number);
    ck_assert_uint_eq(after->shard_count, 2);
    ck_assert_uint_eq(ks_log_id(after->shards[1].log), log_id);
    ck_assert_ptr_eq(ks_stream_route(after, 0), &after->shards[0]);
    ck_assert_ptr_eq(ks_stream_route(after, KS_U128_MAX), &after->shards[1]);
    ks_stream_unref(after);
    ck_assert_int_eq(world_delete(&world, "orders"), KS_OK);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    ck_assert_uint_gt(ks_log_id(world_log(&world, "orders", 0)), log_id);
    world_restart(&world, false);
    ck_assert_uint_gt(ks_log_id(world_log(&world, "orders", 0)), log_id);
    ck_assert_uint_eq(ks_registry_open_shards(world.engine), 1);
    world_fini(&world);
}
END_TEST

START_TEST(lists_go_on_behind_a_name)
{
    setup();
    ck_assert_int_eq(world_create(&world, "b", 1), KS_OK);
    ck_assert_int_eq(world_create(&world, "a", 1), KS_OK);
    ck_assert_int_eq(world_create(&world, "too-many", 200), KS_LIMIT);
    struct ks_stream *streams[2];
    bool is_more = false;
    ck_assert_uint_eq(ks_registry_list(world.engine, NULL, 2, streams, &is_more), 2);
    ck_assert(is_more);
    ck_assert_str_eq(streams[0]->name, "a");
    ck_assert_str_eq(streams[1]->name, "b");
    ks_stream_unref(streams[0]);
    ks_stream_unref(streams[1]);
    ck_assert_uint_eq(ks_registry_list(world.engine, "b", 2, streams, &is_more), 1);
    ck_assert(!is_more);
    ck_assert_str_eq(streams[0]->name, "orders");
    ks_stream_unref(streams[0]);
    world_fini(&world);
}
END_TEST

START_TEST(a_refused_create_leaves_no_name)
{
    setup();
    ks_kv_model_fail_commit_after(world.catalog_model, 1, KS_STORAGE_FULL, false);
    ck_assert_int_eq(world_create(&world, "full", 1), KS_STORAGE_FULL);
    struct ks_stream *stream = NULL;
    ck_assert_int_eq(ks_registry_find(world.engine, "full", &stream), KS_NOT_FOUND);
    ck_assert(!ks_engine_is_poisoned(world.engine));
    ck_assert_int_eq(world_create(&world, "full", 1), KS_OK);
    world_fini(&world);
}
END_TEST

START_TEST(a_full_disk_holds_the_flush_back_and_poisons_nothing)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    append_many(log, 8, 3, 300);
    ks_io_sim_set_capacity(world.disk, ks_io_sim_used_bytes(world.disk));
    world_flush(&world);
    ck_assert(!ks_engine_is_poisoned(world.engine));
    ck_assert_uint_eq(log->flushed_sequence, 0);
    ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), 24);
    ks_io_sim_set_capacity(world.disk, 0);
    world_flush(&world);
    ck_assert_uint_eq(log->flushed_sequence, 24);
    ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), 24);
    world_fini(&world);
}
END_TEST

/* Every journal file is needed, and there is no room for another: starts take theirs from the
 * reserve, again and again, and what is deleted makes room. */
START_TEST(a_full_disk_can_be_started_read_and_tidied)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    fill_segments(log, 2);
    ks_io_sim_set_capacity(world.disk, ks_io_sim_used_bytes(world.disk));
    append_many(log, 8, 3, 300);
    uint64_t last = log->next_sequence - 1;
    /* The first starts take files that are ready, until there are none. */
    for (unsigned start = 0; start < 20 && world.reserve_events == 0; start++) {
        world_restart(&world, false);
        ck_assert_uint_eq(world_read_all(&world, world_log(&world, "orders", 0), 1, NULL), last);
    }
    ck_assert_uint_eq(world.reserve_events, 1);
    ck_assert_int_eq(world_delete(&world, "orders"), KS_OK);
    world_flush(&world);
    ck_assert_int_eq(world_create(&world, "others", 1), KS_OK);
    log = world_log(&world, "others", 0);
    append_many(log, 8, 3, 300);
    world_flush(&world);
    ck_assert_uint_eq(log->flushed_sequence, 24);
    world_fini(&world);
}
END_TEST

static void step_once(struct ks_step *step)
{
    ck_assert(step->begin(step->self));
    step->run(step->self);
    step->end(step->self);
}

/* More logs than files: the flusher sleeps until the pool has some, instead of asking as fast as
 * the processor can, and goes on at once when it has. */
START_TEST(an_empty_pool_is_waited_for)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    append_many(log, 4, 3, 300);
    uint64_t file_id;
    uint64_t generation;
    while (ks_files_take(world.engine->files, &file_id, &generation) == KS_OK)
        continue;
    ks_fake_clock_advance_ms(&world.clock, world.limits.flush_age_ms + 1);
    struct ks_step *flush = ks_flush_step(world.engine->flush);
    step_once(flush);
    ck_assert(!flush->begin(flush->self));
    world_pump(&world); /* makes files, without the clock moving */
    ck_assert_uint_eq(log->flushed_sequence, 12);
    world_fini(&world);
}
END_TEST

START_TEST(a_failed_sync_of_a_segment_is_poison)
{
    setup();
    append_many(world_log(&world, "orders", 0), 8, 3, 300);
    uint64_t flushed = world_log(&world, "orders", 0)->flushed_sequence;
    ks_fake_clock_advance_ms(&world.clock, world.limits.flush_age_ms + 1);
    ks_io_sim_fail_sync_after(world.disk, 1);
    world_pump(&world);
    ck_assert(ks_engine_is_poisoned(world.engine));
    ck_assert_uint_eq(world_log(&world, "orders", 0)->flushed_sequence, flushed);
    world_restart(&world, false);
    ck_assert_uint_eq(world_read_all(&world, world_log(&world, "orders", 0), 1, NULL), 24);
    world_fini(&world);
}
END_TEST

/* A power cut at every changing call of a flush and what follows it: nothing durable is lost. */
START_TEST(a_flush_cut_short_anywhere_loses_nothing)
{
    for (uint64_t n = 1; n < 60; n++) {
        setup();
        struct ks_log *log = world_log(&world, "orders", 0);
        append_many(log, 24, 3, 300);
        uint64_t last = log->next_sequence - 1;
        ks_io_sim_cut_after(world.disk, n);
        world_flush(&world);
        bool is_cut = ks_io_sim_is_cut(world.disk);
        world_restart(&world, false);
        log = world_log(&world, "orders", 0);
        ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), last);
        world_fini(&world);
        if (!is_cut)
            return;
    }
}
END_TEST

START_TEST(unknown_files_go_to_quarantine)
{
    setup();
    struct ks_io *io = ks_io_sim_io(world.disk);
    struct ks_file *file = NULL;
    ck_assert_int_eq(ks_io_open(io, "segments/00/00000000000000ff.seg",
                         KS_OPEN_WRITE | KS_OPEN_CREATE, &file, NULL),
        KS_OK);
    ks_file_close(file);
    ck_assert_int_eq(ks_io_sync_dir(io, "segments/00", NULL), KS_OK);
    world_restart(&world, true);
    ck_assert_uint_eq(world.engine->recovery.files_quarantined, 1);
    ck_assert_int_eq(
        ks_io_open(io, "quarantine/00000000000000ff.seg.0", KS_OPEN_READ, &file, NULL), KS_OK);
    ks_file_close(file);
    world_fini(&world);
}
END_TEST

START_TEST(a_pinned_map_keeps_no_other_one_alive)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    uint64_t last = fill_segments(log, 8);
    world_restart(&world, true);
    log = world_log(&world, "orders", 0);
    struct ks_map_cache *cache = ks_files_map_cache(world.engine->files);
    cache->count_max = 3;
    struct ks_segment *oldest = log->segments.items[0];
    const uint8_t *map = NULL;
    ck_assert_int_eq(ks_segment_pin_map(oldest, oldest->readable_bytes, true, &map, NULL), KS_OK);
    ck_assert_uint_eq(world_read_all(&world, log, log->segments.items[1]->first_sequence, NULL),
        last - oldest->last_sequence);
    ck_assert_uint_eq(cache->count, 3);
    ck_assert_ptr_eq(oldest->map, map);
    ks_segment_unpin_map(oldest);
    ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), last);
    ck_assert_uint_eq(cache->count, 3);
    world_fini(&world);
}
END_TEST

/* Tiny puts: the footer is full long before the file is. */
START_TEST(a_segment_holds_as_many_batches_as_its_footer_can_list)
{
    for (uint32_t each = 1; each <= 25; each += 8) {
        world_init(&world);
        world.limits.segment_batches_max = 20;
        world_open(&world);
        ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
        struct ks_log *log = world_log(&world, "orders", 0);
        for (uint32_t i = 0; i < 100; i += each) {
            append_many(log, each, 1, 30);
            for (uint32_t rounds = 0; log->flushed_sequence < log->next_sequence - 1; rounds++) {
                ck_assert_uint_lt(rounds, 5);
                world_flush(&world);
            }
        }
        uint64_t last = log->next_sequence - 1;
        ck_assert_uint_eq(log->segments.count, (last + 19) / 20);
        for (uint32_t i = 0; i + 1 < log->segments.count; i++)
            ck_assert_uint_eq(log->segments.items[i]->batch_count, 20);
        world_restart(&world, each & 8);
        ck_assert_uint_eq(world_read_all(&world, world_log(&world, "orders", 0), 1, NULL), last);
        ck_assert_uint_eq(world.damage_events, 0);
        world_fini(&world);
    }
}
END_TEST

/* ---- files that are not there ---- */

struct names {
    char names[64][64];
    uint32_t count;
};

static void note_name(void *arg, const char *name)
{
    struct names *names = arg;
    ck_assert_uint_lt(names->count, KS_COUNT_OF(names->names));
    snprintf(names->names[names->count++], sizeof names->names[0], "segments/00/%s", name);
}

static uint32_t unlink_all_files(void)
{
    struct names names = {.count = 0};
    struct ks_io *io = ks_io_sim_io(world.disk);
    ck_assert_int_eq(ks_io_list(io, "segments/00", note_name, &names, NULL), KS_OK);
    for (uint32_t i = 0; i < names.count; i++)
        ck_assert_int_eq(ks_io_unlink(io, names.names[i], NULL), KS_OK);
    ck_assert_int_eq(ks_io_sync_dir(io, "segments/00", NULL), KS_OK);
    return names.count;
}

/* Somebody tidied up while nothing was in them. */
START_TEST(pool_files_that_are_gone_are_replaced)
{
    for (int clean = 0; clean < 2; clean++) {
        setup();
        struct ks_log *log = world_log(&world, "orders", 0);
        ck_assert_uint_eq(unlink_all_files(), world.limits.pool_files);
        append_many(log, 24, 3, 300);
        world_flush(&world);
        world_flush(&world);
        ck_assert_uint_eq(log->flushed_sequence, 72);
        for (uint32_t i = 0; i < log->segments.count; i++)
            ck_assert_uint_gt(log->segments.items[i]->batch_count, 0);
        ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), 72);
        ck_assert_uint_eq(world.damage_events, 0);
        ck_assert_uint_eq(world.lost_pool_files, world.limits.pool_files);
        world_restart(&world, clean);
        log = world_log(&world, "orders", 0);
        ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), 72);
        append_many(log, 8, 3, 300);
        world_flush(&world);
        ck_assert_uint_eq(log->flushed_sequence, 96);
        world_fini(&world);
    }
}
END_TEST

/* The segment was made, and the disk was full for what should go into it; then its file went. */
START_TEST(an_empty_segment_whose_file_is_gone_never_was)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    append_many(log, 4, 3, 300);
    ks_io_sim_set_capacity(world.disk, 1);
    world_flush(&world);
    ck_assert_uint_eq(log->segments.count, 1);
    ck_assert_uint_eq(log->segments.items[0]->batch_count, 0);
    ks_io_sim_set_capacity(world.disk, 0);
    unlink_all_files();
    world_flush(&world);
    world_flush(&world);
    ck_assert_uint_eq(log->segments.count, 1);
    ck_assert_uint_eq(log->flushed_sequence, 12);
    world_restart(&world, false);
    ck_assert_uint_eq(world_read_all(&world, world_log(&world, "orders", 0), 1, NULL), 12);
    world_fini(&world);
}
END_TEST

static void put_file_row(uint64_t file_id, const Kstream__Catalog__FileRow *row)
{
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    struct ks_catalog_key key;
    ck_assert_int_eq(ks_kv_begin(world.catalog, true, &txn, NULL), KS_OK);
    ck_assert_int_eq(
        ks_catalog_put(txn, KS_TABLE_FILES, ks_catalog_key_u64(&key, file_id), &row->base, NULL),
        KS_OK);
    ck_assert_int_eq(ks_kv_commit(KS_TAKE(txn), NULL), KS_OK);
}

static bool has_file_row(uint64_t file_id)
{
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    struct ks_catalog_key key;
    struct ks_view value;
    ck_assert_int_eq(ks_kv_begin(world.catalog, false, &txn, NULL), KS_OK);
    return ks_kv_get(txn, KS_TABLE_FILES, ks_catalog_key_u64(&key, file_id), &value, NULL) == KS_OK;
}

/* An earlier version sealed files that had gone from the pool: such a directory opens, and heals.
 */
START_TEST(sealed_rows_of_nothing_are_taken_out_at_the_start)
{
    for (int with_file = 0; with_file < 2; with_file++) {
        setup();
        struct ks_log *log = world_log(&world, "orders", 0);
        uint64_t last = fill_segments(log, 2);
        const struct ks_segment *second = log->segments.items[1];
        Kstream__Catalog__FileRow row = KSTREAM__CATALOG__FILE_ROW__INIT;
        row.generation = 1;
        row.status = KS_FILE_SEALED;
        row.log_id = log->log_id;
        row.first_sequence = second->first_sequence;
        row.last_sequence = second->first_sequence - 1;
        row.readable_bytes = KS_SEGMENT_HEADER_BYTES;
        row.file_bytes = KS_SEGMENT_HEADER_BYTES;
        uint64_t file_id = 0x8001;
        uint64_t generation = 0;
        if (with_file)
            ck_assert_int_eq(ks_files_take(world.engine->files, &file_id, &generation), KS_OK);
        put_file_row(file_id, &row);
        world_restart(&world, false);
        log = world_log(&world, "orders", 0);
        ck_assert_uint_eq(world_read_all(&world, log, 1, NULL), last);
        ck_assert(!has_file_row(file_id));
        for (uint32_t i = 0; i < log->segments.count; i++)
            ck_assert_uint_gt(log->segments.items[i]->batch_count, 0);
        world_restart(&world, true);
        ck_assert_uint_eq(world_read_all(&world, world_log(&world, "orders", 0), 1, NULL), last);
        ck_assert_uint_eq(world.engine->recovery.files_quarantined, 0);
        world_fini(&world);
    }
}
END_TEST

/* Whichever of five segments are empty. */
START_TEST(a_search_by_time_passes_by_what_is_empty)
{
    struct ks_segment segments[5];
    struct ks_segment *items[5];
    for (unsigned empty = 0; empty < 32; empty++) {
        for (unsigned i = 0; i < 5; i++) {
            bool is_empty = empty >> i & 1;
            segments[i] = (struct ks_segment){.batch_count = is_empty ? 0 : 1,
                .last_arrival_unix_ms = is_empty ? 0 : 10 * (i + 1)};
            items[i] = &segments[i];
        }
        const struct ks_segment_list list = {.items = items, .count = 5};
        for (unsigned ms = 0; ms < 60; ms++) {
            const struct ks_segment *expected = NULL;
            for (unsigned i = 0; i < 5 && !expected; i++) {
                if (segments[i].batch_count > 0 && segments[i].last_arrival_unix_ms >= ms)
                    expected = &segments[i];
            }
            ck_assert_ptr_eq(ks_segment_list_find_arrival(&list, ms), expected);
        }
    }
}
END_TEST

KS_SUITE("storage/store")
{
    KS_TEST(flushed_records_read_back_across_segments);
    KS_TEST(records_survive_a_power_cut_at_any_stage);
    KS_TEST(every_start_in_a_sealed_segment_is_found);
    KS_TEST(a_read_that_may_not_wait_says_so);
    KS_TEST(a_time_leads_to_the_first_record_of_it_or_later);
    KS_TEST_LOOP(a_flipped_bit_costs_one_batch_and_is_told, 2);
    KS_TEST(a_flipped_bit_in_the_header_costs_its_segment_and_is_told);
    KS_TEST(an_unreadable_sector_costs_the_batches_it_touches);
    KS_TEST(an_index_that_lies_is_dropped_and_costs_nothing);
    KS_TEST(a_deleted_stream_gives_its_files_back_when_the_last_read_ends);
    KS_TEST(a_deleted_stream_gives_its_space_back_when_space_is_short);
    KS_TEST(a_stream_is_there_after_a_restart_and_its_ids_are_never_reused);
    KS_TEST(lists_go_on_behind_a_name);
    KS_TEST(a_refused_create_leaves_no_name);
    KS_TEST(a_full_disk_holds_the_flush_back_and_poisons_nothing);
    KS_TEST(a_full_disk_can_be_started_read_and_tidied);
    KS_TEST(an_empty_pool_is_waited_for);
    KS_TEST(a_failed_sync_of_a_segment_is_poison);
    KS_TEST(a_flush_cut_short_anywhere_loses_nothing);
    KS_TEST(unknown_files_go_to_quarantine);
    KS_TEST(a_segment_holds_as_many_batches_as_its_footer_can_list);
    KS_TEST(a_pinned_map_keeps_no_other_one_alive);
    KS_TEST(pool_files_that_are_gone_are_replaced);
    KS_TEST(an_empty_segment_whose_file_is_gone_never_was);
    KS_TEST(sealed_rows_of_nothing_are_taken_out_at_the_start);
    KS_TEST(a_search_by_time_passes_by_what_is_empty);
}
