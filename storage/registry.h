/*
 * The registry: streams and shards as the running broker knows them. Immutable snapshots, counted;
 * loops take one, use it, release it, and never touch LMDB. Changes go through the catalog first
 * and are published when they are durable.
 *
 * Threads: any. Nothing here waits for the disk; admin operations complete by mail.
 */
#ifndef KS_STORAGE_REGISTRY_H
#define KS_STORAGE_REGISTRY_H

#include "base/mailbox.h"
#include "base/status.h"
#include "base/u128.h"
#include "storage/log.h"
#include "storage/tags.h"

struct ks_engine;

#define KS_HOUR_MS 3600000u

enum ks_stream_status {
    KS_STREAM_CREATING,
    KS_STREAM_ACTIVE,
    KS_STREAM_UPDATING,
    KS_STREAM_DELETING
};
enum ks_stream_mode { KS_STREAM_PROVISIONED, KS_STREAM_ON_DEMAND };

struct ks_shard {
    struct ks_log *log; /* referenced by the snapshot */
    uint32_t index;     /* shardId-%012u */
    bool is_open;
    bool has_parent;
    bool has_adjacent_parent;
    uint32_t parent_index;
    uint32_t adjacent_parent_index;
    uint64_t created_s;    /* of the sequence numbers (proto/sequence.h) */
    uint64_t closed_s;     /* 0 while open */
    uint64_t end_sequence; /* last record of a closed shard */
    ks_u128 hash_first;
    ks_u128 hash_last; /* inclusive */
};

/* Figures of each shard alone, in the order of the Kinesis API. */
enum ks_shard_metric {
    KS_SHARD_INCOMING_BYTES,
    KS_SHARD_INCOMING_RECORDS,
    KS_SHARD_OUTGOING_BYTES,
    KS_SHARD_OUTGOING_RECORDS,
    KS_SHARD_WRITE_THROTTLED,
    KS_SHARD_READ_THROTTLED,
    KS_SHARD_ITERATOR_AGE,
    KS_SHARD_METRIC_COUNT
};

enum ks_limits_mode { KS_LIMITS_OFF, KS_LIMITS_AWS, KS_LIMITS_CUSTOM, KS_LIMITS_MODES };

/* What the users of a stream are held to; 0: to nothing. The mode says where the rates of shards
 * come from; whoever holds users to them looks at the numbers alone. */
struct ks_stream_limits {
    enum ks_limits_mode mode;
    uint64_t write_bytes_per_s; /* of each shard, as the next three */
    uint64_t write_records_per_s;
    uint64_t read_bytes_per_s;
    uint64_t read_calls_per_s;
    uint64_t records_per_day;    /* of the stream */
    uint64_t client_bytes_per_s; /* of the puts of each client, as the next */
    uint64_t client_records_per_s;
};

bool ks_stream_limits_equal(const struct ks_stream_limits *a, const struct ks_stream_limits *b);

/* A snapshot: never changes once published. */
struct ks_stream {
    _Atomic uint32_t refs;
    uint64_t number; /* incarnation: never reused, so a re-created name is another stream */
    char id[25];     /* Kinesis StreamId: [a-z0-9]{20}-[a-z0-9]{3} */
    char name[129];
    enum ks_stream_status status;
    enum ks_stream_mode mode;
    uint64_t created_unix_ms;
    uint32_t retention_hours;
    uint64_t retention_floor_unix_ms; /* older records are gone, whatever the retention */
    uint64_t purge_unix_ms; /* DELETING, but readable and restorable until then; 0 = not */
    uint32_t record_bytes_max;
    uint32_t warm_mibps;    /* what an on-demand stream is to take at any time; 0: not said */
    uint32_t shard_metrics; /* bits (1 << enum ks_shard_metric) that each shard has figures of */
    struct ks_stream_limits limits;
    struct ks_tags *tags; /* referenced; NULL: none */
    enum ks_ack ack;      /* when its puts are answered */
    /* Raised at every change of the open shards or of record_bytes_max; starts at 1. */
    uint64_t routing_epoch;
    uint32_t next_shard_index; /* above every index ever given to a shard of this stream */
    uint32_t shard_count;      /* 0 while CREATING */
    struct ks_shard *shards;   /* by index */
    uint32_t open_count;
    uint32_t
        *open_by_hash; /* positions in shards, ascending hash ranges that tile [0, 2^128 - 1] */
};

struct ks_stream *ks_stream_ref(struct ks_stream *stream);
void ks_stream_unref(struct ks_stream *stream);
KS_DEFINE_CLEANUP(struct ks_stream, ks_stream_unref)
/* The open shard whose range holds hash; NULL only when there are no open shards (CREATING). */
const struct ks_shard *ks_stream_route(const struct ks_stream *stream, ks_u128 hash);
/* NULL when there is no such shard. */
const struct ks_shard *ks_stream_shard(const struct ks_stream *stream, uint32_t index);

/* The trim horizon: what arrived before it has expired, and a shard that closed before it. */
uint64_t ks_stream_horizon_unix_ms(const struct ks_engine *engine, const struct ks_stream *stream);

/* Each returns a referenced snapshot. Errors: KS_NOT_FOUND. */
enum ks_status ks_registry_find(
    struct ks_engine *engine, const char *name, struct ks_stream **out_stream) KS_MUST_USE;
enum ks_status ks_registry_find_id(
    struct ks_engine *engine, const char *stream_id, struct ks_stream **out_stream) KS_MUST_USE;
enum ks_status ks_registry_find_number(
    struct ks_engine *engine, uint64_t number, struct ks_stream **out_stream) KS_MUST_USE;
/* Up to limit referenced snapshots in name order (byte order), names > after (NULL or "" = from the
 * start). *out_more: there are others behind. out_streams has room for limit. Returns how many. */
uint32_t ks_registry_list(struct ks_engine *engine, const char *after, uint32_t limit,
    struct ks_stream **out_streams, bool *out_more);
uint32_t ks_registry_stream_count(struct ks_engine *engine);
/* Open shards of all streams, for the account limit. */
uint32_t ks_registry_open_shards(struct ks_engine *engine);
uint32_t ks_registry_on_demand_streams(struct ks_engine *engine);

/* An admin operation under way: memory of the caller until deliver has run on home's owner. */
struct ks_admin {
    struct ks_mail mail;     /* set mail.deliver */
    struct ks_mailbox *home; /* borrowed */
    enum ks_status status;
    struct ks_error error;
    struct ks_stream
        *stream;     /* create: the ACTIVE snapshot, referenced for the caller; else NULL */
    bool is_delayed; /* reshard: certain to be done, but something has to be waited for */
    void *work;      /* private */
};

struct ks_stream_spec {
    const char *name; /* valid by the rules table; copied */
    uint32_t shard_count;
    enum ks_stream_mode mode;
    uint32_t retention_hours;
    uint32_t record_bytes_max;
    uint32_t warm_mibps;
    const struct ks_tag *tags; /* copied; KS_TAGS_PER_STREAM_MAX at most */
    uint32_t tag_count;
    enum ks_ack ack;
};

/*
 * Start; KS_OK: deliver will run. At once visible as CREATING (DELETING). Errors at once:
 * KS_EXISTS, KS_LIMIT (account's shards), KS_NOT_FOUND, KS_IN_USE (not ACTIVE, nor deleted and
 * restorable), KS_NO_MEMORY, KS_POISONED, KS_STOPPING. By mail: KS_STORAGE_FULL, KS_POISONED.
 * Creating makes no file. Deleting purges: reads of the log end, its files are reused or unlinked
 * when the last pin is gone.
 */
enum ks_status ks_stream_create(struct ks_engine *engine, const struct ks_stream_spec *spec,
    struct ks_admin *admin, struct ks_error *err) KS_MUST_USE;
enum ks_status ks_stream_delete(struct ks_engine *engine, const char *name, struct ks_admin *admin,
    struct ks_error *err) KS_MUST_USE;

/*
 * Changes of one row. The stream is UPDATING meanwhile; one that is deleted stays DELETING. Errors
 * at once: KS_NOT_FOUND, KS_IN_USE (its status does not fit, or it is being changed), KS_NO_MEMORY,
 * KS_POISONED, KS_STOPPING. By mail: KS_STORAGE_FULL, KS_POISONED, and as said.
 */
enum ks_retention_direction { KS_RETENTION_ANY, KS_RETENTION_INCREASE, KS_RETENTION_DECREASE };
struct ks_retention_spec {
    uint32_t hours;
    enum ks_retention_direction direction; /* the same hours fit both */
};
/* What has expired by now stays gone, whatever the new retention. By mail: KS_INVALID (direction).
 */
enum ks_status ks_stream_set_retention(struct ks_engine *engine, uint64_t stream_number,
    const struct ks_retention_spec *spec, struct ks_admin *admin, struct ks_error *err) KS_MUST_USE;
/* Its shards stay as they are; an on-demand one is resharded by the broker from then on. */
enum ks_status ks_stream_set_mode(struct ks_engine *engine, uint64_t stream_number,
    enum ks_stream_mode mode, struct ks_admin *admin, struct ks_error *err) KS_MUST_USE;

enum ks_setting {
    KS_SETTING_RECORD_BYTES, /* number; producers that route are told by a newer routing */
    KS_SETTING_WARM_MIBPS,   /* number */
    KS_SETTING_METRICS_ON,   /* number: bits to be added to shard_metrics */
    KS_SETTING_METRICS_OFF,  /* number: bits to be taken out */
    KS_SETTING_TAGS_ADD,     /* tags; by mail KS_LIMIT: there would be too many */
    KS_SETTING_TAGS_REMOVE,  /* tags, by their keys */
    KS_SETTING_LIMITS,       /* limits */
    KS_SETTING_COUNT
};
/* Memory of the caller, as what it points to, until deliver has run. */
struct ks_setting_change {
    enum ks_setting setting;
    uint32_t number;
    const struct ks_tag *tags;
    uint32_t tag_count;
    struct ks_stream_limits limits;
    uint32_t metrics_before; /* result: shard_metrics at its turn */
};
/* One of the settings. Changes of tags wait for other changes of the stream instead of being
 * refused, and nobody sees UPDATING for them. */
enum ks_status ks_stream_set(struct ks_engine *engine, uint64_t stream_number,
    struct ks_setting_change *change, struct ks_admin *admin, struct ks_error *err) KS_MUST_USE;

/* ACTIVE -> DELETING, but readable and restorable; purged keep_ms from now. A plain delete of such
 * a stream purges it at once. */
enum ks_status ks_stream_delete_later(struct ks_engine *engine, uint64_t stream_number,
    uint64_t keep_ms, struct ks_admin *admin, struct ks_error *err) KS_MUST_USE;
/* Back to ACTIVE. */
enum ks_status ks_stream_restore(struct ks_engine *engine, uint64_t stream_number,
    struct ks_admin *admin, struct ks_error *err) KS_MUST_USE;

enum ks_reshard_kind {
    KS_RESHARD_SPLIT, /* shard_index, the second child begins at new_hash_first */
    KS_RESHARD_MERGE, /* shard_index and adjacent_index, which follows it */
    KS_RESHARD_COUNT, /* target_count open shards of about equal ranges */
    KS_RESHARD_STEPS, /* several splits and merges at once */
};
/* Of one open shard in the middle, or of two. */
struct ks_reshard_step {
    uint32_t shard_index;
    bool is_merge; /* with the one that follows it */
};
struct ks_reshard_spec {
    enum ks_reshard_kind kind;
    uint32_t shard_index;
    uint32_t adjacent_index;
    ks_u128 new_hash_first;
    uint32_t target_count;
    const struct ks_reshard_step *steps; /* in the order of hash keys; borrowed until the answer */
    uint32_t step_count;
};

/*
 * Splits and merges open shards (storage/reshard.h). The stream is UPDATING meanwhile; puts and
 * reads go on. By mail when it is done and the stream ACTIVE again, or earlier, with
 * admin->is_delayed, when it is certain to be done but has to wait (for a full journal).
 * Errors at once: KS_NOT_FOUND, KS_IN_USE (not ACTIVE), KS_NO_MEMORY, KS_POISONED,
 * KS_STOPPING. By mail: those of ks_reshard_plan_make; KS_LIMIT (the account's shards);
 * KS_STORAGE_FULL; KS_POISONED.
 */
enum ks_status ks_stream_reshard(struct ks_engine *engine, uint64_t stream_number,
    const struct ks_reshard_spec *spec, struct ks_admin *admin, struct ks_error *err) KS_MUST_USE;

/*
 * Removes a closed shard, durably: it is listed no more, reads of it end with KS_NOT_FOUND, its
 * files are reused or unlinked. For retention, when its close lies before the trim horizon: then
 * all of its records have expired too, and the children of a shard that is not listed count as
 * there from the beginning, so that lists at a time still tile all hash keys. Waits for other
 * changes of the stream. Errors at once: KS_NOT_FOUND (the stream), KS_IN_USE (CREATING),
 * KS_NO_MEMORY. By mail: KS_NOT_FOUND; KS_IN_USE (open, or a parent is still there: parents go
 * first); KS_NO_MEMORY; KS_STORAGE_FULL; KS_POISONED; KS_STOPPING.
 */
enum ks_status ks_shard_remove(struct ks_engine *engine, uint64_t stream_number,
    uint32_t shard_index, struct ks_admin *admin, struct ks_error *err) KS_MUST_USE;

#endif
