#include "tools/ctl_lines.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_BYTES ((size_t)256 << 10)
#define FIELD_NUMBER_MAX 10000

void ctl_lines_init(struct ctl_lines *lines, int fd, size_t line_bytes_max)
{
    *lines = (struct ctl_lines){.fd = fd, .line_bytes_max = line_bytes_max};
    ks_buf_init(&lines->buf, line_bytes_max + 2 * READ_BYTES);
}

void ctl_lines_fini(struct ctl_lines *lines)
{
    ks_buf_fini(&lines->buf);
}

/* Hands out what lies between start and end. */
static enum ctl_line hand_out(
    struct ctl_lines *lines, size_t end, size_t next, struct ks_view *out_line)
{
    size_t start = lines->start;
    bool was_skipping = lines->is_skipping;
    lines->start = next;
    lines->scanned = next;
    lines->is_skipping = false;
    lines->number++;
    if (was_skipping || end - start > lines->line_bytes_max)
        return CTL_LINE_TOO_LONG;
    *out_line = ks_view_of(lines->buf.data + start, end - start);
    return CTL_LINE_OK;
}

enum ctl_line ctl_lines_next(struct ctl_lines *lines, struct ks_view *out_line)
{
    const uint8_t *data = lines->buf.data;
    size_t bytes = lines->buf.bytes;
    const uint8_t *newline =
        lines->scanned < bytes ? memchr(data + lines->scanned, '\n', bytes - lines->scanned) : NULL;
    if (newline) {
        size_t end = (size_t)(newline - data);
        return hand_out(lines, end, end + 1, out_line);
    }
    lines->scanned = bytes;
    if (lines->is_end) {
        if (lines->start == bytes && !lines->is_skipping)
            return CTL_LINE_END;
        return hand_out(lines, bytes, bytes, out_line);
    }
    /* Too long already: forget what there is, so that memory stays bounded. */
    if (bytes - lines->start > lines->line_bytes_max) {
        lines->is_skipping = true;
        lines->start = bytes;
    }
    return CTL_LINE_WANTS;
}

enum ks_status ctl_lines_fill(struct ctl_lines *lines, struct ks_error *err)
{
    struct ks_buf *buf = &lines->buf;
    if (lines->start > 0) {
        memmove(buf->data, buf->data + lines->start, buf->bytes - lines->start);
        buf->bytes -= lines->start;
        lines->scanned -= lines->start;
        lines->start = 0;
    }
    if (!ks_buf_reserve(buf, READ_BYTES))
        return ks_fail(err, KS_NO_MEMORY, 0, "out of memory for a line");
    ssize_t got = read(lines->fd, buf->data + buf->bytes, READ_BYTES);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return KS_OK;
    if (got < 0)
        return ks_fail(err, KS_IO, errno, "cannot read the input");
    lines->is_end = got == 0;
    buf->bytes += (size_t)got;
    return KS_OK;
}

/* ---- fields ---- */

enum ks_status ctl_field_from_text(
    const char *text, struct ctl_field *out_field, struct ks_error *err)
{
    *out_field = (struct ctl_field){0};
    char *end = NULL;
    unsigned long number = isdigit((unsigned char)text[0]) ? strtoul(text, &end, 10) : 0;
    if (number < 1 || number > FIELD_NUMBER_MAX || (*end && *end != ':'))
        return ks_fail(
            err, KS_USAGE, 0, "'%.40s' is not a field such as 2 or 2:; (the second)", text);
    out_field->number = (uint32_t)number;
    if (!*end)
        return KS_OK;
    for (const char *at = end + 1; *at; at++) {
        if (out_field->separator_bytes == CTL_SEPARATOR_BYTES_MAX)
            return ks_fail(err, KS_USAGE, 0, "the separator of field '%.40s' is too long", text);
        bool is_tab = at[0] == '\\' && at[1] == 't';
        out_field->separator[out_field->separator_bytes++] = *at;
        if (is_tab)
            out_field->separator[out_field->separator_bytes - 1] = '\t';
        at += is_tab;
    }
    if (out_field->separator_bytes == 0)
        return ks_fail(err, KS_USAGE, 0, "field '%.40s' has an empty separator", text);
    return KS_OK;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static bool find_blank_separated(
    uint32_t number, struct ks_view line, struct ks_view *out_field, struct ks_view *out_from_there)
{
    size_t at = 0;
    for (uint32_t i = 1;; i++) {
        while (at < line.bytes && is_blank(line.data[at]))
            at++;
        if (at == line.bytes)
            return false;
        size_t start = at;
        while (at < line.bytes && !is_blank(line.data[at]))
            at++;
        if (i < number)
            continue;
        *out_field = ks_view_of(line.data + start, at - start);
        *out_from_there = ks_view_of(line.data + start, line.bytes - start);
        return true;
    }
}

bool ctl_field_find(const struct ctl_field *field, struct ks_view line, struct ks_view *out_field,
    struct ks_view *out_from_there)
{
    if (field->separator_bytes == 0)
        return find_blank_separated(field->number, line, out_field, out_from_there);
    size_t start = 0;
    for (uint32_t i = 1;; i++) {
        const uint8_t *found = start < line.bytes ? memmem(line.data + start, line.bytes - start,
                                                        field->separator, field->separator_bytes)
                                                  : NULL;
        size_t end = found ? (size_t)(found - line.data) : line.bytes;
        if (i == field->number) {
            *out_field = ks_view_of(line.data + start, end - start);
            *out_from_there = ks_view_of(line.data + start, line.bytes - start);
            return true;
        }
        if (!found)
            return false;
        start = end + field->separator_bytes;
    }
}
