/*
 * The short form in which the aws CLI takes structures: `Type=AT_TIMESTAMP,Timestamp=-2h`,
 * `Data='a, b',PartitionKey=k`, lists as `a=b,c` or `a=[b,c]`, maps as `a={b=c}`. All values are
 * texts. Threads: a plain function.
 */
#ifndef KS_TOOLS_CTL_SHORTHAND_H
#define KS_TOOLS_CTL_SHORTHAND_H

#include "base/bytes.h"
#include "base/status.h"

#include <jansson.h>

#define CTL_SHORTHAND_NESTING_MAX 16

/* An object. Errors: KS_USAGE with the place of the mistake; KS_NO_MEMORY. */
enum ks_status ctl_shorthand_parse(
    const char *text, json_t **out, struct ks_error *err) KS_MUST_USE;

#endif
