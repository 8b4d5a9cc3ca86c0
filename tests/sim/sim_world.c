/* The machine's life: start, recover, be checked, work, die in one of several ways, start again. */
#include "tests/sim/sim_world.h"

#include "base/alloc.h"
#include "storage/engine_priv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool sim_fail(struct sim_world *world, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("BROKEN: world %" PRIu64 " cycle %u: %s\n", world->seed, world->cycle, text);
    return false;
}

static void sim_emit(
    const struct ks_events *events, enum ks_level level, const char *name, const char *fields)
{
    struct sim_world *world =
        KS_CONTAINER_OF((struct ks_events *)(uintptr_t)events, struct sim_world, events);
    world->totals->streams_scaled += strcmp(name, "stream.scaled") == 0;
    world->totals->pool_files_missed += strcmp(name, "files.pool_file_missing") == 0;
    if (world->is_verbose)
        printf("    [%d] %s %s\n", (int)level, name, fields);
}

static void sim_on_poison(void *arg, const struct ks_error *error)
{
    struct sim_world *world = arg;
    world->is_poisoned = true;
    if (world->is_verbose)
        printf("    poisoned: %s\n", error->text);
}

/* Opening an LMDB environment that a power cut damaged can kill the process (measured: 11 of 20).
 * So it does here. */
static enum ks_status sim_open_index(
    void *arg, bool erase_first, struct ks_kv **out_kv, struct ks_error *err)
{
    struct sim_world *world = arg;
    if (erase_first)
        ks_kv_model_erase(world->index);
    else if (ks_kv_model_was_cut(world->index))
        world->is_killed_by_index = true;
    return ks_kv_model_open(world->index, out_kv, err);
}

static void sim_choose_limits(struct sim_world *world, struct ks_engine_limits *limits)
{
    ks_engine_limits_small(limits);
    if (ks_prng_chance(&world->prng, 1, 3))
        limits->flush_bytes = 1; /* flush at every chance */
    if (ks_prng_chance(&world->prng, 1, 4))
        limits->pinned_bytes_max = 1; /* every read of a file is a copy */
    if (ks_prng_chance(&world->prng, 1, 2))
        limits->journal_first_file_bytes = 16 << 10; /* soon full, while others are being made */
    /* Between two moves of the clock a shard may take anything from nothing to too much. */
    limits->scale.interval_ms = 5;
    limits->scale.records_per_s = 2000;
    limits->scale.bytes_per_s = 1 << 20;
    limits->scale.cold_ms = 20;
    static const uint32_t pools[] = {0, 2, 8, 32};
    limits->pool_files = pools[ks_prng_below(&world->prng, KS_COUNT_OF(pools))];
}

static void sim_close_catalog(struct sim_world *world)
{
    ks_kv_close(KS_TAKE(world->catalog_handle));
}

static enum ks_status sim_open(struct sim_world *world, struct ks_error *err)
{
    struct ks_engine_options options = {.io = ks_io_sim_io(world->disk),
        .open_index = sim_open_index,
        .open_index_arg = world,
        .clock = &world->clock.clock,
        .events = &world->events,
        .random_seed = ks_prng_u64(&world->prng) | 1,
        .is_catalog_copy = world->is_catalog_copy,
        .on_poison = sim_on_poison,
        .on_poison_arg = world};
    sim_choose_limits(world, &options.limits);
    world->is_poisoned = false;
    KS_ASSERT(!world->catalog_handle);
    enum ks_status st = ks_kv_model_open(world->catalog, &world->catalog_handle, err);
    if (st)
        return st;
    options.catalog = world->catalog_handle;
    st = ks_engine_open(&options, &world->engine, err);
    if (st)
        sim_close_catalog(world);
    return st;
}

static void sim_add_recovery(struct sim_totals *totals, const struct ks_recovery_stats *r)
{
    struct ks_recovery_stats *t = &totals->recovery;
    t->runs_followed += r->runs_followed;
    t->blocks_accepted += r->blocks_accepted;
    t->batches_replayed += r->batches_replayed;
    t->batches_below_flushpoint += r->batches_below_flushpoint;
    t->torn_tails += r->torn_tails;
    t->damaged_blocks += r->damaged_blocks;
    t->damaged_batches += r->damaged_batches;
    t->holes_told += r->holes_told;
    t->ends_pinned += r->ends_pinned;
    t->blocks_beyond_named += r->blocks_beyond_named;
    t->entries_of_deleted += r->entries_of_deleted;
    t->files_unlinked += r->files_unlinked;
    t->files_quarantined += r->files_quarantined;
}

static void sim_add_engine(struct sim_world *world)
{
    struct ks_engine_stats e;
    ks_engine_stats(world->engine, &e);
    struct ks_engine_stats *t = &world->totals->engine;
    t->durable_blocks += e.durable_blocks;
    t->flush_rounds += e.flush_rounds;
    t->catalog_commits += e.catalog_commits;
    t->segments_sealed += e.segments_sealed;
    t->reads_from_tail += e.reads_from_tail;
    t->reads_from_maps += e.reads_from_maps;
    t->reads_by_copy += e.reads_by_copy;
    t->index_entries_written += e.index_entries_written;
    t->index_lookups += e.index_lookups;
    t->index_rebuilds += e.index_rebuilds;
    t->files_recycled += e.files_recycled;
}

/* The process is gone, in whatever way; what it held in memory is gone with it. */
static bool sim_down(struct sim_world *world)
{
    bool is_right = sim_release_reads(world, true);
    sim_forget_watches(world); /* their references; the process's other memory just goes */
    sim_add_engine(world);
    ks_engine_destroy(KS_TAKE(world->engine));
    sim_forget_requests(world);
    sim_close_catalog(world);
    memset(world->step_phase, 0, sizeof world->step_phase);
    return is_right;
}

static void sim_power_on(struct sim_world *world, enum ks_sim_survive survive)
{
    ks_io_sim_power_on(world->disk, survive);
    ks_kv_model_power_on(world->catalog, survive);
    ks_kv_model_power_on(world->index, survive);
}

/* The power comes back (or goes and comes back): the disk decides what survived. */
static void sim_power_cycle(struct sim_world *world)
{
    static const enum ks_sim_survive survive[] = {
        KS_SIM_NOTHING, KS_SIM_ALL, KS_SIM_RANDOM, KS_SIM_RANDOM, KS_SIM_RANDOM, KS_SIM_PREFIX};
    sim_power_on(world, survive[ks_prng_below(&world->prng, KS_COUNT_OF(survive))]);
}

/* Starts the broker, as often as the power goes during recovery. */
static bool sim_up(struct sim_world *world)
{
    sim_put_back_catalog(world);
    for (int tries = 0;; tries++) {
        struct ks_error err = KS_ERROR_INIT;
        if (tries < 4 && ks_prng_chance(&world->prng, 1, 4))
            ks_io_sim_cut_after(world->disk, 1 + ks_prng_below(&world->prng, 30));
        enum ks_status st = sim_open(world, &err);
        if (st == KS_OK && !ks_io_sim_is_cut(world->disk) && !world->is_killed_by_index)
            break;
        if (world->is_killed_by_index)
            return sim_fail(
                world, "the broker was killed by an index that a power cut had damaged");
        if (!ks_io_sim_is_cut(world->disk))
            return sim_fail(
                world, "the broker does not start: %s (%s)", ks_status_name(st), err.text);
        if (st == KS_OK && !sim_down(world))
            return false;
        world->totals->cuts_in_recovery++;
        sim_power_cycle(world);
    }
    ks_io_sim_cut_after(world->disk, 0);
    if (world->is_verbose)
        printf("  up\n");
    if (world->is_catalog_copy)
        world->totals->segments_adopted += ks_engine_adopted(world->engine)->segments;
    world->is_catalog_copy = false;
    const struct ks_recovery_stats *recovery = ks_engine_recovery(world->engine);
    sim_add_recovery(world->totals, recovery);
    if (!world->has_flips && recovery->damaged_blocks + recovery->damaged_batches > 0)
        return sim_fail(world, "recovery saw damage though nothing was flipped");
    world->step_count = ks_engine_steps(world->engine, world->steps, SIM_STEPS_MAX);
    return sim_check_all(world);
}

/* One move of one background thread. */
static void sim_step(struct sim_world *world, size_t i)
{
    struct ks_step *step = world->steps[i];
    switch (world->step_phase[i]) {
    case 0:
        world->step_phase[i] = step->begin(step->self) ? 1 : 0;
        break;
    case 1:
        step->run(step->self);
        world->step_phase[i] = 2;
        break;
    default:
        step->end(step->self);
        world->step_phase[i] = 0;
        break;
    }
}

static bool sim_act(struct sim_world *world)
{
    uint64_t dice = ks_prng_below(&world->prng, 100);
    if (!sim_tame_streams(world))
        return false;
    if (ks_prng_chance(&world->prng, 1, 500))
        sim_tidy_away(world);
    if (ks_io_sim_is_cut(world->disk)) /* in there: nobody does anything any more */
        return true;
    if (ks_prng_chance(&world->prng, 1, 25))
        sim_copy_catalog(world);
    if (dice < 23)
        return sim_put_some(world);
    if (dice < 27)
        return sim_put_keyed(world);
    if (dice < 29)
        return sim_reshard(world);
    if (dice < 30)
        return sim_remove_shard(world);
    if (dice < 72) {
        size_t i = ks_prng_below(&world->prng, world->step_count);
        uint64_t moves = 1 + ks_prng_below(&world->prng, 5);
        for (uint64_t k = 0; k < moves; k++)
            sim_step(world, i);
        return true;
    }
    if (dice < 82)
        return sim_read_some(world);
    if (dice < 84)
        return sim_release_reads(world, false);
    if (dice < 85)
        return sim_find_time(world);
    if (dice < 86) {
        sim_watch_some(world);
        return true;
    }
    if (dice < 87)
        return sim_set_something(world);
    if (dice < 90) {
        ks_fake_clock_advance_ms(&world->clock, ks_prng_below(&world->prng, 3) ? 7 : 70000);
        return true;
    }
    if (dice < 92)
        return sim_create_stream(world);
    if (dice < 93)
        return sim_delete_stream(world);
    return sim_deliver(world);
}

/* Runs every step until none has anything to do. */
static bool sim_settle(struct sim_world *world)
{
    for (int rounds = 0; rounds < 200; rounds++) {
        bool did_something = false;
        for (size_t i = 0; i < world->step_count; i++)
            for (int k = 0; k < 3; k++) {
                sim_step(world, i);
                did_something |= world->step_phase[i] != 0;
            }
        if (!sim_deliver(world))
            return false;
        if (!did_something)
            return true;
    }
    return true;
}

static enum ks_status change_nothing(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    (void)change;
    (void)txn;
    (void)err;
    return KS_OK;
}

static void changed_nothing(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    (void)change;
    (void)status;
    (void)error;
}

/* Bits of the disk turn over while the power is off, after something has named the last durable
 * block: another block after a quiet second, or a commit of the catalog. */
static bool sim_flip(struct sim_world *world)
{
    struct ks_change change = {.apply = change_nothing, .done = changed_nothing};
    bool is_named_by_catalog = ks_prng_chance(&world->prng, 1, 3);
    if (!sim_settle(world))
        return false;
    if (is_named_by_catalog)
        ks_catalog_submit(world->engine->catalog, &change);
    else
        ks_fake_clock_advance_ms(&world->clock, 1500);
    if (!sim_settle(world))
        return false;
    /* What waits for a while does so until the clock goes on. */
    if (!is_named_by_catalog && !sim_check_finished(world))
        return false;
    if (!sim_down(world))
        return false;
    sim_power_cycle(world);
    sim_flip_bits(world, is_named_by_catalog);
    return true;
}

static bool sim_clean_stop(struct sim_world *world)
{
    if (!sim_settle(world))
        return false;
    ks_fake_clock_advance_ms(&world->clock, 1500); /* what waits after a full disk tries again */
    if (!sim_settle(world) || !sim_check_finished(world))
        return false;
    struct ks_error err = KS_ERROR_INIT;
    enum ks_status st = ks_engine_stop(world->engine, 1000, &err);
    if (!sim_deliver(world))
        return false;
    if (st != KS_OK && !world->is_poisoned)
        return sim_fail(world, "a clean stop failed: %s (%s)", ks_status_name(st), err.text);
    for (size_t i = 0; i < SIM_STREAMS_MAX && st == KS_OK; i++)
        for (uint32_t s = 0; s < world->streams[i].shard_count; s++)
            sim_log_settle(&world->streams[i].logs[s]);
    world->totals->clean_stops++;
    return sim_down(world);
}

enum sim_end { SIM_END_CUT, SIM_END_KILL, SIM_END_CLEAN, SIM_END_FAULT, SIM_END_FLIP };

static enum sim_end sim_choose_end(struct sim_world *world, bool may_flip)
{
    uint64_t dice = ks_prng_below(&world->prng, 100);
    if (dice < 55)
        return SIM_END_CUT;
    if (dice < 72)
        return SIM_END_KILL;
    if (dice < 82)
        return SIM_END_CLEAN;
    return dice < 90 || !may_flip ? SIM_END_FAULT : SIM_END_FLIP;
}

static void sim_arm(struct sim_world *world, enum sim_end end)
{
    if (end == SIM_END_CUT)
        ks_io_sim_cut_after(world->disk, 1 + ks_prng_below(&world->prng, 60));
    if (end != SIM_END_FAULT)
        return;
    world->totals->faults_injected++;
    uint64_t nth = 1 + ks_prng_below(&world->prng, 12);
    switch (ks_prng_below(&world->prng, 3)) {
    case 0:
        ks_io_sim_fail_sync_after(world->disk, nth);
        break;
    case 1:
        ks_io_sim_fail_write_after(world->disk, nth);
        break;
    default:
        world->totals->full_disks++;
        ks_io_sim_set_capacity(world->disk,
            ks_io_sim_used_bytes(world->disk) + 1 + ks_prng_below(&world->prng, 60000));
        break;
    }
}

static void sim_disarm(struct sim_world *world)
{
    ks_io_sim_cut_after(world->disk, 0);
    ks_io_sim_fail_sync_after(world->disk, 0);
    ks_io_sim_fail_write_after(world->disk, 0);
    ks_io_sim_set_capacity(world->disk, 0);
}

static bool sim_finish(struct sim_world *world, enum sim_end end)
{
    if (end == SIM_END_FLIP && !ks_io_sim_is_cut(world->disk) && !world->is_poisoned)
        return sim_flip(world);
    if (end == SIM_END_CLEAN && !world->is_poisoned)
        return sim_clean_stop(world);
    world->totals->poisons += world->is_poisoned && !ks_io_sim_is_cut(world->disk);
    if (!sim_deliver(world) || !sim_down(world))
        return false;
    if (end == SIM_END_KILL) {
        world->totals->kills++; /* the page cache survives */
        sim_power_on(world, KS_SIM_PROCESS);
        return true;
    }
    world->totals->power_cuts++;
    sim_power_cycle(world);
    sim_heal_bits(world);
    if (ks_prng_chance(&world->prng, 1, 40))
        sim_leave_stranger(world);
    return true;
}

static bool sim_cycle(struct sim_world *world, bool may_flip)
{
    if (!sim_up(world))
        return false;
    enum sim_end end = sim_choose_end(world, may_flip);
    sim_arm(world, end);
    uint64_t actions = 20 + ks_prng_below(&world->prng, 200);
    bool is_right = true;
    for (uint64_t i = 0; i < actions && is_right; i++) {
        is_right = sim_act(world);
        if (ks_io_sim_is_cut(world->disk) || world->is_poisoned)
            break;
    }
    sim_disarm(world);
    world->totals->cycles++;
    return is_right && sim_finish(world, end);
}

bool sim_world_run(uint64_t seed, uint32_t cycles, bool is_verbose, struct sim_totals *totals)
{
    struct sim_world *world = ks_zalloc(sizeof *world);
    KS_ASSERT(world);
    world->seed = seed;
    world->is_verbose = is_verbose;
    world->totals = totals;
    world->next_uid = 1;
    world->events.emit = sim_emit;
    ks_prng_seed(&world->prng, seed);
    ks_fake_clock_init(&world->clock, 1790000000000u);
    ks_list_init(&world->puts);
    ks_list_init(&world->admins);
    struct ks_error err = KS_ERROR_INIT;
    KS_ASSERT(ks_mailbox_init(&world->mailbox, false, &err) == KS_OK);
    struct ks_io_sim_options disk = {.seed = ks_prng_u64(&world->prng),
        .file_bytes_max = 256 << 10,
        .cold_percent = (unsigned)ks_prng_below(&world->prng, 60)};
    KS_ASSERT(ks_io_sim_create(&disk, &world->disk, &err) == KS_OK);
    struct ks_kv_model_options kv = {.table_count = KS_TABLE_COUNT, .disk = world->disk};
    KS_ASSERT(ks_kv_model_create(&kv, &world->catalog, &err) == KS_OK);
    kv.is_cache = true;
    KS_ASSERT(ks_kv_model_create(&kv, &world->index, &err) == KS_OK);
    const struct ks_kv_model_options elsewhere = {.table_count = KS_TABLE_COUNT, .seed = 1};
    KS_ASSERT(ks_kv_model_create(&elsewhere, &world->copy, &err) == KS_OK);
    bool may_flip = ks_prng_chance(&world->prng, 1, 2);
    bool is_right = true;
    for (; world->cycle < cycles && is_right; world->cycle++) {
        if (is_verbose)
            printf("  cycle %u\n", world->cycle);
        is_right = sim_cycle(world, may_flip);
    }
    for (size_t i = 0; i < SIM_STREAMS_MAX; i++)
        for (size_t s = 0; s < SIM_SHARDS_KEPT; s++)
            sim_log_fini(&world->streams[i].logs[s]);
    if (is_right) { /* a broken world is left as it is: the run ends */
        ks_kv_model_destroy(world->index);
        ks_kv_model_destroy(world->catalog);
        ks_kv_model_destroy(world->copy);
        ks_io_sim_destroy(world->disk);
        ks_mailbox_fini(&world->mailbox);
    }
    ks_free(world);
    return is_right;
}
