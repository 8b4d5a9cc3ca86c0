/* The verbs that change the shards of a stream. */
#include "base/u128.h"
#include "client/kstream_admin.h"
#include "proto/sequence.h"
#include "tools/ctl_dry_run.h"
#include "tools/ctl_native.h"
#include "tools/ctl_stream.h"
#include "tools/ctl_wait.h"

#include <stdio.h>
#include <string.h>

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* Connects as well. */
static enum kstream_status begin(
    struct ctl *ctl, struct kstream_reshard_options *out, struct kstream_error *err)
{
    struct kstream_reshard_options options = KSTREAM_RESHARD_OPTIONS_INIT;
    struct ctl_wait wait;
    enum kstream_status st = ctl_wait_read(ctl, &wait, err);
    if (st)
        return st;
    options.timeout_ms = wait.limit_ms ? wait.limit_ms : ctl->timeout_ms;
    options.wait_until_active = wait.is_wanted;
    options.dry_run = ctl_is_dry_run(ctl);
    *out = options;
    return ctl_connect(ctl, err);
}

/* The answer of all of these; ctl->result gets more from some. */
static enum kstream_status give_status(
    struct ctl *ctl, const struct kstream_reshard_options *options, struct kstream_error *err)
{
    ctl->result = json_pack("{s:s, s:s}", "StreamName", ctl->stream_name, "StreamStatus",
        options->wait_until_active ? "ACTIVE" : "UPDATING");
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

static enum kstream_status give_outlook(
    struct ctl *ctl, const struct kstream_reshard_info *info, struct kstream_error *err)
{
    char short_lived[64] = "";
    if (info->short_lived_shards > 0)
        snprintf(short_lived, sizeof short_lived, " (%u of them for moments only)",
            info->short_lived_shards);
    return ctl_would(ctl, err,
        "close %u shard%s and create %u%s: stream '%s' has %u open one%s then", info->closed_shards,
        info->closed_shards == 1 ? "" : "s", info->created_shards, short_lived, ctl->stream_name,
        info->open_shards, info->open_shards == 1 ? "" : "s");
}

/* ---- shards by their ids ---- */

struct children {
    const char *parent_id;
    json_t *ids;
};

static bool collect_child(const struct kstream_shard *shard, void *arg)
{
    const struct children *children = arg;
    if (!shard->parent_shard_id || strcmp(shard->parent_shard_id, children->parent_id) != 0)
        return true;
    return json_array_append_new(children->ids, json_string(shard->shard_id)) == 0;
}

static enum kstream_status give_children(struct ctl *ctl,
    const struct kstream_reshard_options *options, const char *parent, struct kstream_error *err)
{
    char parent_id[KS_SHARD_ID_TEXT_BYTES];
    ctl_shard_id_text(parent, parent_id);
    enum kstream_status st = give_status(ctl, options, err);
    if (st || !options->wait_until_active)
        return st;
    struct children children = {parent_id, json_array()};
    if (!ctl_json_add(ctl->result, "ChildShards", children.ids))
        return fail_memory(err);
    return ctl_each_shard(ctl, collect_child, &children, err);
}

/* ---- split-shard ---- */

struct sought {
    char shard_id[KS_SHARD_ID_TEXT_BYTES];
    char middle[KS_U128_TEXT_BYTES];
};

static bool find_middle(const struct kstream_shard *shard, void *arg)
{
    struct sought *sought = arg;
    ks_u128 first = 0;
    ks_u128 last = 0;
    if (strcmp(shard->shard_id, sought->shard_id) == 0 &&
        ks_u128_from_text(shard->starting_hash_key, strlen(shard->starting_hash_key), &first) &&
        ks_u128_from_text(shard->ending_hash_key, strlen(shard->ending_hash_key), &last))
        ks_u128_to_text(first + (last - first) / 2 + 1, sought->middle);
    return true;
}

enum kstream_status ctl_run_split_shard(struct ctl *ctl, struct kstream_error *err)
{
    const char *shard = ctl_text(ctl, CTL_SHARD_TO_SPLIT);
    const char *key = ctl_text(ctl, CTL_NEW_STARTING_HASH_KEY);
    struct kstream_reshard_options options;
    struct kstream_reshard_info info = KSTREAM_RESHARD_INFO_INIT;
    struct sought sought = {.middle = "0"};
    enum kstream_status st = begin(ctl, &options, err);
    if (!st && !key) {
        ctl_shard_id_text(shard, sought.shard_id);
        key = sought.middle;
        st = ctl_each_shard(ctl, find_middle, &sought, err);
    }
    if (!st)
        st = kstream_split_shard(ctl->client, ctl->stream, shard, key, &options, &info, err);
    if (st)
        return options.dry_run ? ctl_would_not(ctl, st) : st;
    return options.dry_run ? give_outlook(ctl, &info, err)
                           : give_children(ctl, &options, shard, err);
}

/* ---- merge-shards ---- */

enum kstream_status ctl_run_merge_shards(struct ctl *ctl, struct kstream_error *err)
{
    const char *shard = ctl_text(ctl, CTL_SHARD_TO_MERGE);
    const char *adjacent = ctl_text(ctl, CTL_ADJACENT_SHARD);
    struct kstream_reshard_options options;
    struct kstream_reshard_info info = KSTREAM_RESHARD_INFO_INIT;
    enum kstream_status st = begin(ctl, &options, err);
    if (!st)
        st = kstream_merge_shards(ctl->client, ctl->stream, shard, adjacent, &options, &info, err);
    if (st)
        return options.dry_run ? ctl_would_not(ctl, st) : st;
    return options.dry_run ? give_outlook(ctl, &info, err)
                           : give_children(ctl, &options, shard, err);
}

/* ---- update-shard-count ---- */

enum kstream_status ctl_run_update_shard_count(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_reshard_options options;
    struct kstream_reshard_info info = KSTREAM_RESHARD_INFO_INIT;
    uint64_t target = 0;
    enum kstream_status st =
        ctl_number(ctl, CTL_TARGET_SHARD_COUNT, (struct ctl_range){1, INT32_MAX, 0}, &target, err);
    if (!st)
        st = begin(ctl, &options, err);
    if (st)
        return st;
    st = kstream_update_shard_count(
        ctl->client, ctl->stream, (uint32_t)target, &options, &info, err);
    if (options.dry_run)
        return st ? ctl_would_not(ctl, st) : give_outlook(ctl, &info, err);
    if (!st)
        st = give_status(ctl, &options, err);
    if (!st && !(ctl_json_add(ctl->result, "CurrentShardCount",
                     json_integer((json_int_t)info.current_shard_count)) &&
                   ctl_json_add(ctl->result, "TargetShardCount",
                       json_integer((json_int_t)info.target_shard_count))))
        st = fail_memory(err);
    return st;
}

/* ---- update-stream-mode ---- */

enum kstream_status ctl_run_update_stream_mode(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_reshard_options options;
    bool is_on_demand = false;
    uint64_t warm_mibps = 0;
    enum kstream_status st = ctl_stream_mode_read(ctl, &is_on_demand, err);
    if (!st)
        st = ctl_warm_read(ctl, is_on_demand, &warm_mibps, err);
    if (!st)
        st = begin(ctl, &options, err);
    if (st)
        return st;
    options.warm_throughput_mibps = (uint32_t)warm_mibps;
    st = kstream_update_stream_mode(ctl->client, ctl->stream, is_on_demand, &options, err);
    const char *mode = is_on_demand ? "ON_DEMAND" : "PROVISIONED";
    if (options.dry_run)
        return st ? ctl_would_not(ctl, st)
                  : ctl_would(ctl, err, "make stream '%s' %s", ctl->stream_name, mode);
    if (!st)
        st = give_status(ctl, &options, err);
    if (!st && !ctl_json_add(ctl->result, "StreamMode", json_string(mode)))
        st = fail_memory(err);
    return st;
}
