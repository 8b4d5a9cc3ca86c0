#include "storage/tail.h"

#include "base/alloc.h"

#define TAIL_CHUNK_BYTES_MIN 512u
#define TAIL_MARK_BYTES 4096u

/* The batch at offset is the chunk's batch_index-th (from 0) and begins with sequence. */
struct ks_tail_mark {
    uint64_t sequence;
    uint32_t offset;
    uint32_t batch_index;
};

/* A place between two batches of a chunk. */
struct place {
    uint32_t offset;
    uint32_t batch_index;
};

static struct ks_tail_chunk *chunk_of(struct ks_list *node)
{
    return KS_CONTAINER_OF(node, struct ks_tail_chunk, link);
}

static void tail_check(const struct ks_tail *tail)
{
    KS_ASSERT(tail->chunk_bytes >= TAIL_CHUNK_BYTES_MIN);
    KS_ASSERT(!ks_list_is_empty(&tail->chunks) || tail->bytes == 0);
}

void ks_tail_budget_init(struct ks_tail_budget *budget, uint64_t bytes_max)
{
    ks_tail_pool_init(&budget->pool);
    atomic_init(&budget->used_bytes, 0);
    atomic_init(&budget->bytes_max, bytes_max);
}

void ks_tail_budget_fini(struct ks_tail_budget *budget)
{
    KS_ASSERT(atomic_load(&budget->used_bytes) == 0);
    ks_tail_pool_fini(&budget->pool);
}

/* An address sanitizer sees wrong uses only of chunks that have memory of their own. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOLED_BYTES_MAX 0u
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define POOLED_BYTES_MAX 0u
#endif
#ifndef POOLED_BYTES_MAX
#define POOLED_BYTES_MAX KS_TAIL_POOL_BLOCK_BYTES
#endif

static bool is_pooled(uint64_t memory)
{
    return memory <= POOLED_BYTES_MAX;
}

static void *memory_take(struct ks_tail_budget *budget, uint64_t memory)
{
    return is_pooled(memory) ? ks_tail_pool_take(&budget->pool) : ks_malloc(memory);
}

static void memory_give(struct ks_tail_chunk *chunk)
{
    if (is_pooled(chunk->memory_bytes))
        ks_tail_pool_give(&chunk->budget->pool, chunk);
    else
        ks_free(chunk);
}

void ks_tail_init(struct ks_tail *tail, struct ks_tail_budget *budget, uint32_t chunk_bytes)
{
    ks_list_init(&tail->chunks);
    tail->bytes = 0;
    tail->budget = budget;
    tail->chunk_bytes = KS_MAX(chunk_bytes, TAIL_CHUNK_BYTES_MIN);
}

void ks_tail_fini(struct ks_tail *tail)
{
    struct ks_list *node;
    while ((node = ks_list_pop(&tail->chunks)) != NULL)
        ks_tail_chunk_unref(chunk_of(node));
    tail->bytes = 0;
}

struct ks_tail_chunk *ks_tail_chunk_ref(struct ks_tail_chunk *chunk)
{
    uint32_t before = atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
    KS_ASSERT(before > 0);
    return chunk;
}

void ks_tail_chunk_unref(struct ks_tail_chunk *chunk)
{
    if (!chunk)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel);
    KS_ASSERT(before > 0);
    if (before > 1)
        return;
    struct ks_tail_budget *budget = chunk->budget;
    uint64_t memory = chunk->memory_bytes;
    memory_give(chunk);
    uint64_t used = atomic_fetch_sub_explicit(&budget->used_bytes, memory, memory_order_relaxed);
    KS_ASSERT(used >= memory);
}

static bool budget_charge(struct ks_tail_budget *budget, uint64_t bytes, bool may_exceed)
{
    uint64_t used = atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&budget->bytes_max, memory_order_relaxed);
    do {
        if (!may_exceed && (used > max || bytes > max - used))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &budget->used_bytes, &used, used + bytes, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static struct ks_tail_chunk *tail_last_chunk(const struct ks_tail *tail)
{
    return ks_list_is_empty(&tail->chunks) ? NULL : chunk_of(tail->chunks.prev);
}

enum ks_status ks_tail_reserve(struct ks_tail *tail, uint32_t stored_bytes, bool may_exceed)
{
    struct ks_tail_chunk *last = tail_last_chunk(tail);
    if (last && stored_bytes <= last->capacity_bytes - last->used_bytes)
        return KS_OK;
    /* Doubling from 512 bytes: an idle log stays small, a busy one needs few chunks. */
    uint32_t capacity =
        last ? KS_MIN(last->capacity_bytes, tail->chunk_bytes / 2) * 2 : TAIL_CHUNK_BYTES_MIN;
    capacity = (uint32_t)ks_round_up(KS_MAX(capacity, stored_bytes), sizeof(struct ks_tail_mark));
    uint64_t mark_max = capacity / TAIL_MARK_BYTES + 1;
    uint64_t memory =
        sizeof(struct ks_tail_chunk) + capacity + mark_max * sizeof(struct ks_tail_mark);
    if (!budget_charge(tail->budget, memory, may_exceed))
        return KS_THROTTLED;
    struct ks_tail_chunk *chunk = memory_take(tail->budget, memory);
    if (!chunk) {
        atomic_fetch_sub_explicit(&tail->budget->used_bytes, memory, memory_order_relaxed);
        return KS_NO_MEMORY;
    }
    *chunk = (struct ks_tail_chunk){
        .capacity_bytes = capacity, .budget = tail->budget, .memory_bytes = memory};
    atomic_init(&chunk->refs, 1);
    /* data starts at a multiple of 8 and capacity is one of 16, so the marks are aligned. */
    chunk->marks = (struct ks_tail_mark *)(void *)(chunk->data + capacity);
    ks_list_push(&tail->chunks, &chunk->link);
    tail_check(tail);
    return KS_OK;
}

uint8_t *ks_tail_append(struct ks_tail *tail, uint32_t stored_bytes, uint64_t first_sequence,
    uint64_t last_sequence, struct ks_tail_chunk **out_chunk, uint32_t *out_offset)
{
    struct ks_tail_chunk *chunk = tail_last_chunk(tail);
    KS_ASSERT(chunk);
    KS_ASSERT(stored_bytes > 0 && stored_bytes <= chunk->capacity_bytes - chunk->used_bytes);
    KS_ASSERT(first_sequence > 0 && last_sequence >= first_sequence);
    KS_ASSERT(chunk->batch_count == 0 || first_sequence > chunk->last_sequence);
    uint32_t offset = chunk->used_bytes;
    if (offset >= chunk->mark_count * TAIL_MARK_BYTES)
        chunk->marks[chunk->mark_count++] = (struct ks_tail_mark){
            .sequence = first_sequence, .offset = offset, .batch_index = chunk->batch_count};
    KS_ASSERT(chunk->mark_count <= chunk->capacity_bytes / TAIL_MARK_BYTES + 1);
    if (chunk->batch_count == 0)
        chunk->first_sequence = first_sequence;
    chunk->last_sequence = last_sequence;
    chunk->used_bytes += stored_bytes;
    chunk->batch_count++;
    tail->bytes += stored_bytes;
    *out_chunk = ks_tail_chunk_ref(chunk);
    *out_offset = offset;
    return chunk->data + offset;
}

/* Stored bytes and last sequence of the batch at offset. Our own bytes: they are right, or memory
 * is not. */
static uint32_t chunk_batch_at(
    const struct ks_tail_chunk *chunk, uint32_t offset, uint64_t *out_last_sequence)
{
    struct ks_batch_view batch;
    struct ks_view stored = ks_view_of(chunk->data + offset, chunk->used_bytes - offset);
    enum ks_status st = ks_batch_decode(stored, &batch);
    KS_ASSERT(st == KS_OK);
    *out_last_sequence = ks_batch_last_sequence(&batch.header);
    return (uint32_t)batch.stored_bytes;
}

/* Behind the last batch that ends at or below sequence and, counted from `from`, within bytes_max.
 */
static struct place chunk_find(
    const struct ks_tail_chunk *chunk, uint64_t sequence, uint32_t from, uint64_t bytes_max)
{
    struct place place = {.offset = chunk->used_bytes, .batch_index = chunk->batch_count};
    if (chunk->last_sequence <= sequence && place.offset - from <= bytes_max)
        return place;
    /* The last mark that begins at or below sequence + 1 and is not too far is not beyond the
     * place: all before it end at or below sequence. */
    uint32_t low = 0;
    uint32_t high = chunk->mark_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct ks_tail_mark *mark = &chunk->marks[middle];
        bool is_near = mark->offset <= from || mark->offset - from <= bytes_max;
        if (mark->sequence - 1 <= sequence && is_near)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return (struct place){0};
    place.offset = chunk->marks[low - 1].offset;
    place.batch_index = chunk->marks[low - 1].batch_index;
    while (place.offset < chunk->used_bytes) {
        uint64_t last;
        uint32_t bytes = chunk_batch_at(chunk, place.offset, &last);
        uint32_t end = place.offset + bytes;
        if (last > sequence || (end > from && end - from > bytes_max))
            break;
        place.offset = end;
        place.batch_index++;
    }
    return place;
}

void ks_tail_trim(struct ks_tail *tail, uint64_t flushed_sequence)
{
    KS_LIST_FOR_EACH_SAFE(node, &tail->chunks)
    {
        struct ks_tail_chunk *chunk = chunk_of(node);
        bool is_whole = chunk->last_sequence <= flushed_sequence;
        uint32_t flushed = is_whole ? chunk->used_bytes
                                    : chunk_find(chunk, flushed_sequence, 0, UINT64_MAX).offset;
        KS_ASSERT(flushed >= chunk->flushed_bytes);
        tail->bytes -= flushed - chunk->flushed_bytes;
        chunk->flushed_bytes = flushed;
        if (!is_whole)
            break;
        ks_list_remove(&chunk->link);
        ks_tail_chunk_unref(chunk);
    }
    tail_check(tail);
}

uint64_t ks_tail_first_sequence(const struct ks_tail *tail)
{
    if (ks_list_is_empty(&tail->chunks))
        return 0;
    return chunk_of(tail->chunks.next)->first_sequence;
}

uint32_t ks_tail_collect(struct ks_tail *tail, uint64_t after_sequence, uint64_t last_sequence,
    uint64_t bytes_max, struct ks_tail_extent *extents, uint32_t count_max)
{
    uint32_t count = 0;
    KS_LIST_FOR_EACH(node, &tail->chunks)
    {
        struct ks_tail_chunk *chunk = chunk_of(node);
        if (chunk->batch_count == 0 || chunk->last_sequence <= after_sequence)
            continue;
        if (count == count_max || chunk->first_sequence > last_sequence)
            break;
        struct place from = chunk_find(chunk, after_sequence, 0, UINT64_MAX);
        struct place to = chunk_find(chunk, last_sequence, from.offset, bytes_max);
        if (to.offset <= from.offset)
            break;
        struct ks_tail_extent *extent = &extents[count++];
        *extent = (struct ks_tail_extent){.chunk = ks_tail_chunk_ref(chunk),
            .offset = from.offset,
            .bytes = to.offset - from.offset,
            .batch_count = to.batch_index - from.batch_index};
        struct ks_batch_view first;
        enum ks_status st =
            ks_batch_decode(ks_view_of(chunk->data + from.offset, extent->bytes), &first);
        KS_ASSERT(st == KS_OK);
        extent->first_sequence = first.header.first_sequence;
        bytes_max -= extent->bytes;
        if (to.offset == chunk->used_bytes) {
            extent->last_sequence = chunk->last_sequence;
            continue;
        }
        /* The batch that did not come along begins right behind the last one that did. */
        struct ks_batch_view next;
        st = ks_batch_decode(
            ks_view_of(chunk->data + to.offset, chunk->used_bytes - to.offset), &next);
        KS_ASSERT(st == KS_OK);
        extent->last_sequence = next.header.first_sequence - 1;
        break;
    }
    return count;
}

void ks_tail_extent_cut(struct ks_tail_extent *extent, uint32_t batch_count)
{
    KS_ASSERT(batch_count > 0 && batch_count <= extent->batch_count);
    if (batch_count == extent->batch_count)
        return;
    extent->bytes = 0;
    for (uint32_t i = 0; i < batch_count; i++)
        extent->bytes +=
            chunk_batch_at(extent->chunk, extent->offset + extent->bytes, &extent->last_sequence);
    extent->batch_count = batch_count;
}

/* The header at offset and where the next batch begins. Our own bytes, as above. */
static uint32_t chunk_header_at(
    const struct ks_tail_chunk *chunk, uint32_t offset, struct ks_batch_header *out_header)
{
    size_t bytes = 0;
    struct ks_view rest = ks_view_of(chunk->data + offset, chunk->used_bytes - offset);
    KS_ASSERT(ks_batch_decode_prefix(rest, out_header, &bytes) == KS_OK);
    return offset + (uint32_t)bytes;
}

/* Where a walk through the chunk must begin to meet the first batch of that time: the last mark
 * before it that knows its time, or the start. */
static uint32_t chunk_before_arrival(
    const struct ks_tail_chunk *chunk, const struct ks_tail_query *query)
{
    struct ks_batch_header header;
    uint32_t low = 0;
    uint32_t high = chunk->mark_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        chunk_header_at(chunk, chunk->marks[middle].offset, &header);
        if (header.first_sequence <= query->last_sequence &&
            header.arrival_unix_ms < query->unix_ms)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low > 0; low--) {
        chunk_header_at(chunk, chunk->marks[low - 1].offset, &header);
        if (header.kind != KS_BATCH_DAMAGED)
            return chunk->marks[low - 1].offset;
    }
    return 0;
}

bool ks_tail_find_arrival(
    const struct ks_tail *tail, const struct ks_tail_query *query, struct ks_tail_arrival *out)
{
    bool is_found = false; /* damaged ones, so far */
    KS_LIST_FOR_EACH(node, &tail->chunks)
    {
        const struct ks_tail_chunk *chunk = chunk_of(node);
        for (uint32_t at = chunk_before_arrival(chunk, query); at < chunk->used_bytes;) {
            struct ks_batch_header header;
            at = chunk_header_at(chunk, at, &header);
            if (header.first_sequence > query->last_sequence)
                return is_found;
            bool is_damaged = header.kind == KS_BATCH_DAMAGED;
            bool is_late = header.arrival_unix_ms >= query->unix_ms;
            if (!is_found && (is_late || (is_damaged && query->with_damage))) {
                out->first_sequence = header.first_sequence;
                out->arrival_unix_ms = header.arrival_unix_ms;
                is_found = true;
            }
            if (is_late)
                return true;
            is_found = is_found && is_damaged;
        }
    }
    return is_found;
}
