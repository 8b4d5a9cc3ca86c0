/* The failing disk fails the call it was told to, as it was told to, and no other. */
#include "storage/io_fault.h"
#include "storage/io_sim.h"
#include "tests/unit/ks_check.h"

#include <errno.h>

#define WRITE_CREATE (KS_OPEN_WRITE | KS_OPEN_CREATE)

static struct ks_io_sim *sim;
static struct ks_io_fault *fault;
static struct ks_io *io;

static void use_disk(void)
{
    ck_assert_int_eq(ks_io_sim_create(&(struct ks_io_sim_options){.seed = 1}, &sim, NULL), KS_OK);
    ck_assert_int_eq(ks_io_fault_create(ks_io_sim_io(sim), &fault, NULL), KS_OK);
    io = ks_io_fault_io(fault);
}

static void leave_disk(void)
{
    ks_io_fault_destroy(fault);
    ks_io_sim_destroy(sim);
}

static void plan(enum ks_io_call call, enum ks_fault what, uint64_t nth, bool is_sticky)
{
    struct ks_io_fault_plan p = {.call = call, .fault = what, .nth = nth, .is_sticky = is_sticky};
    ks_io_fault_plan(fault, &p);
}

static void ignore_name(void *arg, const char *name)
{
    (void)arg;
    (void)name;
}

/* Every kind of call once. Returns the first failure and which call it was. */
static enum ks_status work(enum ks_io_call *out_call, struct ks_error *err)
{
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    struct ks_fs_info info;
    char data[8] = "01234567";
    uint64_t size;
    size_t got;
    void *map = NULL;
    enum ks_status st;
#define TRY(call, expr)                                                                            \
    do {                                                                                           \
        *out_call = (call);                                                                        \
        st = (expr);                                                                               \
        if (st)                                                                                    \
            return st;                                                                             \
    } while (0)
    TRY(KS_IO_MAKE_DIR, ks_io_make_dir(io, "d", err));
    TRY(KS_IO_OPEN, ks_io_open(io, "d/a", WRITE_CREATE, &file, err));
    TRY(KS_IO_SYNC_DIR, ks_io_sync_dir(io, "d", err));
    TRY(KS_IO_ALLOCATE, ks_file_allocate(file, 0, 4096, err));
    TRY(KS_IO_WRITE, ks_file_write_one(file, data, sizeof data, 0, KS_WRITE_PLAIN, err));
    TRY(KS_IO_SYNC, ks_file_sync(file, err));
    TRY(KS_IO_READ, ks_file_read(file, data, sizeof data, 0, &got, err));
    TRY(KS_IO_SIZE, ks_file_size(file, &size, err));
    TRY(KS_IO_MAP, ks_file_map(file, 4096, &map, err));
    ks_io_unmap(io, map, 4096);
    TRY(KS_IO_TRUNCATE, ks_file_truncate(file, 8, err));
    TRY(KS_IO_RENAME, ks_io_rename(io, "d/a", "d/b", err));
    TRY(KS_IO_LIST, ks_io_list(io, "d", ignore_name, NULL, err));
    TRY(KS_IO_FS_INFO, ks_io_fs_info(io, &info, err));
    TRY(KS_IO_UNLINK, ks_io_unlink(io, "d/b", err));
#undef TRY
    return KS_OK;
}

/* Raise n until a run meets no fault: every call has failed once, with its own text. */
START_TEST(raising_n_fails_every_call_in_turn)
{
    static const enum ks_fault faults[] = {KS_FAULT_EIO, KS_FAULT_ENOSPC, KS_FAULT_EDQUOT,
        KS_FAULT_ENOMEM, KS_FAULT_SHORT, KS_FAULT_DONE_EIO};
    static const int errnums[] = {EIO, ENOSPC, EDQUOT, ENOMEM, EIO, EIO};
    for (uint64_t n = 1;; n++) {
        use_disk();
        plan(KS_IO_FAULT_ANY, faults[_i], n, false);
        enum ks_io_call call;
        struct ks_error err = KS_ERROR_INIT;
        enum ks_status st = work(&call, &err);
        uint64_t given = ks_io_fault_given(fault);
        ck_assert_uint_eq(
            ks_io_fault_calls(fault, KS_IO_FAULT_ANY), n <= KS_IO_CALLS ? n : KS_IO_CALLS);
        leave_disk();
        if (n > KS_IO_CALLS) {
            ck_assert_int_eq(st, KS_OK);
            ck_assert_uint_eq(given, 0);
            break;
        }
        ck_assert_uint_eq(given, 1);
        ck_assert_int_eq(st, ks_io_status_of(call, errnums[_i]));
        ck_assert_int_ne(st, KS_OK);
        ck_assert_int_eq(err.errnum, errnums[_i]);
        ck_assert_ptr_nonnull(strstr(err.text, ks_io_call_name(call)));
    }
}
END_TEST

START_TEST(no_space_is_retryable_only_where_nothing_was_promised)
{
    for (unsigned call = 0; call < KS_IO_CALLS; call++) {
        bool is_free = call == KS_IO_OPEN || call == KS_IO_ALLOCATE || call == KS_IO_MAKE_DIR ||
                       call == KS_IO_RENAME;
        ck_assert_int_eq(
            ks_io_status_of((enum ks_io_call)call, ENOSPC), is_free ? KS_STORAGE_FULL : KS_IO);
        ck_assert_int_eq(ks_io_status_of((enum ks_io_call)call, 0), KS_OK);
    }
}
END_TEST

START_TEST(a_sticky_fault_stays_and_a_single_one_passes)
{
    use_disk();
    struct ks_file *file = NULL;
    ck_assert_int_eq(ks_io_open(io, "a", WRITE_CREATE, &file, NULL), KS_OK);
    plan(KS_IO_SYNC, KS_FAULT_EIO, 2, _i == 1);
    ck_assert_int_eq(ks_file_sync(file, NULL), KS_OK);
    ck_assert_int_eq(ks_file_write_one(file, "x", 1, 0, KS_WRITE_PLAIN, NULL), KS_OK);
    ck_assert_int_eq(ks_file_sync(file, NULL), KS_IO);
    ck_assert_int_eq(ks_file_sync(file, NULL), _i == 1 ? KS_IO : KS_OK);
    ck_assert_uint_eq(ks_io_fault_given(fault), _i == 1 ? 2 : 1);
    ck_assert_uint_eq(ks_io_fault_calls(fault, KS_IO_SYNC), 3);
    ck_assert_uint_eq(ks_io_fault_calls(fault, KS_IO_WRITE), 1);
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(a_short_write_leaves_half_and_a_done_one_leaves_all)
{
    use_disk();
    struct ks_file *file = NULL;
    uint64_t bytes = 99;
    ck_assert_int_eq(ks_io_open(io, "a", WRITE_CREATE, &file, NULL), KS_OK);
    plan(KS_IO_WRITE,
        _i == 0   ? KS_FAULT_SHORT
        : _i == 1 ? KS_FAULT_DONE_EIO
                  : KS_FAULT_EIO,
        1, false);
    struct iovec iov[] = {{(char[]){"abc"}, 3}, {(char[]){"defgh"}, 5}};
    ck_assert_int_eq(ks_file_write(file, iov, 2, 0, KS_WRITE_PLAIN, NULL), KS_IO);
    ck_assert_int_eq(ks_file_size(file, &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, _i == 0 ? 4 : _i == 1 ? 8 : 0);
    char got[4];
    if (bytes > 0)
        ck_assert_int_eq(ks_file_read_exactly(file, got, 4, 0, NULL), KS_OK);
    ck_assert(bytes == 0 || memcmp(got, "abcd", 4) == 0);
    ks_file_close(file);
    leave_disk();
}
END_TEST

START_TEST(a_short_write_to_a_direct_file_stays_aligned)
{
    use_disk();
    struct ks_file *file = NULL;
    uint64_t bytes = 99;
    _Alignas(4096) static char block[12288];
    ck_assert_int_eq(ks_io_open(io, "a", WRITE_CREATE | KS_OPEN_DIRECT, &file, NULL), KS_OK);
    plan(KS_IO_WRITE, KS_FAULT_SHORT, 1, true);
    ck_assert_int_eq(ks_file_write_one(file, block, 12288, 0, KS_WRITE_DURABLE, NULL), KS_IO);
    ck_assert_int_eq(ks_file_write_one(file, block, 4096, 0, KS_WRITE_DURABLE, NULL), KS_IO);
    ck_assert_int_eq(ks_file_size(file, &bytes, NULL), KS_OK);
    ck_assert_uint_eq(bytes, 4096);
    ks_file_close(file);
    leave_disk();
}
END_TEST

KS_SUITE("storage/io_fault")
{
    KS_TEST_LOOP(raising_n_fails_every_call_in_turn, 6);
    KS_TEST(no_space_is_retryable_only_where_nothing_was_promised);
    KS_TEST_LOOP(a_sticky_fault_stays_and_a_single_one_passes, 2);
    KS_TEST_LOOP(a_short_write_leaves_half_and_a_done_one_leaves_all, 3);
    KS_TEST(a_short_write_to_a_direct_file_stays_aligned);
}
