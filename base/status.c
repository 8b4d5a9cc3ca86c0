#include "base/status.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Indexed by the value on the wire: status.def numbers its rows from 0 without a gap. */
static const struct ks_status_info status_table[] = {
#define KS_STATUS(name, value, exception, http, exit_code, retryable, text)                        \
    [value] = {#name, exception, text, http, exit_code, retryable},
#include "base/status.def"
#undef KS_STATUS
};

const struct ks_status_info *ks_status_info(enum ks_status status)
{
    unsigned value = (unsigned)status;
    if (value >= KS_COUNT_OF(status_table) || !status_table[value].name)
        value = KS_INTERNAL;
    return &status_table[value];
}

const char *ks_status_name(enum ks_status status)
{
    return ks_status_info(status)->name;
}

enum ks_status ks_status_from_wire(uint32_t value)
{
    if (value >= KS_COUNT_OF(status_table) || !status_table[value].name)
        return KS_INTERNAL;
    return (enum ks_status)value;
}

/* A text that was cut must not end in half a character: the terminal and the JSON encoder would
 * choke on it. */
static void error_text_trim(char *text)
{
    size_t bytes = strlen(text);
    size_t start = bytes;
    while (start > 0 && bytes - start < 3 && ((uint8_t)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0 && (uint8_t)text[start - 1] >= 0xc0)
        start--;
    if (!ks_view_is_utf8(ks_view_of(text + start, bytes - start)))
        text[start] = '\0';
}

enum ks_status ks_fail(
    struct ks_error *err, enum ks_status status, int errnum, const char *format, ...)
{
    if (!err)
        return status;
    int saved_errno = errno;
    /* Built aside: the arguments may point into err->text (a caller that puts words in front of the
     * text it got). */
    char text[KS_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0)
        length = snprintf(text, sizeof text, "%s", ks_status_info(status)->text);
    if (errnum != 0 && length >= 0 && (size_t)length < sizeof text) {
        char reason[128];
        (void)snprintf(text + length, sizeof text - (size_t)length, ": %s",
            strerror_r(errnum, reason, sizeof reason));
    }
    error_text_trim(text);
    err->status = status;
    err->errnum = errnum;
    memcpy(err->text, text, sizeof text);
    errno = saved_errno;
    return status;
}
