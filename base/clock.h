/* Time comes in through this seam, so that tests own it. */
#ifndef KS_BASE_CLOCK_H
#define KS_BASE_CLOCK_H

#include "base/defs.h"

struct ks_clock {
    uint64_t (*unix_ms)(const struct ks_clock *clock); /* wall clock, may jump */
    uint64_t (*mono_ns)(const struct ks_clock *clock); /* never goes back */
    /* The newest moment at which something may be called too old; NULL: as unix_ms. */
    uint64_t (*retention_unix_ms)(const struct ks_clock *clock);
};

extern const struct ks_clock ks_clock_system; /* CLOCK_REALTIME and CLOCK_MONOTONIC */

static inline uint64_t ks_clock_unix_ms(const struct ks_clock *clock)
{
    return clock->unix_ms(clock);
}

static inline uint64_t ks_clock_mono_ns(const struct ks_clock *clock)
{
    return clock->mono_ns(clock);
}

/*
 * "Now" for whoever deletes or hides what is too old: behind unix_ms while the clock is not trusted
 * (base/broker_clock.h says when and why), so that nothing expires early. It may leap forward when
 * trust comes back, and step back with the wall clock.
 */
static inline uint64_t ks_clock_retention_unix_ms(const struct ks_clock *clock)
{
    return clock->retention_unix_ms ? clock->retention_unix_ms(clock) : clock->unix_ms(clock);
}

/* A clock that stands still until it is moved: for tests. */
struct ks_fake_clock {
    struct ks_clock clock; /* first member */
    uint64_t unix_ms;
    uint64_t mono_ns;
    uint64_t retention_behind_ms; /* as if so much of unix_ms were not trusted */
};
void ks_fake_clock_init(struct ks_fake_clock *fake, uint64_t unix_ms);
void ks_fake_clock_advance_ms(struct ks_fake_clock *fake, uint64_t ms);

#endif
