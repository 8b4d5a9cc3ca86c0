#include "tools/ctl_table.h"

#include "tools/ctl_time.h"

#include <libsmartcols.h>
#include <string.h>
#include <time.h>

#define CELL_BYTES 64

KS_DEFINE_CLEANUP(struct libscols_table, scols_unref_table)

static enum ks_status fail_memory(struct ks_error *err)
{
    return ks_fail(err, KS_NO_MEMORY, 0, "cannot make a table");
}

static bool ends_with(const char *text, const char *end)
{
    size_t text_bytes = strlen(text);
    size_t end_bytes = strlen(end);
    return text_bytes >= end_bytes && strcmp(text + text_bytes - end_bytes, end) == 0;
}

/* The same moment in local time; anything else stays as it is. */
static const char *local_time(const char *utc, char cell[CELL_BYTES])
{
    uint64_t unix_ms = 0;
    _Static_assert(CELL_BYTES >= CTL_TIME_TEXT_BYTES, "a time fits a cell");
    if (ctl_time_from_text(utc, 0, &unix_ms, NULL))
        return utc;
    ctl_time_to_local(unix_ms, cell);
    return cell;
}

/* A plain value, or a list of them, as the text of a cell. The result may lie in cell. */
static const char *cell_text(const char *name, const json_t *value, char cell[CELL_BYTES])
{
    cell[0] = '\0';
    switch (json_typeof(value)) {
    case JSON_STRING:
        if (ends_with(name, "Timestamp") || ends_with(name, "_time"))
            return local_time(json_string_value(value), cell);
        return json_string_value(value);
    case JSON_INTEGER:
        snprintf(cell, CELL_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return cell;
    case JSON_REAL:
        snprintf(cell, CELL_BYTES, "%.10g", json_real_value(value));
        return cell;
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_ARRAY:
        snprintf(cell, CELL_BYTES, "[%zu]", json_array_size(value));
        return cell;
    case JSON_NULL:
    case JSON_OBJECT:
    default:
        return "";
    }
}

static struct libscols_table *table_new(const struct ctl_table_options *options)
{
    struct libscols_table *table = scols_new_table();
    if (!table)
        return NULL;
    scols_table_enable_noheadings(table, options->no_header);
    scols_table_set_column_separator(table, "  ");
    if (options->width) {
        scols_table_set_termforce(table, SCOLS_TERMFORCE_ALWAYS);
        scols_table_set_termwidth(table, options->width);
    } else {
        scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
    }
    return table;
}

/* libsmartcols prints nothing at all for a table without lines. */
static void print_header_alone(struct libscols_table *table, FILE *to)
{
    for (size_t i = 0; i < scols_table_get_ncols(table); i++)
        fprintf(to, "%s%s", i ? "  " : "", scols_column_get_name(scols_table_get_column(table, i)));
    fputc('\n', to);
}

static enum ks_status table_finish(struct libscols_table *table, FILE *to, struct ks_error *err)
{
    if (scols_table_get_nlines(table) == 0) {
        if (!scols_table_is_noheadings(table))
            print_header_alone(table, to);
        return KS_OK;
    }
    scols_table_set_stream(table, to);
    return scols_print_table(table) == 0 ? KS_OK : fail_memory(err);
}

/* Numbers are read from their right end. */
static int column_flags(const json_t *value)
{
    return json_is_number(value) ? SCOLS_FL_RIGHT : SCOLS_FL_TRUNC;
}

/* ---- a list of objects ---- */

/* columns: title -> {"path": [names], "sample": value}, in the order of first appearance. */
struct column_set {
    json_t *columns;
    json_t *path; /* of the object looked at: the names that lead there */
};

static bool column_add(struct column_set *set, const char *name, json_t *member)
{
    size_t depth = json_array_size(set->path);
    /* The short name if it is free or means the same path, else the long one. */
    const json_t *taken = json_object_get(set->columns, name);
    bool is_other = taken && !json_equal(json_object_get(taken, "path"), set->path);
    const char *parent = depth > 1 ? json_string_value(json_array_get(set->path, depth - 2)) : "";
    char long_name[160];
    snprintf(long_name, sizeof long_name, "%s.%s", parent, name);
    const char *title = is_other ? long_name : name;
    if (json_object_get(set->columns, title))
        return true;
    json_t *column = json_pack("{s:o, s:O}", "path", json_copy(set->path), "sample", member);
    return json_object_set_new(set->columns, title, column) == 0;
}

static bool columns_collect(struct column_set *set, json_t *object)
{
    const char *name;
    json_t *member;
    bool is_fine = true;
    json_object_foreach(object, name, member)
    {
        if (json_is_array(member) && json_array_size(member) == 0)
            continue; /* nothing to show */
        is_fine = is_fine && json_array_append_new(set->path, json_string(name)) == 0;
        if (is_fine)
            is_fine = json_is_object(member) ? columns_collect(set, member)
                                             : column_add(set, name, member);
        if (is_fine)
            is_fine = json_array_remove(set->path, json_array_size(set->path) - 1) == 0;
    }
    return is_fine;
}

static const json_t *member_at(json_t *object, json_t *path)
{
    json_t *value = object;
    size_t index;
    json_t *name;
    json_array_foreach(path, index, name) value = json_object_get(value, json_string_value(name));
    return value;
}

static enum ks_status print_objects(json_t *array, json_t *columns,
    const struct ctl_table_options *options, FILE *to, struct ks_error *err)
{
    KS_CLEANUP(scols_unref_tablep) struct libscols_table *table = table_new(options);
    if (!table)
        return fail_memory(err);
    const char *title;
    json_t *column;
    json_object_foreach(columns, title,
        column) if (!scols_table_new_column(table, title, 0,
                        column_flags(json_object_get(column, "sample")))) return fail_memory(err);
    size_t index;
    json_t *object;
    json_array_foreach(array, index, object)
    {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        if (!line)
            return fail_memory(err);
        size_t at = 0;
        json_object_foreach(columns, title, column)
        {
            const json_t *value = member_at(object, json_object_get(column, "path"));
            char cell[CELL_BYTES];
            if (scols_line_set_data(line, at++, value ? cell_text(title, value, cell) : ""))
                return fail_memory(err);
        }
    }
    return table_finish(table, to, err);
}

/* ---- a list of plain values, an object ---- */

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

static enum ks_status print_plain(
    json_t *array, const struct ctl_table_options *options, FILE *to, struct ks_error *err)
{
    KS_CLEANUP(scols_unref_tablep) struct libscols_table *table = table_new(options);
    char name[CELL_BYTES];
    singular(options->title[0] ? options->title : "Values", name, sizeof name);
    if (!table || !scols_table_new_column(table, name, 0, column_flags(json_array_get(array, 0))))
        return fail_memory(err);
    size_t index;
    json_t *value;
    json_array_foreach(array, index, value)
    {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        char cell[CELL_BYTES];
        if (!line || scols_line_set_data(line, 0, cell_text(options->title, value, cell)))
            return fail_memory(err);
    }
    return table_finish(table, to, err);
}

/* The columns of a list of objects; NULL without memory. */
static json_t *columns_of(json_t *array)
{
    struct column_set set = {.columns = json_object(), .path = json_array()};
    bool is_fine = set.columns && set.path;
    for (size_t i = 0; is_fine && i < json_array_size(array); i++)
        is_fine = columns_collect(&set, json_array_get(array, i));
    json_decref(set.path);
    if (is_fine)
        return set.columns;
    json_decref(set.columns);
    return NULL;
}

static bool has_object(json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (json_is_object(json_array_get(array, i)))
            return true;
    return false;
}

/* has_gap: a line between this table and the one before, if this one shows anything. */
static enum ks_status print_array(json_t *array, const struct ctl_table_options *options,
    bool has_gap, FILE *to, struct ks_error *err)
{
    json_t *columns = has_object(array) ? columns_of(array) : json_null();
    enum ks_status st = KS_OK;
    bool is_empty = json_is_object(columns) && json_object_size(columns) == 0;
    if (!columns)
        st = fail_memory(err);
    if (has_gap && !is_empty)
        fputc('\n', to);
    if (json_is_null(columns))
        st = print_plain(array, options, to, err);
    else if (!st && !is_empty)
        st = print_objects(array, columns, options, to, err);
    json_decref(columns);
    return st;
}

/* The plain members, those of inner objects included, as lines of name and value. */
static bool add_members(struct libscols_table *table, json_t *object, size_t *lines)
{
    const char *name;
    json_t *member;
    json_object_foreach(object, name, member)
    {
        if (json_is_object(member)) {
            if (!add_members(table, member, lines))
                return false;
            continue;
        }
        if (json_is_array(member) && json_array_size(member) > 0)
            continue;
        struct libscols_line *line = scols_table_new_line(table, NULL);
        char cell[CELL_BYTES];
        const char *text = json_is_array(member) ? "" : cell_text(name, member, cell);
        if (!line || scols_line_set_data(line, 0, name) || scols_line_set_data(line, 1, text))
            return false;
        (*lines)++;
    }
    return true;
}

static enum ks_status print_object(
    json_t *object, const struct ctl_table_options *options, FILE *to, struct ks_error *err)
{
    KS_CLEANUP(scols_unref_tablep) struct libscols_table *table = table_new(options);
    size_t lines = 0;
    if (!table || !scols_table_new_column(table, "Field", 0, 0) ||
        !scols_table_new_column(table, "Value", 0, SCOLS_FL_TRUNC) ||
        !add_members(table, object, &lines))
        return fail_memory(err);
    if (lines > 0) {
        enum ks_status st = table_finish(table, to, err);
        if (st)
            return st;
    }
    const char *name;
    json_t *member;
    json_object_foreach(object, name, member)
    {
        if (!json_is_array(member) || json_array_size(member) == 0)
            continue;
        struct ctl_table_options inner = *options;
        inner.title = name;
        enum ks_status st = print_array(member, &inner, lines++ > 0, to, err);
        if (st)
            return st;
    }
    return KS_OK;
}

enum ks_status ctl_table_print(
    json_t *value, const struct ctl_table_options *options, FILE *to, struct ks_error *err)
{
    while (json_is_object(value) && json_object_size(value) == 1) {
        json_t *only = json_object_iter_value(json_object_iter(value));
        if (!json_is_object(only))
            break;
        value = only;
    }
    if (json_is_object(value))
        return print_object(value, options, to, err);
    if (json_is_array(value))
        return print_array(value, options, false, to, err);
    json_t *one = json_pack("[O]", value);
    if (!one)
        return fail_memory(err);
    enum ks_status st = print_plain(one, options, to, err);
    json_decref(one);
    return st;
}
