/* What the users of a stream are held to, as JSON. Threads: the process runs one verb. */
#ifndef KS_TOOLS_CTL_LIMITS_H
#define KS_TOOLS_CTL_LIMITS_H

#include "tools/ctl.h"

/* NULL: no memory. */
json_t *ctl_limits_to_json(const struct kstream_stream_limits *limits);

#endif
