/* From a tree and a value to a result. */
#include "tools/jmes_priv.h"

#include <stdarg.h>
#include <stdio.h>

/* What a made list or object and a member of an object cost; all else costs one. */
#define STEPS_CONTAINER 8
#define STEPS_MEMBER 8

/* ---- bounds and errors ---- */

enum ks_status jmes_fail(struct jmes_eval *eval, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    KS_IGNORE(ks_fail(eval->err, KS_INVALID, 0, "%s", text), "only fills err");
    return KS_INVALID;
}

enum ks_status jmes_fail_memory(struct jmes_eval *eval)
{
    KS_IGNORE(ks_fail(eval->err, KS_NO_MEMORY, 0, "no memory for the result of an expression"),
        "only fills err");
    return KS_NO_MEMORY;
}

enum ks_status jmes_spend(struct jmes_eval *eval, uint64_t steps)
{
    if (eval->steps_left < steps)
        return jmes_fail(eval, "limit: the expression takes too many steps");
    eval->steps_left -= steps;
    return KS_OK;
}

enum ks_status jmes_spend_walk(struct jmes_eval *eval, json_t *value)
{
    enum ks_status st = jmes_spend(eval, 1);
    for (size_t i = 0; !st && i < json_array_size(value); i++)
        st = jmes_spend_walk(eval, json_array_get(value, i));
    for (void *at = json_object_iter(value); !st && at; at = json_object_iter_next(value, at))
        st = jmes_spend_walk(eval, json_object_iter_value(at));
    return st;
}

enum ks_status jmes_give(struct jmes_eval *eval, json_t *value, json_t **out)
{
    if (!value)
        return jmes_fail_memory(eval);
    *out = value;
    return KS_OK;
}

enum ks_status jmes_give_new(struct jmes_eval *eval, json_t *value, json_t **out)
{
    enum ks_status st = jmes_spend(eval, STEPS_CONTAINER);
    if (st) {
        json_decref(value);
        return st;
    }
    return jmes_give(eval, value, out);
}

enum ks_status jmes_append(struct jmes_eval *eval, json_t *array, json_t *item)
{
    enum ks_status st = jmes_spend(eval, 1);
    if (st) {
        json_decref(item);
        return st;
    }
    if (json_array_append_new(array, item) == 0)
        return KS_OK;
    return jmes_fail_memory(eval);
}

/* ---- values ---- */

bool jmes_is_true(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return json_object_size(value) > 0;
    case JSON_ARRAY:
        return json_array_size(value) > 0;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_FALSE:
    case JSON_NULL:
        return false;
    case JSON_TRUE:
    case JSON_INTEGER:
    case JSON_REAL:
        return true;
    }
    return true;
}

static int compare_numbers(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        json_int_t x = json_integer_value(a);
        json_int_t y = json_integer_value(b);
        return (x > y) - (x < y);
    }
    double x = json_number_value(a);
    double y = json_number_value(b);
    return (x > y) - (x < y);
}

int jmes_compare(const json_t *a, const json_t *b)
{
    if (json_is_number(a))
        return compare_numbers(a, b);
    /* Bytes of UTF-8 have the order of the characters. */
    size_t a_bytes = json_string_length(a);
    size_t b_bytes = json_string_length(b);
    int order = memcmp(json_string_value(a), json_string_value(b), KS_MIN(a_bytes, b_bytes));
    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static enum ks_status equal_arrays(struct jmes_eval *eval, json_t *a, json_t *b, bool *out_equal)
{
    *out_equal = json_array_size(a) == json_array_size(b);
    enum ks_status st = KS_OK;
    for (size_t i = 0; !st && *out_equal && i < json_array_size(a); i++)
        st = jmes_equal(eval, json_array_get(a, i), json_array_get(b, i), out_equal);
    return st;
}

static enum ks_status equal_objects(struct jmes_eval *eval, json_t *a, json_t *b, bool *out_equal)
{
    *out_equal = json_object_size(a) == json_object_size(b);
    enum ks_status st = KS_OK;
    for (void *at = json_object_iter(a); !st && *out_equal && at;
         at = json_object_iter_next(a, at)) {
        json_t *other = json_object_get(b, json_object_iter_key(at));
        if (!other)
            *out_equal = false;
        else
            st = jmes_equal(eval, json_object_iter_value(at), other, out_equal);
    }
    return st;
}

enum ks_status jmes_equal(struct jmes_eval *eval, json_t *a, json_t *b, bool *out_equal)
{
    enum ks_status st = jmes_spend(eval, 1);
    if (st)
        return st;
    if (json_is_number(a) && json_is_number(b))
        *out_equal = compare_numbers(a, b) == 0;
    else if (json_typeof(a) != json_typeof(b))
        *out_equal = false;
    else if (json_is_string(a))
        *out_equal = jmes_compare(a, b) == 0;
    else if (json_is_array(a))
        return equal_arrays(eval, a, b, out_equal);
    else if (json_is_object(a))
        return equal_objects(eval, a, b, out_equal);
    else
        *out_equal = true;
    return KS_OK;
}

/* ---- indexes and slices ---- */

static enum ks_status eval_index(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    int64_t index = node->parts[0];
    if (index < 0)
        index += (int64_t)json_array_size(value);
    json_t *item = index < 0 ? NULL : json_array_get(value, (size_t)index);
    return jmes_give(eval, item ? json_incref(item) : json_null(), out);
}

static int64_t clamp(int64_t number, int64_t min, int64_t max)
{
    return number < min ? min : number > max ? max : number;
}

/* Where a part of a slice lies in a list of so many items. */
static int64_t slice_part(const struct jmes_node *node, size_t part, int64_t size, bool is_back)
{
    int64_t first = is_back ? size - 1 : 0;
    int64_t end = is_back ? -1 : size;
    if (!node->has_part[part])
        return part == 0 ? first : end;
    int64_t number = node->parts[part];
    if (number < 0)
        number += size;
    return is_back ? clamp(number, -1, size - 1) : clamp(number, 0, size);
}

static enum ks_status eval_slice(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    int64_t step = node->has_part[2] ? node->parts[2] : 1;
    if (!json_is_array(value))
        return jmes_give(eval, json_null(), out);
    if (step == 0)
        return jmes_fail(eval, "invalid-value: the step of a slice cannot be 0");
    int64_t size = (int64_t)json_array_size(value);
    int64_t at = slice_part(node, 0, size, step < 0);
    int64_t stop = slice_part(node, 1, size, step < 0);
    json_t *items = NULL;
    enum ks_status st = jmes_give_new(eval, json_array(), &items);
    for (; !st && (step > 0 ? at < stop : at > stop); at += step)
        st = jmes_append(eval, items, json_incref(json_array_get(value, (size_t)at)));
    if (st)
        json_decref(items);
    else
        *out = items;
    return st;
}

/* ---- projections ---- */

/* Appends the result for one item, unless it is null. */
static enum ks_status project(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *item, json_t *items)
{
    json_t *result = NULL;
    if (node->kind == JMES_NODE_FILTER) {
        enum ks_status st = jmes_eval_node(eval, node->condition, item, &result);
        bool is_wanted = !st && jmes_is_true(result);
        json_decref(result);
        if (!is_wanted)
            return st;
    }
    enum ks_status st = jmes_eval_node(eval, node->right, item, &result);
    if (st)
        return st;
    if (json_is_null(result))
        return KS_OK;
    return jmes_append(eval, items, result);
}

static enum ks_status project_all(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *left, json_t *items)
{
    enum ks_status st = KS_OK;
    if (json_is_array(left)) {
        for (size_t i = 0; !st && i < json_array_size(left); i++)
            st = project(eval, node, json_array_get(left, i), items);
        return st;
    }
    for (void *at = json_object_iter(left); !st && at; at = json_object_iter_next(left, at))
        st = project(eval, node, json_object_iter_value(at), items);
    return st;
}

static enum ks_status eval_projection(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    json_t *left = NULL;
    enum ks_status st = jmes_eval_node(eval, node->left, value, &left);
    if (st)
        return st;
    bool fits =
        node->kind == JMES_NODE_VALUE_PROJECTION ? json_is_object(left) : json_is_array(left);
    json_t *items = NULL;
    if (!fits)
        st = jmes_give(eval, json_null(), &items);
    else
        st = jmes_give_new(eval, json_array(), &items);
    if (!st && fits)
        st = project_all(eval, node, left, items);
    json_decref(left);
    if (st)
        json_decref(items);
    else
        *out = items;
    return st;
}

static enum ks_status flatten(struct jmes_eval *eval, const json_t *list, json_t *items)
{
    enum ks_status st = KS_OK;
    for (size_t i = 0; !st && i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        if (!json_is_array(item))
            st = jmes_append(eval, items, json_incref(item));
        for (size_t j = 0; !st && j < json_array_size(item); j++)
            st = jmes_append(eval, items, json_incref(json_array_get(item, j)));
    }
    return st;
}

static enum ks_status eval_flatten(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    json_t *list = NULL;
    json_t *items = NULL;
    enum ks_status st = jmes_eval_node(eval, node->left, value, &list);
    if (st)
        return st;
    if (!json_is_array(list)) {
        json_decref(list);
        return jmes_give(eval, json_null(), out);
    }
    st = jmes_give_new(eval, json_array(), &items);
    if (!st)
        st = flatten(eval, list, items);
    json_decref(list);
    if (st)
        json_decref(items);
    else
        *out = items;
    return st;
}

/* ---- operators ---- */

static enum ks_status eval_chain(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    json_t *left = NULL;
    enum ks_status st = jmes_eval_node(eval, node->left, value, &left);
    if (!st)
        st = jmes_eval_node(eval, node->right, left, out);
    json_decref(left);
    return st;
}

/* The left result, or the right one if the left does not decide. */
static enum ks_status eval_logic(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    json_t *left = NULL;
    enum ks_status st = jmes_eval_node(eval, node->left, value, &left);
    if (st)
        return st;
    if (jmes_is_true(left) == (node->kind == JMES_NODE_OR)) {
        *out = left;
        return KS_OK;
    }
    json_decref(left);
    return jmes_eval_node(eval, node->right, value, out);
}

static enum ks_status eval_not(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    json_t *operand = NULL;
    enum ks_status st = jmes_eval_node(eval, node->left, value, &operand);
    if (st)
        return st;
    *out = json_boolean(!jmes_is_true(operand));
    json_decref(operand);
    return KS_OK;
}

/* Only numbers with numbers and texts with texts have an order. */
static bool have_order(const json_t *a, const json_t *b)
{
    return (json_is_number(a) && json_is_number(b)) || (json_is_string(a) && json_is_string(b));
}

static enum ks_status compare(
    struct jmes_eval *eval, enum jmes_token_kind comparator, json_t *a, json_t *b, json_t **out)
{
    bool result = false;
    if (comparator == JMES_EQ || comparator == JMES_NE) {
        enum ks_status st = jmes_equal(eval, a, b, &result);
        *out = json_boolean(result == (comparator == JMES_EQ));
        return st;
    }
    if (!have_order(a, b)) {
        *out = json_null();
        return KS_OK;
    }
    int order = jmes_compare(a, b);
    if (comparator == JMES_LT)
        result = order < 0;
    else if (comparator == JMES_LE)
        result = order <= 0;
    else if (comparator == JMES_GT)
        result = order > 0;
    else
        result = order >= 0;
    *out = json_boolean(result);
    return KS_OK;
}

static enum ks_status eval_compare(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    json_t *left = NULL;
    json_t *right = NULL;
    enum ks_status st = jmes_eval_node(eval, node->left, value, &left);
    if (!st)
        st = jmes_eval_node(eval, node->right, value, &right);
    if (!st)
        st = compare(eval, node->comparator, left, right, out);
    json_decref(left);
    json_decref(right);
    return st;
}

/* ---- multi-select and functions ---- */

static enum ks_status eval_list(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    json_t *items = NULL;
    enum ks_status st = jmes_give_new(eval, json_array(), &items);
    for (const struct jmes_node *child = node->children; !st && child; child = child->next) {
        json_t *item = NULL;
        st = jmes_eval_node(eval, child->left, value, &item);
        if (!st)
            st = jmes_append(eval, items, item);
    }
    if (st)
        json_decref(items);
    else
        *out = items;
    return st;
}

static enum ks_status eval_hash(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    json_t *object = NULL;
    enum ks_status st = jmes_give_new(eval, json_object(), &object);
    for (const struct jmes_node *child = node->children; !st && child; child = child->next) {
        json_t *member = NULL;
        st = jmes_spend(eval, STEPS_MEMBER);
        if (!st)
            st = jmes_eval_node(eval, child->left, value, &member);
        if (!st && json_object_set_new(object, child->hash_name, member) != 0)
            st = jmes_fail_memory(eval);
    }
    if (st)
        json_decref(object);
    else
        *out = object;
    return st;
}

static enum ks_status eval_function(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    struct jmes_argument arguments[JMES_ARGUMENTS_MAX] = {{NULL, NULL}};
    size_t count = 0;
    enum ks_status st = KS_OK;
    for (const struct jmes_node *child = node->children; !st && child; child = child->next) {
        struct jmes_argument *argument = &arguments[count++];
        if (child->kind == JMES_NODE_EXPREF)
            argument->expression = child->left;
        else
            st = jmes_eval_node(eval, child->left, value, &argument->value);
    }
    if (!st)
        st = jmes_function_call(eval, node->function, arguments, count, out);
    for (size_t i = 0; i < count; i++)
        json_decref(arguments[i].value);
    return st;
}

enum ks_status jmes_eval_node(
    struct jmes_eval *eval, const struct jmes_node *node, json_t *value, json_t **out)
{
    enum ks_status st = jmes_spend(eval, 1);
    if (st)
        return st;
    switch (node->kind) {
    case JMES_NODE_CURRENT:
        return jmes_give(eval, json_incref(value), out);
    case JMES_NODE_FIELD: {
        json_t *member = json_object_get(value, json_string_value(node->literal));
        return jmes_give(eval, member ? json_incref(member) : json_null(), out);
    }
    case JMES_NODE_LITERAL:
        return jmes_give(eval, json_incref(node->literal), out);
    case JMES_NODE_INDEX:
        return eval_index(eval, node, value, out);
    case JMES_NODE_SLICE:
        return eval_slice(eval, node, value, out);
    case JMES_NODE_CHAIN:
        return eval_chain(eval, node, value, out);
    case JMES_NODE_PROJECTION:
    case JMES_NODE_VALUE_PROJECTION:
    case JMES_NODE_FILTER:
        return eval_projection(eval, node, value, out);
    case JMES_NODE_FLATTEN:
        return eval_flatten(eval, node, value, out);
    case JMES_NODE_OR:
    case JMES_NODE_AND:
        return eval_logic(eval, node, value, out);
    case JMES_NODE_NOT:
        return eval_not(eval, node, value, out);
    case JMES_NODE_COMPARE:
        return eval_compare(eval, node, value, out);
    case JMES_NODE_LIST:
        /* Of nothing nothing is selected. */
        return json_is_null(value) ? jmes_give(eval, json_null(), out)
                                   : eval_list(eval, node, value, out);
    case JMES_NODE_HASH:
        return json_is_null(value) ? jmes_give(eval, json_null(), out)
                                   : eval_hash(eval, node, value, out);
    case JMES_NODE_FUNCTION:
        return eval_function(eval, node, value, out);
    case JMES_NODE_EXPREF:
        break; /* only ever an argument of a function */
    }
    KS_ASSERT(node->kind != JMES_NODE_EXPREF);
    return KS_INTERNAL;
}

enum ks_status jmes_search(const struct jmes *expression, json_t *value, uint64_t steps_max,
    json_t **out_result, struct ks_error *err)
{
    struct jmes_eval eval = {.steps_left = steps_max ? steps_max : JMES_STEPS_MAX, .err = err};
    json_t *result = NULL;
    enum ks_status st = jmes_eval_node(&eval, expression->root, value, &result);
    if (!st)
        st = jmes_spend_walk(&eval, result);
    if (st)
        json_decref(result);
    else
        *out_result = result;
    return st;
}
