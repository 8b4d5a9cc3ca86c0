/* JSON as tables for people, through libsmartcols. */
#ifndef KS_TOOLS_CTL_TABLE_H
#define KS_TOOLS_CTL_TABLE_H

#include "base/status.h"

#include <jansson.h>
#include <stdio.h>

struct ctl_table_options {
    const char *title; /* names the column of a list of plain values, in the plural; "" for none */
    bool no_header;
    size_t width; /* 0: any */
};

/*
 * A list of objects: a line each, inner objects spread over columns. A list of plain values: one
 * column headed by the title's singular. An object: its plain members as a line each, then its
 * lists as tables of their own; an object that holds only one other is that one.
 * Errors: KS_NO_MEMORY.
 */
enum ks_status ctl_table_print(json_t *value, const struct ctl_table_options *options, FILE *to,
    struct ks_error *err) KS_MUST_USE;

#endif
