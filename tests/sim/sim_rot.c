/*
 * Rot: bits that turn over on the disk. Where data is, not in the zeros behind it; half of the time
 * in the journal, and there often in the newest block, whose loss must look like a torn tail. A
 * flipped bit may turn back later, as after a bad read: what recovery has once left out of the log
 * must then stay out.
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

/* The newest block of the journal, by run and LSN. */
static bool sim_find_newest_block(struct sim_world *world, struct sim_flip *out)
{
    static struct sim_paths paths;
    static uint8_t file[256 << 10];
    uint64_t run_id = 0;
    uint64_t lsn = 0;
    sim_list(world, "journal", &paths);
    for (size_t i = 0; i < paths.count; i++) {
        size_t bytes = sim_peek(world, paths.names[i], 0, file, sizeof file);
        for (size_t at = KS_JOURNAL_BLOCK_ALIGN; at + KS_JOURNAL_BLOCK_ALIGN <= bytes;
             at += KS_JOURNAL_BLOCK_ALIGN) {
            struct ks_journal_block_header header;
            if (ks_journal_head_peek(ks_view_of(file + at, bytes - at), &header) != KS_OK ||
                header.run_id < run_id || (header.run_id == run_id && header.lsn < lsn))
                continue;
            run_id = header.run_id;
            lsn = header.lsn;
            snprintf(out->path, sizeof out->path, "%s", paths.names[i]);
            out->offset = at + ks_prng_below(&world->prng, KS_JOURNAL_BLOCK_HEADER_BYTES);
        }
    }
    return run_id != 0;
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

void sim_flip_random_bit(struct sim_world *world)
{
    struct sim_flip flip = {.bit = (unsigned)ks_prng_below(&world->prng, 8)};
    bool is_found = false;
    for (int tries = 0; tries < 20 && !is_found; tries++) {
        char folder[32];
        snprintf(folder, sizeof folder, "segments/%02x", (unsigned)ks_prng_below(&world->prng, 24));
        switch (ks_prng_below(&world->prng, 4)) {
        case 0:
            is_found = sim_find_newest_block(world, &flip);
            break;
        case 1:
            is_found = sim_find_data(world, "journal", &flip);
            break;
        default:
            is_found = sim_find_data(world, folder, &flip);
            break;
        }
    }
    if (!is_found)
        return;
    ks_io_sim_flip_bit(world->disk, flip.path, flip.offset, flip.bit);
    flip.around_bytes =
        sim_peek(world, flip.path, sim_around(&flip), flip.around, sizeof flip.around);
    world->flip = flip;
    world->has_flips = true;
    world->totals->bit_flips++;
    if (world->is_verbose)
        printf("    flipped bit %u of %s at %" PRIu64 "\n", flip.bit, flip.path, flip.offset);
}

void sim_heal_bit(struct sim_world *world)
{
    uint8_t there[64];
    if (!world->flip.path[0] || !ks_prng_chance(&world->prng, 1, 2))
        return;
    struct sim_flip flip = world->flip;
    world->flip.path[0] = '\0';
    size_t bytes = sim_peek(world, flip.path, sim_around(&flip), there, sizeof there);
    if (bytes != flip.around_bytes || memcmp(there, flip.around, bytes) != 0)
        return;
    ks_io_sim_flip_bit(world->disk, flip.path, flip.offset, flip.bit);
    world->totals->bits_healed++;
    if (world->is_verbose)
        printf(
            "    flipped it back: bit %u of %s at %" PRIu64 "\n", flip.bit, flip.path, flip.offset);
}
