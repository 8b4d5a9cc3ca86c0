#include "daemon/minutes.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <string.h>

#define REUSE_AFTER_MS 120000
#define SWEEP_EVERY_MS 10000
#define KNOWN_SPARE 1024u
#define SHARD_BITS 24
#define NUMBER_MAX (1ull << (64 - SHARD_BITS))

const struct ks_figure_info ks_figures[KS_FIGURE_COUNT] = {
#define KS_FIGURE(id, name, unit, scale, shard_metric) {name, unit, scale, shard_metric},
#include "daemon/figures.def"
#undef KS_FIGURE
};

void ks_figure_merge(struct ks_figure_value *into, const struct ks_figure_value *more)
{
    if (more->count == 0)
        return;
    into->least = into->count > 0 ? ks_min_u64(into->least, more->least) : more->least;
    into->greatest = into->count > 0 ? ks_max_u64(into->greatest, more->greatest) : more->greatest;
    into->count += more->count;
    into->sum += more->sum;
}

/* ---- slots: who has which cells, for all loops ---- */

/* 0: it cannot be counted. */
static uint64_t key_of(uint64_t stream_number, uint32_t shard_index)
{
    uint64_t shard = shard_index == KS_MINUTES_WHOLE_STREAM ? 0 : (uint64_t)shard_index + 1;
    if (stream_number >= NUMBER_MAX || shard >= 1u << SHARD_BITS)
        return 0;
    return stream_number << SHARD_BITS | shard;
}

/* Never 0, which means "never". */
static uint64_t minutes_now_ms(const struct ks_minutes *minutes)
{
    return ks_clock_mono_ns(minutes->options.clock) / 1000000 + 1;
}

/* mu held. */
static void slots_sweep(struct ks_minutes *minutes, uint64_t now_ms)
{
    minutes->swept_mono_ms = now_ms;
    for (uint32_t i = 0; i < minutes->options.slots_max; i++) {
        uint64_t key = minutes->keys[i];
        if (key == 0 || !minutes->options.is_gone(minutes->options.arg, key >> SHARD_BITS))
            continue;
        ks_u64_map_remove(&minutes->slots, key);
        minutes->keys[i] = 0;
        minutes->free_since_ms[i] = now_ms;
    }
}

/* mu held. slots_max: none. What was counted for the one before is of minutes that are over. */
static uint32_t slot_find_free(const struct ks_minutes *minutes, uint64_t now_ms)
{
    for (uint32_t i = 0; i < minutes->options.slots_max; i++) {
        uint64_t since = minutes->free_since_ms[i];
        if (minutes->keys[i] == 0 && (since == 0 || now_ms - since >= REUSE_AFTER_MS))
            return i;
    }
    return minutes->options.slots_max;
}

/* The number of the slot + 1, a fresh one if need be; 0: there is none. */
static uintptr_t slot_of(struct ks_minutes *minutes, uint64_t key)
{
    uint64_t now_ms = minutes_now_ms(minutes);
    KS_LOCK_SCOPE(&minutes->mu);
    uintptr_t known = (uintptr_t)ks_u64_map_get(&minutes->slots, key);
    if (known)
        return known;
    uint32_t slot = slot_find_free(minutes, now_ms);
    if (slot == minutes->options.slots_max && now_ms - minutes->swept_mono_ms >= SWEEP_EVERY_MS)
        slots_sweep(minutes, now_ms);
    if (slot == minutes->options.slots_max || !ks_u64_map_reserve(&minutes->slots, 1))
        return 0;
    minutes->keys[slot] = key;
    ks_u64_map_put(&minutes->slots, key, (void *)((uintptr_t)slot + 1));
    return (uintptr_t)slot + 1;
}

/* ---- the loops ---- */

static struct ks_minute_half *half_of(struct ks_loop_minutes *loop, uintptr_t slot, uint64_t minute)
{
    struct ks_minute_half *half = &loop->halves[2 * (slot - 1) + (minute & 1)];
    if (atomic_load_explicit(&half->minute, memory_order_relaxed) == minute)
        return half;
    for (unsigned i = 0; i < KS_FIGURE_COUNT; i++)
        atomic_store_explicit(&half->values[i].count, 0, memory_order_relaxed);
    atomic_store_explicit(&half->minute, minute, memory_order_release);
    return half;
}

struct ks_minute_half *ks_minutes_half(
    struct ks_loop_minutes *loop, uint64_t stream_number, uint32_t shard_index)
{
    struct ks_minutes *minutes = loop->minutes;
    uint64_t key = key_of(stream_number, shard_index);
    uintptr_t slot = (uintptr_t)ks_u64_map_get(&loop->known, key);
    if (!slot) {
        slot = key ? slot_of(minutes, key) : 0;
        if (!slot)
            return NULL;
        /* Streams come and go: what is forgotten is asked for again. */
        if (loop->known.count >= minutes->options.slots_max + KNOWN_SPARE)
            ks_u64_map_fini(&loop->known);
        if (ks_u64_map_reserve(&loop->known, 1))
            ks_u64_map_put(&loop->known, key, (void *)slot);
    }
    if (!atomic_load_explicit(&minutes->has_news, memory_order_relaxed))
        atomic_store_explicit(&minutes->has_news, true, memory_order_relaxed);
    return half_of(loop, slot, atomic_load_explicit(&minutes->minute, memory_order_relaxed));
}

/* One writer: no need for atomic additions. */
void ks_minutes_add(struct ks_minute_half *half, enum ks_figure figure, uint64_t value)
{
    struct ks_minute_value *at = &half->values[figure];
    uint64_t count = atomic_load_explicit(&at->count, memory_order_relaxed);
    uint64_t sum = count ? atomic_load_explicit(&at->sum, memory_order_relaxed) : 0;
    uint64_t least = count ? atomic_load_explicit(&at->least, memory_order_relaxed) : value;
    uint64_t greatest = count ? atomic_load_explicit(&at->greatest, memory_order_relaxed) : value;
    atomic_store_explicit(&at->sum, sum + value, memory_order_relaxed);
    atomic_store_explicit(&at->least, ks_min_u64(least, value), memory_order_relaxed);
    atomic_store_explicit(&at->greatest, ks_max_u64(greatest, value), memory_order_relaxed);
    atomic_store_explicit(&at->count, count + 1, memory_order_release);
}

void ks_minutes_set(struct ks_minutes *minutes, uint64_t minute)
{
    if (minute + 1 != atomic_load_explicit(&minutes->minute, memory_order_relaxed))
        atomic_store_explicit(&minutes->minute, minute, memory_order_relaxed);
}

/* ---- collecting ---- */

static bool row_add(struct ks_minute_row *row, const struct ks_minute_half *half)
{
    bool has_any = false;
    if (atomic_load_explicit(&half->minute, memory_order_acquire) != row->minute)
        return false;
    for (unsigned i = 0; i < KS_FIGURE_COUNT; i++) {
        const struct ks_minute_value *at = &half->values[i];
        const struct ks_figure_value value = {
            .count = atomic_load_explicit(&at->count, memory_order_acquire),
            .sum = atomic_load_explicit(&at->sum, memory_order_relaxed),
            .least = atomic_load_explicit(&at->least, memory_order_relaxed),
            .greatest = atomic_load_explicit(&at->greatest, memory_order_relaxed)};
        ks_figure_merge(&row->values[i], &value);
        has_any = has_any || value.count > 0;
    }
    return has_any;
}

void ks_minutes_collect(struct ks_minutes *minutes, uint64_t minute,
    void (*each)(void *arg, const struct ks_minute_row *row), void *arg)
{
    KS_LOCK_SCOPE(&minutes->mu);
    for (uint32_t slot = 0; slot < minutes->options.slots_max; slot++) {
        uint64_t key = minutes->keys[slot];
        uint64_t shard = key & ((1u << SHARD_BITS) - 1);
        struct ks_minute_row row = {.minute = minute, .stream_number = key >> SHARD_BITS};
        bool has_any = false;
        if (key == 0)
            continue;
        row.shard_index = shard ? (uint32_t)shard - 1 : KS_MINUTES_WHOLE_STREAM;
        for (unsigned i = 0; i < minutes->loop_count; i++)
            has_any |= row_add(&row, &minutes->loops[i].halves[2 * (size_t)slot + (minute & 1)]);
        if (has_any)
            each(arg, &row);
    }
}

/* ---- life ---- */

enum ks_status ks_minutes_create(
    const struct ks_minutes_options *options, struct ks_minutes **out_minutes, struct ks_error *err)
{
    struct ks_minutes *minutes = ks_zalloc(sizeof(*minutes));
    if (!minutes)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the counters");
    minutes->options = *options;
    ks_mutex_init(&minutes->mu, KS_RANK_MINUTES);
    minutes->keys = ks_calloc(options->slots_max, sizeof(minutes->keys[0]));
    minutes->free_since_ms = ks_calloc(options->slots_max, sizeof(minutes->free_since_ms[0]));
    minutes->loops = ks_calloc(options->loop_count, sizeof(minutes->loops[0]));
    bool is_fine = minutes->keys && minutes->free_since_ms && minutes->loops;
    for (unsigned i = 0; is_fine && i < options->loop_count; i++) {
        struct ks_loop_minutes *loop = &minutes->loops[i];
        loop->minutes = minutes;
        loop->halves = ks_calloc(2 * (size_t)options->slots_max, sizeof(loop->halves[0]));
        is_fine = loop->halves != NULL;
        minutes->loop_count += is_fine;
    }
    if (!is_fine) {
        ks_minutes_destroy(minutes);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the counters");
    }
    *out_minutes = minutes;
    return KS_OK;
}

void ks_minutes_destroy(struct ks_minutes *minutes)
{
    if (!minutes)
        return;
    for (unsigned i = 0; i < minutes->loop_count; i++) {
        ks_u64_map_fini(&minutes->loops[i].known);
        ks_free(minutes->loops[i].halves);
    }
    ks_u64_map_fini(&minutes->slots);
    ks_free(minutes->keys);
    ks_free(minutes->free_since_ms);
    ks_free(minutes->loops);
    ks_mutex_fini(&minutes->mu);
    ks_free(minutes);
}
