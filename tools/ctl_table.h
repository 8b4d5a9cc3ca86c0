/* Tables for people, through libsmartcols. Threads: plain functions. */
#ifndef KS_TOOLS_CTL_TABLE_H
#define KS_TOOLS_CTL_TABLE_H

#include "tools/ctl_rows.h"

#include <stdio.h>

struct ctl_table_options {
    const struct ctl_rows_options *rows; /* for what has to be made rows first */
    bool no_header;
    bool has_color; /* titles are bold, a status has its colour */
    size_t width;   /* columns of the terminal: longer cells go on in its next line; 0: any */
};

enum ks_status ctl_table_print_rows(const struct ctl_rows *rows,
    const struct ctl_table_options *options, FILE *to, struct ks_error *err) KS_MUST_USE;

/*
 * A list: its rows. An object: its plain members as a line each, then its lists as tables of their
 * own; an object that holds only one other is that one. Errors: KS_NO_MEMORY.
 */
enum ks_status ctl_table_print(json_t *value, const struct ctl_table_options *options, FILE *to,
    struct ks_error *err) KS_MUST_USE;

#endif
