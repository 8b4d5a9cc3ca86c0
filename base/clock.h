/* Time comes in through this seam, so that tests own it. */
#ifndef KS_BASE_CLOCK_H
#define KS_BASE_CLOCK_H

#include "base/defs.h"

struct ks_clock {
    uint64_t (*unix_ms)(const struct ks_clock *clock); /* wall clock, may jump */
    uint64_t (*mono_ns)(const struct ks_clock *clock); /* never goes back */
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

/* A clock that stands still until it is moved: for tests. */
struct ks_fake_clock {
    struct ks_clock clock; /* first member */
    uint64_t unix_ms;
    uint64_t mono_ns;
};
void ks_fake_clock_init(struct ks_fake_clock *fake, uint64_t unix_ms);
void ks_fake_clock_advance_ms(struct ks_fake_clock *fake, uint64_t ms);

#endif
