#include "base/broker_clock.h"
#include "tests/unit/ks_check.h"

#include <pthread.h>
#include <stdio.h>

#define SECOND_MS 1000ull
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define START_MS 1700000000000ull

/* A machine whose every clock the test moves. */
struct machine {
    struct ks_clock_source source;
    _Atomic uint64_t wall_us;
    _Atomic uint64_t boot_ns;
    _Atomic uint64_t mono_ns;
    bool is_synchronised;
};

/* The last event of each name. */
struct recorder {
    struct ks_events events;
    unsigned differs, agrees, adopted, held, released, confirmed;
    char last[401];
};

static struct machine machine;
static struct recorder seen;
static struct ks_broker_clock broker;

static uint64_t machine_wall_us(const struct ks_clock_source *source)
{
    return ((const struct machine *)(const void *)source)->wall_us;
}

static uint64_t machine_boot_ns(const struct ks_clock_source *source)
{
    return ((const struct machine *)(const void *)source)->boot_ns;
}

static uint64_t machine_mono_ns(const struct ks_clock_source *source)
{
    return ((const struct machine *)(const void *)source)->mono_ns;
}

static bool machine_is_synchronised(const struct ks_clock_source *source)
{
    return ((const struct machine *)(const void *)source)->is_synchronised;
}

static void record(
    const struct ks_events *events, enum ks_level level, const char *name, const char *fields)
{
    struct recorder *recorder = (struct recorder *)(uintptr_t)events;
    (void)level;
    recorder->differs += strcmp(name, "clock.differs") == 0;
    recorder->agrees += strcmp(name, "clock.agrees") == 0;
    recorder->adopted += strcmp(name, "clock.adopted") == 0;
    recorder->held += strcmp(name, "clock.retention_held") == 0;
    recorder->released += strcmp(name, "clock.retention_released") == 0;
    recorder->confirmed += strcmp(name, "clock.confirmed") == 0;
    snprintf(recorder->last, sizeof(recorder->last), "%s %s", name, fields);
}

static void begin(const struct ks_broker_clock_saved *saved, bool is_new, uint8_t boot)
{
    struct ks_broker_clock_options options = {.source = &machine.source,
        .events = &seen.events,
        .saved = saved,
        .is_new_directory = is_new,
        .boot_id = {boot}};
    memset(&seen, 0, sizeof(seen));
    seen.events.emit = record;
    ks_broker_clock_rules_default(&options.rules);
    ks_broker_clock_init(&broker, &options);
}

static void set_up(void)
{
    machine = (struct machine){.source = {.wall_us = machine_wall_us,
                                   .boot_ns = machine_boot_ns,
                                   .mono_ns = machine_mono_ns,
                                   .is_synchronised = machine_is_synchronised},
        .wall_us = START_MS * 1000,
        .boot_ns = 5000000000,
        .mono_ns = 4000000000};
    begin(NULL, true, 1);
}

static void tear_down(void)
{
    ks_broker_clock_fini(&broker);
}

static uint64_t now_ms(void)
{
    return ks_clock_unix_ms(&broker.clock);
}

static uint64_t retention_ms(void)
{
    return ks_clock_retention_unix_ms(&broker.clock);
}

static void pass(uint64_t ms)
{
    machine.wall_us += ms * 1000;
    machine.boot_ns += ms * 1000000;
    machine.mono_ns += ms * 1000000;
}

/* Time goes by with a tick every second, and the clock never goes back. */
static void run(uint64_t ms)
{
    uint64_t last = now_ms();
    for (; ms > 0; ms -= ks_min_u64(ms, SECOND_MS)) {
        pass(ks_min_u64(ms, SECOND_MS));
        ck_assert_uint_ge(now_ms(), last);
        last = now_ms();
        KS_IGNORE(ks_broker_clock_tick(&broker), "the time is looked at");
        ck_assert_uint_ge(now_ms(), last);
        last = now_ms();
    }
}

static void jump_wall(int64_t ms)
{
    machine.wall_us += (uint64_t)(ms * 1000);
}

static uint64_t wall_ms(void)
{
    return machine.wall_us / 1000;
}

START_TEST(it_is_the_wall_clock_while_that_behaves)
{
    set_up();
    ck_assert_uint_eq(now_ms(), START_MS);
    run(3 * HOUR_MS);
    ck_assert_uint_eq(now_ms(), wall_ms());
    ck_assert_uint_eq(retention_ms(), wall_ms());
    ck_assert_uint_eq(seen.differs + seen.held + seen.adopted, 0);
    struct ks_broker_clock_status status;
    ks_broker_clock_status(&broker, &status);
    ck_assert_int_eq(status.hold, KS_CLOCK_TRUSTED);
    ck_assert_int_eq(status.difference_ms, 0);
    tear_down();
}
END_TEST

/* The mono clock stands while the machine sleeps, the boot clock does not. */
START_TEST(sleep_is_time_that_has_passed)
{
    set_up();
    machine.wall_us += 8 * DAY_MS * 1000;
    machine.boot_ns += 8 * DAY_MS * 1000000;
    ck_assert_uint_eq(now_ms(), wall_ms());
    run(SECOND_MS);
    ck_assert_uint_eq(retention_ms(), wall_ms());
    ck_assert_uint_eq(seen.differs + seen.held, 0);
    tear_down();
}
END_TEST

START_TEST(small_difference_is_worked_off_without_a_jump)
{
    static const int64_t jumps_ms[] = {40000, -40000};
    set_up();
    int64_t jump = jumps_ms[_i];
    uint64_t before = now_ms();
    jump_wall(jump);
    ck_assert_uint_eq(now_ms(), before);
    KS_IGNORE(ks_broker_clock_tick(&broker), "sees it");
    ck_assert_uint_eq(now_ms(), before);
    pass(MINUTE_MS);
    /* 5 % of a minute, also without a tick. */
    ck_assert_uint_eq(now_ms(), before + MINUTE_MS + (uint64_t)(jump > 0 ? 3000 : -3000));
    run(15 * MINUTE_MS);
    ck_assert_uint_eq(now_ms(), wall_ms());
    ck_assert_uint_eq(seen.differs + seen.adopted, 0);
    /* Nor is it overdone when nobody ticks for long. */
    jump_wall(jump / 4);
    KS_IGNORE(ks_broker_clock_tick(&broker), "sees it");
    pass(DAY_MS);
    ck_assert_uint_eq(now_ms(), wall_ms());
    tear_down();
}
END_TEST

START_TEST(large_difference_is_not_adopted_for_ten_minutes)
{
    static const int64_t jumps_ms[] = {25 * HOUR_MS, -(int64_t)(25 * HOUR_MS), 61000, -61000};
    set_up();
    int64_t jump = jumps_ms[_i];
    run(MINUTE_MS);
    uint64_t right = now_ms();
    jump_wall(jump);
    run(10 * MINUTE_MS);
    ck_assert_uint_eq(now_ms(), right + 10 * MINUTE_MS);
    ck_assert_uint_eq(seen.differs, 1);
    struct ks_broker_clock_status status;
    ks_broker_clock_status(&broker, &status);
    ck_assert(status.is_difference_waiting);
    ck_assert_uint_eq(status.adopt_in_ms, SECOND_MS);
    ck_assert_int_eq(status.difference_ms, jump);
    pass(SECOND_MS);
    ck_assert(ks_broker_clock_tick(&broker));
    ck_assert_uint_eq(now_ms(), wall_ms());
    ck_assert_uint_eq(seen.adopted, 1);
    /* A day is believed; retention follows. */
    ck_assert_uint_eq(retention_ms(), wall_ms());
    ck_assert_uint_eq(seen.held, 0);
    tear_down();
}
END_TEST

START_TEST(difference_that_goes_away_leaves_nothing_behind)
{
    set_up();
    jump_wall(25 * HOUR_MS);
    run(9 * MINUTE_MS);
    jump_wall(-(int64_t)(25 * HOUR_MS));
    run(SECOND_MS);
    ck_assert_uint_eq(seen.agrees, 1);
    run(HOUR_MS);
    ck_assert_uint_eq(now_ms(), wall_ms());
    /* And the next one waits its whole ten minutes. */
    jump_wall(25 * HOUR_MS);
    run(9 * MINUTE_MS);
    ck_assert_uint_eq(seen.adopted, 0);
    tear_down();
}
END_TEST

START_TEST(difference_that_changes_waits_anew)
{
    set_up();
    jump_wall(25 * HOUR_MS);
    run(9 * MINUTE_MS);
    jump_wall(DAY_MS);
    run(9 * MINUTE_MS);
    ck_assert_uint_eq(seen.differs, 2);
    ck_assert_uint_eq(seen.adopted, 0);
    run(MINUTE_MS + SECOND_MS);
    ck_assert_uint_eq(seen.adopted, 1);
    ck_assert_uint_eq(now_ms(), wall_ms());
    tear_down();
}
END_TEST

/* Sleep is no running time: the wall clock had no chance to be set right. */
START_TEST(sleep_does_not_shorten_the_wait)
{
    set_up();
    jump_wall(25 * HOUR_MS);
    run(MINUTE_MS);
    machine.wall_us += HOUR_MS * 1000;
    machine.boot_ns += HOUR_MS * 1000000;
    run(8 * MINUTE_MS);
    ck_assert_uint_eq(seen.adopted, 0);
    tear_down();
}
END_TEST

static void jump_eight_days(void)
{
    jump_wall(8 * DAY_MS);
    run(10 * MINUTE_MS + SECOND_MS);
    ck_assert_uint_eq(now_ms(), wall_ms());
}

START_TEST(step_over_a_week_holds_retention_where_it_was)
{
    set_up();
    uint64_t before = now_ms();
    jump_eight_days();
    ck_assert_uint_eq(seen.held, 1);
    ck_assert_uint_eq(retention_ms(), before + 10 * MINUTE_MS + SECOND_MS);
    struct ks_broker_clock_status status;
    ks_broker_clock_status(&broker, &status);
    ck_assert_int_eq(status.hold, KS_CLOCK_JUMPED_WHILE_RUNNING);
    ck_assert_uint_eq(status.held_gap_ms, 8 * DAY_MS);
    ck_assert_uint_eq(status.retention_unix_ms, retention_ms());
    ck_assert_uint_gt(status.release_in_ms, 0);
    run(30 * MINUTE_MS);
    ck_assert_uint_eq(retention_ms(), before + 40 * MINUTE_MS + SECOND_MS);
    ck_assert_uint_eq(seen.released, 0);
    tear_down();
}
END_TEST

START_TEST(an_hour_releases_retention)
{
    set_up();
    jump_eight_days();
    run(HOUR_MS - SECOND_MS);
    ck_assert_uint_eq(seen.released, 0);
    run(SECOND_MS);
    ck_assert_uint_eq(seen.released, 1);
    ck_assert_uint_eq(retention_ms(), wall_ms());
    tear_down();
}
END_TEST

START_TEST(synchronised_time_releases_retention)
{
    set_up();
    jump_eight_days();
    machine.is_synchronised = true;
    pass(SECOND_MS);
    ck_assert(ks_broker_clock_tick(&broker));
    ck_assert_uint_eq(seen.released, 1);
    ck_assert_ptr_nonnull(strstr(seen.last, "synchronised"));
    ck_assert_uint_eq(retention_ms(), wall_ms());
    tear_down();
}
END_TEST

START_TEST(confirmation_releases_retention)
{
    set_up();
    jump_eight_days();
    struct ks_broker_clock_status before;
    ck_assert_int_eq(ks_broker_clock_confirm(&broker, &before), 0);
    ck_assert_int_eq(before.hold, KS_CLOCK_JUMPED_WHILE_RUNNING);
    ck_assert_uint_eq(before.held_gap_ms, 8 * DAY_MS);
    ck_assert_uint_eq(retention_ms(), wall_ms());
    ck_assert_uint_eq(seen.confirmed, 1);
    ck_assert_uint_eq(seen.released, 1);
    tear_down();
}
END_TEST

/* Whoever looks and finds the wall clock right need not wait ten minutes, nor the hour after them.
 */
START_TEST(confirmation_adopts_a_waiting_difference_at_once)
{
    set_up();
    jump_wall(8 * DAY_MS);
    run(MINUTE_MS);
    struct ks_broker_clock_status before;
    ck_assert_int_eq(ks_broker_clock_confirm(&broker, &before), 8 * DAY_MS);
    ck_assert(before.is_difference_waiting);
    ck_assert_uint_eq(now_ms(), wall_ms());
    ck_assert_uint_eq(retention_ms(), wall_ms());
    run(HOUR_MS);
    ck_assert_uint_eq(seen.adopted + seen.held + seen.agrees, 0);
    tear_down();
}
END_TEST

START_TEST(going_back_where_it_came_from_releases_retention)
{
    set_up();
    jump_eight_days();
    uint64_t trusted = retention_ms();
    jump_wall(-(int64_t)(8 * DAY_MS));
    run(10 * MINUTE_MS);
    ck_assert_uint_eq(retention_ms(), trusted + 10 * MINUTE_MS);
    pass(SECOND_MS);
    KS_IGNORE(ks_broker_clock_tick(&broker), "adopts");
    ck_assert_uint_eq(now_ms(), wall_ms());
    ck_assert_uint_eq(retention_ms(), wall_ms());
    ck_assert_uint_eq(seen.released, 1);
    tear_down();
}
END_TEST

/* ---- start ---- */

/* Stops; what is saved comes back. */
static struct ks_broker_clock_saved stop(void)
{
    struct ks_broker_clock_saved saved;
    ks_broker_clock_save(&broker, &saved);
    tear_down();
    return saved;
}

static void reboot(uint64_t uptime_ms)
{
    machine.boot_ns = uptime_ms * 1000000;
    machine.mono_ns = uptime_ms * 1000000;
}

START_TEST(restart_within_one_boot_believes_no_jump)
{
    static const int64_t jumps_ms[] = {25 * HOUR_MS, -(int64_t)(25 * HOUR_MS), 8 * DAY_MS};
    set_up();
    struct ks_broker_clock_saved saved = stop();
    pass(3 * DAY_MS);
    uint64_t right = wall_ms();
    jump_wall(jumps_ms[_i]);
    begin(&saved, false, 1);
    ck_assert_uint_eq(now_ms(), right);
    ck_assert_uint_eq(seen.differs, 1);
    ck_assert_uint_eq(seen.held, 0);
    ck_assert_uint_eq(retention_ms(), right);
    tear_down();
}
END_TEST

START_TEST(stop_of_ten_days_within_one_boot_is_ten_days)
{
    set_up();
    struct ks_broker_clock_saved saved = stop();
    pass(10 * DAY_MS);
    begin(&saved, false, 1);
    ck_assert_uint_eq(now_ms(), wall_ms());
    ck_assert_uint_eq(retention_ms(), wall_ms());
    ck_assert_uint_eq(seen.held + seen.differs, 0);
    tear_down();
}
END_TEST

START_TEST(after_a_reboot_the_wall_clock_is_believed_for_a_week)
{
    set_up();
    struct ks_broker_clock_saved saved = stop();
    pass(7 * DAY_MS);
    reboot(0);
    begin(&saved, false, 2);
    ck_assert_uint_eq(now_ms(), wall_ms());
    ck_assert_uint_eq(retention_ms(), wall_ms());
    ck_assert_uint_eq(seen.held + seen.differs, 0);
    tear_down();
}
END_TEST

/* The uptime is known to have passed and is no part of the gap. */
START_TEST(after_a_reboot_a_gap_over_a_week_holds_retention)
{
    set_up();
    struct ks_broker_clock_saved saved = stop();
    uint64_t last = wall_ms();
    pass(8 * DAY_MS);
    reboot(MINUTE_MS);
    begin(&saved, false, 2);
    ck_assert_uint_eq(now_ms(), wall_ms());
    ck_assert_uint_eq(seen.held, 1);
    ck_assert_uint_eq(retention_ms(), last + MINUTE_MS);
    run(HOUR_MS - SECOND_MS);
    ck_assert_uint_eq(retention_ms(), last + MINUTE_MS + HOUR_MS - SECOND_MS);
    run(SECOND_MS);
    ck_assert_uint_eq(retention_ms(), wall_ms());
    tear_down();
}
END_TEST

START_TEST(boot_without_a_name_is_another_boot)
{
    set_up();
    tear_down();
    begin(NULL, true, 0);
    struct ks_broker_clock_saved saved = stop();
    jump_wall(8 * DAY_MS);
    begin(&saved, false, 0);
    ck_assert_uint_eq(seen.held, 1);
    ck_assert_uint_eq(now_ms(), wall_ms());
    tear_down();
}
END_TEST

START_TEST(after_a_reboot_time_does_not_go_back)
{
    set_up();
    struct ks_broker_clock_saved saved = stop();
    uint64_t last = wall_ms();
    jump_wall(-(int64_t)(300 * DAY_MS)); /* a machine whose battery is empty */
    reboot(30 * SECOND_MS);
    begin(&saved, false, 2);
    ck_assert_uint_eq(now_ms(), last + 30 * SECOND_MS);
    ck_assert_uint_eq(seen.differs, 1);
    run(MINUTE_MS);
    jump_wall(300 * DAY_MS + 20 * SECOND_MS); /* NTP has found its servers */
    run(HOUR_MS);
    ck_assert_uint_eq(now_ms(), wall_ms());
    ck_assert_uint_eq(seen.adopted + seen.held, 0);
    tear_down();
}
END_TEST

START_TEST(restart_does_not_forget_that_retention_was_held)
{
    set_up();
    jump_eight_days();
    uint64_t trusted = retention_ms();
    struct ks_broker_clock_saved saved = stop();
    pass(MINUTE_MS);
    if (_i == 1)
        reboot(MINUTE_MS);
    begin(&saved, false, _i == 0 ? 1 : 2);
    ck_assert_uint_eq(seen.held, 1);
    ck_assert_uint_le(retention_ms(), trusted + MINUTE_MS);
    ck_assert_uint_eq(now_ms(), wall_ms());
    tear_down();
}
END_TEST

START_TEST(lost_time_of_a_used_directory_holds_retention_altogether)
{
    set_up();
    tear_down();
    begin(NULL, false, 1);
    ck_assert_uint_eq(seen.held, 1);
    ck_assert_uint_eq(retention_ms(), 0);
    ck_assert_uint_eq(now_ms(), wall_ms());
    run(HOUR_MS);
    ck_assert_uint_eq(retention_ms(), wall_ms());
    tear_down();
}
END_TEST

/* What no real machine does, and libfaketime can. */
START_TEST(boot_clock_that_goes_back_stops_time_and_no_more)
{
    set_up();
    run(HOUR_MS);
    uint64_t before = now_ms();
    machine.boot_ns -= 30 * MINUTE_MS * 1000000;
    machine.mono_ns -= 30 * MINUTE_MS * 1000000;
    machine.wall_us -= 30 * MINUTE_MS * 1000;
    ck_assert_uint_eq(now_ms(), before);
    run(10 * MINUTE_MS);
    ck_assert_uint_eq(now_ms(), before + 10 * MINUTE_MS - SECOND_MS); /* until the first tick */
    for (int i = 0; i < 2; i++) {
        pass(SECOND_MS);
        KS_IGNORE(ks_broker_clock_tick(&broker), "adopts");
    }
    ck_assert_uint_eq(seen.adopted, 1);
    ck_assert_uint_eq(now_ms(), wall_ms());
    tear_down();
}
END_TEST

START_TEST(rules_can_be_changed_while_a_difference_waits)
{
    set_up();
    jump_wall(8 * DAY_MS);
    run(5 * MINUTE_MS);
    struct ks_broker_clock_rules rules;
    ks_broker_clock_rules_default(&rules);
    rules.adopt_after_ms = MINUTE_MS;
    rules.hold_gap_ms = 9 * DAY_MS;
    ks_broker_clock_set_rules(&broker, &rules);
    run(SECOND_MS);
    ck_assert_uint_eq(now_ms(), wall_ms());
    ck_assert_uint_eq(seen.held, 0);
    tear_down();
}
END_TEST

/* ---- threads ---- */

static _Atomic bool is_over;

static void *read_on(void *arg)
{
    uint64_t last = 0;
    (void)arg;
    while (!atomic_load(&is_over)) {
        uint64_t trusted = retention_ms();
        uint64_t now = now_ms();
        /* A reader that overlaps a tick may see the old speed for the length of the tick. */
        ck_assert_uint_ge(now + 1, last);
        ck_assert_uint_ge(now + 1, trusted);
        last = now;
    }
    return NULL;
}

START_TEST(readers_see_whole_times_while_it_ticks)
{
    pthread_t threads[2];
    set_up();
    atomic_store(&is_over, false);
    for (size_t i = 0; i < KS_COUNT_OF(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, NULL), 0);
    for (int i = 0; i < 20000; i++) {
        jump_wall(i % 2 ? 30 : -30);
        pass(1);
        KS_IGNORE(ks_broker_clock_tick(&broker), "changes its speed");
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < KS_COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    tear_down();
}
END_TEST

START_TEST(the_system_is_a_source)
{
    const struct ks_clock_source *source = &ks_clock_source_system;
    uint64_t boot = source->boot_ns(source);
    uint64_t mono = source->mono_ns(source);
    ck_assert_uint_ge(source->boot_ns(source), boot);
    ck_assert_uint_ge(source->mono_ns(source), mono);
    uint64_t wall = ks_clock_unix_ms(&ks_clock_system);
    ck_assert_uint_ge(source->wall_us(source) / 1000, wall);
    bool is_synchronised = source->is_synchronised(source);
    ck_assert(is_synchronised == source->is_synchronised(source));
}
END_TEST

KS_SUITE("base/broker_clock")
{
    KS_TEST(it_is_the_wall_clock_while_that_behaves);
    KS_TEST(sleep_is_time_that_has_passed);
    KS_TEST_LOOP(small_difference_is_worked_off_without_a_jump, 2);
    KS_TEST_LOOP(large_difference_is_not_adopted_for_ten_minutes, 4);
    KS_TEST(difference_that_goes_away_leaves_nothing_behind);
    KS_TEST(difference_that_changes_waits_anew);
    KS_TEST(sleep_does_not_shorten_the_wait);
    KS_TEST(step_over_a_week_holds_retention_where_it_was);
    KS_TEST(an_hour_releases_retention);
    KS_TEST(synchronised_time_releases_retention);
    KS_TEST(confirmation_releases_retention);
    KS_TEST(confirmation_adopts_a_waiting_difference_at_once);
    KS_TEST(going_back_where_it_came_from_releases_retention);
    KS_TEST_LOOP(restart_within_one_boot_believes_no_jump, 3);
    KS_TEST(stop_of_ten_days_within_one_boot_is_ten_days);
    KS_TEST(after_a_reboot_the_wall_clock_is_believed_for_a_week);
    KS_TEST(after_a_reboot_a_gap_over_a_week_holds_retention);
    KS_TEST(boot_without_a_name_is_another_boot);
    KS_TEST(after_a_reboot_time_does_not_go_back);
    KS_TEST_LOOP(restart_does_not_forget_that_retention_was_held, 2);
    KS_TEST(lost_time_of_a_used_directory_holds_retention_altogether);
    KS_TEST(boot_clock_that_goes_back_stops_time_and_no_more);
    KS_TEST(rules_can_be_changed_while_a_difference_waits);
    KS_TEST(readers_see_whole_times_while_it_ticks);
    KS_TEST(the_system_is_a_source);
}
