#include "base/alloc.h"
#include "base/bytes.h"
#include "tests/unit/ks_check.h"

#include <pthread.h>
#include <string.h>

START_TEST(the_nth_allocation_fails_and_no_other)
{
    ks_alloc_fail_nth(3, false);
    for (int i = 1; i <= 6; i++) {
        KS_AUTO_FREE void *block = ks_malloc(8);
        ck_assert_int_eq(block == NULL, i == 3);
    }
    ck_assert_uint_eq(ks_alloc_count(), 6);
}
END_TEST

START_TEST(a_sticky_fault_lasts_until_it_is_switched_off)
{
    ks_alloc_fail_nth(2, true);
    for (int i = 1; i <= 4; i++) {
        KS_AUTO_FREE void *block = ks_zalloc(8);
        ck_assert_int_eq(block == NULL, i >= 2);
    }
    ks_alloc_fail_nth(0, false);
    ck_assert_uint_eq(ks_alloc_count(), 0);
    KS_AUTO_FREE void *block = ks_zalloc(8);
    ck_assert_ptr_nonnull(block);
}
END_TEST

START_TEST(every_function_meets_the_fault)
{
    KS_AUTO_FREE char *old = ks_strdup("kept");
    ks_alloc_fail_nth(1, true);
    ck_assert_ptr_null(ks_malloc(1));
    ck_assert_ptr_null(ks_zalloc(1));
    ck_assert_ptr_null(ks_calloc(1, 1));
    ck_assert_ptr_null(ks_realloc(old, 100));
    ck_assert_ptr_null(ks_aligned_alloc(64, 1));
    ck_assert_ptr_null(ks_strdup("x"));
    ck_assert_ptr_null(ks_memdup("x", 1));
    ck_assert_uint_eq(ks_alloc_count(), 7);
    ck_assert_str_eq(old, "kept");
}
END_TEST

static void *allocate_one(void *unused)
{
    (void)unused;
    return ks_malloc(1);
}

START_TEST(a_fault_is_for_its_own_thread)
{
    ks_alloc_fail_nth(1, true);
    pthread_t thread;
    void *block = NULL;
    ck_assert_int_eq(pthread_create(&thread, NULL, allocate_one, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, &block), 0);
    ck_assert_ptr_nonnull(block);
    ks_free(block);
    ck_assert_ptr_null(ks_malloc(1));
}
END_TEST

START_TEST(blocks_are_zeroed_aligned_and_copied_as_promised)
{
    KS_AUTO_FREE uint8_t *zeros = ks_calloc(16, 64);
    KS_AUTO_FREE void *aligned = ks_aligned_alloc(4096, 100);
    KS_AUTO_FREE char *text = ks_strdup("");
    KS_AUTO_FREE char *copy = ks_memdup("a\0b", 3);
    ck_assert(ks_bytes_are_zero(zeros, (size_t)16 * 64));
    ck_assert_uint_eq((uintptr_t)aligned % 4096, 0);
    ck_assert_str_eq(text, "");
    ck_assert_mem_eq(copy, "a\0b", 3);
    ks_free(NULL);
}
END_TEST

START_TEST(a_count_that_overflows_is_refused)
{
    volatile size_t count = SIZE_MAX / 2;
    ck_assert_ptr_null(ks_calloc(count, 4));
}
END_TEST

START_TEST(zero_bytes_abort)
{
    ks_free(ks_malloc(0));
}
END_TEST

KS_SUITE("base/alloc")
{
    KS_TEST(the_nth_allocation_fails_and_no_other);
    KS_TEST(a_sticky_fault_lasts_until_it_is_switched_off);
    KS_TEST(every_function_meets_the_fault);
    KS_TEST(a_fault_is_for_its_own_thread);
    KS_TEST(blocks_are_zeroed_aligned_and_copied_as_promised);
    KS_TEST(a_count_that_overflows_is_refused);
    KS_TEST_ABORTS(zero_bytes_abort);
}
