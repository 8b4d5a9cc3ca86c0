/* What only the real disk does: the lock, read only, and stepping down where the kernel cannot. */
#include "base/alloc.h"
#include "storage/io.h"
#include "storage/io_posix_priv.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/temp_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Scripted system calls. */
static struct ks_posix_calls real;
static unsigned write_calls, sync_calls;
static int refuse_flags_errno; /* RWF_DSYNC answers this */
static bool is_direct_refused; /* writes to O_DIRECT descriptors answer EINVAL */
static size_t bytes_per_write; /* longest write, 0 = no limit */
static int fail_after_calls_errno;
static unsigned fail_after_calls;
static int fallocate_errno;

/* A directory of its own and the real system calls. */
static void fresh(void)
{
    temp_dir_renew();
    if (real.pread)
        ks_posix_calls = real;
    write_calls = sync_calls = fail_after_calls = 0;
    refuse_flags_errno = fail_after_calls_errno = fallocate_errno = 0;
    is_direct_refused = false;
    bytes_per_write = 0;
}

static struct ks_io *open_disk(void)
{
    struct ks_io *io = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_msg(ks_io_posix_open(temp_dir(), &io, &err) == KS_OK, "%s", err.text);
    return io;
}

static struct ks_file *open_file(struct ks_io *io, const char *path, unsigned flags)
{
    struct ks_file *file = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_msg(ks_io_open(io, path, flags, &file, &err) == KS_OK, "%s", err.text);
    return file;
}

START_TEST(a_directory_has_one_owner_and_the_refusal_names_it)
{
    fresh();
    struct ks_io *io = open_disk(), *second = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_io_posix_open(temp_dir(), &second, &err), KS_IN_USE);
    char pid[32];
    snprintf(pid, sizeof pid, "by process %ld", (long)getpid());
    ck_assert_msg(strstr(err.text, pid) != NULL, "%s", err.text);
    ck_assert_ptr_nonnull(strstr(err.text, temp_dir()));
    ck_assert_int_eq(ks_io_posix_open_read_only(temp_dir(), &second, &err), KS_IN_USE);
    ck_assert_msg(strstr(err.text, pid) != NULL, "%s", err.text);
    ks_io_posix_close(io);
    ks_io_posix_close(open_disk());
}
END_TEST

START_TEST(readers_share_a_directory_and_keep_an_owner_out)
{
    fresh();
    struct ks_io *first = NULL, *second = NULL, *owner = NULL;
    /* Without the lock's file: a copy of a directory. Nothing is made. */
    ck_assert_int_eq(ks_io_posix_open_read_only(temp_dir(), &first, NULL), KS_OK);
    ck_assert_int_ne(access(temp_path("lock"), F_OK), 0);
    ks_io_posix_close(first);
    ks_io_posix_close(open_disk());
    ck_assert_int_eq(ks_io_posix_open_read_only(temp_dir(), &first, NULL), KS_OK);
    ck_assert_int_eq(ks_io_posix_open_read_only(temp_dir(), &second, NULL), KS_OK);
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_io_posix_open(temp_dir(), &owner, &err), KS_IN_USE);
    ck_assert_msg(strstr(err.text, "being inspected") != NULL, "%s", err.text);
    ks_io_posix_close(first);
    ks_io_posix_close(second);
    ks_io_posix_close(open_disk());
}
END_TEST

START_TEST(the_lock_ends_with_a_killed_owner)
{
    fresh();
    const char *dir = temp_dir();
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct ks_io *io = NULL;
        char ok = ks_io_posix_open(dir, &io, NULL) == KS_OK ? 'y' : 'n';
        if (write(ready[1], &ok, 1) == 1)
            pause();
        _exit(1);
    }
    char ok = 0;
    ck_assert_int_eq(read(ready[0], &ok, 1), 1);
    ck_assert_int_eq(ok, 'y');
    struct ks_io *io = NULL;
    ck_assert_int_eq(ks_io_posix_open(dir, &io, NULL), KS_IN_USE);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ks_io_posix_close(open_disk());
}
END_TEST

START_TEST(a_missing_directory_says_so)
{
    fresh();
    struct ks_io *io = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_io_posix_open(temp_path("none"), &io, &err), KS_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "cannot open data directory '"));
    ck_assert_ptr_nonnull(strstr(err.text, "No such file"));
}
END_TEST

START_TEST(files_are_private)
{
    fresh();
    struct ks_io *io = open_disk();
    ks_file_close(open_file(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE));
    ck_assert_int_eq(ks_io_make_dir(io, "d", NULL), KS_OK);
    struct stat st;
    ck_assert_int_eq(stat(temp_path("a"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(stat(temp_path("d"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0700);
    ck_assert_int_eq(stat(temp_path("lock"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ks_io_posix_close(io);
}
END_TEST

START_TEST(a_link_in_place_of_a_file_is_refused)
{
    fresh();
    struct ks_io *io = open_disk();
    ck_assert_int_eq(symlink("/etc/hostname", temp_path("a")), 0);
    struct ks_file *file = NULL;
    ck_assert_int_eq(ks_io_open(io, "a", KS_OPEN_READ, &file, NULL), KS_IO);
    ks_io_posix_close(io);
}
END_TEST

START_TEST(read_only_refuses_every_change)
{
    fresh();
    struct ks_io *io = open_disk();
    ks_file_close(open_file(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE));
    ks_io_posix_close(io);
    ck_assert_int_eq(ks_io_posix_open_read_only(temp_dir(), &io, NULL), KS_OK);
    struct ks_file *file = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_io_open(io, "a", KS_OPEN_WRITE, &file, &err), KS_IO);
    ck_assert_int_eq(err.errnum, EROFS);
    ck_assert_int_eq(ks_io_unlink(io, "a", NULL), KS_IO);
    ck_assert_int_eq(ks_io_rename(io, "a", "b", NULL), KS_IO);
    ck_assert_int_eq(ks_io_make_dir(io, "d", NULL), KS_IO);
    ks_file_close(open_file(io, "a", KS_OPEN_READ));
    ks_io_posix_close(io);
}
END_TEST

static ssize_t scripted_pwritev2(
    int fd, const struct iovec *iov, int iov_count, off_t offset, int flags)
{
    write_calls++;
    if (write_calls % 3 == 2) {
        errno = EINTR;
        return -1;
    }
    if (fail_after_calls && write_calls > fail_after_calls) {
        errno = fail_after_calls_errno;
        return fail_after_calls_errno ? -1 : 0;
    }
    if (flags & RWF_DSYNC && refuse_flags_errno) {
        errno = refuse_flags_errno;
        return -1;
    }
    if (is_direct_refused && fcntl(fd, F_GETFL) & O_DIRECT) {
        errno = EINVAL;
        return -1;
    }
    struct iovec first = iov[0];
    if (bytes_per_write == 0)
        return real.pwritev2(fd, iov, iov_count, offset, flags);
    first.iov_len = first.iov_len < bytes_per_write ? first.iov_len : bytes_per_write;
    return real.pwritev2(fd, &first, 1, offset, flags);
}

static int scripted_fdatasync(int fd)
{
    sync_calls++;
    return real.fdatasync(fd);
}

static ssize_t scripted_pread(int fd, void *to, size_t bytes, off_t offset)
{
    static unsigned calls;
    if (++calls % 2) {
        errno = EINTR;
        return -1;
    }
    return real.pread(fd, to, bytes < 7 ? bytes : 7, offset);
}

static void script(void)
{
    real = ks_posix_calls;
    ks_posix_calls.pwritev2 = scripted_pwritev2;
    ks_posix_calls.fdatasync = scripted_fdatasync;
}

START_TEST(short_and_interrupted_writes_are_continued)
{
    fresh();
    struct ks_io *io = open_disk();
    script();
    bytes_per_write = 3;
    ks_posix_calls.pread = scripted_pread;
    struct ks_file *file = open_file(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    struct iovec iov[] = {
        {(char[]){"0123456"}, 7}, {(char[]){"789abcdefgh"}, 11}, {(char[]){"i"}, 1}};
    ck_assert_int_eq(ks_file_write(file, iov, 3, 2, KS_WRITE_DURABLE, NULL), KS_OK);
    char got[32];
    ck_assert_int_eq(ks_file_read_exactly(file, got, 19, 2, NULL), KS_OK);
    ck_assert_mem_eq(got, "0123456789abcdefghi", 19);
    ck_assert_uint_ge(write_calls, 8);
    ck_assert_uint_eq(sync_calls, 0);
    ks_file_close(file);
    ks_io_posix_close(io);
}
END_TEST

START_TEST(without_rwf_dsync_a_durable_write_ends_with_a_sync)
{
    fresh();
    static const int refusals[] = {EOPNOTSUPP, ENOSYS};
    struct ks_io *io = open_disk();
    script();
    refuse_flags_errno = refusals[_i];
    struct ks_file *file = open_file(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    ck_assert_int_eq(ks_file_write_one(file, "abc", 3, 0, KS_WRITE_DURABLE, NULL), KS_OK);
    ck_assert_uint_eq(sync_calls, 1);
    ck_assert_int_eq(ks_file_write_one(file, "def", 3, 3, KS_WRITE_DURABLE, NULL), KS_OK);
    ck_assert_uint_eq(sync_calls, 2);
    ck_assert_int_eq(ks_file_write_one(file, "ghi", 3, 6, KS_WRITE_PLAIN, NULL), KS_OK);
    ck_assert_uint_eq(sync_calls, 2);
    char got[9];
    ck_assert_int_eq(ks_file_read_exactly(file, got, 9, 0, NULL), KS_OK);
    ck_assert_mem_eq(got, "abcdefghi", 9);
    ks_file_close(file);
    ks_io_posix_close(io);
}
END_TEST

START_TEST(where_direct_writes_are_refused_they_go_buffered)
{
    fresh();
    struct ks_io *io = open_disk();
    script();
    is_direct_refused = true;
    struct ks_file *file = open_file(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE | KS_OPEN_DIRECT);
    KS_AUTO_FREE uint8_t *block = ks_aligned_alloc(KS_IO_DIRECT_ALIGN, 4096);
    memset(block, 'x', 4096);
    ck_assert_int_eq(ks_file_write_one(file, block, 4096, 0, KS_WRITE_DURABLE, NULL), KS_OK);
    ck_assert_int_eq(ks_file_write_one(file, "y", 1, 5, KS_WRITE_DURABLE, NULL), KS_OK);
    char got[2];
    ck_assert_int_eq(ks_file_read_exactly(file, got, 2, 5, NULL), KS_OK);
    ck_assert_mem_eq(got, "yx", 2);
    ks_file_close(file);
    ks_io_posix_close(io);
}
END_TEST

static int openat_without_direct(int dir_fd, const char *path, int flags, mode_t mode)
{
    static unsigned calls;
    errno = ++calls % 2 ? EINTR : EINVAL;
    return errno == EINTR || flags & O_DIRECT ? -1 : real.openat(dir_fd, path, flags, mode);
}

START_TEST(a_file_system_without_o_direct_opens_buffered)
{
    fresh();
    struct ks_io *io = open_disk();
    script();
    ks_posix_calls.openat = openat_without_direct;
    struct ks_file *file = open_file(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE | KS_OPEN_DIRECT);
    ck_assert_int_eq(ks_file_write_one(file, "y", 1, 5, KS_WRITE_DURABLE, NULL), KS_OK);
    ks_file_close(file);
    ks_io_posix_close(io);
}
END_TEST

START_TEST(a_failed_write_is_poison_even_when_the_disk_is_full)
{
    fresh();
    static const int errnums[] = {ENOSPC, EDQUOT, EIO, ENOMEM, 0 /* no progress */};
    struct ks_io *io = open_disk();
    script();
    struct ks_file *file = open_file(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    fail_after_calls = 3;
    fail_after_calls_errno = errnums[_i];
    bytes_per_write = 2;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_file_write_one(file, "0123456789", 10, 0, KS_WRITE_PLAIN, &err), KS_IO);
    ck_assert_int_eq(err.errnum, errnums[_i] ? errnums[_i] : EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "cannot write '"));
    ks_file_close(file);
    ks_io_posix_close(io);
}
END_TEST

static int scripted_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    static unsigned calls;
    (void)fd;
    (void)mode;
    (void)offset;
    (void)bytes;
    errno = ++calls % 2 ? EINTR : fallocate_errno;
    return -1;
}

START_TEST(a_full_disk_refuses_an_allocation_retryably)
{
    fresh();
    struct ks_io *io = open_disk();
    script();
    ks_posix_calls.fallocate = scripted_fallocate;
    fallocate_errno = _i ? EDQUOT : ENOSPC;
    struct ks_file *file = open_file(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    ck_assert_int_eq(ks_file_allocate(file, 0, 4096, NULL), KS_STORAGE_FULL);
    fallocate_errno = EIO;
    ck_assert_int_eq(ks_file_allocate(file, 0, 4096, NULL), KS_IO);
    ks_file_close(file);
    ks_io_posix_close(io);
}
END_TEST

START_TEST(without_fallocate_zeros_are_written_behind_the_end_only)
{
    fresh();
    struct ks_io *io = open_disk();
    script();
    ks_posix_calls.fallocate = scripted_fallocate;
    fallocate_errno = EOPNOTSUPP;
    struct ks_file *file =
        open_file(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE | (_i ? KS_OPEN_DIRECT : 0));
    struct ks_file *plain = open_file(io, "a", KS_OPEN_WRITE);
    ck_assert_int_eq(ks_file_write_one(plain, "keep", 4, 1000, KS_WRITE_PLAIN, NULL), KS_OK);
    ck_assert_int_eq(ks_file_allocate(file, 0, 200000, NULL), KS_OK);
    uint64_t bytes = 0;
    ck_assert_int_eq(ks_file_size(file, &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 200000);
    char got[6];
    ck_assert_int_eq(ks_file_read_exactly(plain, got, 6, 1000, NULL), KS_OK);
    ck_assert_mem_eq(got, "keep\0\0", 6);
    struct stat st;
    ck_assert_int_eq(stat(temp_path("a"), &st), 0);
    ck_assert_int_ge(st.st_blocks * 512, 196608); /* real blocks, but perhaps for the first hole */
    ks_file_close(plain);
    ks_file_close(file);
    ks_io_posix_close(io);
}
END_TEST

static int failing_fdatasync(int fd)
{
    (void)fd;
    sync_calls++;
    errno = EINTR;
    return -1;
}

START_TEST(a_failed_sync_is_never_tried_again)
{
    fresh();
    struct ks_io *io = open_disk();
    script();
    ks_posix_calls.fdatasync = failing_fdatasync;
    struct ks_file *file = open_file(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE);
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ks_file_sync(file, &err), KS_IO);
    ck_assert_uint_eq(sync_calls, 1);
    ck_assert_ptr_nonnull(strstr(err.text, "cannot sync '"));
    refuse_flags_errno = EOPNOTSUPP;
    ck_assert_int_eq(ks_file_write_one(file, "abc", 3, 0, KS_WRITE_DURABLE, NULL), KS_IO);
    ck_assert_uint_eq(sync_calls, 2);
    ks_file_close(file);
    ks_io_posix_close(io);
}
END_TEST

START_TEST(every_failed_allocation_is_reported_and_leaks_nothing)
{
    fresh();
    const char *dir = temp_dir();
    for (uint64_t nth = 1;; nth++) {
        struct ks_io *io = NULL;
        struct ks_file *file = NULL;
        ks_alloc_fail_nth(nth, false);
        enum ks_status st = ks_io_posix_open(dir, &io, NULL);
        if (!st)
            st = ks_io_open(io, "a", KS_OPEN_WRITE | KS_OPEN_CREATE, &file, NULL);
        bool is_over = ks_alloc_count() < nth;
        ks_alloc_fail_nth(0, false);
        ks_file_close(file);
        ks_io_posix_close(io);
        ck_assert_int_eq(st, is_over ? KS_OK : KS_NO_MEMORY);
        if (is_over)
            break;
    }
}
END_TEST

KS_SUITE("storage/io_posix")
{
    KS_TEST(a_directory_has_one_owner_and_the_refusal_names_it);
    KS_TEST(readers_share_a_directory_and_keep_an_owner_out);
    KS_TEST(the_lock_ends_with_a_killed_owner);
    KS_TEST(a_missing_directory_says_so);
    KS_TEST(files_are_private);
    KS_TEST(a_link_in_place_of_a_file_is_refused);
    KS_TEST(read_only_refuses_every_change);
    KS_TEST(short_and_interrupted_writes_are_continued);
    KS_TEST_LOOP(without_rwf_dsync_a_durable_write_ends_with_a_sync, 2);
    KS_TEST(where_direct_writes_are_refused_they_go_buffered);
    KS_TEST(a_file_system_without_o_direct_opens_buffered);
    KS_TEST_LOOP(a_failed_write_is_poison_even_when_the_disk_is_full, 5);
    KS_TEST_LOOP(a_full_disk_refuses_an_allocation_retryably, 2);
    KS_TEST_LOOP(without_fallocate_zeros_are_written_behind_the_end_only, 2);
    KS_TEST(a_failed_sync_is_never_tried_again);
    KS_TEST(every_failed_allocation_is_reported_and_leaks_nothing);
}
