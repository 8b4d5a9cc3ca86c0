/* Functions of lists and objects. */
#include "base/alloc.h"
#include "tools/jmes_priv.h"

#include <stdlib.h>

/* ---- objects ---- */

static enum ks_status give_members(
    struct jmes_eval *eval, json_t *object, bool want_names, json_t **out)
{
    json_t *items = NULL;
    enum ks_status st = jmes_give_new(eval, json_array(), &items);
    for (void *at = json_object_iter(object); !st && at; at = json_object_iter_next(object, at))
        st = jmes_append(eval, items,
            want_names ? json_string(json_object_iter_key(at))
                       : json_incref(json_object_iter_value(at)));
    if (st)
        json_decref(items);
    else
        *out = items;
    return st;
}

enum ks_status jmes_run_keys(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    return give_members(eval, arguments[0].value, true, out);
}

enum ks_status jmes_run_values(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    return give_members(eval, arguments[0].value, false, out);
}

enum ks_status jmes_run_merge(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    json_t *whole = NULL;
    enum ks_status st = jmes_give_new(eval, json_object(), &whole);
    for (size_t i = 0; !st && i < count; i++) {
        st = jmes_spend(eval, 8 * json_object_size(arguments[i].value));
        if (!st && json_object_update(whole, arguments[i].value) != 0)
            st = jmes_fail_memory(eval);
    }
    if (st)
        json_decref(whole);
    else
        *out = whole;
    return st;
}

/* ---- any values ---- */

enum ks_status jmes_run_not_null(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    size_t i = 0;
    while (i < count && json_is_null(arguments[i].value))
        i++;
    return jmes_give(eval, i < count ? json_incref(arguments[i].value) : json_null(), out);
}

enum ks_status jmes_run_to_array(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    json_t *value = arguments[0].value;
    return json_is_array(value) ? jmes_give(eval, json_incref(value), out)
                                : jmes_give_new(eval, json_pack("[O]", value), out);
}

enum ks_status jmes_run_map(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    json_t *items = NULL;
    enum ks_status st = jmes_give_new(eval, json_array(), &items);
    for (size_t i = 0; !st && i < json_array_size(arguments[1].value); i++) {
        json_t *item = NULL;
        st = jmes_eval_node(
            eval, arguments[0].expression, json_array_get(arguments[1].value, i), &item);
        if (!st)
            st = jmes_append(eval, items, item);
    }
    if (st)
        json_decref(items);
    else
        *out = items;
    return st;
}

/* ---- order ---- */

/* An item and what it is ordered by. */
struct ranked {
    json_t *item; /* borrowed */
    json_t *key;  /* owned */
    size_t index; /* items that are alike keep their order */
};

struct ranking {
    struct ranked *rows;
    size_t count;
};

static void ranking_fini(struct ranking *ranking)
{
    for (size_t i = 0; i < ranking->count; i++)
        json_decref(ranking->rows[i].key);
    ks_free(ranking->rows);
}

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    int order = jmes_compare(x->key, y->key);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

/* All keys must be numbers, or all strings. */
static enum ks_status check_key(struct jmes_eval *eval, const struct ranking *ranking, json_t *key)
{
    bool fits = json_is_number(key) || json_is_string(key);
    if (fits && ranking->count > 0)
        fits = json_is_number(key) == json_is_number(ranking->rows[0].key);
    return fits ? KS_OK
                : jmes_fail(eval, "invalid-type: all items are to be ordered by numbers, or all "
                                  "by strings");
}

/* expression NULL: an item is its own key. */
static enum ks_status rank(struct jmes_eval *eval, const json_t *list,
    const struct jmes_node *expression, struct ranking *ranking)
{
    size_t size = json_array_size(list);
    ranking->rows = size ? ks_calloc(size, sizeof *ranking->rows) : NULL;
    if (size && !ranking->rows)
        return jmes_fail_memory(eval);
    for (size_t i = 0; i < size; i++) {
        json_t *item = json_array_get(list, i);
        json_t *key = NULL;
        enum ks_status st = expression ? jmes_eval_node(eval, expression, item, &key)
                                       : jmes_give(eval, json_incref(item), &key);
        if (!st)
            st = check_key(eval, ranking, key);
        if (st) {
            json_decref(key);
            return st;
        }
        ranking->rows[ranking->count++] = (struct ranked){item, key, i};
    }
    return KS_OK;
}

static enum ks_status give_sorted(
    struct jmes_eval *eval, const json_t *list, const struct jmes_node *expression, json_t **out)
{
    KS_CLEANUP(ranking_fini) struct ranking ranking = {.rows = NULL};
    json_t *items = NULL;
    enum ks_status st = rank(eval, list, expression, &ranking);
    if (st)
        return st;
    if (ranking.count > 1)
        qsort(ranking.rows, ranking.count, sizeof *ranking.rows, compare_ranked);
    st = jmes_give_new(eval, json_array(), &items);
    for (size_t i = 0; !st && i < ranking.count; i++)
        st = jmes_append(eval, items, json_incref(ranking.rows[i].item));
    if (st)
        json_decref(items);
    else
        *out = items;
    return st;
}

/* The first of the greatest (sign 1) or of the least (-1); null of no items. */
static enum ks_status give_extreme(struct jmes_eval *eval, const json_t *list,
    const struct jmes_node *expression, int sign, json_t **out)
{
    KS_CLEANUP(ranking_fini) struct ranking ranking = {.rows = NULL};
    enum ks_status st = rank(eval, list, expression, &ranking);
    if (st)
        return st;
    size_t best = 0;
    for (size_t i = 1; i < ranking.count; i++)
        if (sign * jmes_compare(ranking.rows[i].key, ranking.rows[best].key) > 0)
            best = i;
    return jmes_give(eval, ranking.count ? json_incref(ranking.rows[best].item) : json_null(), out);
}

enum ks_status jmes_run_sort(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    return give_sorted(eval, arguments[0].value, NULL, out);
}

enum ks_status jmes_run_sort_by(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    return give_sorted(eval, arguments[0].value, arguments[1].expression, out);
}

enum ks_status jmes_run_max(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    return give_extreme(eval, arguments[0].value, NULL, 1, out);
}

enum ks_status jmes_run_max_by(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    return give_extreme(eval, arguments[0].value, arguments[1].expression, 1, out);
}

enum ks_status jmes_run_min(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    return give_extreme(eval, arguments[0].value, NULL, -1, out);
}

enum ks_status jmes_run_min_by(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    return give_extreme(eval, arguments[0].value, arguments[1].expression, -1, out);
}
