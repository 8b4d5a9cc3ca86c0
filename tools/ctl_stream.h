/* What verbs about streams share. Threads: the process runs one verb. */
#ifndef KS_TOOLS_CTL_STREAM_H
#define KS_TOOLS_CTL_STREAM_H

#include "tools/ctl.h"

/* --stream-mode-details, as an object or in the short form. Errors: KSTREAM_USAGE. */
enum kstream_status ctl_stream_mode_read(
    const struct ctl *ctl, bool *out_on_demand, struct kstream_error *err) KS_MUST_USE;
/* --warm-throughput-mibps; 0: not given. Errors: KSTREAM_USAGE. */
enum kstream_status ctl_warm_read(const struct ctl *ctl, bool is_on_demand, uint64_t *out_mibps,
    struct kstream_error *err) KS_MUST_USE;

#endif
