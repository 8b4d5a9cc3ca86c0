/* Functions of texts and numbers. */
#include "tools/ctl_json.h"
#include "tools/jmes_priv.h"

#include <math.h>
#include <stdlib.h>

#define TEXT_BYTES_MAX (64u << 20)
/* So many bytes of a new text cost one step. */
#define BYTES_PER_STEP 16

/* ---- numbers ---- */

static enum ks_status give_real(struct jmes_eval *eval, double number, json_t **out)
{
    if (!isfinite(number))
        return jmes_fail(eval, "invalid-value: the result is beyond all numbers");
    return jmes_give(eval, json_real(number), out);
}

/* A whole number as such while it fits. */
static enum ks_status give_whole(struct jmes_eval *eval, double number, json_t **out)
{
    if (fabs(number) < 9e18)
        return jmes_give(eval, json_integer((json_int_t)number), out);
    return give_real(eval, number, out);
}

enum ks_status jmes_run_abs(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    const json_t *number = arguments[0].value;
    if (json_is_real(number) || json_integer_value(number) == INT64_MIN)
        return give_real(eval, fabs(json_number_value(number)), out);
    return jmes_give(eval, json_integer(llabs(json_integer_value(number))), out);
}

enum ks_status jmes_run_ceil(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    if (json_is_integer(arguments[0].value))
        return jmes_give(eval, json_incref(arguments[0].value), out);
    return give_whole(eval, ceil(json_real_value(arguments[0].value)), out);
}

enum ks_status jmes_run_floor(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    if (json_is_integer(arguments[0].value))
        return jmes_give(eval, json_incref(arguments[0].value), out);
    return give_whole(eval, floor(json_real_value(arguments[0].value)), out);
}

/* The sum; *out_whole only while it is one of whole numbers and fits. */
static double add_up(const json_t *numbers, bool *out_is_whole, json_int_t *out_whole)
{
    double sum = 0;
    *out_is_whole = true;
    *out_whole = 0;
    for (size_t i = 0; i < json_array_size(numbers); i++) {
        const json_t *number = json_array_get(numbers, i);
        sum += json_number_value(number);
        if (!json_is_integer(number) ||
            __builtin_add_overflow(*out_whole, json_integer_value(number), out_whole))
            *out_is_whole = false;
    }
    return sum;
}

enum ks_status jmes_run_sum(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    bool is_whole = false;
    json_int_t whole = 0;
    double sum = add_up(arguments[0].value, &is_whole, &whole);
    return is_whole ? jmes_give(eval, json_integer(whole), out) : give_real(eval, sum, out);
}

enum ks_status jmes_run_avg(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    bool is_whole = false;
    json_int_t whole = 0;
    size_t size = json_array_size(arguments[0].value);
    if (size == 0)
        return jmes_give(eval, json_null(), out);
    double sum = add_up(arguments[0].value, &is_whole, &whole);
    return give_real(eval, (is_whole ? (double)whole : sum) / (double)size, out);
}

enum ks_status jmes_run_to_number(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    json_t *value = arguments[0].value;
    if (json_is_number(value))
        return jmes_give(eval, json_incref(value), out);
    json_t *number = NULL;
    if (json_is_string(value))
        number =
            json_loadb(json_string_value(value), json_string_length(value), JSON_DECODE_ANY, NULL);
    if (json_is_number(number))
        return jmes_give(eval, number, out);
    json_decref(number);
    return jmes_give(eval, json_null(), out);
}

/* ---- texts ---- */

static struct ks_view view_of(const json_t *text)
{
    return ks_view_of(json_string_value(text), json_string_length(text));
}

static enum ks_status give_text(struct jmes_eval *eval, const struct ks_buf *text, json_t **out)
{
    enum ks_status st = jmes_spend(eval, text->bytes / BYTES_PER_STEP);
    if (st)
        return st;
    return jmes_give(
        eval, json_stringn(text->data ? (const char *)text->data : "", text->bytes), out);
}

enum ks_status jmes_run_starts_with(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    struct ks_view text = view_of(arguments[0].value);
    struct ks_view part = view_of(arguments[1].value);
    bool does = part.bytes <= text.bytes && memcmp(text.data, part.data, part.bytes) == 0;
    return jmes_give(eval, json_boolean(does), out);
}

enum ks_status jmes_run_ends_with(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    struct ks_view text = view_of(arguments[0].value);
    struct ks_view part = view_of(arguments[1].value);
    bool does = part.bytes <= text.bytes &&
                memcmp(text.data + (text.bytes - part.bytes), part.data, part.bytes) == 0;
    return jmes_give(eval, json_boolean(does), out);
}

static enum ks_status contains_item(
    struct jmes_eval *eval, const json_t *list, json_t *wanted, bool *out_does)
{
    enum ks_status st = KS_OK;
    *out_does = false;
    for (size_t i = 0; !st && !*out_does && i < json_array_size(list); i++)
        st = jmes_equal(eval, json_array_get(list, i), wanted, out_does);
    return st;
}

enum ks_status jmes_run_contains(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    bool does = false;
    enum ks_status st = KS_OK;
    if (json_is_array(arguments[0].value)) {
        st = contains_item(eval, arguments[0].value, arguments[1].value, &does);
    } else if (json_is_string(arguments[1].value)) {
        struct ks_view text = view_of(arguments[0].value);
        struct ks_view part = view_of(arguments[1].value);
        st = jmes_spend(eval, text.bytes / BYTES_PER_STEP);
        does = memmem(text.data, text.bytes, part.data, part.bytes) != NULL;
    }
    return st ? st : jmes_give(eval, json_boolean(does), out);
}

enum ks_status jmes_run_join(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    struct ks_view glue = view_of(arguments[0].value);
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, TEXT_BYTES_MAX);
    for (size_t i = 0; i < json_array_size(arguments[1].value); i++) {
        struct ks_view part = view_of(json_array_get(arguments[1].value, i));
        if (text.bytes + glue.bytes + part.bytes > TEXT_BYTES_MAX)
            return jmes_fail(eval, "limit: the text gets too long");
        if ((i > 0 && !ks_buf_append(&text, glue.data, glue.bytes)) ||
            !ks_buf_append(&text, part.data, part.bytes))
            return jmes_fail_memory(eval);
    }
    return give_text(eval, &text, out);
}

enum ks_status jmes_run_to_string(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    json_t *value = arguments[0].value;
    if (json_is_string(value))
        return jmes_give(eval, json_incref(value), out);
    enum ks_status st = jmes_spend_walk(eval, value);
    if (st)
        return st;
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, TEXT_BYTES_MAX);
    if (!ctl_json_append(&text, value, JSON_COMPACT))
        return jmes_fail(eval, "limit: the text gets too long");
    return give_text(eval, &text, out);
}

/* Character by character, each of which has its bytes in their order. */
static enum ks_status reverse_text(struct jmes_eval *eval, const json_t *value, json_t **out)
{
    struct ks_view from = view_of(value);
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, TEXT_BYTES_MAX);
    for (size_t end = from.bytes; end > 0;) {
        size_t begin = end - 1;
        while (begin > 0 && (from.data[begin] & 0xc0) == 0x80)
            begin--;
        if (!ks_buf_append(&text, from.data + begin, end - begin))
            return jmes_fail_memory(eval);
        end = begin;
    }
    return give_text(eval, &text, out);
}

enum ks_status jmes_run_reverse(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    const json_t *value = arguments[0].value;
    if (json_is_string(value))
        return reverse_text(eval, value, out);
    json_t *items = NULL;
    enum ks_status st = jmes_give_new(eval, json_array(), &items);
    for (size_t i = json_array_size(value); !st && i > 0; i--)
        st = jmes_append(eval, items, json_incref(json_array_get(value, i - 1)));
    if (st)
        json_decref(items);
    else
        *out = items;
    return st;
}

enum ks_status jmes_run_length(
    struct jmes_eval *eval, const struct jmes_argument *arguments, size_t count, json_t **out)
{
    (void)count;
    const json_t *value = arguments[0].value;
    size_t length = json_is_string(value)  ? ks_view_utf8_characters(view_of(value))
                    : json_is_array(value) ? json_array_size(value)
                                           : json_object_size(value);
    return jmes_give(eval, json_integer((json_int_t)length), out);
}
