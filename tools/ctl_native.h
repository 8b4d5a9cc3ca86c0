/*
 * Requests that only tools make, for which libkstream has no function: the messages of
 * proto/api.proto themselves. Threads: the process runs one verb.
 */
#ifndef KS_TOOLS_CTL_NATIVE_H
#define KS_TOOLS_CTL_NATIVE_H

#include "proto/api.pb-c.h"
#include "proto/arena.h"
#include "proto/operations.h"
#include "proto/sequence.h"
#include "tools/ctl.h"

/* Connects if need be. The request must be harmless to repeat. The answer lives in arena, which is
 * the caller's: ks_arena_init with CTL_ANSWER_BYTES_MAX. Errors: those of the broker;
 * KSTREAM_UNAVAILABLE... */
#define CTL_ANSWER_BYTES_MAX (64u << 20)
enum kstream_status ctl_call(struct ctl *ctl, enum ks_op op, const ProtobufCMessage *request,
    struct ks_arena *arena, ProtobufCMessage **out_message, struct kstream_error *err) KS_MUST_USE;

/* Names the stream of the command line in a request, by its name or its ARN; none: nothing. */
void ctl_name_stream(const struct ctl *ctl, char **out_name, char **out_arn);

/* "3" becomes "shardId-000000000003", anything else stays, for the broker to judge. */
void ctl_shard_id_text(const char *text, char out[KS_SHARD_ID_TEXT_BYTES]);

#endif
