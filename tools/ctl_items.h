/* Values printed one by one, as they come: what ctl_output does for one. Threads: one owner. */
#ifndef KS_TOOLS_CTL_ITEMS_H
#define KS_TOOLS_CTL_ITEMS_H

#include "tools/ctl_output.h"

/* The columns are those of the first; a table becomes wider as its rows need it. */
struct ctl_items {
    const struct ctl_output *output;
    FILE *to;
    struct ctl_rows *rows; /* the columns, for tables and CSV; NULL before the first item */
    size_t *widths;        /* of a table's columns */
};

void ctl_items_init(struct ctl_items *items, const struct ctl_output *output, FILE *to);
void ctl_items_fini(struct ctl_items *items);
/*
 * Applies the query and prints a line, or several. Errors: those of ctl_output_print but KS_IO,
 * which the caller finds when it flushes.
 */
enum ks_status ctl_items_print(
    struct ctl_items *items, json_t *value, struct ks_error *err) KS_MUST_USE;

#endif
