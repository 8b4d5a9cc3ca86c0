/*
 * What every Check suite needs: one suite per module, one case per behaviour, the test's name is
 * the claim.
 *
 *     #include "tests/unit/ks_check.h"
 *     #include "base/bytes.h"
 *
 *     START_TEST(cursor_refuses_past_the_end)
 *     {
 *         ...
 *     }
 *     END_TEST
 *
 *     KS_SUITE("base/bytes")
 *     {
 *         KS_TEST(cursor_refuses_past_the_end);
 *         KS_TEST_ABORTS(a_test_that_must_fail_an_assertion);
 *         KS_TEST_LOOP(a_test_that_runs_with_i_from_0_to_9, 10); // _i is the number
 *     }
 *
 * and in the folder's meson.build one line per module (see tests/unit/base/meson.build). KS_SUITE
 * makes main(), which returns non-zero when a test fails. `CK_RUN_CASE=cursor_refuses_past_the_end
 * test_bytes` runs one; CK_FORK=no helps gdb.
 */
#ifndef KS_TESTS_UNIT_KS_CHECK_H
#define KS_TESTS_UNIT_KS_CHECK_H

#include "base/defs.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Long enough for a sanitizer on a busy machine; a test that hangs still ends. */
#define KS_CHECK_TIMEOUT_S 60

static inline KS_UNUSED TCase *ks_check_case(Suite *suite, const char *name)
{
    TCase *test_case = tcase_create(name);
    tcase_set_timeout(test_case, KS_CHECK_TIMEOUT_S);
    suite_add_tcase(suite, test_case);
    return test_case;
}

#define KS_TEST(test) tcase_add_test(ks_check_case(ks_suite_, #test), test)
#define KS_TEST_LOOP(test, count)                                                                  \
    tcase_add_loop_test(ks_check_case(ks_suite_, #test), test, 0, count)
/* Passes only if the test dies by that signal. Left out without fork (CK_FORK=no). */
#define KS_TEST_DIES(test, signal_number)                                                          \
    do {                                                                                           \
        const char *ks_fork_ = getenv("CK_FORK");                                                  \
        if (!ks_fork_ || strcmp(ks_fork_, "no") != 0)                                              \
            tcase_add_test_raise_signal(ks_check_case(ks_suite_, #test), test, signal_number);     \
    } while (0)
/* As a failed KS_ASSERT dies. */
#define KS_TEST_ABORTS(test) KS_TEST_DIES(test, SIGABRT)

#define KS_SUITE(name)                                                                             \
    static void ks_suite_fill(Suite *ks_suite_);                                                   \
    int main(void)                                                                                 \
    {                                                                                              \
        Suite *suite = suite_create(name);                                                         \
        ks_suite_fill(suite);                                                                      \
        SRunner *runner = srunner_create(suite);                                                   \
        srunner_run_all(runner, CK_ENV);                                                           \
        int failed = srunner_ntests_failed(runner);                                                \
        int run = srunner_ntests_run(runner);                                                      \
        srunner_free(runner);                                                                      \
        return failed == 0 && run > 0 ? EXIT_SUCCESS : EXIT_FAILURE;                               \
    }                                                                                              \
    static void ks_suite_fill(Suite *ks_suite_)

#endif
