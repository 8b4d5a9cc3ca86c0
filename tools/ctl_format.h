/* The --format of tail: what one record is printed as. */
#ifndef KS_TOOLS_CTL_FORMAT_H
#define KS_TOOLS_CTL_FORMAT_H

#include "base/bytes.h"
#include "base/status.h"

#include <stdio.h>

struct ctl_format_fields {
    struct ks_view data;
    struct ks_view key;
    uint64_t arrival_unix_ms;
    const char *sequence_number; /* may be "" when the format has no %s */
    const char *shard_id;
};

/* Errors: KS_USAGE an unknown % or backslash. */
enum ks_status ctl_format_check(const char *format, struct ks_error *err) KS_MUST_USE;
/* Whether a checked format has this % letter. */
bool ctl_format_has(const char *format, char letter);
/* A checked format. Errors show in ferror(to). */
void ctl_format_print(const char *format, const struct ctl_format_fields *fields, FILE *to);

#endif
