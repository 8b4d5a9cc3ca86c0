/*
 * One answer of GetRecords, seen as records. The stored bytes stay where they arrived; their
 * checksums are verified here, last of all hops.
 */
#ifndef KS_CLIENT_BATCH_H
#define KS_CLIENT_BATCH_H

#include "client/client.h"

/*
 * Takes answer->frame in every case. Errors: KS_PROTOCOL not such an answer; KS_CORRUPT damaged so
 * that not even the ordinals are known; KS_UNSUPPORTED a batch of a newer version; KS_NO_MEMORY.
 */
enum ks_status client_batch_take(const struct client_answer *answer,
    struct kstream_batch **out_batch, struct ks_error *err) KS_MUST_USE;
/* The sequence number of the last ordinal in it, lost ones included; the batch is not empty. */
void client_batch_last_sequence_number(
    const struct kstream_batch *batch, char text[KSTREAM_SEQUENCE_BYTES]);

KS_DEFINE_CLEANUP(struct kstream_batch, kstream_batch_free)

#endif
