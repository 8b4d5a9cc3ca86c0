/*
 * The broker's clock: one clock for arrivals, retention and iterators. It is a struct ks_clock, so
 * whoever takes one can be given this; what it is made of comes through struct ks_clock_source, so
 * that tests own every second.
 *
 * It advances by the boot clock, which nobody can set and which runs while the machine sleeps, and
 * follows the wall clock by these rules:
 * - A difference of up to slew_ms_max is worked off slowly: the clock runs 5 % faster or slower, it
 *   never jumps.
 * - A larger one must stay the same for adopt_after_ms of running time; then the clock steps to the
 *   wall clock, forward or back.
 * - At the start, after a reboot, the wall clock is taken as it is, but never behind the time that
 *   is known to have passed. Within one boot a restart changes nothing: the rules above go on.
 * - A step forward of more than hold_gap_ms, at the start or while running, holds retention: until
 *   the kernel reports synchronised time, hold_ms of running time have passed, or an administrator
 *   confirms. The same when the directory is not new and the saved time is lost.
 *
 * For retention: take ks_clock_retention_unix_ms() of any ks_clock for "now". While retention is
 * held it stays behind the clock by what is not trusted, so nothing expires early and nobody has to
 * ask; ks_broker_clock_status() says that it is held and why.
 *
 * Threads: reading the time takes no lock, from any thread; every other function from any thread.
 */
#ifndef KS_BASE_BROKER_CLOCK_H
#define KS_BASE_BROKER_CLOCK_H

#include "base/clock.h"
#include "base/events.h"
#include "base/mutex.h"

#include <stdatomic.h>

/* What the machine says. */
struct ks_clock_source {
    uint64_t (*wall_us)(const struct ks_clock_source *source); /* since 1970; anybody may set it */
    uint64_t (*boot_ns)(const struct ks_clock_source *source); /* also counts sleep */
    uint64_t (*mono_ns)(const struct ks_clock_source *source); /* running time */
    /* The kernel's clock is disciplined by NTP, PTP or the like. */
    bool (*is_synchronised)(const struct ks_clock_source *source);
};

/* CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_MONOTONIC, adjtimex. */
extern const struct ks_clock_source ks_clock_source_system;

struct ks_broker_clock_rules {
    uint64_t slew_ms_max;    /* 60 s */
    uint64_t adopt_after_ms; /* 10 min */
    uint64_t hold_gap_ms;    /* 7 d */
    uint64_t hold_ms;        /* 1 h */
};
void ks_broker_clock_rules_default(struct ks_broker_clock_rules *rules);

#define KS_BOOT_ID_BYTES 16

/* What outlives the process; where it is kept is the caller's affair. */
struct ks_broker_clock_saved {
    uint64_t unix_us;
    uint64_t retention_unix_us;        /* at most unix_us */
    uint64_t boot_ns;                  /* when unix_us was right */
    uint8_t boot_id[KS_BOOT_ID_BYTES]; /* all zero: not known, then never "the same boot" */
};

struct ks_broker_clock_options {
    const struct ks_clock_source *source; /* borrowed */
    const struct ks_events *events;       /* borrowed */
    struct ks_broker_clock_rules rules;
    const struct ks_broker_clock_saved *saved; /* NULL: nothing is known */
    bool is_new_directory; /* nothing is known because there was nothing before */
    uint8_t boot_id[KS_BOOT_ID_BYTES];
};

enum ks_clock_hold {
    KS_CLOCK_TRUSTED,         /* retention is not held */
    KS_CLOCK_JUMPED_AT_START, /* the wall clock is far ahead of the last known time */
    KS_CLOCK_JUMPED_WHILE_RUNNING,
    KS_CLOCK_LAST_TIME_LOST, /* how much time has passed since the last run is not known */
};
/* For people; "" for KS_CLOCK_TRUSTED. */
const char *ks_clock_hold_text(enum ks_clock_hold hold);

struct ks_broker_clock_status {
    uint64_t unix_ms;
    uint64_t retention_unix_ms; /* what retention may take for now */
    int64_t difference_ms;      /* wall clock minus this clock */
    bool is_difference_waiting; /* too large to be worked off; adopted in adopt_in_ms if it stays */
    uint64_t adopt_in_ms;
    enum ks_clock_hold hold;
    uint64_t held_gap_ms;   /* how far retention_unix_ms is behind */
    uint64_t release_in_ms; /* at the latest; 0 when not held */
};

struct ks_broker_clock {
    struct ks_clock clock;                /* first member: give &clock->clock to others */
    const struct ks_clock_source *source; /* [const] */
    const struct ks_events *events;       /* [const] */
    struct ks_broker_clock_rules rules;   /* [mu] */
    uint8_t boot_id[KS_BOOT_ID_BYTES];    /* [const] */

    /* The time is base_us at boot time base_boot_ns, and slew_us are still to be worked off.
     * Written under mu; readers see them whole while version is even and the same. */
    _Atomic uint32_t version;
    _Atomic uint64_t base_us;
    _Atomic uint64_t base_boot_ns;
    _Atomic int64_t slew_us;
    _Atomic uint64_t behind_us; /* retention is so far behind */

    struct ks_mutex mu;         /* KS_RANK_CLOCK */
    uint64_t ticked_mono_ns;    /* [mu] */
    bool is_difference_waiting; /* [mu] */
    int64_t waiting_us;         /* [mu] the difference when it was first seen */
    uint64_t waited_ns;         /* [mu] */
    enum ks_clock_hold hold;    /* [mu] */
    uint64_t held_ns;           /* [mu] */
};

void ks_broker_clock_init(
    struct ks_broker_clock *clock, const struct ks_broker_clock_options *options);
void ks_broker_clock_fini(struct ks_broker_clock *clock);

/* Looks at the wall clock; due about once a second. True: saving is due soon, because the clock
 * stepped or retention was held or released. Events: clock.differs, clock.agrees, clock.adopted,
 * clock.retention_held, clock.retention_released. */
bool ks_broker_clock_tick(struct ks_broker_clock *clock);
/* An administrator says that the wall clock is right: it is adopted, and retention goes on.
 * out_before: as it was. Returns what the clock stepped, in milliseconds. */
int64_t ks_broker_clock_confirm(
    struct ks_broker_clock *clock, struct ks_broker_clock_status *out_before);
void ks_broker_clock_set_rules(
    struct ks_broker_clock *clock, const struct ks_broker_clock_rules *rules);
void ks_broker_clock_status(struct ks_broker_clock *clock, struct ks_broker_clock_status *out);
void ks_broker_clock_save(struct ks_broker_clock *clock, struct ks_broker_clock_saved *out);

#endif
