/* The table of functions, and the types of their arguments. */
#include "tools/jmes_priv.h"

#include <stdio.h>

enum jmes_type {
    JMES_T_NUMBER = 1,
    JMES_T_STRING = 2,
    JMES_T_BOOLEAN = 4,
    JMES_T_ARRAY = 8,
    JMES_T_OBJECT = 16,
    JMES_T_NULL = 32,
    JMES_T_EXPRESSION = 64,
    JMES_T_NUMBERS = 128, /* an array of numbers only */
    JMES_T_STRINGS = 256,
    JMES_T_ANY =
        JMES_T_NUMBER | JMES_T_STRING | JMES_T_BOOLEAN | JMES_T_ARRAY | JMES_T_OBJECT | JMES_T_NULL,
};

struct jmes_function {
    const char *name;
    size_t count;
    bool has_more;
    unsigned types[2];
    size_t items;
    enum ks_status (*run)(struct jmes_eval *eval, const struct jmes_argument *arguments,
        size_t count_of_arguments, json_t **out);
};

static const struct jmes_function functions[] = {
#define JMES_FUNCTION(name, count, has_more, first, second, items)                                 \
    {#name, count, has_more, {first, second}, items, jmes_run_##name},
#include "tools/jmes_functions.def"
#undef JMES_FUNCTION
};

const struct jmes_function *jmes_function_find(const char *name)
{
    for (size_t i = 0; i < KS_COUNT_OF(functions); i++)
        if (strcmp(functions[i].name, name) == 0)
            return &functions[i];
    return NULL;
}

bool jmes_function_takes(
    const struct jmes_function *function, size_t count, char out_text[JMES_ARITY_BYTES])
{
    snprintf(out_text, JMES_ARITY_BYTES, "%zu argument%s%s", function->count,
        function->count == 1 ? "" : "s", function->has_more ? " or more" : "");
    return count == function->count || (function->has_more && count > function->count);
}

bool jmes_function_keeps_items(const struct jmes_function *function, size_t *out_argument)
{
    *out_argument = function->items - 1;
    return function->items > 0;
}

/* ---- types ---- */

static enum jmes_type type_of(const struct jmes_argument *argument)
{
    if (argument->expression)
        return JMES_T_EXPRESSION;
    switch (json_typeof(argument->value)) {
    case JSON_STRING:
        return JMES_T_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return JMES_T_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return JMES_T_BOOLEAN;
    case JSON_ARRAY:
        return JMES_T_ARRAY;
    case JSON_OBJECT:
        return JMES_T_OBJECT;
    case JSON_NULL:
        break;
    }
    return JMES_T_NULL;
}

static const char *type_name(enum jmes_type type)
{
    static const struct {
        enum jmes_type type;
        const char *name;
    } names[] = {{JMES_T_NUMBER, "number"}, {JMES_T_STRING, "string"}, {JMES_T_BOOLEAN, "boolean"},
        {JMES_T_ARRAY, "array"}, {JMES_T_OBJECT, "object"}, {JMES_T_NULL, "null"},
        {JMES_T_EXPRESSION, "expression"}, {JMES_T_NUMBERS, "array of numbers"},
        {JMES_T_STRINGS, "array of strings"}};
    for (size_t i = 0; i < KS_COUNT_OF(names); i++)
        if (names[i].type == type)
            return names[i].name;
    return "value";
}

static bool has_only(const json_t *array, bool numbers)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (numbers ? !json_is_number(item) : !json_is_string(item))
            return false;
    }
    return true;
}

static bool fits(const struct jmes_argument *argument, unsigned wanted)
{
    enum jmes_type type = type_of(argument);
    if (wanted & (unsigned)type)
        return true;
    return type == JMES_T_ARRAY &&
           (((wanted & JMES_T_NUMBERS) && has_only(argument->value, true)) ||
               ((wanted & JMES_T_STRINGS) && has_only(argument->value, false)));
}

static enum ks_status fail_type(struct jmes_eval *eval, const struct jmes_function *function,
    size_t index, const struct jmes_argument *argument)
{
    char wanted[80] = "";
    size_t bytes = 0;
    unsigned types = function->types[KS_MIN(index, function->count - 1)];
    for (unsigned type = 1; type <= JMES_T_STRINGS; type <<= 1)
        if (types & type)
            bytes += (size_t)snprintf(wanted + bytes, sizeof wanted - bytes, "%s%s",
                bytes ? " or " : "", type_name((enum jmes_type)type));
    return jmes_fail(eval, "invalid-type: argument %zu of %s() is to be %s, not %s", index + 1,
        function->name, wanted, type_name(type_of(argument)));
}

enum ks_status jmes_function_call(struct jmes_eval *eval, const struct jmes_function *function,
    const struct jmes_argument *arguments, size_t count, json_t **out)
{
    for (size_t i = 0; i < count; i++) {
        if (!fits(&arguments[i], function->types[KS_MIN(i, function->count - 1)]))
            return fail_type(eval, function, i, &arguments[i]);
        /* What looks at every item pays for it. */
        enum ks_status st = jmes_spend(eval, 1 + json_array_size(arguments[i].value));
        if (st)
            return st;
    }
    return function->run(eval, arguments, count, out);
}

enum ks_status jmes_run_type(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    return jmes_give(eval, json_string(type_name(type_of(&arguments[0]))), out);
}
