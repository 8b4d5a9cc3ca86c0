/*
 * Text with tabs as the aws CLI writes it: plain members of an object on a line, sorted by name,
 * what is inside it on lines of its own behind the name in capitals. Threads: plain functions.
 */
#ifndef KS_TOOLS_CTL_TEXT_H
#define KS_TOOLS_CTL_TEXT_H

#include "tools/ctl_rows.h"

#include <stdio.h>

/* Errors: KS_NO_MEMORY. Whether writing worked is for the caller to ask the stream. */
enum ks_status ctl_text_print(json_t *value, FILE *to, struct ks_error *err) KS_MUST_USE;
/* With chosen columns: a line per row, without titles. */
enum ks_status ctl_text_print_rows(
    const struct ctl_rows *rows, FILE *to, struct ks_error *err) KS_MUST_USE;

#endif
