#include "storage/kv_model.h"

#include "base/alloc.h"
#include "base/prng.h"

#include <errno.h>
#include <string.h>

/* A row, shared by all versions of its table that have it. */
struct model_row {
    unsigned refs;
    uint32_t key_bytes;
    size_t value_bytes;
    uint8_t bytes[]; /* key, then value */
};

/* One version of a table, sorted by key. Changed only while a single write transaction has it. */
struct model_table {
    unsigned refs;
    size_t count, capacity;
    struct model_row **rows;
};

/* All tables at a moment. */
struct model_state {
    struct model_table *tables[KS_KV_TABLES_MAX]; /* NULL: empty */
};

struct ks_kv_model {
    struct ks_kv_model_options options;
    struct ks_prng own_prng;
    struct model_state visible; /* what transactions see */
    struct model_state durable; /* what a power cut leaves at least */
    struct model_state older;   /* some earlier state: garbage is made of it */
    bool is_open, is_unsynced, was_cut;
    bool has_writer;
    unsigned txns;
    uint64_t fail_in;
    enum ks_status fail_with;
    bool is_fail_sticky;
    struct ks_kv_model_counts counts;
};

struct model_kv {
    struct ks_kv kv; /* first member */
    struct ks_kv_model *model;
};

struct model_txn {
    struct ks_kv_txn txn; /* first member */
    struct model_state state;
    bool is_write;
    uint32_t is_private; /* bit per table: a copy of our own */
    enum ks_status failed;
};

static struct ks_kv_model *model_of(struct ks_kv *kv)
{
    return KS_CONTAINER_OF(kv, struct model_kv, kv)->model;
}

static struct model_txn *txn_of(struct ks_kv_txn *txn)
{
    return KS_CONTAINER_OF(txn, struct model_txn, txn);
}

static struct ks_prng *prng_of(struct ks_kv_model *model)
{
    return model->options.disk ? ks_io_sim_prng(model->options.disk) : &model->own_prng;
}

static bool has_power(const struct ks_kv_model *model)
{
    return !model->options.disk || !ks_io_sim_is_cut(model->options.disk);
}

static enum ks_status fail_cut(struct ks_error *err)
{
    return ks_fail(err, KS_IO, EIO, "cannot use the key-value store without power");
}

static struct ks_view row_key(const struct model_row *row)
{
    return ks_view_of(row->bytes, row->key_bytes);
}

static struct ks_view row_value(const struct model_row *row)
{
    return ks_view_of(row->bytes + row->key_bytes, row->value_bytes);
}

static struct model_row *row_make(struct ks_view key, struct ks_view value)
{
    struct model_row *row = ks_malloc(sizeof *row + key.bytes + value.bytes);
    if (!row)
        return NULL;
    row->refs = 1;
    row->key_bytes = (uint32_t)key.bytes;
    row->value_bytes = value.bytes;
    memcpy(row->bytes, key.data, key.bytes);
    if (value.bytes)
        memcpy(row->bytes + key.bytes, value.data, value.bytes);
    return row;
}

static void row_drop(struct model_row *row)
{
    if (--row->refs == 0)
        ks_free(row);
}

static void table_drop(struct model_table *table)
{
    if (!table || --table->refs > 0)
        return;
    for (size_t i = 0; i < table->count; i++)
        row_drop(table->rows[i]);
    ks_free(table->rows);
    ks_free(table);
}

/* A copy that shares the rows, with room for one more. */
static struct model_table *table_copy(const struct model_table *from)
{
    struct model_table *table = ks_zalloc(sizeof *table);
    if (!table)
        return NULL;
    size_t count = from ? from->count : 0;
    table->refs = 1;
    table->capacity = count + count / 4 + 8;
    table->rows = ks_calloc(table->capacity, sizeof table->rows[0]);
    if (!table->rows) {
        ks_free(table);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        table->rows[i] = from->rows[i];
        table->rows[i]->refs++;
    }
    table->count = count;
    return table;
}

static int key_compare(struct ks_view a, struct ks_view b)
{
    size_t common = KS_MIN(a.bytes, b.bytes);
    int order = common ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* The place of the first key >= key; *out_is_equal tells whether it is that key. */
static size_t table_find(const struct model_table *table, struct ks_view key, bool *out_is_equal)
{
    size_t low = 0, high = table ? table->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (key_compare(row_key(table->rows[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out_is_equal = table && low < table->count && key_compare(row_key(table->rows[low]), key) == 0;
    return low;
}

/* Takes over row. */
static bool table_put(struct model_table *table, struct model_row *row)
{
    bool is_equal;
    size_t at = table_find(table, row_key(row), &is_equal);
    if (is_equal) {
        row_drop(table->rows[at]);
        table->rows[at] = row;
        return true;
    }
    if (table->count == table->capacity) {
        size_t capacity = table->capacity * 2;
        struct model_row **rows = ks_realloc(table->rows, capacity * sizeof rows[0]);
        if (!rows)
            return false;
        table->rows = rows;
        table->capacity = capacity;
    }
    memmove(&table->rows[at + 1], &table->rows[at], (table->count - at) * sizeof table->rows[0]);
    table->rows[at] = row;
    table->count++;
    return true;
}

static void table_remove(struct model_table *table, struct ks_view key)
{
    bool is_equal;
    size_t at = table_find(table, key, &is_equal);
    if (!is_equal)
        return;
    row_drop(table->rows[at]);
    table->count--;
    memmove(&table->rows[at], &table->rows[at + 1], (table->count - at) * sizeof table->rows[0]);
}

static void state_drop(struct model_state *state)
{
    for (size_t i = 0; i < KS_KV_TABLES_MAX; i++)
        table_drop(state->tables[i]);
    *state = (struct model_state){0};
}

/* Makes to the same as from, sharing everything. */
static void state_share(struct model_state *to, const struct model_state *from)
{
    for (size_t i = 0; i < KS_KV_TABLES_MAX; i++) {
        if (from->tables[i])
            from->tables[i]->refs++;
    }
    state_drop(to);
    *to = *from;
}

static enum ks_status model_begin(
    struct ks_kv *base, bool is_write, struct ks_kv_txn **out_txn, struct ks_error *err)
{
    struct ks_kv_model *model = model_of(base);
    if (!has_power(model))
        return fail_cut(err);
    /* One thread: waiting for the other writer would be waiting for ever. */
    KS_ASSERT(!is_write || !model->has_writer);
    struct model_txn *txn = ks_zalloc(sizeof *txn);
    if (!txn)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot begin a transaction");
    txn->txn.kv = base;
    txn->is_write = is_write;
    state_share(&txn->state, &model->visible);
    model->has_writer |= is_write;
    model->txns++;
    *out_txn = &txn->txn;
    return KS_OK;
}

static void model_abort(struct ks_kv_txn *base)
{
    struct model_txn *txn = txn_of(base);
    struct ks_kv_model *model = model_of(base->kv);
    model->txns--;
    if (txn->is_write)
        model->has_writer = false;
    state_drop(&txn->state);
    ks_free(txn);
}

/* Counts down to a planned failure. */
static bool is_failing(struct ks_kv_model *model)
{
    if (model->fail_in == 0)
        return false;
    if (model->fail_in > 1) {
        model->fail_in--;
        return false;
    }
    if (!model->is_fail_sticky)
        model->fail_in = 0;
    model->counts.failed++;
    return true;
}

static void make_visible(
    struct ks_kv_model *model, const struct model_state *state, bool is_durable)
{
    if (ks_prng_chance(prng_of(model), 1, 4))
        state_share(&model->older, &model->visible);
    state_share(&model->visible, state);
    model->is_unsynced = !is_durable;
    if (is_durable)
        state_share(&model->durable, state);
}

static enum ks_status commit_change(
    struct ks_kv_model *model, struct model_txn *txn, struct ks_error *err)
{
    struct ks_io_sim *disk = model->options.disk;
    enum ks_sim_step step = disk ? ks_io_sim_step(disk) : KS_SIM_GO;
    if (step == KS_SIM_DEAD)
        return fail_cut(err);
    bool is_failed = is_failing(model);
    if (is_failed && model->fail_with == KS_STORAGE_FULL && step == KS_SIM_GO)
        return ks_fail(err, KS_STORAGE_FULL, ENOSPC, "cannot commit");
    bool is_interrupted = is_failed || step == KS_SIM_CUT;
    if (is_interrupted) {
        model->counts.interrupted += step == KS_SIM_CUT;
        if (ks_prng_chance(prng_of(model), 1, 2))
            make_visible(model, &txn->state, false);
        return is_failed ? ks_fail(err, model->fail_with, EIO, "cannot commit") : fail_cut(err);
    }
    make_visible(model, &txn->state, !model->options.is_cache);
    model->counts.commits++;
    return KS_OK;
}

static enum ks_status model_commit(struct ks_kv_txn *base, struct ks_error *err)
{
    struct model_txn *txn = txn_of(base);
    enum ks_status st = KS_OK;
    if (txn->failed)
        st = ks_fail(err, txn->failed, 0, "cannot commit: an earlier change failed");
    else if (txn->is_write)
        st = commit_change(model_of(base->kv), txn, err);
    model_abort(base); /* gives back what the transaction holds */
    return st;
}

static struct model_table *table_of(struct model_txn *txn, unsigned table)
{
    KS_ASSERT(table < model_of(txn->txn.kv)->options.table_count);
    return txn->state.tables[table];
}

static enum ks_status give(const struct model_table *table, size_t at, struct ks_view *out_key,
    struct ks_view *out_value, struct ks_error *err)
{
    if (!table || at >= table->count)
        return ks_fail(err, KS_NOT_FOUND, 0, "no such key");
    if (out_key)
        *out_key = row_key(table->rows[at]);
    *out_value = row_value(table->rows[at]);
    return KS_OK;
}

static enum ks_status model_get(struct ks_kv_txn *base, unsigned number, struct ks_view key,
    struct ks_view *out_value, struct ks_error *err)
{
    struct model_txn *txn = txn_of(base);
    KS_ASSERT(key.bytes > 0 && key.bytes <= KS_KV_KEY_BYTES_MAX);
    if (!has_power(model_of(base->kv)))
        return fail_cut(err);
    const struct model_table *table = table_of(txn, number);
    bool is_equal;
    size_t at = table_find(table, key, &is_equal);
    return give(table, is_equal ? at : SIZE_MAX, NULL, out_value, err);
}

/* The table as this transaction's own, to be changed. NULL: no memory. */
static struct model_table *own_table(struct model_txn *txn, unsigned number)
{
    struct model_table *table = table_of(txn, number);
    if (txn->is_private & 1u << number)
        return table;
    struct model_table *copy = table_copy(table);
    if (!copy)
        return NULL;
    table_drop(table);
    txn->state.tables[number] = copy;
    txn->is_private |= 1u << number;
    return copy;
}

static enum ks_status fail_change(struct model_txn *txn, struct ks_error *err)
{
    txn->failed = KS_NO_MEMORY;
    return ks_fail(err, KS_NO_MEMORY, 0, "cannot change a row");
}

static enum ks_status model_put(struct ks_kv_txn *base, unsigned number, struct ks_view key,
    struct ks_view value, struct ks_error *err)
{
    struct model_txn *txn = txn_of(base);
    KS_ASSERT(txn->is_write);
    KS_ASSERT(key.bytes > 0 && key.bytes <= KS_KV_KEY_BYTES_MAX);
    struct model_table *table = own_table(txn, number);
    struct model_row *row = table ? row_make(key, value) : NULL;
    if (!row)
        return fail_change(txn, err);
    if (!table_put(table, row)) {
        row_drop(row);
        return fail_change(txn, err);
    }
    return KS_OK;
}

static enum ks_status model_remove(
    struct ks_kv_txn *base, unsigned number, struct ks_view key, struct ks_error *err)
{
    struct model_txn *txn = txn_of(base);
    KS_ASSERT(txn->is_write);
    KS_ASSERT(key.bytes > 0 && key.bytes <= KS_KV_KEY_BYTES_MAX);
    struct model_table *table = own_table(txn, number);
    if (!table)
        return fail_change(txn, err);
    table_remove(table, key);
    return KS_OK;
}

static enum ks_status model_at_or_after(struct ks_kv_txn *base, unsigned number, struct ks_view key,
    struct ks_view *out_key, struct ks_view *out_value, struct ks_error *err)
{
    if (!has_power(model_of(base->kv)))
        return fail_cut(err);
    const struct model_table *table = table_of(txn_of(base), number);
    bool is_equal;
    return give(table, table_find(table, key, &is_equal), out_key, out_value, err);
}

static enum ks_status model_at_or_before(struct ks_kv_txn *base, unsigned number,
    struct ks_view key, struct ks_view *out_key, struct ks_view *out_value, struct ks_error *err)
{
    if (!has_power(model_of(base->kv)))
        return fail_cut(err);
    const struct model_table *table = table_of(txn_of(base), number);
    bool is_equal;
    size_t at = table_find(table, key, &is_equal);
    if (!is_equal) /* the one before; before the first there is none */
        at = at > 0 ? at - 1 : SIZE_MAX;
    return give(table, at, out_key, out_value, err);
}

static enum ks_status model_scan(struct ks_kv_txn *base, unsigned number,
    enum ks_status (*each)(
        void *arg, struct ks_view key, struct ks_view value, struct ks_error *err),
    void *arg, struct ks_error *err)
{
    if (!has_power(model_of(base->kv)))
        return fail_cut(err);
    const struct model_table *table = table_of(txn_of(base), number);
    for (size_t i = 0; table && i < table->count; i++) {
        enum ks_status st = each(arg, row_key(table->rows[i]), row_value(table->rows[i]), err);
        if (st)
            return st;
    }
    return KS_OK;
}

static enum ks_status model_count(
    struct ks_kv_txn *base, unsigned number, uint64_t *out_rows, struct ks_error *err)
{
    if (!has_power(model_of(base->kv)))
        return fail_cut(err);
    const struct model_table *table = table_of(txn_of(base), number);
    *out_rows = table ? table->count : 0;
    return KS_OK;
}

static enum ks_status model_sync(struct ks_kv *base, struct ks_error *err)
{
    struct ks_kv_model *model = model_of(base);
    struct ks_io_sim *disk = model->options.disk;
    if (disk && ks_io_sim_step(disk) != KS_SIM_GO)
        return fail_cut(err);
    state_share(&model->durable, &model->visible);
    model->is_unsynced = false;
    return KS_OK;
}

static void model_close(struct ks_kv *base)
{
    struct model_kv *kv = KS_CONTAINER_OF(base, struct model_kv, kv);
    KS_ASSERT(kv->model->is_open && kv->model->txns == 0);
    kv->model->is_open = false;
    ks_free(kv);
}

static const struct ks_kv_ops model_ops = {
    .begin = model_begin,
    .commit = model_commit,
    .abort = model_abort,
    .get = model_get,
    .put = model_put,
    .remove = model_remove,
    .at_or_after = model_at_or_after,
    .at_or_before = model_at_or_before,
    .scan = model_scan,
    .count = model_count,
    .sync = model_sync,
    .close = model_close,
};

enum ks_status ks_kv_model_create(
    const struct ks_kv_model_options *options, struct ks_kv_model **out_model, struct ks_error *err)
{
    KS_ASSERT(options->table_count > 0 && options->table_count <= KS_KV_TABLES_MAX);
    struct ks_kv_model *model = ks_zalloc(sizeof *model);
    if (!model)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make a model of a key-value store");
    model->options = *options;
    ks_prng_seed(&model->own_prng, options->seed);
    *out_model = model;
    return KS_OK;
}

void ks_kv_model_destroy(struct ks_kv_model *model)
{
    if (!model)
        return;
    ks_kv_model_erase(model);
    ks_free(model);
}

enum ks_status ks_kv_model_open(
    struct ks_kv_model *model, struct ks_kv **out_kv, struct ks_error *err)
{
    KS_ASSERT(!model->is_open);
    if (!has_power(model))
        return fail_cut(err);
    struct model_kv *kv = ks_zalloc(sizeof *kv);
    if (!kv)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open a model of a key-value store");
    kv->kv.ops = &model_ops;
    kv->model = model;
    model->is_open = true;
    *out_kv = &kv->kv;
    return KS_OK;
}

void ks_kv_model_erase(struct ks_kv_model *model)
{
    KS_ASSERT(!model->is_open);
    state_drop(&model->visible);
    state_drop(&model->durable);
    state_drop(&model->older);
    model->is_unsynced = model->was_cut = false;
}

/* What a damaged cache could say of one row: nothing, the truth, something older, or what belongs
 * to another row. */
static void garble_row(struct ks_kv_model *model, struct model_table *out,
    const struct model_table *from, const struct model_row *row)
{
    const struct model_row *value_of = row;
    switch (ks_prng_below(prng_of(model), 3)) {
    case 0:
        return;
    case 1:
        value_of = from->rows[ks_prng_below(prng_of(model), from->count)];
        break;
    default:
        break;
    }
    struct model_row *made = row_make(row_key(row), row_value(value_of));
    if (made && !table_put(out, made))
        row_drop(made);
}

static void garble(struct ks_kv_model *model)
{
    struct model_state garbage = {0};
    for (unsigned i = 0; i < model->options.table_count; i++) {
        const struct model_table *sources[] = {model->older.tables[i], model->visible.tables[i]};
        garbage.tables[i] = table_copy(NULL);
        for (size_t s = 0; garbage.tables[i] && s < KS_COUNT_OF(sources); s++) {
            for (size_t r = 0; sources[s] && r < sources[s]->count; r++)
                garble_row(model, garbage.tables[i], sources[s], sources[s]->rows[r]);
        }
    }
    state_share(&model->visible, &garbage);
    state_share(&model->durable, &garbage);
    state_drop(&garbage);
    model->was_cut = true;
    model->counts.garbled++;
}

/* Whether a commit that was visible but not durable is there after the power came back. */
static bool is_kept(struct ks_kv_model *model, enum ks_sim_survive survive)
{
    switch (survive) {
    case KS_SIM_NOTHING:
        return false;
    case KS_SIM_ALL:
    case KS_SIM_PROCESS:
        return true;
    case KS_SIM_RANDOM:
    case KS_SIM_PREFIX:
        break;
    }
    return ks_prng_chance(prng_of(model), 1, 2);
}

void ks_kv_model_power_on(struct ks_kv_model *model, enum ks_sim_survive survive)
{
    KS_ASSERT(!model->is_open);
    model->fail_in = 0;
    if (survive == KS_SIM_PROCESS || !model->is_unsynced)
        return;
    if (model->options.is_cache) {
        garble(model);
    } else if (is_kept(model, survive)) {
        state_share(&model->durable, &model->visible);
    } else {
        state_share(&model->visible, &model->durable);
        model->counts.undone++;
    }
    model->is_unsynced = false;
}

bool ks_kv_model_was_cut(const struct ks_kv_model *model)
{
    return model->was_cut;
}

void ks_kv_model_fail_commit_after(
    struct ks_kv_model *model, uint64_t n, enum ks_status status, bool is_sticky)
{
    KS_ASSERT(n == 0 || status != KS_OK);
    model->fail_in = n;
    model->fail_with = status;
    model->is_fail_sticky = is_sticky;
}

const struct ks_kv_model_counts *ks_kv_model_counts(const struct ks_kv_model *model)
{
    return &model->counts;
}
