/*
 * The figures of the last 14 days, minute by minute, in DIR/history: a thread writes what
 * daemon/minutes.h collects, every few seconds while something is counted, so a kill costs those
 * few seconds at most, and a minute that is over is synced. History is no promise: what cannot be
 * written is told (history.not_written) and left out, and nothing else stops for it.
 *
 * Files are numbered and of about a sixteenth of bytes_max; a day begins a new one. The oldest are
 * removed when they are over 14 days old, or when all together are larger than bytes_max. A block
 * that a kill has torn ends its file; the next run goes on behind the last whole one.
 *
 * Threads: one of its own; any may ask, and waits for the disk then.
 */
#ifndef KS_DAEMON_HISTORY_H
#define KS_DAEMON_HISTORY_H

#include "base/events.h"
#include "daemon/minutes.h"
#include "storage/io.h"

#define KS_HISTORY_DAYS 14u
#define KS_HISTORY_DIR "history"

struct ks_history;

struct ks_history_options {
    struct ks_io *io; /* borrowed, as all */
    const struct ks_events *events;
    struct ks_minutes *minutes;
    uint64_t run_id;
    uint64_t bytes_max;
};

/* Starts the thread, which first looks at what is there. Errors: KS_NO_MEMORY. */
enum ks_status ks_history_open(const struct ks_history_options *options,
    struct ks_history **out_history, struct ks_error *err) KS_MUST_USE;
/* Writes what there is. NULL is fine. */
void ks_history_close(struct ks_history *history);

/* Once a second: tells the time, and the thread when there is something to do. */
void ks_history_tick(struct ks_history *history, uint64_t unix_ms);

struct ks_history_range {
    uint64_t minute_first;
    uint64_t minute_end; /* the first one that is not asked for */
};
/*
 * Calls each for every row of the range, in no order, those of the running minute included; a
 * minute may come in several rows, which add up. Errors: KS_IO, KS_NO_MEMORY; what was found
 * before has been told.
 */
enum ks_status ks_history_each(struct ks_history *history, const struct ks_history_range *range,
    void (*each)(void *arg, const struct ks_minute_row *row), void *arg,
    struct ks_error *err) KS_MUST_USE;

#endif
