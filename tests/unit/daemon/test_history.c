#include "base/clock.h"
#include "daemon/history.h"
#include "storage/io_fault.h"
#include "tests/unit/daemon/temp.h"

#define MINUTE 29000000u
#define STREAM 7u

static struct ks_fake_clock fake;
static struct ks_minutes *minutes;
static char folder[64];

static bool is_gone(void *arg, uint64_t number)
{
    (void)arg, (void)number;
    return false;
}

static void set_up(void)
{
    const struct ks_minutes_options options = {
        .clock = &fake.clock, .is_gone = is_gone, .loop_count = 1, .slots_max = 8};
    ks_fake_clock_init(&fake, 0);
    temp_make(folder);
    ck_assert_int_eq(ks_minutes_create(&options, &minutes, NULL), KS_OK);
}

static void tear_down(void)
{
    ks_minutes_destroy(minutes);
    temp_remove(folder);
}

static struct ks_history *history_of(struct ks_io *io, uint64_t run_id)
{
    const struct ks_history_options options = {.io = io,
        .events = &ks_events_ignore,
        .minutes = minutes,
        .run_id = run_id,
        .bytes_max = 1u << 20};
    struct ks_history *history = NULL;
    ck_assert_int_eq(ks_history_open(&options, &history, NULL), KS_OK);
    return history;
}

static void sum_row(void *arg, const struct ks_minute_row *row)
{
    uint64_t *sum = arg;
    if (row->stream_number == STREAM)
        *sum += row->values[KS_FIGURE_INCOMING_RECORDS].sum;
}

static uint64_t sum_of(struct ks_history *history, uint64_t first, uint64_t end)
{
    const struct ks_history_range range = {.minute_first = first, .minute_end = end};
    uint64_t sum = 0;
    KS_IGNORE(ks_history_each(history, &range, sum_row, &sum, NULL), "what was found is told");
    return sum;
}

/* A run that counts 1, 10, 100... in as many minutes, from minute on. */
static void run(struct ks_io *io, uint64_t run_id, uint64_t minute, unsigned count)
{
    ks_minutes_set(minutes, minute);
    struct ks_history *history = history_of(io, run_id);
    uint64_t value = 1;
    for (unsigned i = 0; i < count; i++, value *= 10) {
        ks_history_tick(history, (minute + i) * 60000);
        struct ks_minute_half *half =
            ks_minutes_half(&minutes->loops[0], STREAM, KS_MINUTES_WHOLE_STREAM);
        ck_assert_ptr_nonnull(half);
        ks_minutes_add(half, KS_FIGURE_INCOMING_RECORDS, value);
    }
    ks_history_close(history);
}

START_TEST(every_run_adds_to_what_was_there)
{
    struct ks_io *io = NULL;
    set_up();
    ck_assert_int_eq(ks_io_posix_open(folder, &io, NULL), KS_OK);
    run(io, 1, MINUTE, 2); /* 1, 10 */
    run(io, 2, MINUTE + 10, 1);
    run(io, 3, MINUTE + 12, 1);
    ks_minutes_set(minutes, MINUTE + 100);
    struct ks_history *history = history_of(io, 4);
    ck_assert_uint_eq(sum_of(history, 0, UINT64_MAX), 13);
    ck_assert_uint_eq(sum_of(history, MINUTE + 1, MINUTE + 11), 11);
    ck_assert_uint_eq(sum_of(history, MINUTE + 2, MINUTE + 10), 0);
    ks_history_close(history);
    ks_io_posix_close(io);
    tear_down();
}
END_TEST

/* Whatever call fails: nothing stops, what could be written is there, and the next run writes. */
START_TEST(a_failing_disk_costs_figures_and_nothing_else)
{
    for (uint64_t nth = 1; nth < 200; nth++) {
        struct ks_io *disk = NULL;
        struct ks_io_fault *fault = NULL;
        set_up();
        ck_assert_int_eq(ks_io_posix_open(folder, &disk, NULL), KS_OK);
        ck_assert_int_eq(ks_io_fault_create(disk, &fault, NULL), KS_OK);
        const struct ks_io_fault_plan plan = {
            .call = KS_IO_FAULT_ANY, .nth = nth, .fault = nth % 2 ? KS_FAULT_ENOSPC : KS_FAULT_EIO};
        ks_io_fault_plan(fault, &plan);
        run(ks_io_fault_io(fault), 1, MINUTE, 2);
        bool has_failed = ks_io_fault_given(fault) > 0;
        ks_io_fault_destroy(fault);
        run(disk, 2, MINUTE + 10, 1);
        ks_minutes_set(minutes, MINUTE + 100);
        struct ks_history *history = history_of(disk, 3);
        ck_assert_uint_eq(sum_of(history, MINUTE + 10, MINUTE + 11), 1);
        uint64_t before = sum_of(history, MINUTE, MINUTE + 2);
        ck_assert(before == 0 || before == 1 || before == 10 || before == 11);
        ck_assert(has_failed || before == 11);
        ks_history_close(history);
        ks_io_posix_close(disk);
        tear_down();
        if (!has_failed)
            return;
    }
    ck_abort_msg("the run never came to its end");
}
END_TEST

KS_SUITE("daemon/history")
{
    KS_TEST(every_run_adds_to_what_was_there);
    KS_TEST(a_failing_disk_costs_figures_and_nothing_else);
}
