/* What every disk behind the seam must do alike: the real one, the failing one without a plan, the
 * simulated one. */
#include "base/alloc.h"
#include "storage/io.h"
#include "storage/io_fault.h"
#include "storage/io_sim.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/temp_dir.h"

enum { DISK_POSIX, DISK_FAULT, DISK_SIM, DISKS };

static struct ks_io *posix, *io;
static struct ks_io_fault *fault;
static struct ks_io_sim *sim;

static void use_disk(int which)
{
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_msg(ks_io_posix_open(temp_dir(), &posix, &err) == KS_OK, "%s", err.text);
    ck_assert_int_eq(ks_io_fault_create(posix, &fault, NULL), KS_OK);
    ck_assert_int_eq(ks_io_sim_create(&(struct ks_io_sim_options){.seed = 1}, &sim, NULL), KS_OK);
    io = which == DISK_SIM     ? ks_io_sim_io(sim)
         : which == DISK_FAULT ? ks_io_fault_io(fault)
                               : posix;
}

static void leave_disk(void)
{
    ks_io_sim_destroy(sim);
    ks_io_fault_destroy(fault);
    ks_io_posix_close(posix);
}

static struct ks_file *open_file(const char *path, unsigned flags)
{
    struct ks_file *file = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_msg(ks_io_open(io, path, flags, &file, &err) == KS_OK, "%s", err.text);
    return file;
}

static void write_text(struct ks_file *file, const char *text, uint64_t offset)
{
    ck_assert_int_eq(
        ks_file_write_one(file, text, strlen(text), offset, KS_WRITE_PLAIN, NULL), KS_OK);
}

static void expect_bytes(struct ks_file *file, const void *bytes, size_t count, uint64_t offset)
{
    KS_AUTO_FREE char *got = ks_malloc(count);
    ck_assert_int_eq(ks_file_read_exactly(file, got, count, offset, NULL), KS_OK);
    ck_assert_mem_eq(got, bytes, count);
}

static uint64_t size_of(struct ks_file *file)
{
    uint64_t bytes = 0;
    ck_assert_int_eq(ks_file_size(file, &bytes, NULL), KS_OK);
    return bytes;
}

START_TEST(a_missing_file_is_not_found)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_io_open(io, "missing", KS_OPEN_READ, &file, &err), KS_NOT_FOUND);
    ck_assert_ptr_null(file);
    ck_assert_ptr_nonnull(strstr(err.text, "missing"));
    ck_assert_int_eq(
        ks_io_open(io, "no/such", KS_OPEN_WRITE | KS_OPEN_CREATE, &file, NULL), KS_NOT_FOUND);
    ck_assert_int_eq(ks_io_unlink(io, "missing", NULL), KS_NOT_FOUND);
    ck_assert_int_eq(ks_io_rename(io, "missing", "other", NULL), KS_NOT_FOUND);
    ck_assert_int_eq(ks_io_list(io, "missing", NULL, NULL, NULL), KS_NOT_FOUND);
    ck_assert_int_eq(ks_io_sync_dir(io, "missing", NULL), KS_NOT_FOUND);
    leave_disk();
}
END_TEST

START_TEST(what_is_written_is_read_through_any_open_file)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = open_file("a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    ck_assert_str_eq(file->path, "a");
    write_text(file, "hello", 10);
    ck_assert_uint_eq(size_of(file), 15);
    struct ks_file *other = open_file("a", KS_OPEN_READ);
    expect_bytes(other, "\0\0\0\0\0\0\0\0\0\0hello", 15, 0); /* a hole reads as zeros */
    write_text(file, "J", 10);
    expect_bytes(other, "Jello", 5, 10);
    ks_file_close(other);
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(pieces_are_written_in_order_however_many)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = open_file("a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    uint8_t bytes[1000];
    struct iovec iov[1000];
    for (size_t i = 0; i < KS_COUNT_OF(bytes); i++) {
        bytes[i] = (uint8_t)(i * 7);
        iov[i] = (struct iovec){.iov_base = &bytes[i], .iov_len = i % 10 == 3 ? 0 : 1};
    }
    ck_assert_int_eq(ks_file_write(file, iov, 1000, 5, KS_WRITE_DURABLE, NULL), KS_OK);
    uint8_t expected[900];
    size_t at = 0;
    for (size_t i = 0; i < KS_COUNT_OF(bytes); i++) {
        if (i % 10 != 3)
            expected[at++] = bytes[i];
    }
    expect_bytes(file, expected, at, 5);
    ck_assert_uint_eq(size_of(file), 5 + at);
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(a_read_is_short_only_at_the_end)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = open_file("a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    write_text(file, "0123456789", 0);
    char got[32];
    size_t bytes = 99;
    ck_assert_int_eq(ks_file_read(file, got, sizeof got, 4, &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 6);
    ck_assert_mem_eq(got, "456789", 6);
    ck_assert_int_eq(ks_file_read(file, got, sizeof got, 10, &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 0);
    ck_assert_int_eq(ks_file_read(file, got, sizeof got, 1000, &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 0);
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_file_read_exactly(file, got, 11, 0, &err), KS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "'a' ends 1 bytes too early"));
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(a_direct_file_takes_aligned_writes_and_any_read)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = open_file("d", KS_OPEN_WRITE | KS_OPEN_CREATE | KS_OPEN_DIRECT);
    KS_AUTO_FREE uint8_t *block = ks_aligned_alloc(KS_IO_DIRECT_ALIGN, 12288);
    for (size_t i = 0; i < 12288; i++)
        block[i] = (uint8_t)(i * 31 >> 3);
    ck_assert_int_eq(ks_file_write_one(file, block, 12288, 4096, KS_WRITE_DURABLE, NULL), KS_OK);
    expect_bytes(file, block + 1, 9000, 4097);
    expect_bytes(file, block + 12287, 1, 4096 + 12287);
    uint8_t got[12288];
    size_t bytes = 0;
    ck_assert_int_eq(ks_file_read(file, got, sizeof got, 8190, &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 16384 - 8190);
    ck_assert_mem_eq(got, block + 4094, bytes);
    ck_assert_int_eq(ks_file_read(file, got, 10, 16384, &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 0);
    KS_AUTO_FREE uint8_t *aligned = ks_aligned_alloc(KS_IO_DIRECT_ALIGN, 8192);
    ck_assert_int_eq(ks_file_read_exactly(file, aligned, 8192, 8192, NULL), KS_OK);
    ck_assert_mem_eq(aligned, block + 4096, 8192);
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(a_direct_file_reads_its_ragged_end)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = open_file("d", KS_OPEN_WRITE | KS_OPEN_CREATE);
    write_text(file, "the end", 8190);
    ks_file_close(file);
    file = open_file("d", KS_OPEN_READ | KS_OPEN_DIRECT);
    expect_bytes(file, "the end", 7, 8190);
    char got[100];
    size_t bytes = 0;
    ck_assert_int_eq(ks_file_read(file, got, sizeof got, 8192, &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 5);
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(allocation_grows_with_zeros_and_keeps_what_is_there)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = open_file("a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    write_text(file, "keep", 0);
    ck_assert_int_eq(ks_file_allocate(file, 0, 10000, NULL), KS_OK);
    ck_assert_uint_eq(size_of(file), 10000);
    expect_bytes(file, "keep\0\0\0", 7, 0);
    expect_bytes(file, "\0\0", 2, 9998);
    ck_assert_int_eq(ks_file_allocate(file, 2, 5, NULL), KS_OK); /* within: nothing changes */
    ck_assert_uint_eq(size_of(file), 10000);
    expect_bytes(file, "keep", 4, 0);
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(truncation_cuts_and_later_growth_reads_zeros)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = open_file("a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    write_text(file, "0123456789", 0);
    ck_assert_int_eq(ks_file_truncate(file, 4, NULL), KS_OK);
    ck_assert_uint_eq(size_of(file), 4);
    ck_assert_int_eq(ks_file_truncate(file, 8, NULL), KS_OK);
    expect_bytes(file, "0123\0\0\0\0", 8, 0);
    ck_assert_int_eq(ks_file_sync(file, NULL), KS_OK);
    ks_file_start_writeback(file, 0, 8);
    ks_file_drop_cache(file);
    expect_bytes(file, "0123\0\0\0\0", 8, 0);
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(a_map_sees_later_writes_and_outlives_the_file)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = open_file("a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    ck_assert_int_eq(ks_file_allocate(file, 0, 65536, NULL), KS_OK);
    void *map = NULL;
    ck_assert_int_eq(ks_file_map(file, 65536, &map, NULL), KS_OK);
    write_text(file, "seen", 40000);
    ck_assert_mem_eq((char *)map + 40000, "seen", 4);
    ks_file_close(file);
    ck_assert_int_eq(ks_io_unlink(io, "a", NULL), KS_OK);
    ck_assert_mem_eq((char *)map + 40000, "seen", 4);
    volatile char touched = ((char *)map)[0];
    (void)touched;
    ck_assert(ks_io_is_resident(io, (char *)map + 40000, 4));
    ks_io_unmap(io, map, 65536);
    leave_disk();
}
END_TEST

struct names {
    unsigned count;
    char seen[8][32];
};

static void collect(void *arg, const char *name)
{
    struct names *names = arg;
    ck_assert_uint_lt(names->count, 8);
    strncpy(names->seen[names->count++], name, 31);
}

static bool lists(const char *path, const char *name)
{
    struct names names = {0};
    ck_assert_int_eq(ks_io_list(io, path, collect, &names, NULL), KS_OK);
    for (unsigned i = 0; i < names.count; i++) {
        if (strcmp(names.seen[i], name) == 0)
            return true;
    }
    return false;
}

START_TEST(names_come_move_and_go)
{
    temp_dir_renew();
    use_disk(_i);
    ck_assert_int_eq(ks_io_make_dir(io, "x", NULL), KS_OK);
    ck_assert_int_eq(ks_io_make_dir(io, "x", NULL), KS_OK); /* existing is fine */
    ck_assert_int_eq(ks_io_make_dir(io, "x/y", NULL), KS_OK);
    ck_assert_int_eq(ks_io_make_dir(io, "no/y", NULL), KS_NOT_FOUND);
    struct ks_file *file = open_file("x/y/a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    write_text(file, "new", 0);
    ks_file_close(file);
    ks_file_close(open_file("x/b", KS_OPEN_WRITE | KS_OPEN_CREATE));
    ck_assert(lists("x", "y") && lists("x", "b") && lists("x/y", "a") && lists(".", "x"));
    ck_assert(!lists("x", "a") && !lists(".", "y"));
    ck_assert_int_eq(ks_io_rename(io, "x/y/a", "x/b", NULL), KS_OK); /* over an existing file */
    ck_assert(!lists("x/y", "a") && lists("x", "b"));
    file = open_file("x/b", KS_OPEN_READ);
    expect_bytes(file, "new", 3, 0);
    ck_assert_int_eq(ks_io_unlink(io, "x/b", NULL), KS_OK);
    ck_assert(!lists("x", "b"));
    expect_bytes(file, "new", 3, 0); /* an open file outlives its name */
    ks_file_close(file);
    ck_assert_int_eq(ks_io_sync_dir(io, "x/y", NULL), KS_OK);
    ck_assert_int_eq(ks_io_sync_dir(io, ".", NULL), KS_OK);
    ck_assert_int_eq(ks_io_make_dir(io, "x/y/a", NULL), KS_OK);
    struct ks_error err = KS_ERROR_INIT;
    ks_file_close(open_file("plain", KS_OPEN_WRITE | KS_OPEN_CREATE));
    ck_assert_int_eq(ks_io_make_dir(io, "plain", &err), KS_IO);
    ck_assert_int_ne(ks_io_list(io, "plain", collect, &(struct names){0}, NULL), KS_OK);
    leave_disk();
}
END_TEST

START_TEST(an_existing_file_is_opened_not_emptied)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = open_file("a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    write_text(file, "kept", 0);
    ks_file_close(file);
    file = open_file("a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    expect_bytes(file, "kept", 4, 0);
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(the_file_system_tells_its_size)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_fs_info info;
    ck_assert_int_eq(ks_io_fs_info(io, &info, NULL), KS_OK);
    ck_assert_uint_gt(info.total_bytes, 0);
    ck_assert_uint_le(info.free_bytes, info.total_bytes);
    ck_assert_str_ne(info.type, "");
    leave_disk();
}
END_TEST

/* A journal's life: O_DIRECT blocks into an allocated file, again and again over the same place. */
START_TEST(durable_blocks_go_over_old_ones)
{
    temp_dir_renew();
    use_disk(_i);
    struct ks_file *file = open_file("j", KS_OPEN_WRITE | KS_OPEN_CREATE | KS_OPEN_DIRECT);
    KS_AUTO_FREE uint8_t *block = ks_aligned_alloc(KS_IO_DIRECT_ALIGN, 8192);
    ck_assert_int_eq(ks_file_allocate(file, 0, 32768, NULL), KS_OK);
    for (int round = 0; round < 8; round++) {
        memset(block, 'a' + round, 8192);
        uint64_t offset = (uint64_t)(round % 4) * 8192;
        ck_assert_int_eq(
            ks_file_write_one(file, block, 8192, offset, KS_WRITE_DURABLE, NULL), KS_OK);
    }
    expect_bytes(file, "eee", 3, 8189);
    expect_bytes(file, "fff", 3, 8192);
    ks_file_close(file);
    leave_disk();
}
END_TEST

KS_SUITE("storage/io")
{
    KS_TEST_LOOP(a_missing_file_is_not_found, DISKS);
    KS_TEST_LOOP(what_is_written_is_read_through_any_open_file, DISKS);
    KS_TEST_LOOP(pieces_are_written_in_order_however_many, DISKS);
    KS_TEST_LOOP(a_read_is_short_only_at_the_end, DISKS);
    KS_TEST_LOOP(a_direct_file_takes_aligned_writes_and_any_read, DISKS);
    KS_TEST_LOOP(a_direct_file_reads_its_ragged_end, DISKS);
    KS_TEST_LOOP(allocation_grows_with_zeros_and_keeps_what_is_there, DISKS);
    KS_TEST_LOOP(truncation_cuts_and_later_growth_reads_zeros, DISKS);
    KS_TEST_LOOP(a_map_sees_later_writes_and_outlives_the_file, DISKS);
    KS_TEST_LOOP(names_come_move_and_go, DISKS);
    KS_TEST_LOOP(an_existing_file_is_opened_not_emptied, DISKS);
    KS_TEST_LOOP(the_file_system_tells_its_size, DISKS);
    KS_TEST_LOOP(durable_blocks_go_over_old_ones, DISKS);
}
