#include "tools/ctl_shorthand.h"

#include "base/alloc.h"

#include <ctype.h>

struct parser {
    const char *text;
    size_t at;
    unsigned nesting;
    struct ks_error *err;
};

static char current(const struct parser *p)
{
    return p->text[p->at];
}

static void skip_blanks(struct parser *p)
{
    while (isspace((unsigned char)current(p)))
        p->at++;
}

static enum ks_status fail_at(struct parser *p, const char *wanted)
{
    KS_IGNORE(ks_fail(p->err, KS_USAGE, 0, "%s is needed at character %zu of '%.60s'", wanted,
                  p->at + 1, p->text),
        "only fills err");
    return KS_USAGE;
}

static enum ks_status fail_memory(struct parser *p)
{
    KS_IGNORE(ks_fail(p->err, KS_NO_MEMORY, 0, "out of memory"), "only fills err");
    return KS_NO_MEMORY;
}

static enum ks_status expect(struct parser *p, char sign)
{
    skip_blanks(p);
    if (current(p) != sign)
        return fail_at(p, (const char[]){'\'', sign, '\'', '\0'});
    p->at++;
    skip_blanks(p);
    return KS_OK;
}

/* ---- plain values ---- */

/* Copies from..to without the backslashes before the escaped signs. */
static enum ks_status take_text(
    struct parser *p, struct ks_view raw, const char *escaped, json_t **out)
{
    KS_AUTO_FREE char *copy = ks_malloc(raw.bytes + 1);
    size_t bytes = 0;
    for (size_t i = 0; copy && i < raw.bytes; i++) {
        bool is_escape =
            raw.data[i] == '\\' && i + 1 < raw.bytes && strchr(escaped, raw.data[i + 1]);
        i += is_escape;
        copy[bytes++] = (char)raw.data[i];
    }
    *out = copy ? json_stringn(copy, bytes) : NULL;
    return *out ? KS_OK : fail_memory(p);
}

static enum ks_status parse_quoted(struct parser *p, json_t **out)
{
    char quote = current(p);
    size_t from = ++p->at;
    while (current(p) && current(p) != quote)
        p->at += current(p) == '\\' && p->text[p->at + 1] ? 2 : 1;
    if (!current(p)) {
        p->at = from - 1;
        return fail_at(p, "a closing quote");
    }
    const char escaped[] = {'\\', quote, '\0'};
    struct ks_view raw = ks_view_of(p->text + from, p->at - from);
    p->at++;
    return take_text(p, raw, escaped, out);
}

/* Up to one of the stops; a comma behind a backslash is none. The first character has been looked
 * at. */
static struct ks_view take_word(struct parser *p, const char *stops)
{
    size_t from = p->at;
    do {
        p->at += current(p) == '\\' && p->text[p->at + 1] == ',' ? 2 : 1;
    } while (current(p) && !strchr(stops, current(p)));
    size_t to = p->at;
    while (to > from && isspace((unsigned char)p->text[to - 1]))
        to--;
    return ks_view_of(p->text + from, to - from);
}

static bool may_begin_word(char first)
{
    return first && !isspace((unsigned char)first) && !strchr("\"',=[{", first);
}

/* The first or only value of a member: may be empty, may hold '='. */
static enum ks_status parse_first(struct parser *p, json_t **out)
{
    if (current(p) == '\'' || current(p) == '"')
        return parse_quoted(p, out);
    struct ks_view raw = {.data = NULL};
    if (may_begin_word(current(p)))
        raw = take_word(p, "\"',]}");
    return take_text(p, raw, ",", out);
}

/* A further value: never empty, and not the name of the next member. */
static enum ks_status parse_further(struct parser *p, json_t **out)
{
    if (current(p) == '\'' || current(p) == '"')
        return parse_quoted(p, out);
    if (!may_begin_word(current(p)))
        return fail_at(p, "a value");
    return take_text(p, take_word(p, "\"',="), ",", out);
}

/* ---- lists and maps ---- */

static enum ks_status parse_members(struct parser *p, char end, json_t **out);
static enum ks_status parse_list(struct parser *p, json_t **out);

/* What may stand inside brackets and braces. */
static enum ks_status parse_explicit(struct parser *p, json_t **out)
{
    if (current(p) != '[' && current(p) != '{')
        return parse_first(p, out);
    if (p->nesting == CTL_SHORTHAND_NESTING_MAX)
        return fail_at(p, "less nesting");
    p->nesting++;
    bool is_list = current(p) == '[';
    p->at++;
    skip_blanks(p);
    enum ks_status st = is_list ? parse_list(p, out) : parse_members(p, '}', out);
    p->nesting--;
    return st;
}

/* Behind '['. */
static enum ks_status parse_list(struct parser *p, json_t **out)
{
    json_t *list = json_array();
    enum ks_status st = list ? KS_OK : fail_memory(p);
    while (!st && current(p) != ']') {
        json_t *value = NULL;
        st = parse_explicit(p, &value);
        if (!st && json_array_append_new(list, value) != 0)
            st = fail_memory(p);
        skip_blanks(p);
        if (!st && current(p) != ']')
            st = expect(p, ',');
    }
    if (st) {
        json_decref(list);
        return st;
    }
    p->at++;
    *out = list;
    return KS_OK;
}

/* `b,c,d=e`: b and c, up to the comma before d. */
static enum ks_status parse_csv(struct parser *p, json_t **out)
{
    json_t *first = NULL;
    enum ks_status st = parse_first(p, &first);
    if (st)
        return st;
    json_t *list = json_pack("[O]", first);
    skip_blanks(p);
    while (list && current(p) == ',') {
        size_t comma = p->at++;
        json_t *value = NULL;
        skip_blanks(p);
        st = parse_further(p, &value);
        skip_blanks(p);
        if (!st && (current(p) == '\0' || current(p) == ',')) {
            if (json_array_append_new(list, value) == 0)
                continue;
            st = fail_memory(p);
        } else {
            json_decref(value);
        }
        bool is_end = current(p) == '\0';
        p->at = comma;
        if (st == KS_NO_MEMORY || (st && is_end))
            break;
        st = KS_OK; /* the next member begins here */
        break;
    }
    if (!list)
        st = fail_memory(p);
    bool is_list = json_array_size(list) > 1;
    *out = st ? NULL : json_incref(is_list ? list : first);
    json_decref(list);
    json_decref(first);
    return st;
}

/* ---- members ---- */

static enum ks_status parse_name(struct parser *p, char *name, size_t name_room)
{
    size_t from = p->at;
    while (current(p) && (isalnum((unsigned char)current(p)) || strchr("-_.#/:", current(p))))
        p->at++;
    size_t bytes = p->at - from;
    if (bytes == 0 || bytes >= name_room) {
        p->at = from;
        return fail_at(p, "a name of 1 to 127 letters");
    }
    memcpy(name, p->text + from, bytes);
    name[bytes] = '\0';
    return expect(p, '=');
}

static enum ks_status parse_member(struct parser *p, bool is_outer, json_t *object)
{
    char name[128];
    json_t *value = NULL;
    enum ks_status st = parse_name(p, name, sizeof name);
    if (st)
        return st;
    if (is_outer && current(p) != '[' && current(p) != '{')
        st = parse_csv(p, &value);
    else
        st = parse_explicit(p, &value);
    if (st)
        return st;
    if (is_outer && json_object_get(object, name)) {
        json_decref(value);
        return ks_fail(p->err, KS_USAGE, 0, "'%.60s' stands twice in '%.60s'", name, p->text);
    }
    return json_object_set_new(object, name, value) == 0 ? KS_OK : fail_memory(p);
}

/* Up to end, which is taken; '\0' for the whole text. */
static enum ks_status parse_members(struct parser *p, char end, json_t **out)
{
    json_t *object = json_object();
    enum ks_status st = object ? KS_OK : fail_memory(p);
    bool is_outer = end == '\0';
    if (!st && is_outer)
        st = parse_member(p, true, object);
    while (!st && current(p) != end) {
        if (is_outer)
            st = expect(p, ',');
        if (!st)
            st = parse_member(p, is_outer, object);
        skip_blanks(p);
        if (!st && !is_outer && current(p) != end)
            st = expect(p, ',');
    }
    if (st) {
        json_decref(object);
        return st;
    }
    p->at += !is_outer;
    *out = object;
    return KS_OK;
}

enum ks_status ctl_shorthand_parse(const char *text, json_t **out, struct ks_error *err)
{
    struct parser p = {.text = text, .err = err};
    if (!ks_view_is_utf8(ks_view_of_text(text)))
        return ks_fail(err, KS_USAGE, 0, "not UTF-8");
    return parse_members(&p, '\0', out);
}
