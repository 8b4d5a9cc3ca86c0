/* Positions in a shard and the requests that name them. */
#ifndef KS_CLIENT_POSITION_H
#define KS_CLIENT_POSITION_H

#include "client/client.h"

/* Makes request ask for position; it borrows the position's text. Errors: KS_INVALID. */
enum ks_status client_position_request(const struct kstream_position *position,
    Kstream__GetShardIteratorRequest *request, struct ks_error *err) KS_MUST_USE;
/* Copies the iterator out of the packed answer. Errors: KS_PROTOCOL. */
enum ks_status client_iterator_read(struct ks_view message, char iterator[KSTREAM_ITERATOR_BYTES],
    struct ks_error *err) KS_MUST_USE;

#endif
