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

struct kstream_reshard_options {
    size_t size;
    uint32_t timeout_ms;   /* 0: the config's */
    int wait_until_active; /* 1 */
    int dry_run;           /* 1: only say what would be made, and whether it would be refused */
};
#define KSTREAM_RESHARD_OPTIONS_INIT                                                               \
    {                                                                                              \
        sizeof(struct kstream_reshard_options), 0, 1, 0                                            \
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

#ifdef __cplusplus
}
#endif

#endif
