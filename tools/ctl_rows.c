#include "tools/ctl_rows.h"

#include "base/alloc.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TITLE_BYTES 200
/* A record of a stream may be any JSON: no grid is wider than this. */
#define COLUMNS_MAX 1000

/* Where the value of a cell stands in the item of its row. */
struct column {
    char *title;
    json_t *path; /* names that lead there; NULL: see index */
    size_t index; /* of a list; SIZE_MAX: the item itself */
};

struct ctl_rows {
    json_t *list;
    size_t *order; /* the item of each row */
    size_t count;
    struct column *columns;
    size_t column_count;
};

static enum ks_status fail_memory(struct ks_error *err)
{
    KS_IGNORE(ks_fail(err, KS_NO_MEMORY, 0, "cannot make a table"), "only fills err");
    return KS_NO_MEMORY;
}

/* ---- columns ---- */

/* Takes path. */
static bool column_append(struct ctl_rows *rows, const char *title, json_t *path, size_t index)
{
    if (rows->column_count == COLUMNS_MAX) {
        json_decref(path);
        return true;
    }
    struct column *columns =
        ks_realloc(rows->columns, (rows->column_count + 1) * sizeof *rows->columns);
    char *copy = ks_strdup(title);
    if (columns)
        rows->columns = columns;
    if (!columns || !copy) {
        ks_free(copy);
        json_decref(path);
        return false;
    }
    columns[rows->column_count++] = (struct column){copy, path, index};
    return true;
}

/* While columns are looked for: the names that lead to the object looked at, and the titles known,
 * each with its path. */
struct search {
    struct ctl_rows *rows;
    json_t *path;
    json_t *titles;
    bool wants_empty;
};

/* The short name if it is free or means the same path, else the long one. */
static bool member_add(struct search *search, const char *name)
{
    size_t depth = json_array_size(search->path);
    const json_t *taken = json_object_get(search->titles, name);
    char title[TITLE_BYTES];
    if (taken && !json_equal(taken, search->path)) {
        const char *parent =
            depth > 1 ? json_string_value(json_array_get(search->path, depth - 2)) : "";
        snprintf(title, sizeof title, "%s.%s", parent, name);
    } else {
        snprintf(title, sizeof title, "%s", name);
    }
    if (json_object_get(search->titles, title))
        return true;
    json_t *path = json_copy(search->path);
    return path && json_object_set(search->titles, title, path) == 0 &&
           column_append(search->rows, title, path, SIZE_MAX);
}

static bool members_find(struct search *search, json_t *object)
{
    bool is_fine = true;
    for (void *at = json_object_iter(object); is_fine && at;
         at = json_object_iter_next(object, at)) {
        const char *name = json_object_iter_key(at);
        json_t *member = json_object_iter_value(at);
        if (json_is_array(member) && json_array_size(member) == 0 && !search->wants_empty)
            continue; /* nothing to show */
        is_fine = json_array_append_new(search->path, json_string(name)) == 0;
        if (is_fine && json_is_object(member))
            is_fine = members_find(search, member);
        else if (is_fine)
            is_fine = member_add(search, name);
        KS_IGNORE(json_array_remove(search->path, json_array_size(search->path) - 1),
            "the name appended above, if it was");
    }
    return is_fine;
}

static bool find_members(struct ctl_rows *rows, bool wants_empty)
{
    struct search search = {
        .rows = rows, .path = json_array(), .titles = json_object(), .wants_empty = wants_empty};
    bool is_fine = search.path && search.titles;
    for (size_t i = 0; is_fine && i < json_array_size(rows->list); i++)
        is_fine = members_find(&search, json_array_get(rows->list, i));
    json_decref(search.path);
    json_decref(search.titles);
    return is_fine;
}

static bool find_positions(struct ctl_rows *rows, const struct jmes *query)
{
    size_t widest = 0;
    for (size_t i = 0; i < json_array_size(rows->list); i++)
        widest = KS_MAX(widest, json_array_size(json_array_get(rows->list, i)));
    bool is_fine = true;
    for (size_t i = 0; is_fine && i < KS_MIN(widest, (size_t)COLUMNS_MAX); i++) {
        const char *title = query ? jmes_column_title(query, i) : NULL;
        is_fine = column_append(rows, title ? title : "", NULL, i);
    }
    return is_fine;
}

static bool ends_with(const char *text, const char *end)
{
    size_t text_bytes = strlen(text);
    size_t end_bytes = strlen(end);
    return text_bytes >= end_bytes && strcmp(text + text_bytes - end_bytes, end) == 0;
}

static void singular(const char *plural, char *name, size_t name_bytes)
{
    snprintf(name, name_bytes, "%s", plural);
    size_t length = strlen(name);
    if (ends_with(name, "ies"))
        snprintf(name + length - 3, 4, "y");
    else if (length > 1 && name[length - 1] == 's' && !ends_with(name, "ss") &&
             !ends_with(name, "Status"))
        name[length - 1] = '\0';
}

static bool has_only(const json_t *list, json_type type)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_typeof(json_array_get(list, i)) != type)
            return false;
    return json_array_size(list) > 0;
}

static bool find_columns(struct ctl_rows *rows, const struct ctl_rows_options *options)
{
    if (has_only(rows->list, JSON_OBJECT))
        return find_members(rows, options->wants_empty);
    if (has_only(rows->list, JSON_ARRAY))
        return find_positions(rows, options->query);
    char title[TITLE_BYTES];
    singular(options->title[0] ? options->title : "Values", title, sizeof title);
    return column_append(rows, title, NULL, SIZE_MAX);
}

/* ---- rows ---- */

enum ks_status ctl_rows_replace(struct ctl_rows *rows, json_t *list, struct ks_error *err)
{
    size_t count = json_array_size(list);
    size_t *order = ks_calloc(count + 1, sizeof *order);
    if (!order)
        return fail_memory(err);
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    ks_free(rows->order);
    json_decref(rows->list);
    rows->order = order;
    rows->list = json_incref(list);
    rows->count = count;
    return KS_OK;
}

enum ks_status ctl_rows_open(json_t *list, const struct ctl_rows_options *options,
    struct ctl_rows **out, struct ks_error *err)
{
    KS_CLEANUP(ctl_rows_closep) struct ctl_rows *rows = ks_zalloc(sizeof *rows);
    if (!rows)
        return fail_memory(err);
    enum ks_status st = ctl_rows_replace(rows, list, err);
    if (st)
        return st;
    if (!find_columns(rows, options))
        return fail_memory(err);
    *out = KS_TAKE(rows);
    return KS_OK;
}

void ctl_rows_close(struct ctl_rows *rows)
{
    if (!rows)
        return;
    for (size_t i = 0; i < rows->column_count; i++) {
        ks_free(rows->columns[i].title);
        json_decref(rows->columns[i].path);
    }
    ks_free(rows->columns);
    ks_free(rows->order);
    json_decref(rows->list);
    ks_free(rows);
}

size_t ctl_rows_count(const struct ctl_rows *rows)
{
    return rows->count;
}

size_t ctl_rows_column_count(const struct ctl_rows *rows)
{
    return rows->column_count;
}

bool ctl_rows_have_titles(const struct ctl_rows *rows)
{
    for (size_t i = 0; i < rows->column_count; i++)
        if (rows->columns[i].title[0])
            return true;
    return false;
}

const char *ctl_rows_title(const struct ctl_rows *rows, size_t column)
{
    return rows->columns[column].title;
}

json_t *ctl_rows_cell(const struct ctl_rows *rows, size_t row, size_t column)
{
    const struct column *where = &rows->columns[column];
    json_t *value = json_array_get(rows->list, rows->order[row]);
    if (where->index != SIZE_MAX)
        return json_array_get(value, where->index);
    for (size_t i = 0; value && i < json_array_size(where->path); i++)
        value = json_object_get(value, json_string_value(json_array_get(where->path, i)));
    return value;
}

/* ---- --columns ---- */

/* "A, B and C", cut if need be. */
static void list_titles(const struct ctl_rows *rows, char *text, size_t text_bytes)
{
    size_t bytes = 0;
    for (size_t i = 0; i < rows->column_count && bytes < text_bytes; i++)
        bytes += (size_t)snprintf(text + bytes, text_bytes - bytes, "%s%s", i ? ", " : "",
            rows->columns[i].title[0] ? rows->columns[i].title : "(no title)");
}

static enum ks_status column_find(const struct ctl_rows *rows, const char *option,
    const char *title, size_t *out_column, struct ks_error *err)
{
    for (size_t i = 0; i < rows->column_count; i++) {
        if (title[0] && strcasecmp(rows->columns[i].title, title) == 0) {
            *out_column = i;
            return KS_OK;
        }
    }
    char *end = NULL;
    unsigned long number = isdigit((unsigned char)title[0]) ? strtoul(title, &end, 10) : 0;
    if (number > 0 && *end == '\0' && number <= rows->column_count) {
        *out_column = number - 1;
        return KS_OK;
    }
    char known[120] = "";
    list_titles(rows, known, sizeof known);
    return ks_fail(
        err, KS_USAGE, 0, "'%s': no column '%.40s'; there are: %s", option, title, known);
}

static enum ks_status select_one(
    struct ctl_rows *from, struct ctl_rows *to, const char *title, struct ks_error *err)
{
    size_t column = 0;
    enum ks_status st = column_find(from, "--columns", title, &column, err);
    if (st)
        return st;
    const struct column *found = &from->columns[column];
    return column_append(to, found->title, json_incref(found->path), found->index)
               ? KS_OK
               : fail_memory(err);
}

enum ks_status ctl_rows_select(struct ctl_rows *rows, const char *titles, struct ks_error *err)
{
    /* Without rows nothing is known of the columns there could be. */
    if (rows->count == 0)
        return KS_OK;
    KS_CLEANUP(ctl_rows_closep) struct ctl_rows *chosen = ks_zalloc(sizeof *chosen);
    KS_AUTO_FREE char *copy = ks_strdup(titles);
    if (!chosen || !copy)
        return fail_memory(err);
    char *rest = copy;
    for (char *title = strsep(&rest, ","); title; title = strsep(&rest, ",")) {
        enum ks_status st = select_one(rows, chosen, title, err);
        if (st)
            return st;
    }
    /* The old columns go with chosen. */
    struct ctl_rows old = *rows;
    rows->columns = chosen->columns;
    rows->column_count = chosen->column_count;
    chosen->columns = old.columns;
    chosen->column_count = old.column_count;
    return KS_OK;
}

/* ---- --sort-by ---- */

/* A cell to be ordered. */
struct key {
    const json_t *value; /* NULL: nothing */
    size_t item;
    size_t row;
    int sign; /* -1: the other way round */
};

static bool is_number_text(const char *text)
{
    return text[0] && strspn(text, "0123456789") == strlen(text);
}

/* Sequence numbers and hash keys are decimal texts. */
static int compare_texts(const char *a, const char *b)
{
    if (is_number_text(a) && is_number_text(b)) {
        a += strspn(a, "0");
        b += strspn(b, "0");
        size_t a_bytes = strlen(a);
        size_t b_bytes = strlen(b);
        if (a_bytes != b_bytes)
            return a_bytes > b_bytes ? 1 : -1;
    }
    return strcmp(a, b);
}

static int compare_values(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) {
        double x = json_number_value(a);
        double y = json_number_value(b);
        return (x > y) - (x < y);
    }
    if (json_is_string(a) && json_is_string(b))
        return compare_texts(json_string_value(a), json_string_value(b));
    return (int)json_typeof(a) - (int)json_typeof(b);
}

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a;
    const struct key *y = b;
    bool x_is_nothing = !x->value || json_is_null(x->value);
    bool y_is_nothing = !y->value || json_is_null(y->value);
    int order = 0;
    if (x_is_nothing || y_is_nothing)
        order = x_is_nothing - y_is_nothing;
    else
        order = x->sign * compare_values(x->value, y->value);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

enum ks_status ctl_rows_sort(struct ctl_rows *rows, const char *title, struct ks_error *err)
{
    if (rows->count == 0)
        return KS_OK;
    bool is_backward = title[0] == '-';
    size_t column = 0;
    enum ks_status st = column_find(rows, "--sort-by", title + is_backward, &column, err);
    if (st)
        return st;
    KS_AUTO_FREE struct key *keys = ks_calloc(rows->count, sizeof *keys);
    if (!keys)
        return fail_memory(err);
    for (size_t i = 0; i < rows->count; i++)
        keys[i] =
            (struct key){ctl_rows_cell(rows, i, column), rows->order[i], i, is_backward ? -1 : 1};
    qsort(keys, rows->count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < rows->count; i++)
        rows->order[i] = keys[i].item;
    return KS_OK;
}
