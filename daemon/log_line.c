#include "daemon/log_line.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROOM_FOR_END 8 /* of an object, a field, a line */
#define KEY_BYTES_MAX 40

static const char *const level_names[] = {
    [KS_LEVEL_DEBUG] = "debug",
    [KS_LEVEL_INFO] = "info",
    [KS_LEVEL_NOTICE] = "notice",
    [KS_LEVEL_WARNING] = "warning",
    [KS_LEVEL_ERROR] = "error",
};
const char *ks_log_level_name(enum ks_level level)
{
    return level_names[level];
}

static const char *const syslog_levels[] = {
    [KS_LEVEL_DEBUG] = "7",
    [KS_LEVEL_INFO] = "6",
    [KS_LEVEL_NOTICE] = "5",
    [KS_LEVEL_WARNING] = "4",
    [KS_LEVEL_ERROR] = "3",
};

static void line_char(struct ks_log_line *line, char c)
{
    if (line->bytes < sizeof(line->text) - ROOM_FOR_END)
        line->text[line->bytes++] = c;
}

static void line_text(struct ks_log_line *line, const char *text)
{
    for (; *text; text++)
        line_char(line, *text);
}

static void line_end(struct ks_log_line *line, const char *end)
{
    while (*end)
        line->text[line->bytes++] = *end++;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* A foreign name in a field must not forge a second line, nor make the log no text: control
 * characters become '?', and in what is no UTF-8 all but ASCII does. */
static char plain_char(char c, bool is_utf8)
{
    bool is_foreign = is_control(c) || (!is_utf8 && (unsigned char)c >= 0x80);
    if (is_foreign)
        return '?';
    return c;
}

static void line_plain(struct ks_log_line *line, struct ks_view text)
{
    bool is_utf8 = ks_view_is_utf8(text);
    for (size_t i = 0; i < text.bytes; i++)
        line_char(line, plain_char((char)text.data[i], is_utf8));
}

static void line_json_string(struct ks_log_line *line, struct ks_view text)
{
    bool is_utf8 = ks_view_is_utf8(text);
    line_char(line, '"');
    for (size_t i = 0; i < text.bytes; i++) {
        char c = plain_char((char)text.data[i], is_utf8);
        /* Both or neither: a cut escape would take the end of the string with it. */
        if ((c == '"' || c == '\\') && line->bytes + 1 < sizeof(line->text) - ROOM_FOR_END)
            line_char(line, '\\');
        else if (c == '"' || c == '\\')
            break;
        line_char(line, c);
    }
    line->text[line->bytes++] = '"';
}

static void line_time(struct ks_log_line *line, uint64_t unix_ms)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    char text[40];
    gmtime_r(&seconds, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof(text) - n, ".%03uZ", (unsigned)(unix_ms % 1000));
    line_text(line, text);
}

static void line_begin(struct ks_log_line *line, const struct ks_log_event *event, bool has_prefix)
{
    line->bytes = 0;
    if (!has_prefix)
        return;
    line_char(line, '<');
    line_text(line, syslog_levels[event->level]);
    line_char(line, '>');
}

/* ---- fields ---- */

struct field {
    struct ks_view key; /* data NULL: the value is a text without a key */
    struct ks_view value;
};

static bool is_key(const char *key, size_t bytes)
{
    return bytes > 0 && bytes <= KEY_BYTES_MAX &&
           strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_") >= bytes;
}

/* A quoted value ends at a quote before the end or the next key, so that quotes within it do no
 * harm. */
static bool is_value_end(const char *quote)
{
    const char *equals = strchr(quote, '=');
    return !quote[1] ||
           (quote[1] == ' ' && equals && is_key(quote + 2, (size_t)(equals - quote - 2)));
}

/* False: no more. */
static bool field_next(const char **at, struct field *out)
{
    const char *p = *at + strspn(*at, " ");
    if (!*p)
        return false;
    const char *equals = strchr(p, '=');
    if (!equals || !is_key(p, (size_t)(equals - p))) {
        *out = (struct field){.key = ks_view_of(NULL, 0), .value = ks_view_of_text(p)};
        *at = p + strlen(p);
        return true;
    }
    out->key = ks_view_of(p, (size_t)(equals - p));
    const char *value = equals + 1;
    const char *end;
    if (*value == '"') {
        for (end = ++value; *end && !(*end == '"' && is_value_end(end)); end++)
            ;
        *at = *end ? end + 1 : end;
    } else {
        end = value + strcspn(value, " ");
        *at = end;
    }
    out->value = ks_view_of(value, (size_t)(end - value));
    return true;
}

/* ---- the three looks ---- */

void ks_log_line_text(struct ks_log_line *line, const struct ks_log_event *event, bool has_prefix)
{
    line_begin(line, event, has_prefix);
    if (!has_prefix) {
        line_time(line, event->unix_ms);
        line_char(line, ' ');
    }
    line_text(line, level_names[event->level]);
    line_char(line, ' ');
    line_text(line, event->name);
    line_char(line, ' ');
    line_plain(line, ks_view_of_text(event->fields));
    line_end(line, "\n");
}

void ks_log_line_json(struct ks_log_line *line, const struct ks_log_event *event, bool has_prefix)
{
    struct field field;
    line_begin(line, event, has_prefix);
    line_text(line, "{\"time\":\"");
    line_time(line, event->unix_ms);
    line_text(line, "\",\"level\":");
    line_json_string(line, ks_view_of_text(level_names[event->level]));
    line_text(line, ",\"event\":");
    line_json_string(line, ks_view_of_text(event->name));
    for (const char *at = event->fields; field_next(&at, &field);) {
        struct ks_view key = field.key.data ? field.key : ks_view_of_text("text");
        /* A member whole or not at all: its key, quotes and punctuation must fit. */
        if (line->bytes + key.bytes + 16 > sizeof(line->text) - ROOM_FOR_END)
            break;
        line_char(line, ',');
        line_json_string(line, key);
        line_char(line, ':');
        line_json_string(line, field.value);
    }
    line_end(line, "}\n");
}

/* NAME=value and a line's end; values hold no newline. */
static void journal_field(struct ks_log_line *line, const char *name, struct ks_view value)
{
    if (line->bytes + strlen(name) + value.bytes + 2 > sizeof(line->text) - ROOM_FOR_END)
        return;
    line_text(line, name);
    line_char(line, '=');
    line_plain(line, value);
    line_char(line, '\n');
}

void ks_log_line_journal(struct ks_log_line *line, const struct ks_log_event *event)
{
    struct field field;
    line->bytes = 0;
    line_text(line, "MESSAGE=");
    line_text(line, event->name);
    line_char(line, ' ');
    line_plain(line, ks_view_of_text(event->fields));
    line_end(line, "\n");
    journal_field(line, "PRIORITY", ks_view_of_text(syslog_levels[event->level]));
    journal_field(line, "SYSLOG_IDENTIFIER", ks_view_of_text("kstreamd"));
    if (event->id[0])
        journal_field(line, "MESSAGE_ID", ks_view_of_text(event->id));
    journal_field(line, "KSTREAM_EVENT", ks_view_of_text(event->name));
    for (const char *at = event->fields; field_next(&at, &field);) {
        char name[KEY_BYTES_MAX + 16] = "KSTREAM_";
        size_t used = strlen(name);
        if (!field.key.data)
            continue; /* MESSAGE has it */
        for (size_t i = 0; i < field.key.bytes; i++) {
            char c = (char)field.key.data[i];
            name[used++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        }
        name[used] = '\0';
        journal_field(line, name, field.value);
    }
}
