#include "tools/ctl_items.h"

#include "base/alloc.h"
#include "proto/limits.h"
#include "tools/ctl_cell.h"
#include "tools/ctl_csv.h"
#include "tools/ctl_json.h"
#include "tools/ctl_text.h"

#define CELL_BYTES_MAX (4 * (size_t)KS_FRAME_BYTES_MAX)
/* A longer cell stands out of its column. */
#define WIDTH_MAX 40

void ctl_items_init(struct ctl_items *items, const struct ctl_output *output, FILE *to)
{
    *items = (struct ctl_items){.output = output, .to = to};
}

void ctl_items_fini(struct ctl_items *items)
{
    ctl_rows_close(items->rows);
    ks_free(items->widths);
}

static enum ks_status fail_memory(struct ks_error *err)
{
    return ks_fail(err, KS_NO_MEMORY, 0, "no memory to print the result");
}

/* ---- a table whose rows are not known yet: as wide as the widest so far ---- */

/* Characters that a terminal shows as such; the rest is escaped. Returns how many it shows. */
static size_t print_readable(FILE *to, struct ks_view text)
{
    size_t shown = ks_view_utf8_characters(text);
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            shown += (size_t)fprintf(to, "\\x%02x", text.data[i]) - 1;
        else
            fputc(text.data[i], to);
    }
    return shown;
}

/* The last cell of a row is not filled up. */
static void print_padded(struct ctl_items *items, size_t column, struct ks_view text)
{
    size_t characters = print_readable(items->to, text);
    /* What is printed is printed, but the rows that follow line up with this one. */
    items->widths[column] = KS_MAX(items->widths[column], KS_MIN(characters, (size_t)WIDTH_MAX));
    if (column + 1 == ctl_rows_column_count(items->rows))
        fputc('\n', items->to);
    else
        fprintf(items->to, "%*s",
            (int)(items->widths[column] > characters ? items->widths[column] - characters : 0) + 2,
            "");
}

static bool print_table_row(struct ctl_items *items, size_t row, bool is_measuring)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, CELL_BYTES_MAX);
    for (size_t i = 0; i < ctl_rows_column_count(items->rows); i++) {
        text.bytes = 0;
        if (!ctl_cell_for_people(
                &text, ctl_rows_title(items->rows, i), ctl_rows_cell(items->rows, row, i)))
            return false;
        struct ks_view view = ks_view_of(text.data, text.bytes);
        if (is_measuring)
            items->widths[i] = KS_MAX(strlen(ctl_rows_title(items->rows, i)),
                KS_MIN(ks_view_utf8_characters(view), (size_t)WIDTH_MAX));
        else
            print_padded(items, i, view);
    }
    return true;
}

static enum ks_status begin_table(struct ctl_items *items, struct ks_error *err)
{
    size_t columns = ctl_rows_column_count(items->rows);
    items->widths = ks_calloc(columns + 1, sizeof *items->widths);
    if (!items->widths || !print_table_row(items, 0, true))
        return fail_memory(err);
    bool has_header = !items->output->no_header && ctl_rows_have_titles(items->rows);
    for (size_t i = 0; has_header && i < columns; i++)
        print_padded(items, i, ks_view_of_text(ctl_rows_title(items->rows, i)));
    return KS_OK;
}

/* ---- grids ---- */

static enum ks_status begin_grid(struct ctl_items *items, json_t *list, struct ks_error *err)
{
    const struct ctl_output *output = items->output;
    struct ctl_rows_options options = {
        .title = output->query ? jmes_title(output->query) : "", .query = output->query};
    enum ks_status st = ctl_rows_open(list, &options, &items->rows, err);
    if (!st && output->columns)
        st = ctl_rows_select(items->rows, output->columns, err);
    if (st)
        return st;
    if (output->format == CTL_OUTPUT_TABLE)
        return begin_table(items, err);
    if (output->format == CTL_OUTPUT_CSV && !output->no_header)
        ctl_csv_print_header(items->rows, items->to);
    return KS_OK;
}

static enum ks_status print_grid(struct ctl_items *items, json_t *list, struct ks_error *err)
{
    enum ks_status st =
        items->rows ? ctl_rows_replace(items->rows, list, err) : begin_grid(items, list, err);
    if (st)
        return st;
    if (items->output->format == CTL_OUTPUT_CSV)
        return ctl_csv_print_rows(items->rows, items->to, err);
    if (items->output->format == CTL_OUTPUT_TEXT)
        return ctl_text_print_rows(items->rows, items->to, err);
    for (size_t row = 0; row < ctl_rows_count(items->rows); row++)
        if (!print_table_row(items, row, false))
            return fail_memory(err);
    return KS_OK;
}

static enum ks_status print_item(struct ctl_items *items, json_t *value, struct ks_error *err)
{
    switch (items->output->format) {
    case CTL_OUTPUT_NONE:
        return KS_OK;
    case CTL_OUTPUT_JSON:
    case CTL_OUTPUT_NDJSON:
        if (ctl_json_print(items->to, value, JSON_COMPACT))
            fputc('\n', items->to);
        return KS_OK;
    case CTL_OUTPUT_TEXT:
        if (!items->output->columns)
            return ctl_text_print(value, items->to, err);
        break;
    case CTL_OUTPUT_TABLE:
    case CTL_OUTPUT_CSV:
        break;
    }
    json_t *list = json_pack("[O]", value);
    enum ks_status st = list ? print_grid(items, list, err) : fail_memory(err);
    json_decref(list);
    return st;
}

enum ks_status ctl_items_print(struct ctl_items *items, json_t *value, struct ks_error *err)
{
    if (!items->output->query)
        return print_item(items, value, err);
    json_t *picked = NULL;
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = jmes_search(items->output->query, value, 0, &picked, &inner);
    if (st)
        return ks_fail(err, st, 0, "--query: %s", inner.text);
    st = print_item(items, picked, err);
    json_decref(picked);
    return st;
}
