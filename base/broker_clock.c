#include "base/broker_clock.h"

#include <string.h>
#include <sys/timex.h>
#include <time.h>

#define SLEW_DIVISOR 20 /* 5 %: a minute is worked off in twenty */
#define SECOND_MS 1000ull

static uint64_t system_ns(clockid_t id)
{
    struct timespec now;
    KS_ASSERT(clock_gettime(id, &now) == 0);
    /* A host whose clock stands before 1970 must not wrap to the far future. */
    return now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t source_wall_us(KS_UNUSED const struct ks_clock_source *source)
{
    return system_ns(CLOCK_REALTIME) / 1000;
}

static uint64_t source_boot_ns(KS_UNUSED const struct ks_clock_source *source)
{
    return system_ns(CLOCK_BOOTTIME);
}

static uint64_t source_mono_ns(KS_UNUSED const struct ks_clock_source *source)
{
    return system_ns(CLOCK_MONOTONIC);
}

static bool source_is_synchronised(KS_UNUSED const struct ks_clock_source *source)
{
    struct timex timex = {.modes = 0}; /* asks only */
    int state = adjtimex(&timex);
    return state >= 0 && state != TIME_ERROR && !(timex.status & STA_UNSYNC);
}

const struct ks_clock_source ks_clock_source_system = {
    .wall_us = source_wall_us,
    .boot_ns = source_boot_ns,
    .mono_ns = source_mono_ns,
    .is_synchronised = source_is_synchronised,
};

void ks_broker_clock_rules_default(struct ks_broker_clock_rules *rules)
{
    *rules = (struct ks_broker_clock_rules){.slew_ms_max = 60 * SECOND_MS,
        .adopt_after_ms = 600 * SECOND_MS,
        .hold_gap_ms = 7ull * 86400 * SECOND_MS,
        .hold_ms = 3600 * SECOND_MS};
}

const char *ks_clock_hold_text(enum ks_clock_hold hold)
{
    switch (hold) {
    case KS_CLOCK_TRUSTED:
        return "";
    case KS_CLOCK_JUMPED_AT_START:
        return "the wall clock is far ahead of the last known time";
    case KS_CLOCK_JUMPED_WHILE_RUNNING:
        return "the wall clock jumped far ahead";
    case KS_CLOCK_LAST_TIME_LOST:
        return "the last known time is lost";
    }
    return "";
}

/* ---- reading ---- */

struct moment {
    uint64_t unix_us;
    uint64_t behind_us;
};

static struct ks_broker_clock *clock_of(const struct ks_clock *clock)
{
    return (struct ks_broker_clock *)(uintptr_t)clock;
}
_Static_assert(offsetof(struct ks_broker_clock, clock) == 0, "clock_of() relies on it");

/* Never back, whatever the boot clock does; the slew ends by itself when nobody ticks. */
static uint64_t time_at(uint64_t base_us, uint64_t base_boot_ns, int64_t slew_us, uint64_t boot_ns)
{
    uint64_t passed_us = boot_ns > base_boot_ns ? (boot_ns - base_boot_ns) / 1000 : 0;
    int64_t correction_us = (int64_t)(passed_us / SLEW_DIVISOR);
    if (slew_us < 0)
        correction_us = -correction_us < slew_us ? slew_us : -correction_us;
    else
        correction_us = correction_us > slew_us ? slew_us : correction_us;
    return base_us + passed_us + (uint64_t)correction_us;
}

/* The acquire loads keep the order version, members, version; the writer's release stores the same.
 */
static struct moment clock_read(const struct ks_broker_clock *clock)
{
    for (;;) {
        uint32_t version = atomic_load_explicit(&clock->version, memory_order_acquire);
        uint64_t base_us = atomic_load_explicit(&clock->base_us, memory_order_acquire);
        uint64_t base_boot = atomic_load_explicit(&clock->base_boot_ns, memory_order_acquire);
        int64_t slew_us = atomic_load_explicit(&clock->slew_us, memory_order_acquire);
        uint64_t behind_us = atomic_load_explicit(&clock->behind_us, memory_order_acquire);
        uint64_t boot_ns = clock->source->boot_ns(clock->source);
        if (version % 2 == 0 &&
            version == atomic_load_explicit(&clock->version, memory_order_relaxed))
            return (struct moment){
                .unix_us = time_at(base_us, base_boot, slew_us, boot_ns), .behind_us = behind_us};
        ks_cpu_relax();
    }
}

static uint64_t broker_unix_ms(const struct ks_clock *clock)
{
    return clock_read(clock_of(clock)).unix_us / 1000;
}

static uint64_t broker_retention_unix_ms(const struct ks_clock *clock)
{
    struct moment now = clock_read(clock_of(clock));
    return now.unix_us > now.behind_us ? (now.unix_us - now.behind_us) / 1000 : 0;
}

static uint64_t broker_mono_ns(const struct ks_clock *clock)
{
    const struct ks_clock_source *source = clock_of(clock)->source;
    return source->mono_ns(source);
}

/* ---- changing ---- */

/* mu held. */
static void clock_publish(
    struct ks_broker_clock *clock, const struct moment *now, uint64_t boot_ns, int64_t slew_us)
{
    uint32_t version = atomic_load_explicit(&clock->version, memory_order_relaxed);
    atomic_store_explicit(&clock->version, version + 1, memory_order_relaxed);
    atomic_store_explicit(&clock->base_us, now->unix_us, memory_order_release);
    atomic_store_explicit(&clock->base_boot_ns, boot_ns, memory_order_release);
    atomic_store_explicit(&clock->slew_us, slew_us, memory_order_release);
    atomic_store_explicit(&clock->behind_us, now->behind_us, memory_order_release);
    atomic_store_explicit(&clock->version, version + 2, memory_order_release);
}

static struct moment clock_at(const struct ks_broker_clock *clock, uint64_t boot_ns)
{
    return (struct moment){
        .unix_us = time_at(atomic_load_explicit(&clock->base_us, memory_order_relaxed),
            atomic_load_explicit(&clock->base_boot_ns, memory_order_relaxed),
            atomic_load_explicit(&clock->slew_us, memory_order_relaxed), boot_ns),
        .behind_us = atomic_load_explicit(&clock->behind_us, memory_order_relaxed)};
}

static void clock_hold(
    struct ks_broker_clock *clock, const struct moment *now, enum ks_clock_hold hold)
{
    clock->hold = hold;
    clock->held_ns = 0;
    ks_emit(clock->events, KS_LEVEL_WARNING, "clock.retention_held",
        "why=\"%s\" gap_s=%llu release_in_s=%llu text=\"nothing expires until the kernel reports "
        "synchronised time, that time has passed, or kstreamctl confirm-clock\"",
        ks_clock_hold_text(hold), (unsigned long long)(now->behind_us / 1000000),
        (unsigned long long)(clock->rules.hold_ms / 1000));
}

static void clock_release(struct ks_broker_clock *clock, struct moment *now, const char *why)
{
    if (clock->hold == KS_CLOCK_TRUSTED)
        return;
    ks_emit(clock->events, KS_LEVEL_NOTICE, "clock.retention_released", "why=\"%s\" gap_s=%llu",
        why, (unsigned long long)(now->behind_us / 1000000));
    clock->hold = KS_CLOCK_TRUSTED;
    now->behind_us = 0;
}

/* The clock steps to the wall clock. What retention takes for now stays where it was, unless the
 * step is small enough to be believed. */
static void clock_adopt(struct ks_broker_clock *clock, struct moment *now, uint64_t wall_us)
{
    int64_t step_us = (int64_t)(wall_us - now->unix_us);
    bool is_held = clock->hold != KS_CLOCK_TRUSTED;
    clock->is_difference_waiting = false;
    now->unix_us = wall_us;
    ks_emit(clock->events, KS_LEVEL_WARNING, "clock.adopted", "step_s=%lld",
        (long long)(step_us / 1000000));
    if (step_us < 0) {
        now->behind_us -= ks_min_u64(now->behind_us, (uint64_t)-step_us);
        if (is_held && now->behind_us == 0)
            clock_release(clock, now, "the clock went back");
    } else if (is_held || (uint64_t)step_us > clock->rules.hold_gap_ms * 1000) {
        now->behind_us += (uint64_t)step_us;
        clock_hold(clock, now, KS_CLOCK_JUMPED_WHILE_RUNNING);
    }
}

/* A difference that is too large to be worked off. True: the clock stepped. */
static bool difference_wait(struct ks_broker_clock *clock, struct moment *now, uint64_t wall_us)
{
    int64_t difference_us = (int64_t)(wall_us - now->unix_us);
    int64_t slew_us_max = (int64_t)clock->rules.slew_ms_max * 1000;
    int64_t change_us = difference_us - clock->waiting_us;
    if (clock->is_difference_waiting && change_us <= slew_us_max && -change_us <= slew_us_max) {
        if (clock->waited_ns < clock->rules.adopt_after_ms * 1000000)
            return false;
        clock_adopt(clock, now, wall_us);
        return true;
    }
    clock->is_difference_waiting = true;
    clock->waiting_us = difference_us;
    clock->waited_ns = 0;
    ks_emit(clock->events, KS_LEVEL_WARNING, "clock.differs",
        "difference_s=%lld adopted_in_s=%llu text=\"the wall clock jumped; it is not followed "
        "unless it stays so, or kstreamctl confirm-clock\"",
        (long long)(difference_us / 1000000),
        (unsigned long long)(clock->rules.adopt_after_ms / 1000));
    return false;
}

bool ks_broker_clock_tick(struct ks_broker_clock *clock)
{
    const struct ks_clock_source *source = clock->source;
    KS_LOCK_SCOPE(&clock->mu);
    enum ks_clock_hold hold_before = clock->hold;
    uint64_t mono_ns = source->mono_ns(source);
    uint64_t passed_ns = mono_ns > clock->ticked_mono_ns ? mono_ns - clock->ticked_mono_ns : 0;
    clock->ticked_mono_ns = mono_ns;
    clock->waited_ns += passed_ns;
    clock->held_ns += passed_ns;

    uint64_t boot_ns = source->boot_ns(source);
    uint64_t wall_us = source->wall_us(source);
    struct moment now = clock_at(clock, boot_ns);
    int64_t difference_us = (int64_t)(wall_us - now.unix_us);
    int64_t slew_us_max = (int64_t)clock->rules.slew_ms_max * 1000;
    bool is_small = difference_us <= slew_us_max && -difference_us <= slew_us_max;
    bool is_stepped = false;
    if (is_small && clock->is_difference_waiting) {
        clock->is_difference_waiting = false;
        ks_emit(clock->events, KS_LEVEL_NOTICE, "clock.agrees", "difference_ms=%lld",
            (long long)(difference_us / 1000));
    } else if (!is_small) {
        is_stepped = difference_wait(clock, &now, wall_us);
    }
    if (clock->hold != KS_CLOCK_TRUSTED && source->is_synchronised(source))
        clock_release(clock, &now, "the kernel reports synchronised time");
    else if (clock->held_ns >= clock->rules.hold_ms * 1000000)
        clock_release(clock, &now, "it was held long enough");
    clock_publish(clock, &now, boot_ns, is_small ? difference_us : 0);
    return is_stepped || hold_before != clock->hold;
}

/* mu held. */
static void status_fill(const struct ks_broker_clock *clock, const struct moment *now,
    uint64_t wall_us, struct ks_broker_clock_status *out)
{
    uint64_t waited_ms = clock->waited_ns / 1000000;
    uint64_t held_ms = clock->held_ns / 1000000;
    const struct ks_broker_clock_rules *rules = &clock->rules;
    bool is_held = clock->hold != KS_CLOCK_TRUSTED;
    *out = (struct ks_broker_clock_status){.unix_ms = now->unix_us / 1000,
        .retention_unix_ms =
            now->unix_us > now->behind_us ? (now->unix_us - now->behind_us) / 1000 : 0,
        .difference_ms = (int64_t)(wall_us - now->unix_us) / 1000,
        .is_difference_waiting = clock->is_difference_waiting,
        .hold = clock->hold,
        .held_gap_ms = now->behind_us / 1000};
    if (clock->is_difference_waiting && rules->adopt_after_ms > waited_ms)
        out->adopt_in_ms = rules->adopt_after_ms - waited_ms;
    if (is_held && rules->hold_ms > held_ms)
        out->release_in_ms = rules->hold_ms - held_ms;
}

int64_t ks_broker_clock_confirm(
    struct ks_broker_clock *clock, struct ks_broker_clock_status *out_before)
{
    const struct ks_clock_source *source = clock->source;
    KS_LOCK_SCOPE(&clock->mu);
    uint64_t boot_ns = source->boot_ns(source);
    uint64_t wall_us = source->wall_us(source);
    struct moment now = clock_at(clock, boot_ns);
    int64_t difference_us = (int64_t)(wall_us - now.unix_us);
    int64_t slew_us_max = (int64_t)clock->rules.slew_ms_max * 1000;
    status_fill(clock, &now, wall_us, out_before);
    ks_emit(clock->events, KS_LEVEL_NOTICE, "clock.confirmed", "difference_ms=%lld",
        (long long)(difference_us / 1000));
    clock_release(clock, &now, "confirmed");
    clock->is_difference_waiting = false;
    bool is_small = difference_us <= slew_us_max && -difference_us <= slew_us_max;
    if (!is_small)
        now.unix_us = wall_us;
    clock_publish(clock, &now, boot_ns, is_small ? difference_us : 0);
    return is_small ? 0 : difference_us / 1000;
}

void ks_broker_clock_set_rules(
    struct ks_broker_clock *clock, const struct ks_broker_clock_rules *rules)
{
    KS_LOCK_SCOPE(&clock->mu);
    clock->rules = *rules;
}

void ks_broker_clock_status(struct ks_broker_clock *clock, struct ks_broker_clock_status *out)
{
    KS_LOCK_SCOPE(&clock->mu);
    struct moment now = clock_at(clock, clock->source->boot_ns(clock->source));
    status_fill(clock, &now, clock->source->wall_us(clock->source), out);
}

void ks_broker_clock_save(struct ks_broker_clock *clock, struct ks_broker_clock_saved *out)
{
    KS_LOCK_SCOPE(&clock->mu);
    uint64_t boot_ns = clock->source->boot_ns(clock->source);
    struct moment now = clock_at(clock, boot_ns);
    *out = (struct ks_broker_clock_saved){.unix_us = now.unix_us,
        .retention_unix_us = now.unix_us - ks_min_u64(now.unix_us, now.behind_us),
        .boot_ns = boot_ns};
    memcpy(out->boot_id, clock->boot_id, sizeof(out->boot_id));
}

/* ---- start ---- */

static bool is_same_boot(const struct ks_broker_clock *clock,
    const struct ks_broker_clock_saved *saved, uint64_t boot_ns)
{
    static const uint8_t unknown[KS_BOOT_ID_BYTES];
    return memcmp(clock->boot_id, unknown, sizeof(unknown)) != 0 &&
           memcmp(clock->boot_id, saved->boot_id, sizeof(unknown)) == 0 &&
           boot_ns >= saved->boot_ns;
}

static void clock_begin(
    struct ks_broker_clock *clock, const struct ks_broker_clock_saved *saved, bool is_new_directory)
{
    const struct ks_clock_source *source = clock->source;
    uint64_t boot_ns = source->boot_ns(source);
    struct moment now = {.unix_us = source->wall_us(source)};
    enum ks_clock_hold hold = KS_CLOCK_TRUSTED;
    if (saved && is_same_boot(clock, saved, boot_ns)) {
        now.unix_us = saved->unix_us + (boot_ns - saved->boot_ns) / 1000;
        now.behind_us = saved->unix_us - ks_min_u64(saved->unix_us, saved->retention_unix_us);
        if (now.behind_us > 0)
            hold = KS_CLOCK_JUMPED_AT_START; /* it was held, and nobody has confirmed since */
    } else if (saved) {
        /* After a reboot at least the time since boot has passed. */
        uint64_t known_us = saved->unix_us + boot_ns / 1000;
        uint64_t trusted_us = saved->retention_unix_us + boot_ns / 1000;
        now.unix_us = ks_max_u64(now.unix_us, known_us);
        if (now.unix_us - trusted_us > clock->rules.hold_gap_ms * 1000) {
            now.behind_us = now.unix_us - trusted_us;
            hold = KS_CLOCK_JUMPED_AT_START;
        }
    } else if (!is_new_directory) {
        now.behind_us = now.unix_us; /* nothing is known: nothing expires */
        hold = KS_CLOCK_LAST_TIME_LOST;
    }
    if (hold != KS_CLOCK_TRUSTED)
        clock_hold(clock, &now, hold);
    clock_publish(clock, &now, boot_ns, 0);
}

void ks_broker_clock_init(
    struct ks_broker_clock *clock, const struct ks_broker_clock_options *options)
{
    memset(clock, 0, sizeof(*clock));
    clock->clock = (struct ks_clock){.unix_ms = broker_unix_ms,
        .mono_ns = broker_mono_ns,
        .retention_unix_ms = broker_retention_unix_ms};
    clock->source = options->source;
    clock->events = options->events;
    clock->rules = options->rules;
    memcpy(clock->boot_id, options->boot_id, sizeof(clock->boot_id));
    ks_mutex_init(&clock->mu, KS_RANK_CLOCK);
    clock->ticked_mono_ns = options->source->mono_ns(options->source);
    {
        KS_LOCK_SCOPE(&clock->mu);
        clock_begin(clock, options->saved, options->is_new_directory);
    }
    KS_IGNORE(ks_broker_clock_tick(clock), "the caller saves after the start anyway");
}

void ks_broker_clock_fini(struct ks_broker_clock *clock)
{
    ks_mutex_fini(&clock->mu);
}
