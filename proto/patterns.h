/* The patterns of the Kinesis service model, matched by hand: they are few, and no regex library
 * has to be trusted. */
#ifndef KS_PROTO_PATTERNS_H
#define KS_PROTO_PATTERNS_H

#include "base/bytes.h"

enum ks_pattern {
    KS_PATTERN_NONE,
    KS_PATTERN_NAME,
    KS_PATTERN_HASH_KEY,
    KS_PATTERN_SEQUENCE_NUMBER,
    KS_PATTERN_STREAM_ARN,
    KS_PATTERN_RESOURCE_ARN,
    KS_PATTERN_STREAM_ID
};

/* As the service model writes it; "" for KS_PATTERN_NONE. */
const char *ks_pattern_text(enum ks_pattern pattern);
/* The whole text must match; KS_PATTERN_NONE matches all. */
bool ks_pattern_matches(enum ks_pattern pattern, struct ks_view text);

#endif
