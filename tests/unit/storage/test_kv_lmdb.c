/* What only LMDB does: files, limits, full and damaged environments. */
#include "base/prng.h"
#include "storage/kv.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/temp_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const table_names[] = {"rows"};

static struct ks_kv_options options_at(const char *path)
{
    return (struct ks_kv_options){
        .path = path, .table_names = table_names, .table_count = 1, .map_bytes_max = 16 << 20};
}

static struct ks_kv *open_with(const struct ks_kv_options *options)
{
    struct ks_kv *kv = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_msg(ks_kv_lmdb_open(options, &kv, &err) == KS_OK, "%s", err.text);
    return kv;
}

static enum ks_status put_one(struct ks_kv *kv, uint32_t number, size_t value_bytes)
{
    static uint8_t value[64 << 10];
    struct ks_kv_txn *txn = NULL;
    enum ks_status st = ks_kv_begin(kv, true, &txn, NULL);
    if (st)
        return st;
    memset(value, (int)number, sizeof value);
    st =
        ks_kv_put(txn, 0, ks_view_of(&number, sizeof number), ks_view_of(value, value_bytes), NULL);
    enum ks_status committed = ks_kv_commit(txn, NULL);
    if (st)
        ck_assert_int_eq(committed, st); /* a failed change cannot be committed */
    return committed;
}

static bool has_row(struct ks_kv *kv, uint32_t number)
{
    struct ks_kv_txn *txn = NULL;
    struct ks_view value;
    ck_assert_int_eq(ks_kv_begin(kv, false, &txn, NULL), KS_OK);
    enum ks_status st = ks_kv_get(txn, 0, ks_view_of(&number, sizeof number), &value, NULL);
    ks_kv_abort(txn);
    return st == KS_OK;
}

START_TEST(files_are_private)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    ks_kv_close(open_with(&options));
    struct stat st;
    ck_assert_int_eq(stat(temp_path("kv"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0700);
    ck_assert_int_eq(stat(temp_path("kv/data.mdb"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(a_full_map_refuses_changes_nothing_and_recovers)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    options.map_bytes_max = 1 << 20;
    struct ks_kv *kv = open_with(&options);
    uint32_t number = 0;
    enum ks_status st = KS_OK;
    while (!st && number < 1000)
        st = put_one(kv, ++number, 16 << 10);
    ck_assert_int_eq(st, KS_STORAGE_FULL);
    ck_assert(!has_row(kv, number));
    ck_assert(has_row(kv, number - 1));
    for (int i = 0; i < 3; i++) { /* deleting makes room, though not before older pages are free */
        struct ks_kv_txn *txn = NULL;
        uint32_t gone = (uint32_t)i + 1;
        ck_assert_int_eq(ks_kv_begin(kv, true, &txn, NULL), KS_OK);
        ck_assert_int_eq(ks_kv_remove(txn, 0, ks_view_of(&gone, sizeof gone), NULL), KS_OK);
        ck_assert_int_eq(ks_kv_commit(txn, NULL), KS_OK);
    }
    ck_assert_int_eq(put_one(kv, number, 16 << 10), KS_OK);
    ks_kv_close(kv);
}
END_TEST

START_TEST(blocks_are_allocated_ahead_of_use)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    options.allocate_ahead_bytes = 4 << 20;
    struct ks_kv *kv = open_with(&options);
    struct stat st;
    ck_assert_int_eq(stat(temp_path("kv/data.mdb"), &st), 0);
    ck_assert_int_ge(st.st_blocks * 512, 4 << 20);
    ck_assert_int_lt(st.st_size, 1 << 20); /* the size is LMDB's */
    for (uint32_t i = 1; i <= 80; i++)
        ck_assert_int_eq(put_one(kv, i, 64 << 10), KS_OK);
    ck_assert_int_eq(stat(temp_path("kv/data.mdb"), &st), 0);
    ck_assert_int_ge(st.st_blocks * 512, st.st_size + (2 << 20) - (64 << 10));
    ks_kv_close(kv);
    kv = open_with(&options);
    ck_assert(has_row(kv, 80));
    ks_kv_close(kv);
}
END_TEST

/* A file size limit cuts a page's write short and then fails it, as a full disk does, with an errno
 * that is not ENOSPC: the state is unknown to us, and commit must not call it full. */
START_TEST(a_failed_page_write_is_an_io_error)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    struct ks_kv *kv = open_with(&options);
    ck_assert_int_eq(put_one(kv, 1, 100), KS_OK);
    signal(SIGXFSZ, SIG_IGN); /* else the write kills */
    struct rlimit limit = {.rlim_cur = 256 << 10, .rlim_max = RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    enum ks_status st = KS_OK;
    for (uint32_t i = 2; i < 50 && !st; i++)
        st = put_one(kv, i, 64 << 10);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(st, KS_IO);
    ks_kv_close(kv);
    kv = open_with(&options);
    ck_assert(has_row(kv, 1));
    ks_kv_close(kv);
}
END_TEST

static void overwrite(const char *path, off_t offset, const void *bytes, size_t count)
{
    int fd = open(path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, count, offset), (ssize_t)count);
    close(fd);
}

START_TEST(something_else_in_its_place_is_called_damage)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    ks_kv_close(open_with(&options));
    static const char junk[8192] = "this is no database";
    overwrite(temp_path("kv/data.mdb"), 0, junk, sizeof junk);
    struct ks_kv *kv = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_kv_lmdb_open(&options, &kv, &err), KS_CORRUPT);
    ck_assert_msg(
        strstr(err.text, "data.mdb' is damaged or not a database") != NULL, "%s", err.text);
    ck_assert_int_eq(ks_kv_lmdb_open_read_only(&options, &kv, NULL), KS_CORRUPT);
}
END_TEST

START_TEST(another_version_of_the_format_is_named)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    ks_kv_close(open_with(&options));
    /* mm_version follows the 16-byte page header and mm_magic, on both meta pages. */
    uint32_t version = 77;
    for (off_t page = 0; page < 2; page++)
        overwrite(
            temp_path("kv/data.mdb"), page * sysconf(_SC_PAGESIZE) + 20, &version, sizeof version);
    struct ks_kv *kv = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_kv_lmdb_open(&options, &kv, &err), KS_CORRUPT);
    ck_assert_msg(strstr(err.text, "another version of LMDB") != NULL, "%s", err.text);
}
END_TEST

START_TEST(a_forked_child_reads_and_cannot_write)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    struct ks_kv *kv = open_with(&options);
    ck_assert_int_eq(put_one(kv, 1, 100), KS_OK);
    ks_kv_close(kv);
    pid_t child = fork();
    if (child == 0) {
        struct ks_kv_txn *txn = NULL;
        if (ks_kv_lmdb_open_read_only(&options, &kv, NULL) || !has_row(kv, 1))
            _exit(1);
        if (ks_kv_begin(kv, true, &txn, NULL) != KS_IO)
            _exit(2);
        ks_kv_close(kv);
        _exit(0);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* The inspector changes nothing, not even a lock file. */
START_TEST(an_unlocked_reader_makes_no_file_and_changes_none)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    struct ks_kv *kv = open_with(&options);
    ck_assert_int_eq(put_one(kv, 1, 100), KS_OK);
    ks_kv_close(kv);
    ck_assert_int_eq(unlink(temp_path("kv/lock.mdb")), 0);
    ck_assert_int_eq(chmod(temp_path("kv/data.mdb"), 0400), 0);
    options.is_unlocked = true;
    ck_assert_int_eq(ks_kv_lmdb_open_read_only(&options, &kv, NULL), KS_OK);
    ck_assert(has_row(kv, 1));
    ks_kv_close(kv);
    ck_assert_int_ne(access(temp_path("kv/lock.mdb"), F_OK), 0);
}
END_TEST

START_TEST(reading_what_is_not_there_makes_nothing)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    struct ks_kv *kv = NULL;
    ck_assert_int_eq(ks_kv_lmdb_open_read_only(&options, &kv, NULL), KS_NOT_FOUND);
    ck_assert_int_ne(access(temp_path("kv"), F_OK), 0);
    ks_kv_close(open_with(&options));
    static const char *const other[] = {"other"};
    options.table_names = other;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_kv_lmdb_open_read_only(&options, &kv, &err), KS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "has no table 'other'"));
}
END_TEST

START_TEST(an_erased_environment_is_empty_and_erasing_none_is_fine)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    options.is_cache = true;
    ck_assert_int_eq(ks_kv_lmdb_erase(options.path, NULL), KS_OK);
    struct ks_kv *kv = open_with(&options);
    ck_assert_int_eq(put_one(kv, 1, 100), KS_OK);
    ks_kv_close(kv);
    ck_assert_int_eq(ks_kv_lmdb_erase(options.path, NULL), KS_OK);
    kv = open_with(&options);
    ck_assert(!has_row(kv, 1));
    ks_kv_close(kv);
}
END_TEST

/* While somebody goes on writing: what was committed before is in it, and nothing else. */
START_TEST(a_copy_is_an_environment_of_its_own)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    struct ks_kv *kv = open_with(&options);
    struct ks_error err = KS_ERROR_INIT;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < 20; i++)
        ck_assert_int_eq(put_one(kv, i, 8000), KS_OK);
    options.path = temp_path("copy");
    ck_assert_msg(ks_kv_lmdb_copy(kv, options.path, &bytes, &err) == KS_OK, "%s", err.text);
    ck_assert_uint_gt(bytes, 20 * 8000);
    ck_assert_int_eq(put_one(kv, 99, 100), KS_OK);
    ck_assert_int_eq(ks_kv_lmdb_copy(kv, options.path, &bytes, &err), KS_IO); /* it is there */
    ks_kv_close(kv);
    kv = open_with(&options);
    ck_assert(has_row(kv, 0) && has_row(kv, 19) && !has_row(kv, 99));
    ck_assert_int_eq(put_one(kv, 100, 100), KS_OK);
    ks_kv_close(kv);
}
END_TEST

START_TEST(readers_do_not_belong_to_a_thread)
{
    temp_dir_renew();
    struct ks_kv_options options = options_at(temp_path("kv"));
    struct ks_kv *kv = open_with(&options);
    struct ks_kv_txn *txns[100];
    for (size_t i = 0; i < KS_COUNT_OF(txns); i++)
        ck_assert_int_eq(ks_kv_begin(kv, false, &txns[i], NULL), KS_OK);
    for (size_t i = 0; i < KS_COUNT_OF(txns); i++)
        ks_kv_abort(txns[i]);
    ks_kv_close(kv);
}
END_TEST

KS_SUITE("storage/kv_lmdb")
{
    KS_TEST(files_are_private);
    KS_TEST(a_full_map_refuses_changes_nothing_and_recovers);
    KS_TEST(blocks_are_allocated_ahead_of_use);
    KS_TEST(a_failed_page_write_is_an_io_error);
    KS_TEST(something_else_in_its_place_is_called_damage);
    KS_TEST(another_version_of_the_format_is_named);
    KS_TEST(a_forked_child_reads_and_cannot_write);
    KS_TEST(an_unlocked_reader_makes_no_file_and_changes_none);
    KS_TEST(reading_what_is_not_there_makes_nothing);
    KS_TEST(an_erased_environment_is_empty_and_erasing_none_is_fine);
    KS_TEST(a_copy_is_an_environment_of_its_own);
    KS_TEST(readers_do_not_belong_to_a_thread);
}
