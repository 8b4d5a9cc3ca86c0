/*
 * One JSON value, four ways to print it. JSON is the truth; a table is for people (local times, no
 * brackets); text is tab-separated as the aws CLI writes it.
 */
#ifndef KS_TOOLS_CTL_OUTPUT_H
#define KS_TOOLS_CTL_OUTPUT_H

#include "tools/jmes.h"

#include <stdio.h>

enum ctl_output_format { CTL_OUTPUT_TABLE, CTL_OUTPUT_JSON, CTL_OUTPUT_TEXT, CTL_OUTPUT_NONE };

struct ctl_output {
    enum ctl_output_format format;
    bool is_chosen; /* named by --output, not the default */
    bool no_header;
    const struct jmes *query; /* NULL: none */
    size_t width;             /* columns of the terminal a table must fit; 0: any */
};

/* "table", "json", "text", "none". Errors: KS_USAGE. */
enum ks_status ctl_output_format_from_text(
    const char *text, enum ctl_output_format *out_format, struct ks_error *err) KS_MUST_USE;

/*
 * Applies the query and prints. table_member: the member that a table shows when there is no query
 * ("StreamSummaries"), NULL for the whole result. The value's strings under names that end in
 * "Timestamp" or "_time" are RFC 3339 in UTC. Errors: KS_INVALID the query fails on the value;
 * KS_NO_MEMORY; KS_IO, with errnum EPIPE when the reader has gone.
 */
enum ks_status ctl_output_print(const struct ctl_output *output, json_t *value,
    const char *table_member, FILE *to, struct ks_error *err) KS_MUST_USE;

#endif
