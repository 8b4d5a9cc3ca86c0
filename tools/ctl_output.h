/*
 * One JSON value, printed in every way there is. JSON is the truth, ndjson one value a line; a
 * table is for people (local times, no brackets); csv is the same grid for programs; text is
 * tab-separated as the aws CLI writes it. Threads: plain functions.
 */
#ifndef KS_TOOLS_CTL_OUTPUT_H
#define KS_TOOLS_CTL_OUTPUT_H

#include "tools/ctl_rows.h"

#include <stdio.h>

enum ctl_output_format {
    CTL_OUTPUT_TABLE,
    CTL_OUTPUT_JSON,
    CTL_OUTPUT_TEXT,
    CTL_OUTPUT_NDJSON,
    CTL_OUTPUT_CSV,
    CTL_OUTPUT_NONE
};

struct ctl_output {
    enum ctl_output_format format;
    bool is_chosen; /* named by --output, not the default */
    bool no_header;
    bool has_color;
    const char *columns;      /* --columns; NULL: all */
    const char *sort_by;      /* --sort-by; NULL: as they are */
    const struct jmes *query; /* NULL: none */
    size_t width;             /* columns of the terminal, for tables; 0: any */
};

/* "table", "json"... Errors: KS_USAGE. */
enum ks_status ctl_output_format_from_text(
    const char *text, enum ctl_output_format *out_format, struct ks_error *err) KS_MUST_USE;
/* --columns and --sort-by need a format with columns. Errors: KS_USAGE. */
enum ks_status ctl_output_check(const struct ctl_output *output, struct ks_error *err) KS_MUST_USE;

/* Whether of a result with a list only that list is shown. */
bool ctl_output_shows_list(const struct ctl_output *output);

/*
 * Applies the query and prints. list_member: the member that is the list asked for ("Shards"), of
 * which tables and lines are made when there is no query; NULL: there is none. The value's strings
 * under names that end in "Timestamp" or "_time" are RFC 3339 in UTC.
 * Errors: KS_INVALID the query fails on the value; KS_USAGE no such column; KS_NO_MEMORY; KS_IO,
 * with errnum EPIPE when the reader has gone.
 */
enum ks_status ctl_output_print(const struct ctl_output *output, json_t *value,
    const char *list_member, FILE *to, struct ks_error *err) KS_MUST_USE;

#endif
