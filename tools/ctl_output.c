#include "tools/ctl_output.h"

#include "tools/ctl_csv.h"
#include "tools/ctl_json.h"
#include "tools/ctl_table.h"
#include "tools/ctl_text.h"

#include <errno.h>
#include <string.h>

enum ks_status ctl_output_format_from_text(
    const char *text, enum ctl_output_format *out_format, struct ks_error *err)
{
    static const char *const names[] = {
        [CTL_OUTPUT_TABLE] = "table",
        [CTL_OUTPUT_JSON] = "json",
        [CTL_OUTPUT_TEXT] = "text",
        [CTL_OUTPUT_NDJSON] = "ndjson",
        [CTL_OUTPUT_CSV] = "csv",
        [CTL_OUTPUT_NONE] = "none",
    };
    for (size_t i = 0; i < KS_COUNT_OF(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *out_format = (enum ctl_output_format)i;
            return KS_OK;
        }
    }
    return ks_fail(err, KS_USAGE, 0,
        "'--output %.40s': table, json, text, ndjson, csv or none is needed", text);
}

enum ks_status ctl_output_check(const struct ctl_output *output, struct ks_error *err)
{
    const char *option = output->columns ? "--columns" : "--sort-by";
    bool has_columns = output->format == CTL_OUTPUT_TABLE || output->format == CTL_OUTPUT_CSV ||
                       output->format == CTL_OUTPUT_TEXT || output->format == CTL_OUTPUT_NONE;
    if ((!output->columns && !output->sort_by) || has_columns)
        return KS_OK;
    return ks_fail(err, KS_USAGE, 0,
        "'%s' is for tables: add --output table, csv or text; for JSON there is --query", option);
}

/* ---- grids ---- */

static enum ks_status print_rows(
    const struct ctl_output *output, const struct ctl_rows *rows, FILE *to, struct ks_error *err)
{
    if (output->format == CTL_OUTPUT_TEXT)
        return ctl_text_print_rows(rows, to, err);
    if (output->format == CTL_OUTPUT_CSV) {
        if (!output->no_header)
            ctl_csv_print_header(rows, to);
        return ctl_csv_print_rows(rows, to, err);
    }
    struct ctl_table_options options = {
        .no_header = output->no_header, .has_color = output->has_color, .width = output->width};
    return ctl_table_print_rows(rows, &options, to, err);
}

/* The value as a grid: a list has a row per item, anything else is one row. */
static enum ks_status print_grid(const struct ctl_output *output, json_t *value, const char *title,
    FILE *to, struct ks_error *err)
{
    struct ctl_rows_options options = {
        .title = title, .query = output->query, .wants_empty = output->format == CTL_OUTPUT_CSV};
    json_t *list = json_is_array(value) ? json_incref(value) : json_pack("[O]", value);
    if (!list)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory to print the result");
    KS_CLEANUP(ctl_rows_closep) struct ctl_rows *rows = NULL;
    enum ks_status st = ctl_rows_open(list, &options, &rows, err);
    json_decref(list);
    if (!st && output->sort_by)
        st = ctl_rows_sort(rows, output->sort_by, err);
    if (!st && output->columns)
        st = ctl_rows_select(rows, output->columns, err);
    return st ? st : print_rows(output, rows, to, err);
}

/* ---- all of them ---- */

static void print_json(json_t *value, size_t flags, FILE *to)
{
    if (ctl_json_print(to, value, flags))
        fputc('\n', to);
}

/* A list has a line per item. */
static void print_lines(json_t *value, FILE *to)
{
    if (!json_is_array(value))
        print_json(value, JSON_COMPACT, to);
    for (size_t i = 0; i < json_array_size(value); i++)
        print_json(json_array_get(value, i), JSON_COMPACT, to);
}

static enum ks_status print_value(const struct ctl_output *output, json_t *value, const char *title,
    FILE *to, struct ks_error *err)
{
    bool is_grid = output->columns || output->sort_by;
    switch (output->format) {
    case CTL_OUTPUT_NONE:
        return KS_OK;
    case CTL_OUTPUT_JSON:
        print_json(value, JSON_INDENT(4), to);
        return KS_OK;
    case CTL_OUTPUT_NDJSON:
        print_lines(value, to);
        return KS_OK;
    case CTL_OUTPUT_CSV:
        return print_grid(output, value, title, to, err);
    case CTL_OUTPUT_TEXT:
        return is_grid ? print_grid(output, value, title, to, err) : ctl_text_print(value, to, err);
    case CTL_OUTPUT_TABLE:
        break;
    }
    if (is_grid)
        return print_grid(output, value, title, to, err);
    struct ctl_rows_options rows = {.title = title, .query = output->query};
    struct ctl_table_options options = {.rows = &rows,
        .no_header = output->no_header,
        .has_color = output->has_color,
        .width = output->width};
    return ctl_table_print(value, &options, to, err);
}

static enum ks_status pick(
    const struct ctl_output *output, json_t *value, json_t **out_picked, struct ks_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = jmes_search(output->query, value, 0, out_picked, &inner);
    return st ? ks_fail(err, st, 0, "--query: %s", inner.text) : KS_OK;
}

bool ctl_output_shows_list(const struct ctl_output *output)
{
    bool is_text = output->format == CTL_OUTPUT_TEXT && (output->columns || output->sort_by);
    return !output->query &&
           (output->format == CTL_OUTPUT_TABLE || output->format == CTL_OUTPUT_NDJSON ||
               output->format == CTL_OUTPUT_CSV || is_text);
}

enum ks_status ctl_output_print(const struct ctl_output *output, json_t *value,
    const char *list_member, FILE *to, struct ks_error *err)
{
    enum ks_status st = KS_OK;
    errno = 0;
    if (output->query) {
        json_t *picked = NULL;
        st = pick(output, value, &picked, err);
        if (!st)
            st = print_value(output, picked, jmes_title(output->query), to, err);
        json_decref(picked);
    } else {
        json_t *list = list_member ? json_object_get(value, list_member) : NULL;
        st = print_value(output, list && ctl_output_shows_list(output) ? list : value,
            list_member ? list_member : "", to, err);
    }
    if (!st && (fflush(to) != 0 || ferror(to)))
        st = ks_fail(err, KS_IO, errno, "cannot write the result");
    return st;
}
