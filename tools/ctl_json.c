#include "tools/ctl_json.h"

#include "proto/limits.h"
#include "tools/ctl_base64.h"
#include "tools/ctl_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What every double can have; some need two more. */
#define REAL_DIGITS 15
#define NUMBER_CHARACTERS "+-0123456789.eE"
#define TEXT_BYTES_MAX (64 * (size_t)KS_FRAME_BYTES_MAX)

json_t *ctl_json_text(const char *text)
{
    if (!text)
        return json_null();
    json_t *value = json_string(text);
    return value ? value : json_string("(no UTF-8)");
}

json_t *ctl_json_texts(const char *const *texts, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, ctl_json_text(texts[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

json_t *ctl_json_time(uint64_t unix_ms)
{
    char text[CTL_TIME_TEXT_BYTES];
    ctl_time_to_utc(unix_ms, text);
    return json_string(text);
}

json_t *ctl_json_bytes(const void *data, size_t bytes)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, 2 * (size_t)KS_FRAME_BYTES_MAX);
    if (!ctl_base64_encode(ks_view_of(data, bytes), &text))
        return NULL;
    return json_stringn(text.data ? (const char *)text.data : "", text.bytes);
}

bool ctl_json_add(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}

/* ---- real numbers ---- */

static int digits_of(double number)
{
    char text[32];
    for (int digits = REAL_DIGITS; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            return digits;
    }
    return 17;
}

static int real_digits(json_t *value)
{
    if (json_is_real(value))
        return digits_of(json_real_value(value));
    int digits = REAL_DIGITS;
    for (size_t i = 0; i < json_array_size(value); i++)
        digits = KS_MAX(digits, real_digits(json_array_get(value, i)));
    for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at))
        digits = KS_MAX(digits, real_digits(json_object_iter_value(at)));
    return digits;
}

static int take_piece(const char *piece, size_t bytes, void *to)
{
    return ks_buf_append(to, piece, bytes) ? 0 : -1;
}

static bool append_real(struct ks_buf *to, const char *text)
{
    double number = strtod(text, NULL);
    json_t *real = json_real(number);
    size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION((size_t)digits_of(number));
    bool is_fine = real && json_dump_callback(real, take_piece, to, flags) == 0;
    json_decref(real);
    return is_fine;
}

/* How far a JSON text goes on as it is: to the next real number outside of strings, or its end. */
static size_t bytes_before_real(const char *text)
{
    size_t bytes = 0;
    bool is_string = false;
    while (text[bytes]) {
        bool is_number = !is_string && strchr("-0123456789", text[bytes]) != NULL;
        size_t number = is_number ? strspn(text + bytes, NUMBER_CHARACTERS) : 0;
        if (strcspn(text + bytes, ".eE") < number)
            return bytes;
        if (is_string && text[bytes] == '\\')
            bytes++;
        else if (text[bytes] == '"')
            is_string = !is_string;
        bytes += KS_MAX(number, (size_t)1);
    }
    return bytes;
}

/* jansson writes all reals of a value with as many digits as one of them needs. */
static bool shorten_reals(struct ks_buf *to, const char *text)
{
    while (*text) {
        size_t bytes = bytes_before_real(text);
        if (!ks_buf_append(to, text, bytes))
            return false;
        text += bytes;
        if (*text && !append_real(to, text))
            return false;
        text += strspn(text, NUMBER_CHARACTERS);
    }
    return true;
}

bool ctl_json_append(struct ks_buf *to, json_t *value, size_t flags)
{
    int digits = real_digits(value);
    flags |= JSON_ENCODE_ANY | JSON_REAL_PRECISION((size_t)digits);
    if (digits == REAL_DIGITS)
        return json_dump_callback(value, take_piece, to, flags) == 0;
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, TEXT_BYTES_MAX);
    return json_dump_callback(value, take_piece, &text, flags) == 0 &&
           ks_buf_append(&text, "", 1) && shorten_reals(to, (const char *)text.data);
}

bool ctl_json_print(FILE *to, json_t *value, size_t flags)
{
    flags |= JSON_ENCODE_ANY | JSON_REAL_PRECISION((size_t)REAL_DIGITS);
    if (real_digits(value) == REAL_DIGITS)
        return json_dumpf(value, to, flags) == 0;
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, TEXT_BYTES_MAX);
    return ctl_json_append(&text, value, flags) &&
           fwrite(text.data, 1, text.bytes, to) == text.bytes;
}

bool ctl_is_plain_text(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < bytes; i++)
        if ((at[i] < 0x20 && at[i] != '\t') || at[i] == 0x7f)
            return false;
    return ks_view_is_utf8(ks_view_of(data, bytes));
}
