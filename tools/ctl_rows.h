/*
 * A list as a grid: columns with titles, rows with a value in each cell. What tables, CSV and text
 * with --columns are printed from.
 *
 * A list of objects has a column per plain member, those of inner objects included. A list of lists
 * has a column per position, titled by the query's multi-select list. A list of anything else has
 * one column. Threads: one owner.
 */
#ifndef KS_TOOLS_CTL_ROWS_H
#define KS_TOOLS_CTL_ROWS_H

#include "tools/jmes.h"

struct ctl_rows; /* opaque */

struct ctl_rows_options {
    const char *title;        /* of a single column, in the plural; "" for none */
    const struct jmes *query; /* that made the list; NULL: none */
    bool wants_empty;         /* also columns that hold nothing but empty lists */
};

/* list is kept by reference; the caller owns *out. Errors: KS_NO_MEMORY. */
enum ks_status ctl_rows_open(json_t *list, const struct ctl_rows_options *options,
    struct ctl_rows **out, struct ks_error *err) KS_MUST_USE;
void ctl_rows_close(struct ctl_rows *rows); /* NULL is fine */
KS_DEFINE_CLEANUP(struct ctl_rows, ctl_rows_close)
/* The same columns, other rows in the order of the list. Errors: KS_NO_MEMORY. */
enum ks_status ctl_rows_replace(
    struct ctl_rows *rows, json_t *list, struct ks_error *err) KS_MUST_USE;

size_t ctl_rows_count(const struct ctl_rows *rows);
size_t ctl_rows_column_count(const struct ctl_rows *rows);
bool ctl_rows_have_titles(const struct ctl_rows *rows);
const char *ctl_rows_title(const struct ctl_rows *rows, size_t column); /* "" for none */
/* Borrowed; NULL: there is nothing. */
json_t *ctl_rows_cell(const struct ctl_rows *rows, size_t row, size_t column);

/*
 * Only these columns, in this order: titles with commas between them, in any case of letters, or
 * numbers from 1 on. Errors: KS_USAGE no such column, KS_NO_MEMORY.
 */
enum ks_status ctl_rows_select(
    struct ctl_rows *rows, const char *titles, struct ks_error *err) KS_MUST_USE;
/*
 * In the order of a column, '-' before its title for the other way round. Numbers, also those in
 * texts, by value; nothing comes last. Rows that are alike stay as they were. Errors: KS_USAGE.
 */
enum ks_status ctl_rows_sort(
    struct ctl_rows *rows, const char *title, struct ks_error *err) KS_MUST_USE;

#endif
