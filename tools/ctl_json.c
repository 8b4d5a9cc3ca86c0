#include "tools/ctl_json.h"

#include "proto/limits.h"
#include "tools/ctl_base64.h"
#include "tools/ctl_time.h"

#include <stdio.h>
#include <stdlib.h>

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

static int digits_of(double number)
{
    char text[32];
    for (int digits = 15; digits < 17; digits++) {
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
    int digits = 15;
    for (size_t i = 0; i < json_array_size(value); i++)
        digits = KS_MAX(digits, real_digits(json_array_get(value, i)));
    for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at))
        digits = KS_MAX(digits, real_digits(json_object_iter_value(at)));
    return digits;
}

size_t ctl_json_real_flags(json_t *value)
{
    return (size_t)JSON_REAL_PRECISION(real_digits(value));
}

bool ctl_is_plain_text(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < bytes; i++)
        if ((at[i] < 0x20 && at[i] != '\t') || at[i] == 0x7f)
            return false;
    return ks_view_is_utf8(ks_view_of(data, bytes));
}
