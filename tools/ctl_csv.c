#include "tools/ctl_csv.h"

#include "proto/limits.h"
#include "tools/ctl_cell.h"

#define CELL_BYTES_MAX (4 * (size_t)KS_FRAME_BYTES_MAX)

/* Quotes what a reader would take apart: separators, quotes, ends of lines, blanks at the ends. */
static void print_field(FILE *to, struct ks_view field, bool is_alone)
{
    bool needs_quotes = false;
    for (size_t i = 0; i < field.bytes; i++)
        needs_quotes = needs_quotes || strchr(",\"\r\n", field.data[i]);
    if (field.bytes > 0)
        needs_quotes = needs_quotes || field.data[0] == ' ' || field.data[field.bytes - 1] == ' ';
    if (is_alone && field.bytes == 0)
        needs_quotes = true; /* an empty line would be no row */
    if (!needs_quotes) {
        if (field.bytes > 0)
            fwrite(field.data, 1, field.bytes, to);
        return;
    }
    fputc('"', to);
    for (size_t i = 0; i < field.bytes; i++) {
        if (field.data[i] == '"')
            fputc('"', to);
        fputc(field.data[i], to);
    }
    fputc('"', to);
}

void ctl_csv_print_header(const struct ctl_rows *rows, FILE *to)
{
    if (!ctl_rows_have_titles(rows))
        return;
    for (size_t i = 0; i < ctl_rows_column_count(rows); i++) {
        if (i > 0)
            fputc(',', to);
        print_field(to, ks_view_of_text(ctl_rows_title(rows, i)), false);
    }
    fputc('\n', to);
}

enum ks_status ctl_csv_print_rows(const struct ctl_rows *rows, FILE *to, struct ks_error *err)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, CELL_BYTES_MAX);
    for (size_t row = 0; row < ctl_rows_count(rows); row++) {
        for (size_t i = 0; i < ctl_rows_column_count(rows); i++) {
            text.bytes = 0;
            if (!ctl_cell_for_programs(&text, ctl_rows_cell(rows, row, i)))
                return ks_fail(err, KS_NO_MEMORY, 0, "no memory to print the result");
            if (i > 0)
                fputc(',', to);
            print_field(to, ks_view_of(text.data, text.bytes), ctl_rows_column_count(rows) == 1);
        }
        fputc('\n', to);
    }
    return KS_OK;
}
