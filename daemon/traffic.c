#include "daemon/traffic.h"

#include "base/alloc.h"

#define MINUTE_MS 60000u
#define WINDOW_MINUTES 1440u

static void take_row(void *arg, const struct ks_minute_row *row)
{
    struct ks_traffic *traffic = arg;
    if (row->shard_index != KS_MINUTES_WHOLE_STREAM)
        return;
    traffic->since_unix_ms = ks_min_u64(traffic->since_unix_ms, row->minute * MINUTE_MS);
    struct ks_traffic_sums *sums = ks_u64_map_get(&traffic->sums, row->stream_number);
    if (!sums) {
        sums = ks_u64_map_reserve(&traffic->sums, 1) ? ks_zalloc(sizeof(*sums)) : NULL;
        if (!sums) {
            traffic->is_full = true;
            return;
        }
        ks_u64_map_put(&traffic->sums, row->stream_number, sums);
    }
    const struct ks_figure_value *values = row->values;
    sums->incoming_records += values[KS_FIGURE_INCOMING_RECORDS].sum;
    sums->incoming_bytes += values[KS_FIGURE_INCOMING_BYTES].sum;
    sums->outgoing_records += values[KS_FIGURE_OUTGOING_RECORDS].sum;
    sums->outgoing_bytes += values[KS_FIGURE_OUTGOING_BYTES].sum;
    sums->throttled_records += values[KS_FIGURE_WRITE_EXCEEDED].sum;
}

enum ks_status ks_traffic_collect(
    struct ks_server *server, struct ks_traffic *out, struct ks_error *err)
{
    uint64_t now = ks_server_unix_ms(server);
    uint64_t minute = now / MINUTE_MS;
    const struct ks_history_range range = {
        .minute_first = minute > WINDOW_MINUTES ? minute - WINDOW_MINUTES : 0,
        .minute_end = minute + 1};
    uint64_t started = ks_max_u64(server->started_unix_ms, range.minute_first * MINUTE_MS);
    *out = (struct ks_traffic){.since_unix_ms = UINT64_MAX, .now_unix_ms = now};
    enum ks_status st = ks_history_each(server->history, &range, take_row, out, err);
    /* The minute of the start began before it. */
    if (out->since_unix_ms >= started / MINUTE_MS * MINUTE_MS)
        out->since_unix_ms = started;
    if (!st && out->is_full)
        st = ks_fail(err, KS_NO_MEMORY, 0, "out of memory for this request");
    return st;
}

void ks_traffic_fini(struct ks_traffic *traffic)
{
    KS_U64_MAP_FOR_EACH(slot, &traffic->sums)
    ks_free(slot->value);
    ks_u64_map_fini(&traffic->sums);
}

struct ks_traffic_sums ks_traffic_of(const struct ks_traffic *traffic, uint64_t stream_number)
{
    const struct ks_traffic_sums *sums = ks_u64_map_get(&traffic->sums, stream_number);
    return sums ? *sums : (struct ks_traffic_sums){.incoming_records = 0};
}
