/*
 * What the users of a stream are held to when it has limits (struct ks_stream_limits): rates of
 * each shard, rates of the puts of each client, a quota of records per day of the stream.
 *
 * A rate is a bucket that holds what may be taken in a second and may go into debt: whoever comes
 * while there is anything in it gets all that he asks for, whoever comes while there is nothing is
 * told when there will be. So a record larger than a second's worth passes, and is paid for
 * afterwards. A bucket that is full says nothing, and is forgotten when there are many.
 *
 * A client is a connection. Days are those of UTC by the broker's clock; what a day has had is
 * counted from the start of the broker on.
 *
 * Threads: any. One mutex, taken only for streams with limits.
 */
#ifndef KS_DAEMON_STREAM_LIMITS_H
#define KS_DAEMON_STREAM_LIMITS_H

#include "base/clock.h"
#include "storage/registry.h"

struct ks_limits;

static inline bool ks_stream_has_put_limits(const struct ks_stream *stream)
{
    const struct ks_stream_limits *of = &stream->limits;
    return of->write_bytes_per_s || of->write_records_per_s || of->records_per_day ||
           of->client_bytes_per_s || of->client_records_per_s;
}

static inline bool ks_stream_has_get_limits(const struct ks_stream *stream)
{
    return stream->limits.read_bytes_per_s || stream->limits.read_calls_per_s;
}

/* clock: for rates and days; borrowed. NULL: no memory. */
struct ks_limits *ks_limits_create(const struct ks_clock *clock);
void ks_limits_destroy(struct ks_limits *limits);
KS_DEFINE_CLEANUP(struct ks_limits, ks_limits_destroy)

struct ks_limit_use {
    const struct ks_stream *stream;
    uint32_t shard_index;
    uint64_t client; /* of puts; never reused */
    uint64_t records;
    uint64_t bytes;
};

struct ks_limit_refusal {
    const char *name; /* as in StreamLimits: "write_bytes_per_second" */
    bool is_of_shard; /* else of the stream, or of the client */
    bool is_of_client;
    uint64_t limit;
    uint64_t current; /* of the second behind us; of a quota: used */
    uint64_t retry_after_ms;
};

/* Whether the records may be put. False: nothing is taken, *out says what is in the way longest. */
bool ks_limits_take_put(struct ks_limits *limits, const struct ks_limit_use *use,
    struct ks_limit_refusal *out) KS_MUST_USE;
/* What was taken for records that were not stored after all, or had been before. */
void ks_limits_give_back_put(struct ks_limits *limits, const struct ks_limit_use *use);
/* Whether the shard may be read. What the read gives comes later, by ks_limits_add_read. */
bool ks_limits_take_get(struct ks_limits *limits, const struct ks_limit_use *use,
    struct ks_limit_refusal *out) KS_MUST_USE;
void ks_limits_add_read(struct ks_limits *limits, const struct ks_limit_use *use);

/* How many buckets are remembered, for tests: of shards and of clients. */
size_t ks_limits_remembered(struct ks_limits *limits);

#endif
