/* Calls parked on a loop without a thread, over logs of an engine without threads. */
#include "daemon/loop.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/engine_rig.h"

#include <stdio.h>

enum { LOGS = 10, PARKS = 100 };

static struct rig rig;
static struct ks_loop_shared shared;
static struct ks_loop loop;
static struct waiter {
    struct ks_park park; /* first member */
    unsigned news, timeouts, stops;
    struct waiter *cancels; /* when it is resumed */
    const char *parks_again_on;
} waiters[PARKS];

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
}

static void waiter_resume(struct ks_park *park, enum ks_park_end why)
{
    struct waiter *waiter = KS_CONTAINER_OF(park, struct waiter, park);
    waiter->news += why == KS_PARK_NEWS;
    waiter->timeouts += why == KS_PARK_TIMEOUT;
    waiter->stops += why == KS_PARK_STOP;
    ck_assert_ptr_null(park->spot);
    if (waiter->cancels)
        ks_park_cancel(&waiter->cancels->park);
    if (waiter->parks_again_on)
        ck_assert_int_eq(
            ks_park_begin(&loop.parking, park, rig_log(&rig, waiter->parks_again_on), 60000),
            KS_OK);
}

static void waiter_park(struct waiter *waiter, const char *name, uint64_t wait_ms)
{
    waiter->park.resume = waiter_resume;
    ck_assert_int_eq(
        ks_park_begin(&loop.parking, &waiter->park, rig_log(&rig, name), wait_ms), KS_OK);
}

static const char *log_name(int i)
{
    static char name[8];
    snprintf(name, sizeof name, "s%d", i);
    return name;
}

static void set_up(void)
{
    memset(&shared, 0, sizeof shared);
    memset(waiters, 0, sizeof waiters);
    shared.clock = &ks_clock_system;
    shared.events = &ks_events_ignore;
    rig_init(&rig, 1);
    rig_must_open(&rig);
    for (int i = 0; i < LOGS; i++)
        rig_create_stream(&rig, log_name(i));
    ck_assert_int_eq(ks_loop_init(&loop, 0, &shared, NULL), KS_OK);
}

static void tear_down(void)
{
    ck_assert_uint_eq(loop.parking.count, 0);
    ks_loop_fini(&loop); /* asserts that no spot is left */
    rig_fini(&rig);
}

static unsigned total(size_t offset)
{
    unsigned sum = 0;
    for (int i = 0; i < PARKS; i++)
        sum += *(unsigned *)(void *)((char *)&waiters[i] + offset);
    return sum;
}

/* A put to one log looks at no call that waits for another. */
START_TEST(news_resume_those_who_wait_for_that_log_and_no_others)
{
    set_up();
    for (int i = 0; i < PARKS; i++)
        waiter_park(&waiters[i], log_name(i % LOGS), 60000);
    ck_assert_uint_eq(loop.parking.spots.count, LOGS);
    rig_put(&rig, log_name(3), 1, 10);
    ck_assert_uint_eq(ks_mailbox_deliver(&loop.mailbox), 1);
    ck_assert_uint_eq(total(offsetof(struct waiter, news)), PARKS / LOGS);
    for (int i = 0; i < PARKS; i++)
        ck_assert_uint_eq(waiters[i].news, i % LOGS == 3);
    ck_assert_uint_eq(loop.parking.spots.count, LOGS - 1);
    ks_parking_stop(&loop.parking);
    ck_assert_uint_eq(total(offsetof(struct waiter, stops)), PARKS - PARKS / LOGS);
    tear_down();
}
END_TEST

START_TEST(who_parks_again_waits_for_the_next_news)
{
    set_up();
    waiters[0].parks_again_on = "s0";
    waiter_park(&waiters[0], "s0", 60000);
    waiter_park(&waiters[1], "s0", 60000);
    for (unsigned i = 1; i < 4; i++) {
        rig_put(&rig, "s0", 1, 10);
        turn();
        ck_assert_uint_eq(waiters[0].news, i);
        ck_assert_uint_eq(waiters[1].news, 1);
    }
    ks_park_cancel(&waiters[0].park);
    ck_assert_uint_eq(loop.parking.spots.count, 0);
    rig_put(&rig, "s0", 1, 10);
    turn();
    ck_assert_uint_eq(waiters[0].news, 3);
    tear_down();
}
END_TEST

START_TEST(a_timeout_ends_one_wait_and_leaves_the_others)
{
    set_up();
    waiter_park(&waiters[0], "s0", 1);
    waiter_park(&waiters[1], "s0", 60000);
    waiter_park(&waiters[2], "s1", 1);
    while (total(offsetof(struct waiter, timeouts)) < 2)
        event_base_loop(loop.base, EVLOOP_ONCE);
    ck_assert_uint_eq(waiters[0].timeouts, 1);
    ck_assert_uint_eq(waiters[2].timeouts, 1);
    ck_assert_uint_eq(loop.parking.spots.count, 1);
    rig_put(&rig, "s0", 1, 10);
    rig_put(&rig, "s1", 1, 10);
    turn();
    ck_assert_uint_eq(total(offsetof(struct waiter, news)), 1);
    ck_assert_uint_eq(waiters[1].news, 1);
    tear_down();
}
END_TEST

/* The end of one call may take others along: those of its connection. */
START_TEST(a_call_that_is_resumed_may_cancel_its_neighbours)
{
    set_up();
    for (int i = 0; i < 3; i++)
        waiter_park(&waiters[i], "s0", 60000);
    waiters[0].cancels = &waiters[2];
    waiters[1].cancels = &waiters[0]; /* is not parked any more: nothing happens */
    rig_put(&rig, "s0", 1, 10);
    turn();
    ck_assert_uint_eq(waiters[0].news, 1);
    ck_assert_uint_eq(waiters[1].news, 1);
    ck_assert_uint_eq(waiters[2].news, 0);
    tear_down();
}
END_TEST

/* Everybody has left when the mail comes; and somebody may have come in between. */
START_TEST(mail_that_comes_late_finds_whoever_waits_then)
{
    set_up();
    waiter_park(&waiters[0], "s0", 60000);
    waiter_park(&waiters[1], "s1", 60000);
    rig_put(&rig, "s0", 1, 10);
    rig_put(&rig, "s1", 1, 10);
    ks_park_cancel(&waiters[0].park);
    ks_park_cancel(&waiters[1].park);
    waiter_park(&waiters[2], "s1", 60000);
    ck_assert_uint_eq(loop.parking.spots.count, 2);
    turn();
    ck_assert_uint_eq(waiters[0].news + waiters[1].news, 0);
    ck_assert_uint_eq(waiters[2].news, 1);
    ck_assert_uint_eq(loop.parking.spots.count, 0);
    tear_down();
}
END_TEST

KS_SUITE("daemon/park")
{
    KS_TEST(news_resume_those_who_wait_for_that_log_and_no_others);
    KS_TEST(who_parks_again_waits_for_the_next_news);
    KS_TEST(a_timeout_ends_one_wait_and_leaves_the_others);
    KS_TEST(a_call_that_is_resumed_may_cancel_its_neighbours);
    KS_TEST(mail_that_comes_late_finds_whoever_waits_then);
}
