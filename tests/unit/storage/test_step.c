/* The signal between threads, and when a waiter may burn its core for it. */
#include "storage/step.h"
#include "tests/unit/ks_check.h"

#include <pthread.h>

#define NS_SHORT 1000u
#define NS_LONG 10000000000u /* far longer than any thread takes to come */

/* A signal given before the wait is not lost, and is there once. */
START_TEST(wake_keeps_a_signal_until_it_is_waited_for)
{
    struct ks_wake wake;
    ks_wake_init(&wake, KS_RANK_WAKE);
    ks_wake_set(&wake);
    ks_wake_set(&wake);
    ck_assert(ks_wake_wait(&wake, 0));
    ck_assert(!atomic_load(&wake.is_set));
    ks_wake_stop(&wake);
    ck_assert(!ks_wake_wait(&wake, 0));
    ks_wake_fini(&wake);
}
END_TEST

static void *set_later(void *arg)
{
    ks_wake_set(arg);
    return NULL;
}

/* A spin ends at the signal, which the wait after it then takes. */
START_TEST(spin_sees_the_signal_of_another_thread)
{
    struct ks_wake wake;
    struct ks_spin spin = {0};
    ks_wake_init(&wake, KS_RANK_WAKE);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, set_later, &wake), 0);
    ck_assert(ks_wake_spin(&wake, &spin, NS_LONG));
    ck_assert(ks_wake_wait(&wake, 0));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ks_wake_fini(&wake);
}
END_TEST

/* Every spin in vain lets twice as many waits go by before the next; one that pays starts anew. */
START_TEST(spin_gives_up_when_it_does_not_pay)
{
    struct ks_wake wake;
    struct ks_spin spin = {0};
    ks_wake_init(&wake, KS_RANK_WAKE);
    uint32_t spins = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        spins += spin.skips == 0;
        ck_assert(!ks_wake_spin(&wake, &spin, NS_SHORT));
    }
    ck_assert_uint_eq(spins, 9); /* after 0, 1, 3, 7, ... 255 skips */
    spin.skips = 0;
    ks_wake_set(&wake);
    ck_assert(ks_wake_spin(&wake, &spin, NS_SHORT));
    ck_assert(ks_wake_wait(&wake, 0));
    ck_assert(!ks_wake_spin(&wake, &spin, NS_SHORT));
    ck_assert_uint_eq(spin.skips, 1);
    ks_wake_fini(&wake);
}
END_TEST

KS_SUITE("storage/step")
{
    KS_TEST(wake_keeps_a_signal_until_it_is_waited_for);
    KS_TEST(spin_sees_the_signal_of_another_thread);
    KS_TEST(spin_gives_up_when_it_does_not_pay);
}
