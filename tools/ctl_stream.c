/* The verbs that make and delete streams, and those that wait for them. */
#include "tools/ctl_stream.h"

#include "proto/api.pb-c.h"
#include "proto/limits.h"
#include "tools/ctl_dry_run.h"
#include "tools/ctl_param.h"
#include "tools/ctl_retention.h"
#include "tools/ctl_survey.h"
#include "tools/ctl_tags.h"
#include "tools/ctl_wait.h"

#include <stdio.h>
#include <string.h>

#define DELETE_WAIT_MS 60000u
#define EXISTS_WAIT_MS 180000u /* as the aws CLI waits */

/* The answer of all of these. */
static enum kstream_status give_status(
    struct ctl *ctl, const char *status, struct kstream_error *err)
{
    ctl->result = json_pack("{s:s, s:s}", "StreamName", ctl->stream_name, "StreamStatus", status);
    return ctl->result ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- create-stream ---- */

enum kstream_status ctl_stream_mode_read(
    const struct ctl *ctl, bool *out_on_demand, struct kstream_error *err)
{
    const char *text = ctl_text(ctl, CTL_STREAM_MODE_DETAILS);
    *out_on_demand = false;
    if (!text)
        return KSTREAM_OK;
    json_t *details = NULL;
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st =
        ctl_param_structure(ctl_option_name(CTL_STREAM_MODE_DETAILS), text, &details, &inner);
    if (st)
        return ctl_fail_from(err, st, &inner);
    const char *mode = json_string_value(json_object_get(details, "StreamMode"));
    *out_on_demand = mode && strcmp(mode, "ON_DEMAND") == 0;
    bool is_known = mode && (*out_on_demand || strcmp(mode, "PROVISIONED") == 0) &&
                    json_object_size(details) == 1;
    json_decref(details);
    if (is_known && !(*out_on_demand && ctl_has(ctl, CTL_SHARD_COUNT)))
        return KSTREAM_OK;
    return ctl_fail(err, KSTREAM_USAGE,
        is_known ? "a stream ON_DEMAND takes no '--shard-count'"
                 : "'--stream-mode-details': StreamMode=PROVISIONED or ON_DEMAND is needed");
}

enum kstream_status ctl_warm_read(
    const struct ctl *ctl, bool is_on_demand, uint64_t *out_mibps, struct kstream_error *err)
{
    enum kstream_status st = ctl_number(
        ctl, CTL_WARM_MIBPS, (struct ctl_range){1, KS_SHARDS_PER_STREAM_MAX, 0}, out_mibps, err);
    if (st || is_on_demand || *out_mibps == 0)
        return st;
    return ctl_fail(
        err, KSTREAM_USAGE, "'--warm-throughput-mibps' is for streams with StreamMode=ON_DEMAND");
}

static enum kstream_status create_options(
    const struct ctl *ctl, struct kstream_create_options *out, struct kstream_error *err)
{
    struct kstream_create_options options = KSTREAM_CREATE_OPTIONS_INIT;
    uint64_t shard_count = 0;
    uint64_t record_kib = 0;
    uint64_t warm_mibps = 0;
    struct ctl_wait wait;
    bool is_on_demand = false;
    enum kstream_status st = ctl_stream_mode_read(ctl, &is_on_demand, err);
    if (!st)
        st = ctl_number(ctl, CTL_SHARD_COUNT,
            (struct ctl_range){1, KS_SHARDS_PER_STREAM_MAX, is_on_demand ? 0 : 1}, &shard_count,
            err);
    if (!st)
        st = ctl_number(ctl, CTL_MAX_RECORD_KIB,
            (struct ctl_range){KS_RECORD_KIB_MIN, KS_RECORD_KIB_MAX, 0}, &record_kib, err);
    if (!st)
        st = ctl_warm_read(ctl, is_on_demand, &warm_mibps, err);
    if (!st)
        st = ctl_wait_read(ctl, &wait, err);
    if (st)
        return st;
    options.timeout_ms = wait.limit_ms ? wait.limit_ms : ctl->timeout_ms;
    options.on_demand = is_on_demand;
    options.shard_count = (uint32_t)shard_count;
    options.max_record_size_kib = (uint32_t)record_kib;
    options.ack = ctl_text(ctl, CTL_ACK);
    options.warm_throughput_mibps = (uint32_t)warm_mibps;
    options.wait_until_active = wait.is_wanted;
    *out = options;
    return KSTREAM_OK;
}

static enum kstream_status create_dry(struct ctl *ctl, const char *stream,
    const struct kstream_create_options *options, struct kstream_error *err)
{
    Kstream__CreateStreamRequest request = KSTREAM__CREATE_STREAM_REQUEST__INIT;
    char name[KS_STREAM_NAME_BYTES_MAX + 2];
    snprintf(name, sizeof name, "%s", stream);
    request.stream_name = name;
    enum kstream_status st = ctl_check_request(&request.base, err);
    struct kstream_stream *about = NULL;
    if (!st)
        st = kstream_describe_stream_summary(ctl->client, stream, NULL, &about, err);
    if (!st)
        st = ctl_fail(err, KSTREAM_EXISTS, "stream '%s' exists already and is %s", stream,
            about->stream_status);
    kstream_stream_free(about);
    if (st != KSTREAM_NOT_FOUND)
        return ctl_would_not(ctl, st);
    if (options->on_demand)
        return ctl_would(ctl, err, "create stream '%s' with shards on demand", stream);
    return ctl_would(ctl, err, "create stream '%s' with %u shard%s", stream, options->shard_count,
        options->shard_count == 1 ? "" : "s");
}

enum kstream_status ctl_run_create_stream(struct ctl *ctl, struct kstream_error *err)
{
    const char *stream = ctl->stream;
    struct kstream_create_options options;
    KS_CLEANUP(ctl_tags_fini) struct ctl_tags tags = {.count = 0};
    enum kstream_status st = create_options(ctl, &options, err);
    if (!st && ctl_has(ctl, CTL_TAGS))
        st = ctl_tags_read(ctl, &tags, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    if (ctl_is_dry_run(ctl))
        return create_dry(ctl, stream, &options, err);
    options.tags = tags.list;
    options.tag_count = tags.count;
    st = kstream_create_stream(ctl->client, stream, &options, err);
    return st ? st : give_status(ctl, options.wait_until_active ? "ACTIVE" : "CREATING", err);
}

/* ---- waiting ---- */

/* What is waited for. */
struct awaited {
    const char *status; /* NULL: that it is gone */
    bool may_be_missing;
};

static enum kstream_status is_awaited(
    struct ctl *ctl, void *arg, bool *out_is_done, struct kstream_error *err)
{
    const struct awaited *awaited = arg;
    struct kstream_stream *about = NULL;
    enum kstream_status st =
        kstream_describe_stream_summary(ctl->client, ctl->stream, NULL, &about, err);
    if (st == KSTREAM_NOT_FOUND) {
        *out_is_done = awaited->status == NULL;
        return *out_is_done || awaited->may_be_missing ? KSTREAM_OK : st;
    }
    if (st)
        return st;
    *out_is_done = awaited->status && strcmp(about->stream_status, awaited->status) == 0;
    kstream_stream_free(about);
    return KSTREAM_OK;
}

static enum kstream_status await(
    struct ctl *ctl, struct awaited *awaited, uint32_t limit_ms, struct kstream_error *err)
{
    char what[KS_STREAM_NAME_BYTES_MAX + 80];
    snprintf(what, sizeof what, "stream '%.140s' is %s", ctl->stream_name,
        awaited->status ? awaited->status : "gone");
    return ctl_wait_until(ctl, limit_ms, what, is_awaited, awaited, err);
}

static enum kstream_status wait_for(
    struct ctl *ctl, struct awaited *awaited, struct kstream_error *err)
{
    struct ctl_wait wait;
    enum kstream_status st = ctl_wait_read(ctl, &wait, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (!st)
        st = await(ctl, awaited, wait.limit_ms ? wait.limit_ms : EXISTS_WAIT_MS, err);
    return st ? st : give_status(ctl, awaited->status ? awaited->status : "DELETED", err);
}

enum kstream_status ctl_run_wait_stream_exists(struct ctl *ctl, struct kstream_error *err)
{
    struct awaited awaited = {.status = "ACTIVE", .may_be_missing = true};
    return wait_for(ctl, &awaited, err);
}

enum kstream_status ctl_run_wait_stream_not_exists(struct ctl *ctl, struct kstream_error *err)
{
    struct awaited awaited = {.status = NULL};
    return wait_for(ctl, &awaited, err);
}

/* ---- delete-stream ---- */

static enum kstream_status delete_dry(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_stream *about = NULL;
    enum kstream_status st =
        kstream_describe_stream_summary(ctl->client, ctl->stream, NULL, &about, err);
    if (st)
        return ctl_would_not(ctl, st);
    if (about->consumer_count > 0 && !ctl_has(ctl, CTL_ENFORCE_CONSUMERS)) {
        ctl->hint = "--enforce-consumer-deletion deletes them as well";
        st = ctl_would_not(ctl, ctl_fail(err, KSTREAM_IN_USE, "stream '%.128s' has %u consumers",
                                    about->stream_name, about->consumer_count));
    } else if (ctl_has(ctl, CTL_ENFORCE_RETENTION)) {
        st = ctl_would(ctl, err, "delete stream '%s' in 24 hours, unless it is restored before",
            about->stream_name);
    } else {
        st = ctl_would(ctl, err, "delete stream '%s' with %u open shard%s and every record in it",
            about->stream_name, about->open_shard_count, about->open_shard_count == 1 ? "" : "s");
    }
    kstream_stream_free(about);
    if (st)
        return st;
    struct kstream_compact_info info;
    st = ctl_survey(ctl, 0, &info, err);
    return st ? st : ctl_survey_give(ctl, &info, err);
}

enum kstream_status ctl_run_delete_stream(struct ctl *ctl, struct kstream_error *err)
{
    struct ctl_wait wait;
    enum kstream_status st = ctl_wait_read(ctl, &wait, err);
    bool is_later = ctl_has(ctl, CTL_ENFORCE_RETENTION);
    if (!st && is_later && ctl_has(ctl, CTL_WAIT))
        st = ctl_fail(err, KSTREAM_USAGE, "'--wait' and '--enforce-retention' exclude each other");
    if (!st && !is_later && !ctl_is_dry_run(ctl))
        st = ctl_confirm(ctl, "the stream and all its records", ctl->stream_name, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    if (ctl_is_dry_run(ctl))
        return delete_dry(ctl, err);
    if (is_later)
        return ctl_delete_later(ctl, err);
    st = kstream_delete_stream(ctl->client, ctl->stream, NULL, err);
    /* Only if asked for: what is DELETING answers at once. */
    struct awaited awaited = {.status = NULL};
    if (!st && ctl_has(ctl, CTL_WAIT))
        st = await(ctl, &awaited, wait.limit_ms ? wait.limit_ms : DELETE_WAIT_MS, err);
    return st ? st : give_status(ctl, ctl_has(ctl, CTL_WAIT) ? "DELETED" : "DELETING", err);
}
