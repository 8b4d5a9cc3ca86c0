/* usage: asks the broker page by page. */
#include "tools/ctl_native.h"
#include "tools/ctl_usage.h"

#include <string.h>

struct usage {
    struct ctl *ctl;
    struct ctl_prices prices;
    struct ctl_usage_totals totals;
    json_t *streams;
    uint64_t since_unix_ms;
    uint64_t now_unix_ms;
    char last[160]; /* the stream to go on behind */
    bool has_more;
};

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

static enum kstream_status take_page(
    struct usage *usage, const Kstream__DescribeUsageResponse *page, struct kstream_error *err)
{
    usage->since_unix_ms = page->since_unix_ms;
    usage->now_unix_ms = page->now_unix_ms;
    uint64_t window_ms =
        page->now_unix_ms > page->since_unix_ms ? page->now_unix_ms - page->since_unix_ms : 0;
    for (size_t i = 0; i < page->n_streams; i++) {
        json_t *row = ctl_usage_row(page->streams[i], window_ms, &usage->prices, &usage->totals);
        if (!row || json_array_append_new(usage->streams, row))
            return fail_memory(err);
        snprintf(usage->last, sizeof usage->last, "%s", page->streams[i]->stream_name);
    }
    usage->has_more = page->has_more_streams && page->n_streams > 0;
    return KSTREAM_OK;
}

static enum kstream_status ask_page(struct usage *usage, struct kstream_error *err)
{
    Kstream__DescribeUsageRequest request = KSTREAM__DESCRIBE_USAGE_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct ks_arena arena;
    enum kstream_status st = ctl_connect(usage->ctl, err);
    if (st)
        return st;
    ctl_name_stream(usage->ctl, &request.stream_name, &request.stream_arn);
    request.exclusive_start_stream_name = usage->last[0] ? usage->last : NULL;
    ks_arena_init(&arena, CTL_ANSWER_BYTES_MAX);
    st = ctl_call(usage->ctl, KS_OP_DESCRIBE_USAGE, &request.base, &arena, &message, err);
    if (!st)
        st = take_page(usage, (const void *)message, err);
    ks_arena_fini(&arena);
    return st;
}

static enum kstream_status give(struct usage *usage, struct kstream_error *err)
{
    struct ctl *ctl = usage->ctl;
    const struct ctl_prices *prices = &usage->prices;
    ctl->list_member = "streams";
    ctl->result = json_pack("{s:O, s:o, s:o, s:o, s:{s:f, s:f, s:s}}", "streams", usage->streams,
        "total", ctl_usage_totals_to_json(&usage->totals, prices), "traffic_since_time",
        ctl_json_time(usage->since_unix_ms), "traffic_until_time",
        ctl_json_time(usage->now_unix_ms), "prices", "stored_gb_month", prices->stored_gb_month,
        "thousand_records", prices->thousand_records, "currency", prices->currency);
    return ctl->result ? KSTREAM_OK : fail_memory(err);
}

enum kstream_status ctl_run_usage(struct ctl *ctl, struct kstream_error *err)
{
    struct usage usage = {.ctl = ctl};
    struct ks_error inner = KS_ERROR_INIT;
    const char *path = ctl_text(ctl, CTL_PRICES);
    ctl_prices_default(&usage.prices);
    enum ks_status read = path ? ctl_prices_load(path, &usage.prices, &inner) : KS_OK;
    if (read)
        return ctl_fail_from(err, read, &inner);
    usage.streams = json_array();
    enum kstream_status st = usage.streams ? KSTREAM_OK : fail_memory(err);
    do {
        if (!st)
            st = ask_page(&usage, err);
    } while (!st && usage.has_more);
    if (!st)
        st = give(&usage, err);
    json_decref(usage.streams);
    return st;
}
