/*
 * --query: a part of a result, named by members and indexes ("Shards[0].ShardId"). This is the
 * plain part of JMESPath; everything else is refused, not misread.
 */
#ifndef KS_TOOLS_CTL_QUERY_H
#define KS_TOOLS_CTL_QUERY_H

#include "base/status.h"

#include <jansson.h>

#define CTL_QUERY_STEPS_MAX 16
#define CTL_QUERY_NAME_BYTES 64

struct ctl_query_step {
    bool is_index;
    long index;                      /* negative: from the end */
    char name[CTL_QUERY_NAME_BYTES]; /* "" for an index */
};

struct ctl_query {
    struct ctl_query_step steps[CTL_QUERY_STEPS_MAX]; /* none: the whole result ("@") */
    size_t step_count;
};

/* Errors: KS_USAGE. */
enum ks_status ctl_query_parse(
    const char *text, struct ctl_query *out_query, struct ks_error *err) KS_MUST_USE;
/* Borrowed from value; JSON null where the path leads nowhere. Never NULL. */
json_t *ctl_query_apply(const struct ctl_query *query, json_t *value);
/* The last member named, which heads a table: "ShardId"; "" for none. */
const char *ctl_query_last_name(const struct ctl_query *query);

#endif
