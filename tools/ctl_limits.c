/* update-stream-limits. */
#include "tools/ctl_limits.h"

#include "tools/ctl_dry_run.h"
#include "tools/ctl_param.h"
#include "tools/ctl_tags.h"
#include "tools/ctl_time.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    size_t offset; /* of the number */
} numbers[] = {
    {"WriteBytesPerSecond", offsetof(struct kstream_stream_limits, write_bytes_per_second)},
    {"WriteRecordsPerSecond", offsetof(struct kstream_stream_limits, write_records_per_second)},
    {"ReadBytesPerSecond", offsetof(struct kstream_stream_limits, read_bytes_per_second)},
    {"ReadCallsPerSecond", offsetof(struct kstream_stream_limits, read_calls_per_second)},
    {"RecordsPerDay", offsetof(struct kstream_stream_limits, records_per_day)},
    {"ClientBytesPerSecond", offsetof(struct kstream_stream_limits, client_bytes_per_second)},
    {"ClientRecordsPerSecond", offsetof(struct kstream_stream_limits, client_records_per_second)},
};

json_t *ctl_limits_to_json(const struct kstream_stream_limits *limits)
{
    json_t *object = json_object();
    bool is_fine = ctl_json_add(object, "Mode", ctl_json_text(limits->mode));
    for (size_t i = 0; is_fine && i < KS_COUNT_OF(numbers); i++) {
        uint64_t value = 0;
        memcpy(&value, (const char *)limits + numbers[i].offset, sizeof value);
        if (value > 0)
            is_fine = ctl_json_add(object, numbers[i].name, json_integer((json_int_t)value));
    }
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

/* A number of JSON, or a text such as 4MiB. False: neither. */
static bool read_number(const json_t *value, uint64_t *out)
{
    if (json_is_integer(value)) {
        *out = (uint64_t)json_integer_value(value);
        return json_integer_value(value) >= 0;
    }
    return json_is_string(value) &&
           ctl_size_from_text(json_string_value(value), out, NULL) == KS_OK;
}

/* Texts point into *out_owner. */
static enum kstream_status read_limits(struct ctl *ctl, json_t **out_owner,
    struct kstream_stream_limits *out, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = ctl_param_structure(
        ctl_option_name(CTL_LIMITS), ctl_text(ctl, CTL_LIMITS), out_owner, &inner);
    if (st)
        return ctl_fail_from(err, st, &inner);
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(*out_owner, key, value)
    {
        size_t i = 0;
        uint64_t number = 0;
        if (strcmp(key, "Mode") == 0 && json_is_string(value)) {
            out->mode = json_string_value(value);
            continue;
        }
        while (i < KS_COUNT_OF(numbers) && strcmp(key, numbers[i].name) != 0)
            i++;
        if (i == KS_COUNT_OF(numbers) || !read_number(value, &number)) {
            ctl->hint = "kstreamctl update-stream-limits --help";
            return ctl_fail(err, KSTREAM_USAGE,
                i == KS_COUNT_OF(numbers) ? "'--limits': '%.60s' is none of them"
                                          : "'--limits': the value of '%.60s' is no number",
                key);
        }
        memcpy((char *)out + numbers[i].offset, &number, sizeof number);
    }
    if (json_object_get(*out_owner, "Mode"))
        return KSTREAM_OK;
    return ctl_fail(err, KSTREAM_USAGE, "'--limits': Mode=off, aws or custom is missing");
}

/* As they are now. */
static enum kstream_status give_limits(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_stream *about = NULL;
    enum kstream_status st =
        kstream_describe_stream_summary(ctl->client, ctl->stream, NULL, &about, err);
    if (st)
        return st;
    ctl->result = json_pack("{s:s}", "StreamName", about->stream_name);
    bool is_fine =
        !about->limits || ctl_json_add(ctl->result, "Limits", ctl_limits_to_json(about->limits));
    kstream_stream_free(about);
    return ctl->result && is_fine ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

enum kstream_status ctl_run_update_limits(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_stream_limits limits = KSTREAM_STREAM_LIMITS_INIT;
    struct kstream_setting_options options;
    json_t *owner = NULL;
    enum kstream_status st = read_limits(ctl, &owner, &limits, err);
    if (!st)
        st = ctl_setting_begin(ctl, &options, err);
    if (!st) {
        st = kstream_update_stream_limits(ctl->client, ctl->stream, &limits, &options, err);
        if (options.dry_run)
            st = st ? ctl_would_not(ctl, st)
                    : ctl_would(ctl, err, "hold the users of '%s' to limits '%s'", ctl->stream_name,
                          limits.mode);
        else if (!st)
            st = give_limits(ctl, err);
    }
    json_decref(owner);
    return st;
}
