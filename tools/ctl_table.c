#include "tools/ctl_table.h"

#include "base/alloc.h"
#include "proto/limits.h"
#include "tools/ctl_cell.h"

#include <libsmartcols.h>
#include <string.h>

#define CELL_BYTES_MAX (4 * (size_t)KS_FRAME_BYTES_MAX)
#define COLOR_TITLE "bold"
#define GAP 2 /* columns of the terminal between two of the table */
/* Ids, times and names up to this stay in one piece as long as that leaves room for the others. */
#define WHOLE_WIDTH_MAX 32
#define CELL_WIDTH_MIN 12

KS_DEFINE_CLEANUP(struct libscols_table, scols_unref_table)

static enum ks_status fail_memory(struct ks_error *err)
{
    KS_IGNORE(ks_fail(err, KS_NO_MEMORY, 0, "cannot make a table"), "only fills err");
    return KS_NO_MEMORY;
}

/* libsmartcols shortens nothing: what a terminal needs, table_fit does. */
static void table_set_up(struct libscols_table *table, bool no_header, bool has_color)
{
    scols_table_enable_noheadings(table, no_header);
    scols_table_enable_colors(table, has_color);
    scols_table_set_column_separator(table, "  ");
    scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
}

static struct libscols_table *table_new(const struct ctl_table_options *options, bool no_header)
{
    struct libscols_table *table = scols_new_table();
    if (table)
        table_set_up(table, no_header, options->has_color);
    return table;
}

/* Numbers are read from their right end. */
static bool column_add(struct libscols_table *table, const char *title, const json_t *sample)
{
    int flags = json_is_number(sample) ? SCOLS_FL_RIGHT : 0;
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

/* ---- a terminal that is too narrow ---- */

struct fit {
    size_t natural;   /* what its widest cell needs */
    size_t width;     /* what it gets */
    const char *rest; /* of a cell that goes on */
};

/* As libsmartcols shows it: bytes that are no printable ASCII become "\\xNN". */
static size_t shown_width(const char *text)
{
    size_t width = 0;
    for (; text && *text; text++)
        width += *text >= ' ' && *text < 0x7f ? 1 : 4;
    return width;
}

static struct fit column_fit(struct libscols_table *table, size_t column)
{
    size_t title = shown_width(scols_column_get_name(scols_table_get_column(table, column)));
    struct fit fit = {.natural = title};
    for (size_t i = 0; i < scols_table_get_nlines(table); i++) {
        struct libscols_cell *cell = scols_line_get_cell(scols_table_get_line(table, i), column);
        fit.natural = KS_MAX(fit.natural, shown_width(scols_cell_get_data(cell)));
    }
    fit.width =
        fit.natural <= WHOLE_WIDTH_MAX ? fit.natural : KS_MAX(title, (size_t)CELL_WIDTH_MIN);
    return fit;
}

/* The rest of the width, always to the narrowest that could use more. */
static void fits_widen(struct fit *fits, size_t count, size_t rest)
{
    for (; rest > 0; rest--) {
        struct fit *narrowest = NULL;
        for (size_t i = 0; i < count; i++)
            if (fits[i].width < fits[i].natural && (!narrowest || fits[i].width < narrowest->width))
                narrowest = &fits[i];
        if (!narrowest)
            return;
        narrowest->width++;
    }
}

/* How much of the text goes into one line: up to a blank, if there is one. Never splits a
 * character. */
static size_t piece_bytes(const char *text, size_t width)
{
    size_t bytes = 0;
    size_t behind_blank = 0;
    while (text[bytes]) {
        size_t next = bytes + 1;
        while (((unsigned char)text[next] & 0xc0) == 0x80)
            next++;
        size_t shown = next - bytes == 1 ? 1 : 4 * (next - bytes);
        if (shown > width && bytes > 0)
            return behind_blank ? behind_blank : bytes;
        width -= KS_MIN(width, shown);
        behind_blank = text[bytes] == ' ' ? next : behind_blank;
        bytes = next;
    }
    return bytes;
}

/* A line whose cells go on in the lines below it. */
static bool wrap_line(struct libscols_table *to, struct libscols_line *from, struct fit *fits)
{
    size_t count = scols_table_get_ncols(to);
    bool has_more = true;
    for (size_t i = 0; i < count; i++) {
        const char *text = scols_cell_get_data(scols_line_get_cell(from, i));
        fits[i].rest = text ? text : "";
    }
    while (has_more) {
        struct libscols_line *line = scols_table_new_line(to, NULL);
        has_more = false;
        for (size_t i = 0; i < count; i++) {
            size_t bytes = piece_bytes(fits[i].rest, fits[i].width);
            KS_CLEANUP(ks_buf_fini) struct ks_buf piece;
            ks_buf_init(&piece, CELL_BYTES_MAX);
            const char *color = scols_cell_get_color(scols_line_get_cell(from, i));
            if (!line || !ks_buf_append(&piece, fits[i].rest, bytes) ||
                !ks_buf_append(&piece, "", 1) ||
                scols_line_set_data(line, i, (const char *)piece.data) != 0 ||
                (color && scols_cell_set_color(scols_line_get_cell(line, i), color) != 0))
                return false;
            fits[i].rest += bytes;
            has_more |= *fits[i].rest != '\0';
        }
    }
    return true;
}

static struct libscols_table *table_wrap(struct libscols_table *table, struct fit *fits)
{
    KS_CLEANUP(scols_unref_tablep) struct libscols_table *narrow = scols_new_table();
    if (!narrow)
        return NULL;
    table_set_up(narrow, scols_table_is_noheadings(table), scols_table_colors_wanted(table));
    for (size_t i = 0; i < scols_table_get_ncols(table); i++) {
        struct libscols_column *column = scols_copy_column(scols_table_get_column(table, i));
        bool is_added = column && scols_table_add_column(narrow, column) == 0;
        scols_unref_column(column);
        if (!is_added)
            return NULL;
    }
    for (size_t i = 0; i < scols_table_get_nlines(table); i++)
        if (!wrap_line(narrow, scols_table_get_line(table, i), fits))
            return NULL;
    return KS_TAKE(narrow);
}

/*
 * What is printed in place of the table on a terminal of this width: long cells go on in lines of
 * their own. Nothing is ever cut: a number that has lost digits is still a number. A table of too
 * many columns stays wider than the terminal. NULL: out of memory.
 */
static struct libscols_table *table_fit(struct libscols_table *table, size_t width)
{
    size_t count = scols_table_get_ncols(table);
    size_t natural = (count - 1) * GAP;
    size_t needed = natural;
    KS_AUTO_FREE struct fit *fits = ks_calloc(count + 1, sizeof *fits);
    if (!fits)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        fits[i] = column_fit(table, i);
        natural += fits[i].natural;
        needed += fits[i].width;
    }
    if (natural <= width || needed > width) {
        scols_ref_table(table);
        return table;
    }
    fits_widen(fits, count, width - needed);
    return table_wrap(table, fits);
}

/* libsmartcols prints nothing at all for a table without lines. */
static void print_header_alone(struct libscols_table *table, FILE *to)
{
    for (size_t i = 0; i < scols_table_get_ncols(table); i++)
        fprintf(to, "%s%s", i ? "  " : "", scols_column_get_name(scols_table_get_column(table, i)));
    fputc('\n', to);
}

static enum ks_status print_wide(struct libscols_table *table, FILE *to, struct ks_error *err)
{
    scols_table_set_stream(table, to);
    return scols_print_table(table) == 0 ? KS_OK : fail_memory(err);
}

static enum ks_status table_finish(struct libscols_table *table,
    const struct ctl_table_options *options, FILE *to, struct ks_error *err)
{
    if (scols_table_get_nlines(table) == 0) {
        if (!scols_table_is_noheadings(table))
            print_header_alone(table, to);
        return KS_OK;
    }
    if (options->width == 0)
        return print_wide(table, to, err);
    KS_CLEANUP(scols_unref_tablep)
    struct libscols_table *fitting = table_fit(table, options->width);
    return fitting ? print_wide(fitting, to, err) : fail_memory(err);
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
    return table_finish(table, options, to, err);
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
    enum ks_status st = has_lines ? table_finish(table, options, to, err) : KS_OK;
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
