/*
 * The line between the statuses inside and those of the public API: the only place that turns one
 * into the other.
 */
#ifndef KS_CLIENT_ERRORS_H
#define KS_CLIENT_ERRORS_H

#include "base/status.h"
#include "client/kstream.h"

enum kstream_status kstream_status_of(enum ks_status status);

/* Fills err (when not NULL) from the inner error and returns the public status. */
enum kstream_status client_result(enum ks_status status, const struct ks_error *inner,
    uint64_t request_id, struct kstream_error *err);

#endif
