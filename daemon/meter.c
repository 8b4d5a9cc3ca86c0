#include "daemon/meter.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "proto/operations.h"
#include "storage/log.h"

#include <string.h>

#define REUSE_AFTER_MS 60000
#define SWEEP_EVERY_MS 10000
#define KNOWN_SPARE 1024u /* streams a loop remembers beyond those with a cell */

_Static_assert(KS_STREAM_REFUSED + KS_REFUSAL_COUNT == KS_STREAM_COUNTS, "a count per reason");

/* ---- slots: which stream has which cell, for all loops ---- */

/* Never 0, which means "never". */
static uint64_t meter_now_ms(const struct ks_meter *meter)
{
    return ks_clock_mono_ns(meter->options.clock) / 1000000 + 1;
}

/* mu held. */
static void slot_sweep(struct ks_meter *meter, uint32_t slot, uint64_t now_ms)
{
    uint64_t number = meter->numbers[slot];
    if (number == 0 || !meter->options.is_gone(meter->options.arg, number))
        return;
    ks_u64_map_remove(&meter->slots, number);
    meter->numbers[slot] = 0;
    meter->free_since_ms[slot] = now_ms;
}

/* mu held, on a loop: a few slots a time, one round in SWEEP_EVERY_MS. */
static void slots_sweep_some(struct ks_meter *meter, uint64_t now_ms)
{
    if (meter->sweep_next == 0 && now_ms - meter->swept_mono_ms < SWEEP_EVERY_MS)
        return;
    uint32_t end = KS_MIN(meter->sweep_next + KS_METER_SLOTS_A_TURN, meter->options.streams_max);
    while (meter->sweep_next < end)
        slot_sweep(meter, meter->sweep_next++, now_ms);
    if (end < meter->options.streams_max)
        return;
    meter->sweep_next = 0;
    meter->swept_mono_ms = now_ms;
}

/* mu held. streams_max: none. */
static uint32_t slot_find_free(const struct ks_meter *meter, uint64_t now_ms)
{
    for (uint32_t i = 0; i < meter->options.streams_max; i++) {
        uint64_t since = meter->free_since_ms[i];
        if (meter->numbers[i] == 0 && (since == 0 || now_ms - since >= REUSE_AFTER_MS))
            return i;
    }
    return meter->options.streams_max;
}

/* mu held. Nobody adds to the cells of a free slot. */
static void slot_clear(struct ks_meter *meter, uint32_t slot)
{
    for (unsigned i = 0; i < meter->loop_count; i++)
        for (unsigned k = 0; k < KS_COUNT_OF(meter->loops[i].cells[slot].values); k++)
            atomic_store_explicit(&meter->loops[i].cells[slot].values[k], 0, memory_order_relaxed);
}

/* The stream's slot, a fresh one if need be; streams_max: it shares. */
static uint32_t slot_of(struct ks_meter *meter, uint64_t number)
{
    uint64_t now_ms = meter_now_ms(meter);
    KS_LOCK_SCOPE(&meter->mu);
    uintptr_t known = (uintptr_t)ks_u64_map_get(&meter->slots, number);
    if (known)
        return (uint32_t)(known - 1);
    uint32_t slot = slot_find_free(meter, now_ms);
    if (slot == meter->options.streams_max)
        slots_sweep_some(meter, now_ms);
    if (slot == meter->options.streams_max || !ks_u64_map_reserve(&meter->slots, 1))
        return meter->options.streams_max;
    slot_clear(meter, slot);
    meter->numbers[slot] = number;
    ks_u64_map_put(&meter->slots, number, (void *)(uintptr_t)(slot + 1));
    return slot;
}

/* ---- the loops ---- */

struct ks_stream_cell *ks_meter_cell(struct ks_loop_meter *loop, uint64_t stream_number)
{
    struct ks_stream_cell *cell = ks_u64_map_get(&loop->known, stream_number);
    if (cell)
        return cell;
    struct ks_meter *meter = loop->meter;
    /* Streams come and go: what is forgotten is asked for again. */
    if (loop->known.count >= meter->options.streams_max + KNOWN_SPARE)
        ks_u64_map_fini(&loop->known);
    cell = &loop->cells[slot_of(meter, stream_number)];
    if (ks_u64_map_reserve(&loop->known, 1))
        ks_u64_map_put(&loop->known, stream_number, cell);
    return cell;
}

/* ---- the sums ---- */

static void sums_add(const struct ks_meter *meter, uint32_t slot, struct ks_stream_sums *sums)
{
    memset(sums->values, 0, sizeof(sums->values));
    for (unsigned i = 0; i < meter->loop_count; i++)
        for (unsigned k = 0; k < KS_STREAM_COUNTS; k++)
            sums->values[k] +=
                atomic_load_explicit(&meter->loops[i].cells[slot].values[k], memory_order_relaxed);
}

uint32_t ks_meter_streams(struct ks_meter *meter, struct ks_stream_sums *out)
{
    uint32_t count = 0;
    uint32_t end = 0;
    uint64_t now_ms = meter_now_ms(meter);
    /* A loop that meets a new stream waits for a few slots, not for all. A slot that is freed
     * meanwhile stays free for longer than this takes: no stream is met twice. */
    for (uint32_t i = 0; i < meter->options.streams_max; i = end) {
        end = KS_MIN(i + KS_METER_SLOTS_A_TURN, meter->options.streams_max);
        KS_LOCK_SCOPE(&meter->mu);
        for (uint32_t slot = i; slot < end; slot++) {
            slot_sweep(meter, slot, now_ms);
            if (meter->numbers[slot] == 0)
                continue;
            out[count].number = meter->numbers[slot];
            sums_add(meter, slot, &out[count++]);
        }
    }
    out[count].number = 0;
    sums_add(meter, meter->options.streams_max, &out[count++]);
    return count;
}

bool ks_meter_stream(struct ks_meter *meter, uint64_t stream_number, struct ks_stream_sums *out)
{
    KS_LOCK_SCOPE(&meter->mu);
    uintptr_t known = (uintptr_t)ks_u64_map_get(&meter->slots, stream_number);
    if (!known)
        return false;
    out->number = stream_number;
    sums_add(meter, (uint32_t)(known - 1), out);
    return true;
}

bool ks_meter_is_full(struct ks_meter *meter)
{
    KS_LOCK_SCOPE(&meter->mu);
    return meter->slots.count >= meter->options.streams_max;
}

/* ---- life ---- */

enum ks_status ks_meter_create(
    const struct ks_meter_options *options, struct ks_meter **out_meter, struct ks_error *err)
{
    uint32_t streams_max = options->streams_max;
    unsigned loop_count = options->loop_count;
    struct ks_meter *meter = ks_zalloc(sizeof(*meter));
    if (!meter)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the counters");
    KS_ASSERT(ks_operations_count <= KS_METER_OPERATIONS_MAX);
    meter->options = *options;
    ks_mutex_init(&meter->mu, KS_RANK_METER);
    meter->numbers = ks_calloc(streams_max, sizeof(meter->numbers[0]));
    meter->free_since_ms = ks_calloc(streams_max, sizeof(meter->free_since_ms[0]));
    meter->loops = ks_calloc(loop_count, sizeof(meter->loops[0]));
    bool is_fine = meter->numbers && meter->free_since_ms && meter->loops;
    for (unsigned i = 0; is_fine && i < loop_count; i++) {
        size_t bytes = (streams_max + 1) * sizeof(struct ks_stream_cell);
        meter->loops[i].meter = meter;
        meter->loops[i].cells = ks_aligned_alloc(sizeof(struct ks_stream_cell), bytes);
        is_fine = meter->loops[i].cells != NULL;
        if (is_fine)
            memset((void *)meter->loops[i].cells, 0, bytes);
        meter->loop_count += is_fine;
    }
    if (!is_fine) {
        ks_meter_destroy(meter);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the counters");
    }
    *out_meter = meter;
    return KS_OK;
}

void ks_meter_destroy(struct ks_meter *meter)
{
    if (!meter)
        return;
    for (unsigned i = 0; i < meter->loop_count; i++) {
        ks_u64_map_fini(&meter->loops[i].known);
        ks_free(meter->loops[i].cells);
    }
    ks_u64_map_fini(&meter->slots);
    ks_free(meter->numbers);
    ks_free(meter->free_since_ms);
    ks_free(meter->loops);
    ks_mutex_fini(&meter->mu);
    ks_free(meter);
}
