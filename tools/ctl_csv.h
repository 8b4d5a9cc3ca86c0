/* Rows as CSV (RFC 4180, but lines end as everywhere on Unix). Threads: plain functions. */
#ifndef KS_TOOLS_CTL_CSV_H
#define KS_TOOLS_CTL_CSV_H

#include "tools/ctl_rows.h"

#include <stdio.h>

/* The titles, if there are any. */
void ctl_csv_print_header(const struct ctl_rows *rows, FILE *to);
/* Errors: KS_NO_MEMORY. */
enum ks_status ctl_csv_print_rows(
    const struct ctl_rows *rows, FILE *to, struct ks_error *err) KS_MUST_USE;

#endif
