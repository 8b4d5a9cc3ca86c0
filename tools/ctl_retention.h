/* Deleting a stream so that it can be taken back. Threads: the process runs one verb. */
#ifndef KS_TOOLS_CTL_RETENTION_H
#define KS_TOOLS_CTL_RETENTION_H

#include "tools/ctl.h"

/* With its result. Errors: those of kstream_delete_stream_later. */
enum kstream_status ctl_delete_later(struct ctl *ctl, struct kstream_error *err) KS_MUST_USE;

#endif
