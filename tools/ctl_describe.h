/* A shard as Kinesis describes it. */
#ifndef KS_TOOLS_CTL_DESCRIBE_H
#define KS_TOOLS_CTL_DESCRIBE_H

#include "tools/ctl.h"

/* NULL: out of memory. */
json_t *ctl_shard_to_json(const struct kstream_shard *shard);

#endif
