/* What a power cut leaves and what it takes, for every mode of survival and many seeds. */
#include "base/prng.h"
#include "storage/io_sim.h"
#include "tests/unit/ks_check.h"

#define WRITE_CREATE (KS_OPEN_WRITE | KS_OPEN_CREATE)
#define SEEDS 200

static const enum ks_sim_survive cut_modes[] = {
    KS_SIM_NOTHING, KS_SIM_ALL, KS_SIM_RANDOM, KS_SIM_PREFIX};
static struct ks_io_sim *sim;
static struct ks_io *io;

static void use_disk(uint64_t seed)
{
    struct ks_io_sim_options options = {.seed = seed, .file_bytes_max = 64 << 10};
    ck_assert_int_eq(ks_io_sim_create(&options, &sim, NULL), KS_OK);
    io = ks_io_sim_io(sim);
}

static void leave_disk(void)
{
    ks_io_sim_destroy(sim);
}

static struct ks_file *open_file(const char *path, unsigned flags)
{
    struct ks_file *file = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_msg(ks_io_open(io, path, flags, &file, &err) == KS_OK, "%s", err.text);
    return file;
}

static bool exists(const char *path)
{
    struct ks_file *file = NULL;
    enum ks_status st = ks_io_open(io, path, KS_OPEN_READ, &file, NULL);
    ks_file_close(file);
    return st == KS_OK;
}

static void fill(struct ks_file *file, char with, size_t bytes, uint64_t offset, unsigned flags)
{
    static char data[64 << 10];
    memset(data, with, bytes);
    ck_assert_int_eq(ks_file_write_one(file, data, bytes, offset, flags, NULL), KS_OK);
}

static void make_synced(const char *path, char with, size_t bytes)
{
    struct ks_file *file = open_file(path, WRITE_CREATE);
    fill(file, with, bytes, 0, KS_WRITE_PLAIN);
    ck_assert_int_eq(ks_file_sync(file, NULL), KS_OK);
    ks_file_close(file);
    ck_assert_int_eq(ks_io_sync_dir(io, ".", NULL), KS_OK);
}

/* How many of the sectors are wholly `with`; every sector must be wholly one byte. */
static unsigned count_sectors(const char *path, char with, unsigned sectors)
{
    struct ks_file *file = open_file(path, KS_OPEN_READ);
    unsigned count = 0;
    for (unsigned s = 0; s < sectors; s++) {
        char got[KS_SIM_SECTOR_BYTES];
        size_t bytes = 0;
        enum ks_status st = ks_file_read(file, got, sizeof got, s * sizeof got, &bytes, NULL);
        if (st || (bytes > 1 && memcmp(got, got + 1, bytes - 1) != 0)) /* an assert each is slow */
            ck_abort_msg("'%s' sector %u: status %d or mixed", path, s, st);
        count += bytes == sizeof got && got[0] == with;
    }
    ks_file_close(file);
    return count;
}

static uint64_t size_of(const char *path)
{
    struct ks_file *file = open_file(path, KS_OPEN_READ);
    uint64_t bytes = 0;
    ck_assert_int_eq(ks_file_size(file, &bytes, NULL), KS_OK);
    ks_file_close(file);
    return bytes;
}

START_TEST(what_was_synced_survives_every_cut)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_disk(seed);
        make_synced("a", 'x', 8192);
        struct ks_file *file = open_file("a", KS_OPEN_WRITE | KS_OPEN_DIRECT);
        _Alignas(4096) static char block[4096];
        memset(block, 'y', sizeof block);
        ck_assert_int_eq(
            ks_file_write_one(file, block, sizeof block, 8192, KS_WRITE_DURABLE, NULL), KS_OK);
        ks_file_close(file);
        ks_io_sim_power_on(sim, cut_modes[_i]);
        ck_assert_uint_eq(size_of("a"), 12288);
        ck_assert_uint_eq(count_sectors("a", 'x', 16), 16);
        ck_assert_uint_eq(count_sectors("a", 'y', 24), 8);
        leave_disk();
    }
}
END_TEST

START_TEST(what_was_not_synced_is_torn_at_random)
{
    unsigned seen[17] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_disk(seed);
        make_synced("a", 'x', 8192);
        struct ks_file *file = open_file("a", KS_OPEN_WRITE);
        fill(file, 'y', 8192, 0, KS_WRITE_PLAIN);
        ks_file_close(file);
        ck_assert_uint_eq(count_sectors("a", 'y', 16), 16); /* the cache shows it */
        ks_io_sim_power_on(sim, cut_modes[_i]);
        unsigned fresh = count_sectors("a", 'y', 16);
        ck_assert_uint_eq(fresh + count_sectors("a", 'x', 16), 16);
        if (cut_modes[_i] == KS_SIM_PREFIX) /* the new ones come first */
            ck_assert_uint_eq(count_sectors("a", 'y', fresh), fresh);
        seen[fresh]++;
        leave_disk();
    }
    if (cut_modes[_i] == KS_SIM_NOTHING)
        ck_assert_uint_eq(seen[0], SEEDS);
    else if (cut_modes[_i] == KS_SIM_ALL)
        ck_assert_uint_eq(seen[16], SEEDS);
    else
        ck_assert(seen[3] && seen[8] && seen[13]);
}
END_TEST

START_TEST(the_same_seed_gives_the_same_disk)
{
    unsigned fresh[2];
    for (int round = 0; round < 2; round++) {
        use_disk(77);
        make_synced("a", 'x', 32768);
        struct ks_file *file = open_file("a", KS_OPEN_WRITE);
        fill(file, 'y', 32768, 0, KS_WRITE_PLAIN);
        ks_file_close(file);
        ks_io_sim_power_on(sim, KS_SIM_RANDOM);
        fresh[round] = count_sectors("a", 'y', 64);
        leave_disk();
    }
    ck_assert_uint_eq(fresh[0], fresh[1]);
}
END_TEST

START_TEST(a_new_file_can_vanish_until_its_directory_is_synced)
{
    unsigned vanished = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_disk(seed);
        struct ks_file *file = open_file("a", WRITE_CREATE);
        fill(file, 'x', 4096, 0, KS_WRITE_PLAIN);
        ck_assert_int_eq(ks_file_sync(file, NULL), KS_OK); /* does not help the name */
        ks_file_close(file);
        ks_io_sim_power_on(sim, KS_SIM_RANDOM);
        if (exists("a"))
            ck_assert_uint_eq(count_sectors("a", 'x', 8), 8);
        else
            vanished++;
        ck_assert_uint_eq(ks_io_sim_counts(sim)->files_vanished, !exists("a"));
        leave_disk();
    }
    ck_assert(vanished > SEEDS / 10 && vanished < SEEDS);
}
END_TEST

START_TEST(a_removed_file_can_come_back_until_its_directory_is_synced)
{
    unsigned back = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_disk(seed);
        make_synced("a", 'x', 4096);
        make_synced("b", 'x', 4096);
        ck_assert_int_eq(ks_io_unlink(io, "b", NULL), KS_OK);
        ck_assert_int_eq(ks_io_sync_dir(io, ".", NULL), KS_OK);
        ck_assert_int_eq(ks_io_unlink(io, "a", NULL), KS_OK);
        ck_assert(!exists("a"));
        ks_io_sim_power_on(sim, KS_SIM_RANDOM);
        ck_assert(!exists("b"));
        back += exists("a");
        if (exists("a"))
            ck_assert_uint_eq(count_sectors("a", 'x', 8), 8);
        leave_disk();
    }
    ck_assert(back > SEEDS / 10 && back < SEEDS);
}
END_TEST

/* The usual way to replace a file: at every moment one whole version is there. */
START_TEST(a_rename_survives_whole_or_not_at_all)
{
    unsigned is_new = 0, has_temporary = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_disk(seed);
        make_synced("a", 'x', 4096);
        struct ks_file *file = open_file("a.new", WRITE_CREATE);
        fill(file, 'y', 4096, 0, KS_WRITE_PLAIN);
        ck_assert_int_eq(ks_file_sync(file, NULL), KS_OK);
        ks_file_close(file);
        ck_assert_int_eq(ks_io_rename(io, "a.new", "a", NULL), KS_OK);
        ks_io_sim_power_on(sim, seed % 2 ? KS_SIM_RANDOM : KS_SIM_PREFIX);
        unsigned fresh = count_sectors("a", 'y', 8);
        ck_assert_uint_eq(fresh + count_sectors("a", 'x', 8), 8);
        ck_assert(fresh == 0 || fresh == 8);
        ck_assert(fresh == 0 || !exists("a.new"));
        is_new += fresh == 8;
        has_temporary += exists("a.new");
        leave_disk();
    }
    ck_assert(is_new > 0 && is_new < SEEDS && has_temporary > 0);
}
END_TEST

START_TEST(a_directory_takes_its_files_along)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_disk(seed);
        ck_assert_int_eq(ks_io_make_dir(io, "d", NULL), KS_OK);
        ks_file_close(open_file("d/a", WRITE_CREATE));
        ck_assert_int_eq(ks_io_sync_dir(io, "d", NULL), KS_OK);
        bool is_synced = seed % 2;
        if (is_synced)
            ck_assert_int_eq(ks_io_sync_dir(io, ".", NULL), KS_OK);
        ks_io_sim_power_on(sim, KS_SIM_RANDOM);
        ck_assert(!is_synced || exists("d/a"));
        lost += !exists("d/a");
        if (!exists("d/a"))
            ck_assert_int_eq(ks_io_sync_dir(io, "d", NULL), KS_NOT_FOUND);
        leave_disk();
    }
    ck_assert_uint_gt(lost, 0);
}
END_TEST

START_TEST(truncation_and_growth_are_volatile_until_the_sync)
{
    unsigned sizes[3] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_disk(seed);
        make_synced("a", 'x', 8192);
        make_synced("b", 'x', 512);
        struct ks_file *a = open_file("a", KS_OPEN_WRITE), *b = open_file("b", KS_OPEN_WRITE);
        ck_assert_int_eq(ks_file_truncate(a, 1024, NULL), KS_OK);
        ck_assert_int_eq(ks_file_allocate(b, 0, 4096, NULL), KS_OK);
        bool is_synced = seed % 4 == 0;
        if (is_synced)
            ck_assert_int_eq(ks_file_sync(a, NULL), KS_OK);
        ks_file_close(a);
        ks_file_close(b);
        ks_io_sim_power_on(sim, KS_SIM_RANDOM);
        uint64_t bytes = size_of("a");
        ck_assert(bytes == 1024 || (bytes == 8192 && !is_synced));
        ck_assert_uint_eq(count_sectors("a", 'x', 2), 2);
        ck_assert(size_of("b") >= 512 && size_of("b") <= 4096);
        ck_assert_uint_eq(count_sectors("b", 'x', 1), 1);
        sizes[0] += bytes == 1024 && !is_synced;
        sizes[1] += bytes == 8192;
        sizes[2] += size_of("b") == 4096;
        leave_disk();
    }
    ck_assert(sizes[0] && sizes[1] && sizes[2]);
}
END_TEST

/* Linux: after a failed sync the next one answers success, the cache shows the new bytes, the disk
 * has the old ones. */
START_TEST(after_a_failed_sync_success_means_nothing)
{
    use_disk(1);
    make_synced("a", 'x', 4096);
    struct ks_file *file = open_file("a", KS_OPEN_WRITE);
    fill(file, 'y', 4096, 0, KS_WRITE_PLAIN);
    ks_io_sim_fail_sync_after(sim, 1);
    ck_assert_int_eq(ks_file_sync(file, NULL), KS_IO);
    ck_assert_int_eq(ks_file_sync(file, NULL), KS_OK);
    ck_assert_uint_eq(count_sectors("a", 'y', 8), 8);
    if (_i == 1)
        ks_file_drop_cache(file);
    if (_i == 2) { /* written again it is dirty again */
        fill(file, 'z', 512, 0, KS_WRITE_PLAIN);
        ck_assert_int_eq(ks_file_sync(file, NULL), KS_OK);
    }
    ks_file_close(file);
    if (_i != 1)
        ks_io_sim_power_on(sim, KS_SIM_ALL);
    ck_assert_uint_eq(count_sectors("a", 'y', 8), 0);
    ck_assert_uint_eq(count_sectors("a", 'x', 8), _i == 2 ? 7 : 8);
    ck_assert_uint_eq(ks_io_sim_counts(sim)->failed_syncs, 1);
    leave_disk();
}
END_TEST

START_TEST(a_failed_durable_write_promises_nothing)
{
    unsigned fresh = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_disk(seed);
        make_synced("a", 'x', 4096);
        struct ks_file *file = open_file("a", KS_OPEN_WRITE | KS_OPEN_DIRECT);
        _Alignas(4096) static char block[4096];
        memset(block, 'y', sizeof block);
        if (_i)
            ks_io_sim_fail_write_after(sim, 1);
        else
            ks_io_sim_fail_sync_after(sim, 1);
        ck_assert_int_eq(
            ks_file_write_one(file, block, sizeof block, 0, KS_WRITE_DURABLE, NULL), KS_IO);
        ks_file_close(file);
        unsigned before =
            count_sectors("a", 'y', 8); /* no cache in between: what is read is there */
        ks_io_sim_power_on(sim, KS_SIM_NOTHING);
        ck_assert_uint_eq(count_sectors("a", 'y', 8), before);
        fresh += before > 0;
        leave_disk();
    }
    ck_assert(fresh > 0 && fresh < SEEDS);
}
END_TEST

START_TEST(a_killed_process_leaves_the_cache_as_volatile_as_it_was)
{
    use_disk(5);
    make_synced("a", 'x', 4096);
    struct ks_file *file = open_file("a", KS_OPEN_WRITE);
    fill(file, 'y', 4096, 0, KS_WRITE_PLAIN);
    ks_file_close(file);
    ks_file_close(open_file("b", WRITE_CREATE));
    ks_io_sim_power_on(sim, KS_SIM_PROCESS);
    ck_assert_uint_eq(count_sectors("a", 'y', 8), 8);
    ck_assert(exists("b"));
    if (_i) { /* now it is made durable before it is believed */
        file = open_file("a", KS_OPEN_WRITE);
        ck_assert_int_eq(ks_file_sync(file, NULL), KS_OK);
        ks_file_close(file);
    }
    ks_io_sim_power_on(sim, KS_SIM_NOTHING);
    ck_assert_uint_eq(count_sectors("a", 'y', 8), _i ? 8 : 0);
    ck_assert(!exists("b"));
    leave_disk();
}
END_TEST

/* A small program that may be cut anywhere: a header is synced before a body refers to it. */
static enum ks_status work(void)
{
    struct ks_file *file = NULL;
    char data[1024];
    memset(data, 'h', sizeof data);
    enum ks_status st = ks_io_make_dir(io, "d", NULL);
    st = st ? st : ks_io_sync_dir(io, ".", NULL);
    st = st ? st : ks_io_open(io, "d/a", WRITE_CREATE, &file, NULL);
    st = st ? st : ks_io_sync_dir(io, "d", NULL);
    st = st ? st : ks_file_allocate(file, 0, 4096, NULL);
    st = st ? st : ks_file_write_one(file, data, sizeof data, 0, KS_WRITE_PLAIN, NULL);
    st = st ? st : ks_file_sync(file, NULL);
    memset(data, 'b', sizeof data);
    st = st ? st : ks_file_write_one(file, data, sizeof data, 1024, KS_WRITE_DURABLE, NULL);
    st = st ? st : ks_file_truncate(file, 2048, NULL);
    st = st ? st : ks_io_rename(io, "d/a", "d/b", NULL);
    st = st ? st : ks_io_sync_dir(io, "d", NULL);
    st = st ? st : ks_io_unlink(io, "d/b", NULL);
    if (st)
        ck_assert_int_eq(st, KS_IO);
    if (ks_io_sim_is_cut(sim) && file) {
        size_t got;
        ck_assert_int_eq(ks_file_read(file, data, 1, 0, &got, NULL), KS_IO);
        ck_assert_int_eq(ks_file_sync(file, NULL), KS_IO);
        ck_assert_int_eq(ks_io_list(io, "d", NULL, NULL, NULL), KS_IO);
    }
    ks_file_close(file);
    return st;
}

START_TEST(a_cut_at_every_call_leaves_what_was_synced_before_it)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        for (uint64_t n = 1;; n++) {
            use_disk(seed * 100 + n);
            ks_io_sim_cut_after(sim, n);
            enum ks_status st = work();
            ck_assert_int_eq(st == KS_OK, !ks_io_sim_is_cut(sim));
            ks_io_sim_power_on(sim, cut_modes[_i]);
            ck_assert(!ks_io_sim_is_cut(sim));
            const char *path = exists("d/b") ? "d/b" : "d/a";
            if (n > 5 &&
                n <=
                    12) /* directory and name were synced by the 4th call, the unlink is the 12th */
                ck_assert(exists(path) || n == 12);
            if (n > 7 && exists(path))
                ck_assert_uint_eq(count_sectors(path, 'h', 2), 2);
            if (n > 8 && exists(path))
                ck_assert_uint_eq(count_sectors(path, 'b', 4), 2);
            if (n == 12)
                ck_assert(!exists("d/a"));
            leave_disk();
            if (st == KS_OK) {
                ck_assert_uint_eq(n, 13);
                break;
            }
        }
    }
}
END_TEST

START_TEST(a_full_disk_refuses_and_recovers)
{
    use_disk(1);
    ks_io_sim_set_capacity(sim, 16384);
    struct ks_file *file = open_file("a", WRITE_CREATE);
    ck_assert_int_eq(ks_file_allocate(file, 0, 12288, NULL), KS_OK);
    ck_assert_int_eq(ks_file_allocate(file, 0, 20480, NULL), KS_STORAGE_FULL);
    ck_assert_uint_eq(ks_io_sim_used_bytes(sim), 12288);
    fill(file, 'x', 12288, 0, KS_WRITE_DURABLE); /* into what is allocated: always */
    fill(file, 'x', 4096, 12288, KS_WRITE_PLAIN);
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_file_write_one(file, "x", 1, 16384, KS_WRITE_PLAIN, &err), KS_IO);
    ck_assert_ptr_nonnull(strstr(err.text, "No space left"));
    struct ks_file *other = NULL;
    ck_assert_int_eq(ks_io_open(io, "b", WRITE_CREATE, &other, NULL), KS_STORAGE_FULL);
    struct ks_fs_info info;
    ck_assert_int_eq(ks_io_fs_info(io, &info, NULL), KS_OK);
    ck_assert_uint_eq(info.free_bytes, 0);
    ks_file_close(file);
    ck_assert_int_eq(ks_io_unlink(io, "a", NULL), KS_OK);
    ck_assert_int_eq(ks_io_sync_dir(io, ".", NULL), KS_OK);
    ck_assert_uint_eq(ks_io_sim_used_bytes(sim), 0);
    make_synced("b", 'x', 16384);
    leave_disk();
}
END_TEST

START_TEST(lost_blocks_are_free_again_after_a_cut)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        use_disk(seed);
        make_synced("a", 'x', 4096);
        struct ks_file *file = open_file("a", KS_OPEN_WRITE);
        ck_assert_int_eq(ks_file_allocate(file, 0, 32768, NULL), KS_OK);
        fill(file, 'y', 8192, 4096, KS_WRITE_PLAIN);
        ks_file_close(file);
        ks_io_sim_power_on(sim, cut_modes[_i]);
        uint64_t used = ks_io_sim_used_bytes(sim);
        ck_assert(used >= 4096 && used <= 32768);
        if (cut_modes[_i] == KS_SIM_NOTHING)
            ck_assert_uint_eq(used, 4096);
        ck_assert_int_eq(ks_io_unlink(io, "a", NULL), KS_OK);
        ck_assert_int_eq(ks_io_sync_dir(io, ".", NULL), KS_OK);
        ck_assert_uint_eq(ks_io_sim_used_bytes(sim), 0);
        leave_disk();
    }
}
END_TEST

START_TEST(rot_and_bad_sectors_are_read_as_such)
{
    use_disk(1);
    make_synced("a", 'x', 4096);
    ks_io_sim_flip_bit(sim, "a", 1000, 1);
    struct ks_file *file = open_file("a", KS_OPEN_READ);
    char got[8];
    ck_assert_int_eq(ks_file_read_exactly(file, got, 3, 999, NULL), KS_OK);
    ck_assert_mem_eq(got, "xzx", 3);
    ks_io_sim_fail_reads(sim, "a", 2000, 10);
    ck_assert_int_eq(ks_file_read_exactly(file, got, 8, 1992, NULL), KS_OK);
    ck_assert_int_eq(ks_file_read_exactly(file, got, 8, 1993, NULL), KS_IO);
    ck_assert_int_eq(ks_file_read_exactly(file, got, 8, 2009, NULL), KS_IO);
    ck_assert_int_eq(ks_file_read_exactly(file, got, 8, 2010, NULL), KS_OK);
    ks_file_close(file);
    ks_io_sim_power_on(sim, KS_SIM_NOTHING);
    ck_assert_uint_eq(ks_io_sim_counts(sim)->flipped_bits, 1);
    file = open_file("a", KS_OPEN_READ);
    ck_assert_int_eq(ks_file_read_exactly(file, got, 8, 2000, NULL), KS_OK);
    ck_assert_int_eq(ks_file_read_exactly(file, got, 1, 1000, NULL), KS_OK);
    ck_assert_int_eq(got[0], 'z'); /* rot stays */
    ks_file_close(file);
    leave_disk();
}
END_TEST

/* A file reused under a reader's map shows the new owner's bytes: that is what pins are for. */
START_TEST(a_map_shows_the_bytes_of_the_files_next_life)
{
    use_disk(1);
    make_synced("a", 'x', 4096);
    struct ks_file *file = open_file("a", KS_OPEN_WRITE);
    void *map = NULL;
    ck_assert_int_eq(ks_file_map(file, 4096, &map, NULL), KS_OK);
    ck_assert_int_eq(*(char *)map, 'x');
    fill(file, 'n', 4096, 0, KS_WRITE_PLAIN);
    ck_assert_int_eq(*(char *)map, 'n');
    ks_file_close(file);
    ks_io_unmap(io, map, 4096);
    leave_disk();
}
END_TEST

START_TEST(a_formatted_disk_is_empty_and_as_good_as_new)
{
    use_disk(1);
    for (uint64_t round = 0; round < 3; round++) {
        make_synced("a", 'x', 8192);
        struct ks_file *file = open_file("b", WRITE_CREATE);
        fill(file, 'y', 100, 60000, KS_WRITE_PLAIN);
        ks_file_close(file);
        ks_io_sim_format(sim, round);
        ck_assert(!exists("a") && !exists("b"));
        ck_assert_uint_eq(ks_io_sim_used_bytes(sim), 0);
        file = open_file("c", WRITE_CREATE);
        ck_assert_int_eq(ks_file_truncate(file, 65536, NULL), KS_OK);
        ks_file_close(file);
        ck_assert_uint_eq(
            count_sectors("c", 0, 128), 128); /* nothing of the old files shines through */
    }
    leave_disk();
}
END_TEST

START_TEST(cold_percent_makes_ranges_cold)
{
    struct ks_io_sim_options options = {.seed = 3, .file_bytes_max = 8192, .cold_percent = 30};
    ck_assert_int_eq(ks_io_sim_create(&options, &sim, NULL), KS_OK);
    io = ks_io_sim_io(sim);
    make_synced("a", 'x', 4096);
    struct ks_file *file = open_file("a", KS_OPEN_READ);
    void *map = NULL;
    ck_assert_int_eq(ks_file_map(file, 4096, &map, NULL), KS_OK);
    unsigned cold = 0;
    for (int i = 0; i < 1000; i++)
        cold += !ks_io_is_resident(io, map, 4096);
    ck_assert(cold > 200 && cold < 400);
    ks_io_unmap(io, map, 4096);
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(an_unaligned_write_to_a_direct_file_is_a_mistake)
{
    use_disk(1);
    struct ks_file *file = open_file("a", WRITE_CREATE | KS_OPEN_DIRECT);
    _Alignas(4096) static char block[8192];
    KS_IGNORE(ks_file_write_one(file, block, 4096, 512, KS_WRITE_PLAIN, NULL), "it asserts");
}
END_TEST

START_TEST(power_with_an_open_file_is_a_mistake)
{
    use_disk(1);
    open_file("a", WRITE_CREATE);
    ks_io_sim_power_on(sim, KS_SIM_NOTHING);
}
END_TEST

START_TEST(twenty_thousand_cycles_are_quick)
{
    use_disk(1);
    struct ks_prng prng;
    ks_prng_seed(&prng, 9);
    static const char *const paths[] = {"a", "b", "c", "d", "e"};
    for (uint64_t cycle = 0; cycle < 20000; cycle++) {
        ks_io_sim_cut_after(sim, 1 + ks_prng_below(&prng, 40));
        KS_IGNORE(ks_io_unlink(io, paths[cycle % 5], NULL), "there or not");
        for (size_t i = 0; i < KS_COUNT_OF(paths) && !ks_io_sim_is_cut(sim); i++) {
            static char data[16384];
            struct ks_file *file = NULL;
            enum ks_status st = ks_io_open(io, paths[i], WRITE_CREATE, &file, NULL);
            for (int w = 0; w < 4 && !st; w++)
                st = ks_file_write_one(file, data, ks_prng_below(&prng, sizeof data) + 1,
                    ks_prng_below(&prng, 16384), w == 2 ? KS_WRITE_DURABLE : KS_WRITE_PLAIN, NULL);
            st = st ? st : ks_file_sync(file, NULL);
            st = st ? st : ks_io_sync_dir(io, ".", NULL);
            if (st && st != KS_IO)
                ck_abort_msg("%s", ks_status_name(st));
            ks_file_close(file);
        }
        ks_io_sim_power_on(sim, (enum ks_sim_survive)ks_prng_below(&prng, 5));
    }
    const struct ks_io_sim_counts *counts = ks_io_sim_counts(sim);
    ck_assert_uint_eq(counts->cuts + counts->kills, 20000);
    ck_assert(
        counts->sectors_kept && counts->sectors_lost && counts->names_lost && counts->names_kept);
    leave_disk();
}
END_TEST

KS_SUITE("storage/io_sim")
{
    KS_TEST_LOOP(what_was_synced_survives_every_cut, 4);
    KS_TEST_LOOP(what_was_not_synced_is_torn_at_random, 4);
    KS_TEST(the_same_seed_gives_the_same_disk);
    KS_TEST(a_new_file_can_vanish_until_its_directory_is_synced);
    KS_TEST(a_removed_file_can_come_back_until_its_directory_is_synced);
    KS_TEST(a_rename_survives_whole_or_not_at_all);
    KS_TEST(a_directory_takes_its_files_along);
    KS_TEST(truncation_and_growth_are_volatile_until_the_sync);
    KS_TEST_LOOP(after_a_failed_sync_success_means_nothing, 3);
    KS_TEST_LOOP(a_failed_durable_write_promises_nothing, 2);
    KS_TEST_LOOP(a_killed_process_leaves_the_cache_as_volatile_as_it_was, 2);
    KS_TEST_LOOP(a_cut_at_every_call_leaves_what_was_synced_before_it, 4);
    KS_TEST(a_full_disk_refuses_and_recovers);
    KS_TEST_LOOP(lost_blocks_are_free_again_after_a_cut, 4);
    KS_TEST(rot_and_bad_sectors_are_read_as_such);
    KS_TEST(a_map_shows_the_bytes_of_the_files_next_life);
    KS_TEST(a_formatted_disk_is_empty_and_as_good_as_new);
    KS_TEST(cold_percent_makes_ranges_cold);
    KS_TEST(twenty_thousand_cycles_are_quick);
    KS_TEST_ABORTS(an_unaligned_write_to_a_direct_file_is_a_mistake);
    KS_TEST_ABORTS(power_with_an_open_file_is_a_mistake);
}
