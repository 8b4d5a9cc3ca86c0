/*
 * Validation of requests by a table (rules.def) over protobuf-c's descriptors, with the complaints
 * Kinesis makes: 1 validation error detected: Value 'a/b' at 'streamName' failed to satisfy
 * constraint: Member must satisfy ... Threads: plain functions.
 */
#ifndef KS_PROTO_RULES_H
#define KS_PROTO_RULES_H

#include "base/bytes.h"
#include "base/status.h"
#include "proto/patterns.h"

#include <protobuf-c/protobuf-c.h>

#define KS_NO_MIN INT64_MIN
#define KS_NO_MAX INT64_MAX

struct ks_rule {
    const ProtobufCMessageDescriptor *message;
    const char *field; /* "tag_keys[]": each text of the list */
    bool is_required;
    enum ks_pattern pattern;
    int64_t min;
    int64_t max;
    const char *values; /* "A, B"; "" for no enumeration */
};

extern const struct ks_rule ks_rules[];
extern const size_t ks_rules_count;

bool ks_rule_is_of_items(const struct ks_rule *rule);
/* NULL: a mistake in the table. */
const ProtobufCFieldDescriptor *ks_rule_field(const struct ks_rule *rule);

/* Room for a whole complaint: ten values, paths and constraints. */
#define KS_RULES_TEXT_BYTES_MAX (16u << 10)

/*
 * Checks message and the messages inside it. On KS_VALIDATION out_text (an empty buffer of the
 * caller's) holds the complaint, zero-terminated. Errors: KS_VALIDATION; KS_NO_MEMORY no room for
 * the complaint.
 */
enum ks_status ks_rules_check(const ProtobufCMessage *message, struct ks_buf *out_text) KS_MUST_USE;

#define KS_MEMBER_NAME_BYTES_MAX 64

/*
 * The Kinesis name of a field: "stream_arn" is "StreamARN", "timestamp_unix_ms" is "Timestamp".
 * Asserts that it fits; field names come from our own schema.
 */
void ks_member_name(const char *field, char name[KS_MEMBER_NAME_BYTES_MAX]);

#endif
