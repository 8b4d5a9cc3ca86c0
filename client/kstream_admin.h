/*
 * libkstream, for administrators: calls about a broker as a whole, and about the shards of a
 * stream. Everything that programs which put and read records need stands in kstream.h.
 */
#ifndef KSTREAM_ADMIN_H
#define KSTREAM_ADMIN_H

#include "kstream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kstream_clock_info {
    size_t size;
    uint64_t clock_unix_ms; /* the broker's clock, from now on */
    int64_t step_ms;        /* what it stepped; 0: it did not */
    int was_retention_held; /* 1: nothing expired until now, because the time was not trusted */
    uint64_t retention_behind_ms; /* by how much */
    char why[96];                 /* it was held; "" if it was not */
};
#define KSTREAM_CLOCK_INFO_INIT                                                                    \
    {                                                                                              \
        sizeof(struct kstream_clock_info), 0, 0, 0, 0, ""                                          \
    }

/*
 * Says that the wall clock of the broker's machine is right: the broker follows it at once, and
 * records expire again if a jump of the clock had held them. timeout_ms 0: the config's. info may
 * be NULL.
 *
 * Example:
 *     struct kstream_clock_info info = KSTREAM_CLOCK_INFO_INIT;
 *     if (!kstream_confirm_clock(client, 1000, &info, &err))
 *         printf("%s\n", info.why);
 */
KSTREAM_API enum kstream_status kstream_confirm_clock(struct kstream_client *client,
    uint32_t timeout_ms, struct kstream_clock_info *info,
    struct kstream_error *err) KSTREAM_MUST_USE;

/* A setting of the broker, as people write it. */
struct kstream_broker_setting {
    const char *key;   /* "limits.connections" */
    const char *value; /* in force */
    const char *default_value;
    const char *origin; /* "default", "file", "environment", "flag": where the value comes from */
    const char *where;  /* "/etc/kstream/kstreamd.conf:12", the variable, the flag, or "" */
    int needs_restart;  /* 1: a change waits for a restart; 0: a reload is enough */
    const char *next_value; /* read by the last reload, and waiting for a restart; NULL: none */
};

struct kstream_broker_setting_list {
    const struct kstream_broker_setting *settings;
    size_t setting_count;
};

/*
 * All settings of the running broker. timeout_ms 0: the config's.
 *
 * Example:
 *     struct kstream_broker_setting_list *list = NULL;
 *     if (!kstream_describe_config(client, 1000, &list, &err))
 *         for (size_t i = 0; i < list->setting_count; i++)
 *             printf("%s = %s\n", list->settings[i].key, list->settings[i].value);
 *     kstream_broker_setting_list_free(list);
 */
KSTREAM_API enum kstream_status kstream_describe_config(struct kstream_client *client,
    uint32_t timeout_ms, struct kstream_broker_setting_list **out_list,
    struct kstream_error *err) KSTREAM_MUST_USE;
KSTREAM_API void kstream_broker_setting_list_free(
    struct kstream_broker_setting_list *list); /* NULL is fine */

struct kstream_reshard_options {
    size_t size;
    uint32_t timeout_ms;   /* 0: the config's */
    int wait_until_active; /* 1 */
    int dry_run;           /* 1: only say what would be made, and whether it would be refused */
    uint32_t warm_throughput_mibps; /* of kstream_update_stream_mode; 0: as it is */
};
#define KSTREAM_RESHARD_OPTIONS_INIT                                                               \
    {                                                                                              \
        sizeof(struct kstream_reshard_options), 0, 1, 0, 0                                         \
    }

struct kstream_reshard_info {
    size_t size;
    uint32_t current_shard_count; /* of kstream_update_shard_count: before */
    uint32_t target_shard_count;
    uint32_t open_shards; /* of a dry run, as all that follows: afterwards */
    uint32_t closed_shards;
    uint32_t created_shards;
    uint32_t short_lived_shards; /* of the created ones */
};
#define KSTREAM_RESHARD_INFO_INIT                                                                  \
    {                                                                                              \
        sizeof(struct kstream_reshard_info), 0, 0, 0, 0, 0, 0                                      \
    }

/*
 * Change the shards of a stream, by name or ARN, while producers and readers go on. options and
 * info may be NULL. Errors: KSTREAM_NOT_FOUND; KSTREAM_IN_USE not ACTIVE; KSTREAM_INVALID not
 * possible with these shards; KSTREAM_LIMIT the account's shards; KSTREAM_VALIDATION an on-demand
 * stream; KSTREAM_TIMEOUT still UPDATING (it will be finished); KSTREAM_UNAVAILABLE the connection
 * was lost: look at the stream before you try again.
 */

/*
 * Two shards for one: the second from new_starting_hash_key on.
 *
 * Example:
 *     st = kstream_split_shard(client, "clicks", "shardId-000000000000",
 *         "170141183460469231731687303715884105728", NULL, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_split_shard(struct kstream_client *client,
    const char *stream, const char *shard_id, const char *new_starting_hash_key,
    const struct kstream_reshard_options *options, struct kstream_reshard_info *info,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * One shard for two neighbours.
 *
 * Example:
 *     st = kstream_merge_shards(
 *         client, "clicks", "shardId-000000000001", "shardId-000000000002", NULL, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_merge_shards(struct kstream_client *client,
    const char *stream, const char *shard_id, const char *adjacent_shard_id,
    const struct kstream_reshard_options *options, struct kstream_reshard_info *info,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * As many shards as that, of about equal ranges of hash keys.
 *
 * Example:
 *     struct kstream_reshard_options options = KSTREAM_RESHARD_OPTIONS_INIT;
 *     struct kstream_reshard_info info = KSTREAM_RESHARD_INFO_INIT;
 *     options.dry_run = 1;
 *     if (!kstream_update_shard_count(client, "clicks", 6, &options, &info, &err))
 *         printf("%u shards would be created\n", (unsigned)info.created_shards);
 */
KSTREAM_API enum kstream_status kstream_update_shard_count(struct kstream_client *client,
    const char *stream, uint32_t target_shard_count, const struct kstream_reshard_options *options,
    struct kstream_reshard_info *info, struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * An on-demand stream is split and merged by the broker, as its load asks for.
 *
 * Example:
 *     st = kstream_update_stream_mode(client, "clicks", 1, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_update_stream_mode(struct kstream_client *client,
    const char *stream, int is_on_demand, const struct kstream_reshard_options *options,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * How long records of the stream stay, in hours. An increase brings nothing back that has expired;
 * a decrease hides what is older at once and for good. Errors: KSTREAM_INVALID under 24, over the
 * broker's ceiling (168 by default), or in the other direction; KSTREAM_NOT_FOUND; KSTREAM_IN_USE.
 *
 * Example:
 *     st = kstream_increase_retention(client, "clicks", 72, NULL, &err);
 *     if (!st)
 *         st = kstream_decrease_retention(client, "views", 24, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_increase_retention(struct kstream_client *client,
    const char *stream, uint32_t hours, const struct kstream_call_options *options,
    struct kstream_error *err) KSTREAM_MUST_USE;
KSTREAM_API enum kstream_status kstream_decrease_retention(struct kstream_client *client,
    const char *stream, uint32_t hours, const struct kstream_call_options *options,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * Deletes the stream, but keeps it for 24 hours: DELETING, readable, without new records, and
 * restorable. Then it purges itself; kstream_delete_stream purges it at once. Errors:
 * KSTREAM_NOT_FOUND, KSTREAM_IN_USE.
 *
 * Example:
 *     st = kstream_delete_stream_later(client, "clicks", NULL, &err);
 *     if (!st)
 *         st = kstream_restore_stream(client, "clicks", NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_delete_stream_later(struct kstream_client *client,
    const char *stream, const struct kstream_call_options *options,
    struct kstream_error *err) KSTREAM_MUST_USE;
KSTREAM_API enum kstream_status kstream_restore_stream(struct kstream_client *client,
    const char *stream, const struct kstream_call_options *options,
    struct kstream_error *err) KSTREAM_MUST_USE;

/* What takes back the space of expired records, and reads finished files over again to find damage.
 * Counts are since the broker's start; times are 0 when there is none. */
struct kstream_compactor_info {
    size_t size;
    int is_running;
    int is_retention_held; /* 1: the clock is not trusted, nothing more expires */
    uint64_t next_due_unix_ms;
    uint64_t run_started_unix_ms; /* the pass under way, or the last that retired anything */
    uint64_t run_ended_unix_ms;
    uint64_t run_segments;
    uint64_t run_bytes;
    uint64_t run_records;
    uint64_t segments_retired;
    uint64_t bytes_retired;
    uint64_t records_retired;
    uint64_t segments_held; /* now: retired, but a reader still has them */
    uint64_t bytes_held;
    uint64_t segments_sealed; /* because their oldest record had expired */
    uint64_t streams_purged;
    uint64_t shards_removed;  /* closed ones that had expired */
    uint64_t commits_refused; /* a full disk; tried again */
    uint64_t files_ready;     /* now, for new segments */
    uint64_t scrub_segments;
    uint64_t scrub_bytes;
    uint64_t scrub_damaged_segments;
    uint64_t scrub_damaged_batches;
    uint64_t scrub_damaged_records;
    uint64_t scrub_passes;
    uint64_t scrub_last_pass_unix_ms;
    uint64_t scrub_next_pass_unix_ms; /* 0: one is under way, or scrubbing is off */
    char why_held[96];
};
#define KSTREAM_COMPACTOR_INFO_INIT                                                                \
    {                                                                                              \
        sizeof(struct kstream_compactor_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  \
            0, 0, 0, 0, 0, 0, 0, 0, 0, ""                                                          \
    }

/*
 * Example:
 *     struct kstream_compactor_info info = KSTREAM_COMPACTOR_INFO_INIT;
 *     st = kstream_describe_compactor(client, NULL, &info, &err);
 *     if (!st && info.scrub_damaged_records > 0)
 *         fputs("some records are damaged\n", stderr);
 */
KSTREAM_API enum kstream_status kstream_describe_compactor(struct kstream_client *client,
    const struct kstream_call_options *options, struct kstream_compactor_info *info,
    struct kstream_error *err) KSTREAM_MUST_USE;

struct kstream_compact_options {
    size_t size;
    uint32_t timeout_ms;
    int dry_run;              /* 1: only say what would go */
    const char *stream;       /* dry runs: of this stream alone; NULL: of all */
    uint32_t retention_hours; /* dry runs of a stream: as if it had this retention; 0: as it is */
    int purge;                /* dry runs of a stream: as if it were deleted */
};
#define KSTREAM_COMPACT_OPTIONS_INIT                                                               \
    {                                                                                              \
        sizeof(struct kstream_compact_options), 0, 0, NULL, 0, 0                                   \
    }
struct kstream_compact_info {
    size_t size;
    uint64_t segments;       /* that go whole */
    uint64_t bytes;          /* of them on disk */
    uint64_t records;        /* in them */
    uint64_t oldest_unix_ms; /* 0: none */
    uint64_t newest_unix_ms;
    uint64_t records_hidden; /* can be read now, and could not be after the change */
    uint64_t readers_hit;    /* reads under way in those segments, or of the last five minutes */
};
#define KSTREAM_COMPACT_INFO_INIT                                                                  \
    {                                                                                              \
        sizeof(struct kstream_compact_info), 0, 0, 0, 0, 0, 0, 0                                   \
    }

/*
 * A pass of the compactor at once, over all that has expired; or what it would do.
 *
 * Example:
 *     struct kstream_compact_options options = KSTREAM_COMPACT_OPTIONS_INIT;
 *     struct kstream_compact_info info = KSTREAM_COMPACT_INFO_INIT;
 *     options.dry_run = 1;
 *     st = kstream_compact(client, &options, &info, &err);
 */
KSTREAM_API enum kstream_status kstream_compact(struct kstream_client *client,
    const struct kstream_compact_options *options, struct kstream_compact_info *info,
    struct kstream_error *err) KSTREAM_MUST_USE;

/* For calls that change something; NULL means the defaults. */
struct kstream_setting_options {
    size_t size;
    uint32_t timeout_ms; /* 0: the config's */
    int dry_run;         /* 1: only whether it would be refused */
};
#define KSTREAM_SETTING_OPTIONS_INIT                                                               \
    {                                                                                              \
        sizeof(struct kstream_setting_options), 0, 0                                               \
    }

/*
 * Settings of a stream, by name, ARN or "id:" and its StreamId. Errors: KSTREAM_NOT_FOUND;
 * KSTREAM_IN_USE not ACTIVE; KSTREAM_INVALID, KSTREAM_VALIDATION not a value for it.
 */

/*
 * The largest record, key and data: 1024 to 10240 KiB. What is stored stays readable.
 *
 * Example:
 *     st = kstream_update_max_record_size(client, "clicks", 10240, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_update_max_record_size(struct kstream_client *client,
    const char *stream, uint32_t max_record_size_kib, const struct kstream_setting_options *options,
    struct kstream_error *err) KSTREAM_MUST_USE;

struct kstream_warm_throughput {
    size_t size;
    uint32_t target_mibps;
    uint32_t current_mibps; /* what the open shards take, at most the target */
};
#define KSTREAM_WARM_THROUGHPUT_INIT                                                               \
    {                                                                                              \
        sizeof(struct kstream_warm_throughput), 0, 0                                               \
    }

/*
 * An on-demand stream takes so much at any time: a shard for each MiB a second, there before this
 * returns. info may be NULL. Errors also: KSTREAM_LIMIT the account's shards.
 *
 * Example:
 *     struct kstream_warm_throughput info = KSTREAM_WARM_THROUGHPUT_INIT;
 *     st = kstream_update_warm_throughput(client, "clicks", 16, NULL, &info, &err);
 */
KSTREAM_API enum kstream_status kstream_update_warm_throughput(struct kstream_client *client,
    const char *stream, uint32_t mibps, const struct kstream_setting_options *options,
    struct kstream_warm_throughput *info, struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * Puts the limits in the place of those there are. Errors also: KSTREAM_INVALID rates of shards
 * without "custom".
 *
 * Example:
 *     struct kstream_stream_limits limits = KSTREAM_STREAM_LIMITS_INIT;
 *     limits.mode = "aws";
 *     limits.records_per_day = 1000000;
 *     st = kstream_update_stream_limits(client, "clicks", &limits, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_update_stream_limits(struct kstream_client *client,
    const char *stream, const struct kstream_stream_limits *limits,
    const struct kstream_setting_options *options, struct kstream_error *err) KSTREAM_MUST_USE;

#define KSTREAM_SHARD_METRICS_MAX 16

/* Names that live for ever. */
struct kstream_shard_metrics {
    size_t size;
    size_t before_count;
    size_t after_count;
    const char *before[KSTREAM_SHARD_METRICS_MAX];
    const char *after[KSTREAM_SHARD_METRICS_MAX];
};
#define KSTREAM_SHARD_METRICS_INIT                                                                 \
    {                                                                                              \
        sizeof(struct kstream_shard_metrics), 0, 0, {0},                                           \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/*
 * Metrics of each shard, by their names in Kinesis or "ALL". info may be NULL.
 *
 * Example:
 *     const char *metrics[] = {"IncomingBytes", "OutgoingBytes"};
 *     st = kstream_enable_shard_metrics(client, "clicks", metrics, 2, NULL, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_enable_shard_metrics(struct kstream_client *client,
    const char *stream, const char *const *metrics, size_t count,
    const struct kstream_setting_options *options, struct kstream_shard_metrics *info,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * And off again.
 *
 * Example:
 *     const char *all[] = {"ALL"};
 *     struct kstream_shard_metrics info = KSTREAM_SHARD_METRICS_INIT;
 *     if (!kstream_disable_shard_metrics(client, "clicks", all, 1, NULL, &info, &err))
 *         printf("%d were on\n", (int)info.before_count);
 */
KSTREAM_API enum kstream_status kstream_disable_shard_metrics(struct kstream_client *client,
    const char *stream, const char *const *metrics, size_t count,
    const struct kstream_setting_options *options, struct kstream_shard_metrics *info,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * Tags of a stream: at most 50. Errors: KSTREAM_NOT_FOUND; KSTREAM_INVALID more than that, or
 * characters that a tag cannot have; KSTREAM_IN_USE the stream is DELETING.
 */

/*
 * A key that is there gets the new value.
 *
 * Example:
 *     struct kstream_tag tags[] = {{"team", "red"}, {"stage", "test"}};
 *     st = kstream_add_tags(client, "clicks", tags, 2, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_add_tags(struct kstream_client *client, const char *stream,
    const struct kstream_tag *tags, size_t count, const struct kstream_setting_options *options,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * A key that is not there is no error.
 *
 * Example:
 *     const char *keys[] = {"stage"};
 *     st = kstream_remove_tags(client, "clicks", keys, 1, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_remove_tags(struct kstream_client *client,
    const char *stream, const char *const *keys, size_t count,
    const struct kstream_setting_options *options, struct kstream_error *err) KSTREAM_MUST_USE;

struct kstream_list_tags_options {
    size_t size;
    uint32_t timeout_ms;
    uint32_t limit;                      /* 0: all; at most 50 */
    const char *exclusive_start_tag_key; /* NULL: from the first */
};
#define KSTREAM_LIST_TAGS_OPTIONS_INIT                                                             \
    {                                                                                              \
        sizeof(struct kstream_list_tags_options), 0, 0, 0                                          \
    }

/* In the order of the keys' bytes. */
struct kstream_tag_list {
    const struct kstream_tag *tags;
    size_t tag_count;
    int has_more;
};

/*
 * Example:
 *     struct kstream_tag_list *list;
 *     if (!kstream_list_tags(client, "clicks", NULL, &list, &err)) {
 *         for (size_t i = 0; i < list->tag_count; i++)
 *             printf("%s=%s\n", list->tags[i].key, list->tags[i].value);
 *         kstream_tag_list_free(list);
 *     }
 */
KSTREAM_API enum kstream_status kstream_list_tags(struct kstream_client *client, const char *stream,
    const struct kstream_list_tags_options *options, struct kstream_tag_list **out_list,
    struct kstream_error *err) KSTREAM_MUST_USE;
KSTREAM_API void kstream_tag_list_free(struct kstream_tag_list *list); /* NULL is fine */

/*
 * The same of whatever has an ARN.
 *
 * Example:
 *     const char *arn = "arn:aws:kinesis:us-east-1:000000000000:stream/clicks";
 *     struct kstream_tag tag = {"team", "blue"};
 *     const char *keys[] = {"stage"};
 *     struct kstream_tag_list *list = NULL;
 *     st = kstream_tag_resource(client, arn, &tag, 1, NULL, &err);
 *     if (!st)
 *         st = kstream_untag_resource(client, arn, keys, 1, NULL, &err);
 *     if (!st)
 *         st = kstream_list_tags_of_resource(client, arn, NULL, &list, &err);
 *     kstream_tag_list_free(list);
 */
KSTREAM_API enum kstream_status kstream_tag_resource(struct kstream_client *client,
    const char *resource_arn, const struct kstream_tag *tags, size_t count,
    const struct kstream_setting_options *options, struct kstream_error *err) KSTREAM_MUST_USE;
KSTREAM_API enum kstream_status kstream_untag_resource(struct kstream_client *client,
    const char *resource_arn, const char *const *keys, size_t count,
    const struct kstream_setting_options *options, struct kstream_error *err) KSTREAM_MUST_USE;
KSTREAM_API enum kstream_status kstream_list_tags_of_resource(struct kstream_client *client,
    const char *resource_arn, const struct kstream_call_options *options,
    struct kstream_tag_list **out_list, struct kstream_error *err) KSTREAM_MUST_USE;

struct kstream_limits_info {
    size_t size;
    uint32_t shard_limit; /* of the account, which is the broker */
    uint32_t open_shard_count;
    uint32_t on_demand_stream_limit;
    uint32_t on_demand_stream_count;
};
#define KSTREAM_LIMITS_INFO_INIT                                                                   \
    {                                                                                              \
        sizeof(struct kstream_limits_info), 0, 0, 0, 0                                             \
    }

/*
 * Example:
 *     struct kstream_limits_info info = KSTREAM_LIMITS_INFO_INIT;
 *     if (!kstream_describe_limits(client, NULL, &info, &err))
 *         printf("%u of %u shards\n", (unsigned)info.open_shard_count, (unsigned)info.shard_limit);
 */
KSTREAM_API enum kstream_status kstream_describe_limits(struct kstream_client *client,
    const struct kstream_call_options *options, struct kstream_limits_info *info,
    struct kstream_error *err) KSTREAM_MUST_USE;

/* What Kinesis has of an account. Nothing of it changes what a broker does. */
struct kstream_account_info {
    size_t size;
    char commitment_status[48]; /* "ENABLED", "DISABLED", "ENABLED_UNTIL_EARLIEST_ALLOWED_END" */
    uint64_t commitment_started_unix_ms; /* 0: never, as below */
    uint64_t commitment_ended_unix_ms;
    uint64_t commitment_earliest_end_unix_ms;
};
#define KSTREAM_ACCOUNT_INFO_INIT                                                                  \
    {                                                                                              \
        sizeof(struct kstream_account_info), "", 0, 0, 0                                           \
    }

/*
 * Example:
 *     struct kstream_account_info info = KSTREAM_ACCOUNT_INFO_INIT;
 *     st = kstream_describe_account(client, NULL, &info, &err);
 */
KSTREAM_API enum kstream_status kstream_describe_account(struct kstream_client *client,
    const struct kstream_call_options *options, struct kstream_account_info *info,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * The minimum throughput billing commitment: "ENABLED" or "DISABLED". info may be NULL.
 *
 * Example:
 *     st = kstream_update_account(client, "ENABLED", NULL, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_update_account(struct kstream_client *client,
    const char *commitment_status, const struct kstream_setting_options *options,
    struct kstream_account_info *info, struct kstream_error *err) KSTREAM_MUST_USE;

struct kstream_catalog_copy {
    size_t size;
    uint64_t bytes;
    uint64_t created_unix_ms;
    uint32_t kept;   /* copies there are now, on the broker's machine */
    char path[1024]; /* there; a longer one is cut short */
};
#define KSTREAM_CATALOG_COPY_INIT                                                                  \
    {                                                                                              \
        sizeof(struct kstream_catalog_copy), 0, 0, 0, ""                                           \
    }

/*
 * A copy of the catalog, now, beside those that the broker makes every day. Should the catalog ever
 * be lost, "kstreamctl restore-catalog" puts one back. Errors: KSTREAM_IN_USE one is being made;
 * KSTREAM_STORAGE_FULL.
 *
 * Example:
 *     struct kstream_catalog_copy copy = KSTREAM_CATALOG_COPY_INIT;
 *     st = kstream_backup_catalog(client, NULL, &copy, &err);
 */
KSTREAM_API enum kstream_status kstream_backup_catalog(struct kstream_client *client,
    const struct kstream_call_options *options, struct kstream_catalog_copy *copy,
    struct kstream_error *err) KSTREAM_MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
