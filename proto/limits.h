/*
 * Every limit that foreign input can meet, with its source. "API" is the Kinesis Data Streams API
 * reference (the bounds of its service model); "design" is a limit of kstream itself. Past a limit
 * the answer is KS_TOO_LARGE, KS_VALIDATION or KS_PROTOCOL, never growth.
 */
#ifndef KS_PROTO_LIMITS_H
#define KS_PROTO_LIMITS_H

#include "base/defs.h"

/* Records and puts. */
#define KS_PARTITION_KEY_CHARACTERS_MAX                                                            \
    256u /* API, PutRecord, PartitionKey: 1 to 256 Unicode characters */
#define KS_PARTITION_KEY_BYTES_MAX 1024u /* 256 characters of at most 4 bytes of UTF-8 */
#define KS_EXPLICIT_HASH_BYTES 16u       /* a hash key is a 128-bit number */
#define KS_RECORD_BYTES_DEFAULT                                                                    \
    (1u << 20) /* API, CreateStream, MaxRecordSizeInKiB 1024; data and key together */
#define KS_RECORD_BYTES_MAX (10u << 20) /* API, CreateStream, MaxRecordSizeInKiB at most 10240 */
#define KS_RECORD_KIB_MIN 1024u         /* API, CreateStream, MaxRecordSizeInKiB */
#define KS_RECORD_KIB_MAX 10240u        /* API, CreateStream, MaxRecordSizeInKiB */
#define KS_PUT_RECORDS_MAX 500u         /* API, PutRecords: 1 to 500 records */
#define KS_PUT_BYTES_MAX (10u << 20)    /* API, PutRecords: 10 MiB with keys */
#define KS_PUT_PARTS_MAX 512u           /* design: shard parts of one routed put */
#define KS_PUT_ROUTED_RECORDS_MAX                                                                  \
    16384u /* design: records of one routed put, all parts together                                \
            */

/* Around a record in a batch: tags, lengths, crc and explicit hash; see FORMAT.md. */
#define KS_RECORD_OVERHEAD_BYTES_MAX 40u

/* Batches and frames. */
#define KS_BATCH_RECORDS_BYTES_MAX                                                                 \
    (KS_PUT_BYTES_MAX + KS_PUT_ROUTED_RECORDS_MAX * KS_RECORD_OVERHEAD_BYTES_MAX)
#define KS_BATCH_STORED_BYTES_MAX                                                                  \
    (12u << 20) /* design: fits a journal block and a segment with room to spare */
#define KS_BATCH_PADDING_BYTES_MAX                                                                 \
    (64u << 10) /* design: alignment units are 4 KiB; two of them at most, plus room */
#define KS_FRAME_BYTES_MAX                                                                         \
    (16u << 20) /* design: request or response, without its four length bytes */
#define KS_GET_BYTES_MAX (10u << 20) /* API, GetRecords: 10 MiB a call */
#define KS_GET_RECORDS_MAX 10000u    /* API, GetRecords, Limit */
#define KS_GET_WAIT_MS_MAX 30000u    /* design: long-poll of a native GetRecords */

/* Names. */
#define KS_STREAM_NAME_BYTES_MAX 128u      /* API, StreamName */
#define KS_STREAM_ARN_CHARACTERS_MAX 2048u /* API, StreamARN */
#define KS_STREAM_ID_BYTES 24u             /* API, StreamId: 20 characters, '-', 3 characters */
#define KS_SHARD_ID_BYTES_MAX 128u         /* API, ShardId */
#define KS_SHARD_ITERATOR_BYTES_MAX 512u   /* API, ShardIterator */
#define KS_NEXT_TOKEN_BYTES_MAX (1u << 20) /* API, NextToken */
#define KS_TAG_KEY_CHARACTERS_MAX 128u     /* API, TagKey */
#define KS_TAG_VALUE_CHARACTERS_MAX 256u   /* API, TagValue */
#define KS_TAGS_PER_CALL_MAX 200u          /* API, TagMap */
#define KS_TAGS_PER_STREAM_MAX 50u     /* developer guide, "Tag your Amazon Kinesis data streams" */
#define KS_SHARD_METRICS_MAX 7u        /* API, EnableEnhancedMonitoring, ShardLevelMetrics */
#define KS_SHARD_INDEX_MAX 0x7fffffffu /* a shard index is an int32 inside a sequence number */

/* Lists. */
#define KS_LIST_LIMIT_MAX                                                                          \
    10000u /* API, ListStreams and DescribeStream, Limit; ListShards, MaxResults */
#define KS_LIST_STREAMS_PAGE_MAX 100u    /* API, ListStreams: default and cap of one answer */
#define KS_DESCRIBE_SHARDS_PAGE_MAX 100u /* API, DescribeStream: default and cap of one answer */
#define KS_LIST_SHARDS_PAGE_MAX 1000u    /* API, ListShards: default and cap of one answer */

/* Shards. */
#define KS_SHARDS_PER_STREAM_MAX 10000u      /* API, UpdateShardCount: 10 000 shards at most */
#define KS_SHARDS_PER_ACCOUNT_DEFAULT 20000u /* developer guide, quotas (us-east-1) */
#define KS_SHARDS_PER_ACCOUNT_MAX 100000u    /* design */
#define KS_SHARDS_DEFAULT 4u /* recorded from the service: CreateStream without any count */
#define KS_ON_DEMAND_SHARDS_DEFAULT 4u /* developer guide: a new on-demand stream takes 4 MB/s */
#define KS_ITERATOR_TTL_MS 300000u     /* API, GetShardIterator: five minutes */

/* Retention. */
#define KS_RETENTION_HOURS_MIN 24u     /* API, IncreaseStreamRetentionPeriod */
#define KS_RETENTION_HOURS_DEFAULT 24u /* API, CreateStream */
#define KS_RETENTION_HOURS_CAP 8760u   /* API, IncreaseStreamRetentionPeriod */
/* Design: a stream deleted with EnforceRetention stays so long. */
#define KS_DELETED_KEPT_MS (24u * 3600u * 1000u)

/* Ordinals: 1 is the first; the two ends of the range mean "shard start" and "end of a closed
 * shard". */
#define KS_SEQUENCE_MAX 0x7ffffffffffffffeULL

/* A validation answer: at most ten complaints, like Kinesis; each quoted value is cut at this
 * length. */
#define KS_VALIDATION_ERRORS_MAX 10u
#define KS_VALIDATION_VALUE_BYTES_MAX 1024u

#endif
