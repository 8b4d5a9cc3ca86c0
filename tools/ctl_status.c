/* status: who answers, how fast, and how much there is. */
#include "base/clock.h"
#include "tools/ctl_wait.h"

#include <stdio.h>
#include <string.h>

#define PING_MS 5000u
#define WAIT_MS 60000u

struct stream_counts {
    uint64_t streams;
    uint64_t active;
};

/* Goes through the pages of all streams. */
static enum kstream_status count_streams(
    struct ctl *ctl, struct stream_counts *out, struct kstream_error *err)
{
    char last[160] = "";
    for (bool has_more = true; has_more;) {
        struct kstream_list_streams_options options = KSTREAM_LIST_STREAMS_OPTIONS_INIT;
        options.timeout_ms = ctl->timeout_ms;
        options.exclusive_start_stream_name = last[0] ? last : NULL;
        struct kstream_stream_list *page = NULL;
        enum kstream_status st = kstream_list_streams(ctl->client, &options, &page, err);
        if (st)
            return st;
        for (size_t i = 0; i < page->stream_count; i++) {
            out->active += strcmp(page->streams[i].stream_status, "ACTIVE") == 0;
            snprintf(last, sizeof last, "%s", page->streams[i].stream_name);
        }
        out->streams += page->stream_count;
        has_more = page->has_more && page->stream_count > 0;
        kstream_stream_list_free(page);
    }
    return KSTREAM_OK;
}

/* {"native": "HOST:PORT", "http": ...} of the lines; NULL: out of memory. */
static json_t *addresses_to_json(const char *lines)
{
    json_t *addresses = json_object();
    while (*lines) {
        size_t bytes = strcspn(lines, "\n");
        const char *equals = memchr(lines, '=', bytes);
        char name[16];
        if (equals) {
            snprintf(name, sizeof name, "%.*s", (int)(equals - lines), lines);
            json_t *address = json_stringn(equals + 1, bytes - (size_t)(equals - lines) - 1);
            if (!ctl_json_add(addresses, name, address)) {
                json_decref(addresses);
                return NULL;
            }
        }
        lines += bytes;
        lines += strspn(lines, "\n");
    }
    return addresses;
}

static double round_to_us(uint64_t ns)
{
    uint64_t us = ns / 1000;
    return (double)us / 1000;
}

static enum kstream_status give_status(struct ctl *ctl, const struct kstream_server_info *info,
    uint64_t round_trip_ns, const struct stream_counts *counts, struct kstream_error *err)
{
    /* Half of the round trip lies between the broker's look at its clock and ours at ours. */
    int64_t ahead_ms = (int64_t)info->server_unix_ms + (int64_t)(round_trip_ns / 2000000) -
                       (int64_t)ks_clock_unix_ms(&ks_clock_system);
    ctl->result = json_pack("{s:s, s:o, s:s, s:I, s:s, s:s, s:o, s:I, s:f, s:I, s:I}", "endpoint",
        ctl->endpoint, "addresses", addresses_to_json(info->addresses), "version", info->version,
        "run", (json_int_t)info->run_id, "region", info->region, "account_id", info->account_id,
        "clock_time", ctl_json_time(info->server_unix_ms), "clock_ahead_ms", (json_int_t)ahead_ms,
        "round_trip_ms", round_to_us(round_trip_ns), "streams", (json_int_t)counts->streams,
        "streams_active", (json_int_t)counts->active);
    return ctl->result ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- --wait ---- */

struct awaited {
    uint64_t until_ms;
    struct kstream_error last; /* why there was no connection yet */
};

/* An answer is asked for: systemd may hold the socket long before the broker serves it. */
static enum kstream_status is_ready(
    struct ctl *ctl, void *arg, bool *out_is_done, struct kstream_error *err)
{
    struct awaited *awaited = arg;
    uint64_t now_ms = ks_clock_mono_ns(&ks_clock_system) / 1000000;
    uint64_t left_ms = awaited->until_ms > now_ms ? awaited->until_ms - now_ms : 1;
    uint32_t limit_ms = (uint32_t)KS_MIN(left_ms, PING_MS);
    enum kstream_status st = ctl_connect_within(ctl, limit_ms, err);
    if (!st)
        st = kstream_ping(ctl->client, limit_ms, NULL, err);
    *out_is_done = st == KSTREAM_OK;
    if (st != KSTREAM_UNAVAILABLE && st != KSTREAM_TIMEOUT)
        return st;
    awaited->last = *err;
    return KSTREAM_OK;
}

static enum kstream_status connect_when_ready(
    struct ctl *ctl, const struct ctl_wait *wait, struct kstream_error *err)
{
    uint32_t limit_ms = wait->limit_ms ? wait->limit_ms : WAIT_MS;
    struct awaited awaited = {.until_ms = ks_clock_mono_ns(&ks_clock_system) / 1000000 + limit_ms,
        .last = KSTREAM_ERROR_INIT};
    char what[160];
    snprintf(what, sizeof what, "a broker answers at %.120s", ctl->endpoint);
    enum kstream_status st = ctl_wait_until(ctl, limit_ms, what, is_ready, &awaited, err);
    /* What stood in the way says more than that it took too long. */
    if (st == KSTREAM_TIMEOUT && awaited.last.text[0]) {
        *err = awaited.last;
        st = awaited.last.status;
    }
    return st;
}

enum kstream_status ctl_run_status(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_server_info info = KSTREAM_SERVER_INFO_INIT;
    struct stream_counts counts = {0, 0};
    struct ctl_wait wait;
    enum kstream_status st = ctl_wait_read(ctl, &wait, err);
    if (!st)
        st = ctl_text(ctl, CTL_WAIT) ? connect_when_ready(ctl, &wait, err) : ctl_connect(ctl, err);
    if (st)
        return st;
    uint64_t asked_ns = ks_clock_mono_ns(&ks_clock_system);
    st = kstream_ping(ctl->client, ctl->timeout_ms ? ctl->timeout_ms : PING_MS, &info, err);
    uint64_t round_trip_ns = ks_clock_mono_ns(&ks_clock_system) - asked_ns;
    if (!st)
        st = count_streams(ctl, &counts, err);
    return st ? st : give_status(ctl, &info, round_trip_ns, &counts, err);
}
