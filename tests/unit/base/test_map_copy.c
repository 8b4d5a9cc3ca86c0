#include "base/map_copy.h"
#include "tests/unit/ks_check.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAP_BYTES ((size_t)16384)

/* A file of MAP_BYTES bytes 'k', mapped, then cut to file_bytes: what lies behind faults. */
static const uint8_t *map_of_truncated_file(size_t file_bytes)
{
    char path[] = "/tmp/kstream-map-copy-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(unlink(path), 0);
    char page[MAP_BYTES];
    memset(page, 'k', sizeof page);
    ck_assert_int_eq(pwrite(fd, page, sizeof page, 0), (ssize_t)sizeof page);
    const uint8_t *map = mmap(NULL, MAP_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    ck_assert_int_eq(ftruncate(fd, (off_t)file_bytes), 0);
    close(fd);
    return map;
}

START_TEST(copies_what_is_there)
{
    ks_map_guard_install();
    const uint8_t *map = map_of_truncated_file(MAP_BYTES);
    char to[MAP_BYTES];
    char expected[MAP_BYTES];
    memset(to, 0, sizeof to);
    memset(expected, 'k', sizeof expected);
    ck_assert(ks_map_copy(to, map, MAP_BYTES));
    ck_assert_mem_eq(to, expected, MAP_BYTES);
    ck_assert(ks_map_copy(to, map + MAP_BYTES, 0));
}
END_TEST

/* Many times: a handler that left SIGBUS blocked would survive one fault only. */
START_TEST(a_fault_is_a_result_every_time)
{
    ks_map_guard_install();
    const uint8_t *map = map_of_truncated_file(8192);
    char to[MAP_BYTES];
    for (int i = 0; i < 100; i++) {
        ck_assert(!ks_map_copy(to, map, MAP_BYTES));
        ck_assert(!ks_map_copy(to, map + 8192 + i, 1));
        ck_assert(!ks_map_copy(to, map + 8191, 2));
        ck_assert(ks_map_copy(to, map, 8192));
    }
}
END_TEST

static void *fault_often(void *argument)
{
    const uint8_t *map = argument;
    char to[64];
    for (int i = 0; i < 200; i++) {
        if (ks_map_copy(to, map + 8192, sizeof to) || !ks_map_copy(to, map, sizeof to))
            return argument;
    }
    return NULL;
}

START_TEST(threads_fault_without_disturbing_each_other)
{
    ks_map_guard_install();
    const uint8_t *map = map_of_truncated_file(4096);
    pthread_t threads[4];
    for (size_t i = 0; i < KS_COUNT_OF(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fault_often, (void *)map), 0);
    for (size_t i = 0; i < KS_COUNT_OF(threads); i++) {
        void *wrong = NULL;
        ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
        ck_assert_ptr_null(wrong);
    }
}
END_TEST

START_TEST(a_fault_outside_a_copy_ends_the_process)
{
    ks_map_guard_install();
    const volatile uint8_t *map = map_of_truncated_file(4096);
    (void)map[8192];
}
END_TEST

START_TEST(a_fault_after_a_copy_ends_the_process)
{
    ks_map_guard_install();
    const uint8_t *map = map_of_truncated_file(4096);
    char to[8];
    ck_assert(ks_map_copy(to, map, sizeof to));
    ck_assert(!ks_map_copy(to, map + 8192, sizeof to));
    (void)*(const volatile uint8_t *)(map + 8192);
}
END_TEST

START_TEST(a_sigbus_from_somebody_else_ends_the_process)
{
    ks_map_guard_install();
    kill(getpid(), SIGBUS);
}
END_TEST

START_TEST(a_copy_without_the_handler_is_refused)
{
    char to[8];
    KS_IGNORE(ks_map_copy(to, "12345678", sizeof to), "it aborts");
}
END_TEST

KS_SUITE("base/map_copy")
{
    KS_TEST(copies_what_is_there);
    KS_TEST(a_fault_is_a_result_every_time);
    KS_TEST(threads_fault_without_disturbing_each_other);
    KS_TEST_DIES(a_fault_outside_a_copy_ends_the_process, SIGBUS);
    KS_TEST_DIES(a_fault_after_a_copy_ends_the_process, SIGBUS);
    KS_TEST_DIES(a_sigbus_from_somebody_else_ends_the_process, SIGBUS);
    KS_TEST_ABORTS(a_copy_without_the_handler_is_refused);
}
