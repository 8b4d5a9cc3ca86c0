/*
 * Rot: bits that turn over on the disk. Where data is, not in the zeros behind it; half of the time
 * in the journal, and there often in the heads of its newest blocks: of the very newest one, whose
 * loss must look like a torn tail unless something says that it was durable, or of several before
 * it, so that nothing says any more where a log ended. A flipped bit may turn back later, as after
 * a bad read: what recovery has once left out of the log must then stay out. And people: files that
 * are none of ours, and files of ours that nothing is in yet, tidied away.
 */
#include "storage/journal_format.h"
#include "tests/sim/sim_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct sim_paths {
    char names[256][64];
    size_t count;
    const char *folder;
};

static void sim_note_path(void *arg, const char *name)
{
    struct sim_paths *paths = arg;
    if (paths->count < KS_COUNT_OF(paths->names))
        snprintf(paths->names[paths->count++], 64, "%s/%s", paths->folder, name);
}

static void sim_list(struct sim_world *world, const char *folder, struct sim_paths *paths)
{
    paths->count = 0;
    paths->folder = folder;
    KS_IGNORE(ks_io_list(ks_io_sim_io(world->disk), folder, sim_note_path, paths, NULL),
        "a missing folder has no files");
}

/* Up to bytes at offset; 0 when there is no such file or place. */
static size_t sim_peek(
    struct sim_world *world, const char *path, uint64_t offset, uint8_t *to, size_t bytes)
{
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    size_t got = 0;
    if (ks_io_open(ks_io_sim_io(world->disk), path, KS_OPEN_READ, &file, NULL) != KS_OK ||
        ks_file_read(file, to, bytes, offset, &got, NULL) != KS_OK)
        return 0;
    return got;
}

struct sim_block {
    char path[64];
    uint64_t offset;
    uint64_t run_id;
    uint64_t lsn;
};

#define SIM_NEWEST_MAX 4

/* The newest blocks of the journal, the newest first. */
static size_t sim_find_newest(struct sim_world *world, struct sim_block newest[SIM_NEWEST_MAX])
{
    static struct sim_paths paths;
    static uint8_t file[256 << 10];
    size_t count = 0;
    sim_list(world, "journal", &paths);
    for (size_t i = 0; i < paths.count; i++) {
        size_t bytes = sim_peek(world, paths.names[i], 0, file, sizeof file);
        for (size_t at = KS_JOURNAL_BLOCK_ALIGN; at + KS_JOURNAL_BLOCK_ALIGN <= bytes;
             at += KS_JOURNAL_BLOCK_ALIGN) {
            struct ks_journal_block_header header;
            struct ks_view rest = ks_view_of(file + at, bytes - at);
            if (ks_journal_head_peek(rest, &header) != KS_OK ||
                ks_journal_head_check(rest, &header) != KS_OK)
                continue;
            struct sim_block block = {.offset = at, .run_id = header.run_id, .lsn = header.lsn};
            snprintf(block.path, sizeof block.path, "%s", paths.names[i]);
            for (size_t k = 0; k <= count && k < SIM_NEWEST_MAX; k++) {
                if (k < count && newest[k].lsn >= block.lsn)
                    continue;
                struct sim_block pushed = newest[k];
                newest[k] = block;
                block = pushed;
            }
            count = KS_MIN(count + 1, SIM_NEWEST_MAX);
        }
    }
    return count;
}

/* A place in some file of the folder, at or behind a random one, where there is something. */
static bool sim_find_data(struct sim_world *world, const char *folder, struct sim_flip *out)
{
    static struct sim_paths paths;
    static uint8_t file[256 << 10];
    sim_list(world, folder, &paths);
    if (!paths.count)
        return false;
    const char *path = paths.names[ks_prng_below(&world->prng, paths.count)];
    size_t bytes = sim_peek(world, path, 0, file, sizeof file);
    if (!bytes)
        return false;
    size_t at = ks_prng_below(&world->prng, bytes);
    while (at < bytes && !file[at])
        at++;
    if (at == bytes)
        return false;
    snprintf(out->path, sizeof out->path, "%s", path);
    out->offset = at;
    return true;
}

static uint64_t sim_around(const struct sim_flip *flip)
{
    return flip->offset - flip->offset % sizeof flip->around;
}

static void sim_flip_at(struct sim_world *world, struct sim_flip flip)
{
    flip.bit = (unsigned)ks_prng_below(&world->prng, 8);
    ks_io_sim_flip_bit(world->disk, flip.path, flip.offset, flip.bit);
    flip.around_bytes =
        sim_peek(world, flip.path, sim_around(&flip), flip.around, sizeof flip.around);
    world->flips[world->flip_count++] = flip;
    world->has_flips = true;
    world->totals->bit_flips++;
    if (world->is_verbose)
        printf("    flipped bit %u of %s at %" PRIu64 "\n", flip.bit, flip.path, flip.offset);
}

/* The heads of one to three of the newest blocks that lie one behind the other. */
static bool sim_flip_newest(struct sim_world *world, bool is_newest_named)
{
    struct sim_block newest[SIM_NEWEST_MAX];
    size_t count = sim_find_newest(world, newest);
    if (count == 0)
        return false;
    size_t flips = 1 + ks_prng_below(&world->prng, SIM_FLIPS_MAX);
    size_t first = ks_prng_below(&world->prng, 2);
    /* Nobody can tell several blocks that are lost at the end from some that were never written. */
    if (first == 0 && !is_newest_named)
        flips = 1;
    for (size_t i = first; i < first + flips && i < count; i++) {
        struct sim_flip flip = {.offset = newest[i].offset + ks_prng_below(&world->prng,
                                                                 KS_JOURNAL_BLOCK_HEADER_BYTES)};
        snprintf(flip.path, sizeof flip.path, "%s", newest[i].path);
        sim_flip_at(world, flip);
    }
    return true;
}

void sim_flip_bits(struct sim_world *world, bool is_newest_named)
{
    bool is_done = false;
    world->flip_count = 0;
    for (int tries = 0; tries < 20 && !is_done; tries++) {
        struct sim_flip flip = {.offset = 0};
        char folder[32];
        uint64_t kind = ks_prng_below(&world->prng, 4);
        snprintf(folder, sizeof folder, "segments/%02x", (unsigned)ks_prng_below(&world->prng, 24));
        if (kind == 0) {
            is_done = sim_flip_newest(world, is_newest_named);
        } else if (sim_find_data(world, kind == 1 ? "journal" : folder, &flip)) {
            sim_flip_at(world, flip);
            is_done = true;
        }
    }
}

static void sim_heal_bit(struct sim_world *world, const struct sim_flip *flip)
{
    uint8_t there[64];
    size_t bytes = sim_peek(world, flip->path, sim_around(flip), there, sizeof there);
    if (bytes != flip->around_bytes || memcmp(there, flip->around, bytes) != 0)
        return;
    ks_io_sim_flip_bit(world->disk, flip->path, flip->offset, flip->bit);
    world->totals->bits_healed++;
    if (world->is_verbose)
        printf("    flipped it back: bit %u of %s at %" PRIu64 "\n", flip->bit, flip->path,
            flip->offset);
}

void sim_heal_bits(struct sim_world *world)
{
    if (world->flip_count == 0 || !ks_prng_chance(&world->prng, 1, 2))
        return;
    for (size_t i = 0; i < world->flip_count; i++) {
        if (ks_prng_chance(&world->prng, 2, 3))
            sim_heal_bit(world, &world->flips[i]);
    }
    world->flip_count = 0;
}

void sim_leave_stranger(struct sim_world *world)
{
    static const uint8_t content[100] = "not a segment";
    struct ks_io *io = ks_io_sim_io(world->disk);
    char path[64];
    /* One with a name that is no id, one with an id that was never given out. */
    if (ks_prng_chance(&world->prng, 1, 2))
        snprintf(path, sizeof path, "segments/00/stranger.seg");
    else
        snprintf(path, sizeof path, "segments/00/%016" PRIx64 ".seg", UINT64_C(1) << 40);
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    if (ks_io_open(io, path, KS_OPEN_WRITE | KS_OPEN_CREATE, &file, NULL) != KS_OK)
        return; /* there is no such folder yet */
    KS_ASSERT(ks_file_write_one(file, content, sizeof content, 0, KS_WRITE_DURABLE, NULL) == KS_OK);
    KS_ASSERT(ks_io_sync_dir(io, "segments/00", NULL) == KS_OK);
}

void sim_tidy_away(struct sim_world *world)
{
    static struct sim_paths paths;
    struct ks_io *io = ks_io_sim_io(world->disk);
    char folder[32];
    uint8_t byte;
    snprintf(folder, sizeof folder, "segments/%02x", (unsigned)ks_prng_below(&world->prng, 4));
    sim_list(world, folder, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        /* What has ever held something may hold something now. */
        if (sim_peek(world, paths.names[i], 0, &byte, 1) > 0 || !ks_prng_chance(&world->prng, 1, 2))
            continue;
        KS_IGNORE(ks_io_unlink(io, paths.names[i], NULL), "the power may be gone");
        if (world->is_verbose)
            printf("    tidied away %s\n", paths.names[i]);
    }
}
