#include "base/clock.h"

#include <time.h>

static uint64_t system_unix_ms(KS_UNUSED const struct ks_clock *clock)
{
    struct timespec now;
    KS_ASSERT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    /* A host whose clock stands before 1970 must not wrap to the far future. */
    if (now.tv_sec < 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t system_mono_ns(KS_UNUSED const struct ks_clock *clock)
{
    struct timespec now;
    KS_ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

const struct ks_clock ks_clock_system = {
    .unix_ms = system_unix_ms,
    .mono_ns = system_mono_ns,
};

static const struct ks_fake_clock *fake_of(const struct ks_clock *clock)
{
    return (const struct ks_fake_clock *)(const void *)clock;
}
_Static_assert(offsetof(struct ks_fake_clock, clock) == 0, "fake_of() relies on it");

static uint64_t fake_unix_ms(const struct ks_clock *clock)
{
    return fake_of(clock)->unix_ms;
}

static uint64_t fake_mono_ns(const struct ks_clock *clock)
{
    return fake_of(clock)->mono_ns;
}

static uint64_t fake_retention_unix_ms(const struct ks_clock *clock)
{
    return fake_of(clock)->unix_ms - fake_of(clock)->retention_behind_ms;
}

void ks_fake_clock_init(struct ks_fake_clock *fake, uint64_t unix_ms)
{
    *fake = (struct ks_fake_clock){
        .clock = {.unix_ms = fake_unix_ms,
            .mono_ns = fake_mono_ns,
            .retention_unix_ms = fake_retention_unix_ms},
        .unix_ms = unix_ms,
        .mono_ns = 0,
    };
}

void ks_fake_clock_advance_ms(struct ks_fake_clock *fake, uint64_t ms)
{
    fake->unix_ms += ms;
    fake->mono_ns += ms * 1000000;
}
