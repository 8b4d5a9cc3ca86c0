/*
 * The simulation: worlds of seeded clients, steps, power cuts, kills and faults on the engine's own
 * objects. sim [--cycles N] [--seed S] [--worlds-of N] [--world W] [--verbose] Without flags,
 * KS_SIM_CYCLES and KS_SIM_SEED of the environment count. Prints its seed first; the same seed
 * repeats the same run. Exits 1 at the first broken promise, or when a branch of recovery never
 * ran.
 */
#include "base/map_copy.h"
#include "tests/sim/sim_world.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* From so many cycles on every branch must have been seen. */
#define FULL_CYCLES 10000u

static void show(const char *name, uint64_t value, bool must_be_seen, bool *all_seen)
{
    printf("  %-28s %12" PRIu64 "%s\n", name, value,
        must_be_seen && !value ? "   <-- never happened" : "");
    if (must_be_seen && !value)
        *all_seen = false;
}

/* Every row with `true` must have happened in a run of full length, else the run proves less than
 * it says. */
static bool report(const struct sim_totals *t, bool is_full)
{
    bool all_seen = true;
    printf("what happened:\n");
    show("crash-recover cycles", t->cycles, is_full, &all_seen);
    show("power cuts", t->power_cuts, is_full, &all_seen);
    show("cuts during recovery", t->cuts_in_recovery, is_full, &all_seen);
    show("kills", t->kills, is_full, &all_seen);
    show("clean stops", t->clean_stops, is_full, &all_seen);
    show("poisoned engines", t->poisons, is_full, &all_seen);
    show("full disks", t->full_disks, is_full, &all_seen);
    show("pool files tidied away", t->pool_files_missed, is_full, &all_seen);
    show("bit flips", t->bit_flips, is_full, &all_seen);
    show("bits flipped back", t->bits_healed, is_full, &all_seen);
    show("batches sent", t->batches_sent, is_full, &all_seen);
    show("records acknowledged", t->records_acked, is_full, &all_seen);
    show("records compared", t->records_checked, is_full, &all_seen);
    show("answered from memory", t->weak_acked, is_full, &all_seen);
    show("of them lost by a crash", t->weak_lost, is_full, &all_seen);
    show("gaps seen after that", t->gaps_after_loss, is_full, &all_seen);
    show("retries sent", t->retries_sent, is_full, &all_seen);
    show("duplicates answered", t->duplicates_answered, is_full, &all_seen);
    show("puts throttled", t->refused_throttled, is_full, &all_seen);
    show("puts refused, disk full", t->refused_full, is_full, &all_seen);
    show("streams created", t->streams_created, is_full, &all_seen);
    show("streams deleted", t->streams_deleted, is_full, &all_seen);
    show("reshards asked for", t->reshards_asked, is_full, &all_seen);
    show("reshards done", t->reshards_done, is_full, &all_seen);
    show("of them answered early", t->reshards_delayed, is_full, &all_seen);
    show("resumed at a start", t->reshards_resumed, is_full, &all_seen);
    show("copies of the catalog", t->catalogs_copied, is_full, &all_seen);
    show("  put back after it was lost", t->catalogs_put_back, is_full, &all_seen);
    show("  segments adopted then", t->segments_adopted, is_full, &all_seen);
    show("streams that scaled themselves", t->streams_scaled, is_full, &all_seen);
    show("puts held by a reshard", t->puts_held, is_full, &all_seen);
    show("puts to closed shards", t->puts_to_closed, is_full, &all_seen);
    show("keys gone to another shard", t->keys_moved, is_full, &all_seen);
    show("closed shards removed", t->shards_removed, is_full, &all_seen);
    show("settings changed", t->settings_changed, is_full, &all_seen);
    show("settings done, not answered", t->settings_found, is_full, &all_seen);
    show("settings refused", t->settings_refused, is_full, &all_seen);
    show("reads", t->reads, is_full, &all_seen);
    show("reads that would block", t->reads_would_block, is_full, &all_seen);
    show("time look-ups", t->time_lookups, is_full, &all_seen);
    show("waiting readers told", t->watches_told, is_full, &all_seen);
    show("waits given up", t->watches_taken_back, is_full, &all_seen);
    show("damage reported", t->damage_reported, is_full, &all_seen);
    printf("branches of recovery:\n");
    const struct ks_recovery_stats *r = &t->recovery;
    show("runs followed", r->runs_followed, is_full, &all_seen);
    show("blocks accepted", r->blocks_accepted, is_full, &all_seen);
    show("batches replayed", r->batches_replayed, is_full, &all_seen);
    show("batches below flushpoint", r->batches_below_flushpoint, is_full, &all_seen);
    show("torn tails", r->torn_tails, is_full, &all_seen);
    show("damaged blocks", r->damaged_blocks, is_full, &all_seen);
    show("damaged batches", r->damaged_batches, is_full, &all_seen);
    show("holes told by the next block", r->holes_told, is_full, &all_seen);
    show("uncertain ends pinned", r->ends_pinned, is_full, &all_seen);
    show("blocks beyond the named LSN", r->blocks_beyond_named, is_full, &all_seen);
    show("entries of deleted logs", r->entries_of_deleted, is_full, &all_seen);
    show("files unlinked", r->files_unlinked, is_full, &all_seen);
    show("files quarantined", r->files_quarantined, is_full, &all_seen);
    printf("work of the engine:\n");
    const struct ks_engine_stats *e = &t->engine;
    show("durable blocks", e->durable_blocks, is_full, &all_seen);
    show("flush rounds", e->flush_rounds, is_full, &all_seen);
    show("catalog commits", e->catalog_commits, is_full, &all_seen);
    show("segments sealed", e->segments_sealed, is_full, &all_seen);
    show("reads from tails", e->reads_from_tail, is_full, &all_seen);
    show("reads from maps", e->reads_from_maps, is_full, &all_seen);
    show("reads by copy", e->reads_by_copy, is_full, &all_seen);
    show("index entries written", e->index_entries_written, is_full, &all_seen);
    show("index look-ups", e->index_lookups, is_full, &all_seen);
    show("index rebuilds", e->index_rebuilds, is_full, &all_seen);
    show("files recycled", e->files_recycled, is_full, &all_seen);
    printf("lost %" PRIu64 ", duplicated %" PRIu64 ", reordered %" PRIu64 ", altered %" PRIu64 "\n",
        t->lost, t->duplicated, t->reordered, t->altered);
    return all_seen;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"cycles", required_argument, NULL, 'c'},
        {"seed", required_argument, NULL, 's'}, {"worlds-of", required_argument, NULL, 'n'},
        {"world", required_argument, NULL, 'w'}, {"verbose", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0}};
    const char *cycles_wanted = getenv("KS_SIM_CYCLES");
    const char *seed_wanted = getenv("KS_SIM_SEED");
    uint64_t cycles = cycles_wanted ? strtoull(cycles_wanted, NULL, 0) : 1000;
    uint64_t seed = seed_wanted ? strtoull(seed_wanted, NULL, 0) : (uint64_t)time(NULL) * 1000003u;
    uint32_t cycles_per_world = 25;
    uint64_t only_world = 0;
    bool is_verbose = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            cycles = strtoull(optarg, NULL, 0);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            cycles_per_world = (uint32_t)strtoul(optarg, NULL, 0);
            break;
        case 'w':
            only_world = strtoull(optarg, NULL, 0);
            break;
        case 'v':
            is_verbose = true;
            break;
        default:
            fprintf(stderr, "usage: sim [--cycles N] [--seed S] [--world W] [--verbose]\n");
            return 2;
        }
    }
    printf("simulation: seed %" PRIu64 ", %" PRIu64 " cycles\n", seed, cycles);
    fflush(stdout);
    ks_map_guard_install();
    struct sim_totals totals;
    memset(&totals, 0, sizeof totals);
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    uint64_t worlds = only_world ? 1 : (cycles + cycles_per_world - 1) / cycles_per_world;
    bool is_right = true;
    for (uint64_t i = 0; i < worlds && is_right; i++) {
        struct ks_prng prng;
        ks_prng_seed(&prng, seed * 0x9e3779b97f4a7c15u + i);
        uint64_t world_seed = only_world ? only_world : ks_prng_u64(&prng);
        is_right = sim_world_run(world_seed, cycles_per_world, is_verbose, &totals);
        if (!is_right)
            printf("replay this world alone: sim --world %" PRIu64 " --worlds-of %u --verbose\n",
                world_seed, cycles_per_world);
    }
    struct timespec ended;
    clock_gettime(CLOCK_MONOTONIC, &ended);
    bool all_seen = report(&totals, !only_world && cycles >= FULL_CYCLES);
    double seconds =
        (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
    printf("%" PRIu64 " cycles in %.1f s: %s\n", totals.cycles, seconds,
        !is_right  ? "FAILED"
        : all_seen ? "ok"
                   : "FAILED: a branch never ran");
    return is_right && all_seen ? 0 : 1;
}
