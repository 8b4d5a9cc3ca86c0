#include "base/clock.h"
#include "base/mutex.h"
#include "tests/unit/ks_check.h"

static struct ks_mutex low;
static struct ks_mutex middle;
static struct ks_mutex high;
static struct ks_cond cond;

static void setup(void)
{
    ks_mutex_init(&low, KS_RANK_REGISTRY);
    ks_mutex_init(&middle, KS_RANK_SHARD);
    ks_mutex_init(&high, KS_RANK_MAILBOX);
    ks_cond_init(&cond);
}

static void teardown(void)
{
    ks_cond_fini(&cond);
    ks_mutex_fini(&high);
    ks_mutex_fini(&middle);
    ks_mutex_fini(&low);
}

START_TEST(rising_ranks_may_be_held_together)
{
    setup();
    ks_mutex_lock(&low);
    ks_mutex_lock(&middle);
    ks_mutex_lock(&high);
    ks_mutex_assert_held(&low);
    /* Unlocking needs no order, and what was given up may be taken again. */
    ks_mutex_unlock(&middle);
    ks_mutex_unlock(&high);
    ks_mutex_lock(&middle);
    ks_mutex_unlock(&low);
    ks_mutex_unlock(&middle);
    ks_mutex_lock(&low);
    ks_mutex_unlock(&low);
    teardown();
}
END_TEST

START_TEST(a_falling_rank_aborts)
{
    setup();
    ks_mutex_lock(&middle);
    ks_mutex_lock(&low);
}
END_TEST

START_TEST(the_same_rank_twice_aborts)
{
    setup();
    struct ks_mutex sibling;
    ks_mutex_init(&sibling, KS_RANK_SHARD);
    ks_mutex_lock(&middle);
    ks_mutex_lock(&sibling);
}
END_TEST

START_TEST(a_falling_rank_aborts_after_a_lower_one_was_unlocked)
{
    setup();
    ks_mutex_lock(&low);
    ks_mutex_lock(&high);
    ks_mutex_unlock(&low);
    ks_mutex_lock(&middle);
}
END_TEST

START_TEST(unlocking_what_is_not_held_aborts)
{
    setup();
    ks_mutex_lock(&low);
    ks_mutex_unlock(&middle);
}
END_TEST

static void *assert_low_is_held(void *unused)
{
    ks_mutex_assert_held(&low);
    return unused;
}

START_TEST(held_means_held_by_this_thread)
{
    setup();
    ks_mutex_lock(&low);
    ks_mutex_assert_held(&low);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, assert_low_is_held, NULL), 0);
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(a_scope_ends_its_lock)
{
    setup();
    {
        KS_LOCK_SCOPE(&middle);
        ks_mutex_assert_held(&middle);
    }
    ks_mutex_lock(&low);
    ks_mutex_unlock(&low);
    teardown();
}
END_TEST

static unsigned counter; /* [middle] */

static void *count_up(void *unused)
{
    for (int i = 0; i < 20000; i++) {
        KS_LOCK_SCOPE(&middle);
        counter++;
    }
    return unused;
}

START_TEST(threads_exclude_each_other)
{
    setup();
    counter = 0;
    pthread_t threads[4];
    for (size_t i = 0; i < KS_COUNT_OF(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up, NULL), 0);
    for (size_t i = 0; i < KS_COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(counter, 80000);
    teardown();
}
END_TEST

static void *answer(void *unused)
{
    KS_LOCK_SCOPE(&middle);
    while (counter != 1)
        ks_cond_wait(&cond, &middle);
    counter = 2;
    ks_cond_broadcast(&cond);
    return unused;
}

START_TEST(a_wait_ends_with_a_signal)
{
    setup();
    counter = 0;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, answer, NULL), 0);
    ks_mutex_lock(&middle);
    counter = 1;
    ks_cond_signal(&cond);
    while (counter != 2)
        ck_assert(ks_cond_wait_ms(&cond, &middle, UINT64_MAX));
    ks_mutex_assert_held(&middle);
    ks_mutex_unlock(&middle);
    pthread_join(thread, NULL);
    teardown();
}
END_TEST

START_TEST(a_wait_nobody_signals_ends_by_its_time)
{
    setup();
    uint64_t start_ns = ks_clock_mono_ns(&ks_clock_system);
    ks_mutex_lock(&middle);
    ck_assert(!ks_cond_wait_ms(&cond, &middle, 0));
    while (ks_cond_wait_ms(&cond, &middle, 20)) {
        /* a spurious wake-up */
    }
    ks_mutex_unlock(&middle);
    ck_assert_uint_ge(ks_clock_mono_ns(&ks_clock_system) - start_ns, 20000000);
    teardown();
}
END_TEST

START_TEST(waiting_while_another_mutex_is_held_aborts)
{
    setup();
    ks_mutex_lock(&low);
    ks_mutex_lock(&middle);
    ks_cond_wait_ms(&cond, &middle, 1);
}
END_TEST

KS_SUITE("base/mutex")
{
    KS_TEST(rising_ranks_may_be_held_together);
    KS_TEST_ABORTS(a_falling_rank_aborts);
    KS_TEST_ABORTS(the_same_rank_twice_aborts);
    KS_TEST_ABORTS(a_falling_rank_aborts_after_a_lower_one_was_unlocked);
    KS_TEST_ABORTS(unlocking_what_is_not_held_aborts);
    KS_TEST_ABORTS(held_means_held_by_this_thread);
    KS_TEST(a_scope_ends_its_lock);
    KS_TEST(threads_exclude_each_other);
    KS_TEST(a_wait_ends_with_a_signal);
    KS_TEST(a_wait_nobody_signals_ends_by_its_time);
    KS_TEST_ABORTS(waiting_while_another_mutex_is_held_aborts);
}
