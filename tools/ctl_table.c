#include "tools/ctl_table.h"

#include "proto/limits.h"
#include "tools/ctl_cell.h"

#include <libsmartcols.h>
#include <string.h>

#define CELL_BYTES_MAX (4 * (size_t)KS_FRAME_BYTES_MAX)
#define COLOR_TITLE "bold"

KS_DEFINE_CLEANUP(struct libscols_table, scols_unref_table)

static enum ks_status fail_memory(struct ks_error *err)
{
    KS_IGNORE(ks_fail(err, KS_NO_MEMORY, 0, "cannot make a table"), "only fills err");
    return KS_NO_MEMORY;
}

static struct libscols_table *table_new(const struct ctl_table_options *options, bool no_header)
{
    struct libscols_table *table = scols_new_table();
    if (!table)
        return NULL;
    scols_table_enable_noheadings(table, no_header);
    scols_table_enable_colors(table, options->has_color);
    scols_table_set_column_separator(table, "  ");
    if (options->width) {
        scols_table_set_termforce(table, SCOLS_TERMFORCE_ALWAYS);
        scols_table_set_termwidth(table, options->width);
    } else {
        scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
    }
    return table;
}

/* Numbers are read from their right end. */
static bool column_add(struct libscols_table *table, const char *title, const json_t *sample)
{
    int flags = json_is_number(sample) ? SCOLS_FL_RIGHT : SCOLS_FL_TRUNC;
    struct libscols_column *column = scols_table_new_column(table, title, 0, flags);
    return column && scols_cell_set_color(scols_column_get_header(column), COLOR_TITLE) == 0;
}

/* What a status is at a glance; NULL: no colour. */
static const char *status_color(const char *text)
{
    static const struct {
        const char *text;
        const char *color;
    } colors[] = {
        {"ACTIVE", "green"}, {"CREATING", "yellow"}, {"UPDATING", "yellow"}, {"DELETING", "red"}};
    for (size_t i = 0; i < KS_COUNT_OF(colors); i++)
        if (strcmp(colors[i].text, text) == 0)
            return colors[i].color;
    return NULL;
}

static bool cell_set(struct libscols_line *line, size_t column, const char *title, json_t *value)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, CELL_BYTES_MAX);
    if (!ctl_cell_for_people(&text, title, value) || !ks_buf_append(&text, "", 1))
        return false;
    const char *shown = (const char *)text.data;
    const char *color = status_color(shown);
    return scols_line_set_data(line, column, shown) == 0 &&
           (!color || scols_cell_set_color(scols_line_get_cell(line, column), color) == 0);
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

/* ---- rows ---- */

/* The first value of a column that is any. */
static const json_t *sample_of(const struct ctl_rows *rows, size_t column)
{
    for (size_t row = 0; row < ctl_rows_count(rows); row++) {
        const json_t *value = ctl_rows_cell(rows, row, column);
        if (value && !json_is_null(value))
            return value;
    }
    return NULL;
}

enum ks_status ctl_table_print_rows(const struct ctl_rows *rows,
    const struct ctl_table_options *options, FILE *to, struct ks_error *err)
{
    size_t columns = ctl_rows_column_count(rows);
    if (columns == 0)
        return KS_OK;
    KS_CLEANUP(scols_unref_tablep)
    struct libscols_table *table =
        table_new(options, options->no_header || !ctl_rows_have_titles(rows));
    if (!table)
        return fail_memory(err);
    for (size_t i = 0; i < columns; i++)
        if (!column_add(table, ctl_rows_title(rows, i), sample_of(rows, i)))
            return fail_memory(err);
    for (size_t row = 0; row < ctl_rows_count(rows); row++) {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        for (size_t i = 0; line && i < columns; i++)
            if (!cell_set(line, i, ctl_rows_title(rows, i), ctl_rows_cell(rows, row, i)))
                return fail_memory(err);
        if (!line)
            return fail_memory(err);
    }
    return table_finish(table, to, err);
}

/* ---- an object ---- */

/* How many plain members have this name, those of inner objects included. */
static size_t count_named(json_t *object, const char *name)
{
    size_t count = 0;
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        json_t *member = json_object_iter_value(at);
        if (json_is_object(member))
            count += count_named(member, name);
        else
            count += strcmp(json_object_iter_key(at), name) == 0;
    }
    return count;
}

static bool add_member(struct libscols_table *table, const char *outer, const char *name,
    bool is_unique, json_t *member)
{
    struct libscols_line *line = scols_table_new_line(table, NULL);
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, CELL_BYTES_MAX);
    if (!is_unique && outer && !ks_buf_printf(&text, "%s.", outer))
        return false;
    return line && ks_buf_printf(&text, "%s", name) && ks_buf_append(&text, "", 1) &&
           scols_line_set_data(line, 0, (const char *)text.data) == 0 &&
           cell_set(line, 1, name, member);
}

/*
 * The plain members, those of inner objects included, as lines of name and value. An inner one
 * whose name is not the only one of its kind is OUTER.NAME.
 */
static bool add_members(
    struct libscols_table *table, json_t *all, const char *outer, json_t *object)
{
    bool is_fine = true;
    for (void *at = json_object_iter(object); is_fine && at;
         at = json_object_iter_next(object, at)) {
        const char *name = json_object_iter_key(at);
        json_t *member = json_object_iter_value(at);
        if (json_is_object(member))
            is_fine = add_members(table, all, name, member);
        else if (!json_is_array(member) || json_array_size(member) == 0)
            is_fine = add_member(table, outer, name, count_named(all, name) == 1, member);
    }
    return is_fine;
}

/* has_gap: a line between this table and the one before, if this one shows anything. */
static enum ks_status print_list(json_t *list, const char *title, bool has_gap,
    const struct ctl_table_options *options, FILE *to, struct ks_error *err)
{
    struct ctl_rows_options rows_options = *options->rows;
    rows_options.title = title;
    KS_CLEANUP(ctl_rows_closep) struct ctl_rows *rows = NULL;
    enum ks_status st = ctl_rows_open(list, &rows_options, &rows, err);
    if (st)
        return st;
    if (has_gap && ctl_rows_column_count(rows) > 0)
        fputc('\n', to);
    return ctl_table_print_rows(rows, options, to, err);
}

static enum ks_status print_object(
    json_t *object, const struct ctl_table_options *options, FILE *to, struct ks_error *err)
{
    KS_CLEANUP(scols_unref_tablep)
    struct libscols_table *table = table_new(options, options->no_header);
    if (!table || !column_add(table, "Field", NULL) || !column_add(table, "Value", NULL) ||
        !add_members(table, object, NULL, object))
        return fail_memory(err);
    bool has_lines = scols_table_get_nlines(table) > 0;
    enum ks_status st = has_lines ? table_finish(table, to, err) : KS_OK;
    for (void *at = json_object_iter(object); !st && at; at = json_object_iter_next(object, at)) {
        json_t *member = json_object_iter_value(at);
        if (!json_is_array(member) || json_array_size(member) == 0)
            continue;
        st = print_list(member, json_object_iter_key(at), has_lines, options, to, err);
        has_lines = true;
    }
    return st;
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
        return print_list(value, options->rows->title, false, options, to, err);
    json_t *one = json_pack("[O]", value);
    enum ks_status st =
        one ? print_list(one, options->rows->title, false, options, to, err) : fail_memory(err);
    json_decref(one);
    return st;
}
