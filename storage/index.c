/*
 * The index of sealed segments: where a sequence or a time is to be looked for, an entry about
 * every index_interval_bytes. A cache: every row can be made again from a footer, nothing in it is
 * believed before the batch it leads to has been looked at, and on any error the whole of it is
 * dropped and begun anew.
 */
#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/read_priv.h"

#include <string.h>

enum { TABLE_SEQUENCE, TABLE_TIME };

#define KEY_BYTES 24u   /* file id, generation, sequence or arrival: big-endian */
#define VALUE_BYTES 20u /* sequence, arrival, offset: little-endian */
#define SEGMENTS_A_ROUND 16u
#define QUEUE_MAX 1024u /* more wait for the next miss */
#define FORGET_ROWS_A_ROUND 4096u

struct forget {
    uint64_t file_id;
    uint64_t generation;
};

struct ks_index {
    struct ks_engine *engine;
    struct ks_step step;
    struct ks_wake wake;
    struct ks_mutex mu;                  /* KS_RANK_INDEX */
    struct ks_cond idle;                 /* users went to zero */
    struct ks_kv *kv;                    /* [mu] NULL: there is none */
    uint32_t users;                      /* [mu] between their begin and abort */
    bool is_broken;                      /* [mu] to be dropped by the step; nobody enters */
    struct ks_segment *queue[QUEUE_MAX]; /* [mu] referenced */
    uint32_t queue_count;
    struct forget *forgets; /* [mu] */
    uint32_t forget_count;
    uint32_t forget_capacity;
    struct ks_segment *batch[SEGMENTS_A_ROUND]; /* [step] */
    uint32_t batch_count;
    struct forget *dropping; /* [step] */
    uint32_t dropping_count;
};

/* ---- rows ---- */

struct row_key {
    uint8_t bytes[KEY_BYTES];
};

static struct ks_view row_key(
    struct row_key *key, uint64_t file_id, uint64_t generation, uint64_t last)
{
    ks_store_u64be(key->bytes, file_id);
    ks_store_u64be(key->bytes + 8, generation);
    ks_store_u64be(key->bytes + 16, last);
    return ks_view_of(key->bytes, KEY_BYTES);
}

static enum ks_status row_put(struct ks_kv_txn *txn, const struct ks_segment *segment,
    const struct ks_index_entry *entry, struct ks_error *err)
{
    uint8_t value[VALUE_BYTES];
    ks_store_u64le(value, entry->sequence);
    ks_store_u64le(value + 8, entry->arrival_unix_ms);
    ks_store_u32le(value + 16, entry->offset);
    struct row_key key;
    enum ks_status st = ks_kv_put(txn, TABLE_SEQUENCE,
        row_key(&key, segment->file_id, segment->generation, entry->sequence),
        ks_view_of(value, sizeof value), err);
    if (st)
        return st;
    return ks_kv_put(txn, TABLE_TIME,
        row_key(&key, segment->file_id, segment->generation, entry->arrival_unix_ms),
        ks_view_of(value, sizeof value), err);
}

/* ---- entering and leaving ---- */

static struct ks_kv *index_enter(struct ks_index *index)
{
    KS_LOCK_SCOPE(&index->mu);
    if (!index->kv || index->is_broken)
        return NULL;
    index->users++;
    return index->kv;
}

static void index_leave(struct ks_index *index)
{
    KS_LOCK_SCOPE(&index->mu);
    if (--index->users == 0)
        ks_cond_signal(&index->idle);
}

void ks_index_drop(struct ks_index *index, const char *reason)
{
    if (!index)
        return;
    bool is_news = false;
    {
        KS_LOCK_SCOPE(&index->mu);
        is_news = index->kv && !index->is_broken;
        index->is_broken = index->is_broken || is_news;
    }
    if (!is_news)
        return;
    ks_emit(index->engine->options.events, KS_LEVEL_WARNING, "index.dropped", "why=\"%s\"", reason);
    ks_wake_set(&index->wake);
}

/* ---- looking up ---- */

static enum ks_status lookup(struct ks_index *index, struct ks_kv *kv, unsigned table,
    const struct ks_segment *segment, uint64_t last, struct ks_index_entry *out,
    struct ks_error *err)
{
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    enum ks_status st = ks_kv_begin(kv, false, &txn, err);
    if (st)
        return st;
    struct row_key wanted;
    struct ks_view key;
    struct ks_view value;
    st = ks_kv_at_or_before(txn, table,
        row_key(&wanted, segment->file_id, segment->generation, last), &key, &value, err);
    if (st)
        return st;
    if (key.bytes != KEY_BYTES || value.bytes != VALUE_BYTES)
        return ks_fail(err, KS_CORRUPT, 0, "a row of the index has a wrong length");
    if (memcmp(key.data, wanted.bytes, 16) != 0)
        return KS_NOT_FOUND;
    out->sequence = ks_load_u64le(value.data);
    out->arrival_unix_ms = ks_load_u64le(value.data + 8);
    out->offset = ks_load_u32le(value.data + 16);
    uint64_t said = table == TABLE_SEQUENCE ? out->sequence : out->arrival_unix_ms;
    if (said != ks_load_u64be(key.data + 16) || out->sequence < segment->first_sequence)
        return ks_fail(err, KS_CORRUPT, 0, "a row of the index disagrees with its key");
    ks_engine_count(index->engine, KS_COUNT_INDEX_LOOKUPS, 1);
    return KS_OK;
}

static enum ks_status find(struct ks_index *index, unsigned table, const struct ks_segment *segment,
    uint64_t last, struct ks_index_entry *out)
{
    struct ks_kv *kv = index_enter(index);
    if (!kv)
        return KS_NOT_FOUND;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = lookup(index, kv, table, segment, last, out, &error);
    index_leave(index);
    if (st && st != KS_NOT_FOUND)
        ks_index_drop(index, error.text);
    return st ? KS_NOT_FOUND : KS_OK;
}

enum ks_status ks_index_find(struct ks_index *index, const struct ks_segment *segment,
    uint64_t sequence, struct ks_index_entry *out, struct ks_error *err)
{
    (void)err;
    return find(index, TABLE_SEQUENCE, segment, sequence, out);
}

/* Strictly before unix_ms: batches of that very millisecond may begin ahead of an entry with it. */
enum ks_status ks_index_find_time(struct ks_index *index, const struct ks_segment *segment,
    uint64_t unix_ms, struct ks_index_entry *out, struct ks_error *err)
{
    (void)err;
    return unix_ms == 0 ? KS_NOT_FOUND : find(index, TABLE_TIME, segment, unix_ms - 1, out);
}

/* ---- filling ---- */

void ks_index_submit(struct ks_index *index, struct ks_segment *segment)
{
    {
        KS_LOCK_SCOPE(&index->mu);
        bool is_known = !index->kv || index->queue_count == QUEUE_MAX;
        for (uint32_t i = 0; i < index->queue_count && !is_known; i++)
            is_known = index->queue[i] == segment;
        if (is_known)
            return;
        index->queue[index->queue_count++] = ks_segment_ref(segment);
    }
    ks_wake_set(&index->wake);
}

void ks_index_forget(struct ks_index *index, uint64_t file_id, uint64_t generation)
{
    {
        KS_LOCK_SCOPE(&index->mu);
        if (!index->kv)
            return;
        if (index->forget_count == index->forget_capacity) {
            uint32_t capacity = index->forget_capacity ? 2 * index->forget_capacity : 16;
            struct forget *grown = ks_realloc(index->forgets, capacity * sizeof *grown);
            if (!grown)
                return; /* rows of an old generation lead nobody astray */
            index->forgets = grown;
            index->forget_capacity = capacity;
        }
        index->forgets[index->forget_count++] =
            (struct forget){.file_id = file_id, .generation = generation};
    }
    ks_wake_set(&index->wake);
}

/* The one place that makes rows: from a footer's marks. */
static enum ks_status fill_from_footer(struct ks_index *index, struct ks_kv_txn *txn,
    const struct ks_segment *segment, const struct ks_footer *footer, struct ks_error *err)
{
    uint64_t offset = KS_SEGMENT_HEADER_BYTES;
    uint64_t sequence = footer->first_sequence;
    uint32_t mark = 0;
    for (uint32_t i = 0; i < footer->batch_count && mark < footer->mark_count; i++) {
        if (footer->marks[mark].batch == i) {
            struct ks_index_entry entry = {.sequence = sequence,
                .arrival_unix_ms = footer->marks[mark].arrival_unix_ms,
                .offset = (uint32_t)offset};
            enum ks_status st = row_put(txn, segment, &entry, err);
            if (st)
                return st;
            ks_engine_count(index->engine, KS_COUNT_INDEX_WRITTEN, 1);
            mark++;
        }
        offset += footer->batches[i].bytes;
        sequence += footer->batches[i].record_count;
    }
    return KS_OK;
}

/* A footer that cannot be read leaves the segment without rows: its readers walk. */
static enum ks_status fill(
    struct ks_index *index, struct ks_kv_txn *txn, struct ks_segment *segment, struct ks_error *err)
{
    struct ks_footer footer;
    if (ks_segment_read_footer(segment, segment->file_bytes, &footer, NULL))
        return KS_OK;
    enum ks_status st = fill_from_footer(index, txn, segment, &footer, err);
    ks_footer_fini(&footer);
    return st;
}

static enum ks_status forget_rows(
    struct ks_kv_txn *txn, unsigned table, const struct forget *forget, struct ks_error *err)
{
    for (uint32_t i = 0; i < FORGET_ROWS_A_ROUND; i++) {
        struct row_key wanted;
        struct ks_view key;
        struct ks_view value;
        enum ks_status st = ks_kv_at_or_after(txn, table,
            row_key(&wanted, forget->file_id, forget->generation, 0), &key, &value, err);
        if (st)
            return st == KS_NOT_FOUND ? KS_OK : st;
        if (key.bytes != KEY_BYTES || memcmp(key.data, wanted.bytes, 16) != 0)
            return KS_OK;
        memcpy(wanted.bytes, key.data, KEY_BYTES); /* the view ends with the change */
        st = ks_kv_remove(txn, table, ks_view_of(wanted.bytes, KEY_BYTES), err);
        if (st)
            return st;
    }
    return KS_OK;
}

static enum ks_status write_rows(struct ks_index *index, struct ks_kv *kv, struct ks_error *err)
{
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    enum ks_status st = ks_kv_begin(kv, true, &txn, err);
    for (uint32_t i = 0; !st && i < index->dropping_count; i++) {
        st = forget_rows(txn, TABLE_SEQUENCE, &index->dropping[i], err);
        if (!st)
            st = forget_rows(txn, TABLE_TIME, &index->dropping[i], err);
    }
    for (uint32_t i = 0; !st && i < index->batch_count; i++)
        st = fill(index, txn, index->batch[i], err);
    return st ? st : ks_kv_commit(KS_TAKE(txn), err);
}

/* Waits for those inside, closes, erases unopened, begins anew; without one if even that fails. */
static void reopen(struct ks_index *index)
{
    struct ks_kv *old = NULL;
    {
        KS_LOCK_SCOPE(&index->mu);
        while (index->users > 0)
            ks_cond_wait(&index->idle, &index->mu);
        old = index->kv;
        index->kv = NULL;
    }
    ks_kv_close(old);
    struct ks_engine *engine = index->engine;
    struct ks_kv *kv = NULL;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st =
        engine->options.open_index(engine->options.open_index_arg, true, &kv, &error);
    if (st)
        ks_emit(engine->options.events, KS_LEVEL_WARNING, "index.unavailable", "why=\"%s\"",
            error.text);
    KS_LOCK_SCOPE(&index->mu);
    index->kv = st ? NULL : kv;
    index->is_broken = false;
}

/* ---- the step ---- */

static bool index_begin(void *self)
{
    struct ks_index *index = self;
    KS_LOCK_SCOPE(&index->mu);
    index->batch_count = KS_MIN(index->queue_count, SEGMENTS_A_ROUND);
    memcpy(index->batch, index->queue, index->batch_count * sizeof index->batch[0]);
    index->queue_count -= index->batch_count;
    memmove(index->queue, index->queue + index->batch_count,
        index->queue_count * sizeof index->queue[0]);
    index->dropping = index->forgets;
    index->dropping_count = index->forget_count;
    index->forgets = NULL;
    index->forget_count = 0;
    index->forget_capacity = 0;
    return index->is_broken || index->batch_count > 0 || index->dropping_count > 0;
}

static void index_run(void *self)
{
    struct ks_index *index = self;
    struct ks_kv *kv = index_enter(index);
    if (kv) {
        struct ks_error error = KS_ERROR_INIT;
        enum ks_status st = write_rows(index, kv, &error);
        index_leave(index);
        if (st)
            ks_index_drop(index, error.text);
    }
    bool is_broken = false;
    {
        KS_LOCK_SCOPE(&index->mu);
        is_broken = index->is_broken;
    }
    if (is_broken)
        reopen(index);
}

static void index_end(void *self)
{
    struct ks_index *index = self;
    for (uint32_t i = 0; i < index->batch_count; i++)
        ks_segment_unref(index->batch[i]);
    index->batch_count = 0;
    ks_free(index->dropping);
    index->dropping = NULL;
    index->dropping_count = 0;
    KS_LOCK_SCOPE(&index->mu);
    if (index->queue_count > 0)
        ks_wake_set(&index->wake);
}

struct ks_kv *ks_index_kv(struct ks_index *index)
{
    return index->kv;
}

struct ks_step *ks_index_step(struct ks_index *index)
{
    return &index->step;
}

/* A clean stop says that the index may be trusted: it must be on disk before that is said. */
void ks_index_settle(struct ks_index *index)
{
    struct ks_kv *kv = index_enter(index);
    if (!kv)
        return;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_kv_sync(kv, &error);
    index_leave(index);
    if (!st)
        return;
    ks_index_drop(index, error.text);
    reopen(index);
}

/* ---- life ---- */

enum ks_status ks_index_create(
    struct ks_engine *engine, bool erase_first, struct ks_index **out, struct ks_error *err)
{
    struct ks_index *index = ks_zalloc(sizeof *index);
    if (!index)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the index");
    index->engine = engine;
    ks_wake_init(&index->wake, KS_RANK_WAKE);
    ks_mutex_init(&index->mu, KS_RANK_INDEX);
    ks_cond_init(&index->idle);
    index->step = (struct ks_step){.name = "index",
        .self = index,
        .begin = index_begin,
        .run = index_run,
        .end = index_end,
        .wake = &index->wake};
    *out = index;
    if (!engine->options.open_index)
        return KS_OK;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st =
        engine->options.open_index(engine->options.open_index_arg, erase_first, &index->kv, &error);
    if (st) {
        ks_emit(
            engine->options.events, KS_LEVEL_WARNING, "index.dropped", "why=\"%s\"", error.text);
        reopen(index);
    }
    return KS_OK;
}

void ks_index_destroy(struct ks_index *index)
{
    if (!index)
        return;
    index_end(index);
    for (uint32_t i = 0; i < index->queue_count; i++)
        ks_segment_unref(index->queue[i]);
    KS_ASSERT(index->users == 0);
    ks_kv_close(index->kv);
    ks_free(index->forgets);
    ks_cond_fini(&index->idle);
    ks_mutex_fini(&index->mu);
    ks_wake_fini(&index->wake);
    ks_free(index);
}
