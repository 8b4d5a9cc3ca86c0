#include "daemon/stream_limits.h"

#include "base/alloc.h"
#include "base/mutex.h"
#include "storage/u64_map.h"

#define SECOND_NS 1000000000ull
#define DAY_MS (24ull * 3600 * 1000)
#define SWEEP_COUNT_MIN 64u

/* ---- a bucket ---- */

struct bucket {
    uint64_t full_at_ns; /* in the past: it is full */
    uint64_t second;     /* of what follows, for people: how much was taken */
    uint64_t taken;
    uint64_t taken_before; /* in the second before that */
};

static uint64_t cost_ns(uint64_t amount, uint64_t per_s)
{
    ks_u128 cost = (ks_u128)amount * SECOND_NS / per_s;
    return cost > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)cost;
}

/* Until there is anything in it; 0: there is. burst: what it holds. */
static uint64_t bucket_wait_ns(
    const struct bucket *bucket, uint64_t per_s, uint64_t burst, uint64_t now_ns)
{
    if (per_s == 0 || bucket->full_at_ns <= now_ns)
        return 0;
    uint64_t debt_ns = bucket->full_at_ns - now_ns;
    uint64_t burst_ns = cost_ns(burst, per_s);
    return debt_ns < burst_ns ? 0 : debt_ns - burst_ns + 1;
}

static void bucket_look(struct bucket *bucket, uint64_t now_ns)
{
    uint64_t second = now_ns / SECOND_NS;
    if (bucket->second == second)
        return;
    bucket->taken_before = bucket->second + 1 == second ? bucket->taken : 0;
    bucket->taken = 0;
    bucket->second = second;
}

static void bucket_take(struct bucket *bucket, uint64_t per_s, uint64_t amount, uint64_t now_ns)
{
    if (per_s == 0)
        return;
    bucket_look(bucket, now_ns);
    bucket->taken += amount;
    bucket->full_at_ns = ks_max_u64(bucket->full_at_ns, now_ns) + cost_ns(amount, per_s);
}

static void bucket_give_back(struct bucket *bucket, uint64_t per_s, uint64_t amount)
{
    if (per_s == 0)
        return;
    bucket->taken -= KS_MIN(bucket->taken, amount);
    bucket->full_at_ns -= ks_min_u64(bucket->full_at_ns, cost_ns(amount, per_s));
}

static uint64_t bucket_rate(struct bucket *bucket, uint64_t now_ns)
{
    bucket_look(bucket, now_ns);
    uint64_t left_ns = SECOND_NS - now_ns % SECOND_NS;
    return bucket->taken + (uint64_t)((ks_u128)bucket->taken_before * left_ns / SECOND_NS);
}

/* ---- what is remembered ---- */

enum shard_bucket { WRITE_BYTES, WRITE_RECORDS, READ_BYTES, READ_CALLS, SHARD_BUCKETS };
enum client_bucket { CLIENT_BYTES, CLIENT_RECORDS, CLIENT_BUCKETS };
_Static_assert((int)CLIENT_BUCKETS <= (int)SHARD_BUCKETS, "one struct serves both");

struct buckets {
    struct bucket of[SHARD_BUCKETS];
};

/* Of the shards, or of the clients, of a stream. */
struct bucket_table {
    struct ks_u64_map map; /* struct buckets */
    size_t sweep_at;       /* so many: the full ones are forgotten */
};

struct stream_state {
    struct bucket_table shards;
    struct bucket_table clients;
    uint64_t day;
    uint64_t day_records;
};

struct ks_limits {
    const struct ks_clock *clock;
    struct ks_mutex mu;
    struct ks_u64_map streams; /* [mu] struct stream_state, by stream number */
    size_t sweep_at;           /* [mu] */
};

static bool is_full(const struct buckets *buckets, uint64_t now_ns)
{
    for (int i = 0; i < SHARD_BUCKETS; i++)
        if (buckets->of[i].full_at_ns > now_ns)
            return false;
    return true;
}

/* Without memory nothing is forgotten. */
static void table_sweep(struct bucket_table *table, uint64_t now_ns)
{
    struct ks_u64_map kept = {.slots = NULL};
    if (!ks_u64_map_reserve(&kept, table->map.count))
        return;
    KS_U64_MAP_FOR_EACH(slot, &table->map)
    {
        if (is_full(slot->value, now_ns))
            ks_free(slot->value);
        else
            ks_u64_map_put(&kept, slot->id, slot->value);
    }
    ks_u64_map_fini(&table->map);
    table->map = kept;
    table->sweep_at = KS_MAX(2 * kept.count, (size_t)SWEEP_COUNT_MIN);
}

static void table_fini(struct bucket_table *table)
{
    KS_U64_MAP_FOR_EACH(slot, &table->map)
    ks_free(slot->value);
    ks_u64_map_fini(&table->map);
}

/* NULL: no memory. */
static struct buckets *table_get(struct bucket_table *table, uint64_t id, uint64_t now_ns)
{
    struct buckets *buckets = ks_u64_map_get(&table->map, id);
    if (buckets)
        return buckets;
    if (table->map.count >= KS_MAX(table->sweep_at, (size_t)SWEEP_COUNT_MIN))
        table_sweep(table, now_ns);
    buckets = ks_u64_map_reserve(&table->map, 1) ? ks_zalloc(sizeof *buckets) : NULL;
    if (buckets)
        ks_u64_map_put(&table->map, id, buckets);
    return buckets;
}

static uint64_t today(const struct ks_limits *limits)
{
    return ks_clock_unix_ms(limits->clock) / DAY_MS;
}

static void stream_free(struct stream_state *state)
{
    table_fini(&state->shards);
    table_fini(&state->clients);
    ks_free(state);
}

/* Streams of which there is nothing to remember: deleted ones too, by the next day. */
static void streams_sweep(struct ks_limits *limits, uint64_t now_ns)
{
    struct ks_u64_map kept = {.slots = NULL};
    uint64_t day = today(limits);
    if (!ks_u64_map_reserve(&kept, limits->streams.count))
        return;
    KS_U64_MAP_FOR_EACH(slot, &limits->streams)
    {
        struct stream_state *state = slot->value;
        table_sweep(&state->shards, now_ns);
        table_sweep(&state->clients, now_ns);
        bool is_used = state->shards.map.count > 0 || state->clients.map.count > 0 ||
                       (state->day == day && state->day_records > 0);
        if (is_used)
            ks_u64_map_put(&kept, slot->id, state);
        else
            stream_free(state);
    }
    ks_u64_map_fini(&limits->streams);
    limits->streams = kept;
    limits->sweep_at = KS_MAX(2 * kept.count, (size_t)SWEEP_COUNT_MIN);
}

static struct stream_state *state_get(struct ks_limits *limits, uint64_t number, uint64_t now_ns)
{
    struct stream_state *state = ks_u64_map_get(&limits->streams, number);
    if (state)
        return state;
    if (limits->streams.count >= KS_MAX(limits->sweep_at, (size_t)SWEEP_COUNT_MIN))
        streams_sweep(limits, now_ns);
    state = ks_u64_map_reserve(&limits->streams, 1) ? ks_zalloc(sizeof *state) : NULL;
    if (state)
        ks_u64_map_put(&limits->streams, number, state);
    return state;
}

/* ---- judging ---- */

/* One limit: how long it is in the way. The longest of all is told. */
struct judged {
    const char *name;
    uint64_t limit;
    uint64_t burst;
    struct bucket *bucket;
    bool is_of_shard;
};

static void judge(const struct judged *judged, uint64_t now_ns, uint64_t *longest_ns,
    struct ks_limit_refusal *out)
{
    uint64_t wait_ns = bucket_wait_ns(judged->bucket, judged->limit, judged->burst, now_ns);
    if (wait_ns <= *longest_ns)
        return;
    *longest_ns = wait_ns;
    *out = (struct ks_limit_refusal){.name = judged->name,
        .is_of_shard = judged->is_of_shard,
        .is_of_client = !judged->is_of_shard,
        .limit = judged->limit,
        .current = bucket_rate(judged->bucket, now_ns),
        .retry_after_ms = wait_ns / 1000000 + 1};
}

static void judge_day(struct ks_limits *limits, struct stream_state *state,
    const struct ks_limit_use *use, uint64_t *longest_ns, struct ks_limit_refusal *out)
{
    uint64_t quota = use->stream->limits.records_per_day;
    uint64_t unix_ms = ks_clock_unix_ms(limits->clock);
    if (state->day != unix_ms / DAY_MS) {
        state->day = unix_ms / DAY_MS;
        state->day_records = 0;
    }
    if (quota == 0 || (state->day_records < quota && use->records <= quota - state->day_records))
        return;
    uint64_t wait_ms = DAY_MS - unix_ms % DAY_MS;
    if (wait_ms * 1000000 <= *longest_ns)
        return;
    *longest_ns = wait_ms * 1000000;
    *out = (struct ks_limit_refusal){.name = "records_per_day",
        .limit = quota,
        .current = state->day_records,
        .retry_after_ms = wait_ms};
}

/* A stream of larger records than usual holds one of them in its bucket (developer guide). */
static uint64_t write_burst(const struct ks_stream *stream)
{
    uint64_t second = stream->limits.write_bytes_per_s;
    bool has_large = stream->record_bytes_max > KS_RECORD_BYTES_DEFAULT;
    return has_large ? ks_max_u64(second, stream->record_bytes_max) : second;
}

bool ks_limits_take_put(
    struct ks_limits *limits, const struct ks_limit_use *use, struct ks_limit_refusal *out)
{
    const struct ks_stream_limits *of = &use->stream->limits;
    uint64_t now_ns = ks_clock_mono_ns(limits->clock);
    uint64_t longest_ns = 0;
    KS_LOCK_SCOPE(&limits->mu);
    struct stream_state *state = state_get(limits, use->stream->number, now_ns);
    struct buckets *shard = state ? table_get(&state->shards, use->shard_index, now_ns) : NULL;
    struct buckets *client = state ? table_get(&state->clients, use->client, now_ns) : NULL;
    if (!shard || !client)
        return true; /* no memory to count with is no reason to refuse */
    const struct judged all[] = {
        {"write_bytes_per_second", of->write_bytes_per_s, write_burst(use->stream),
            &shard->of[WRITE_BYTES], true},
        {"write_records_per_second", of->write_records_per_s, of->write_records_per_s,
            &shard->of[WRITE_RECORDS], true},
        {"client_bytes_per_second", of->client_bytes_per_s, of->client_bytes_per_s,
            &client->of[CLIENT_BYTES], false},
        {"client_records_per_second", of->client_records_per_s, of->client_records_per_s,
            &client->of[CLIENT_RECORDS], false},
    };
    for (size_t i = 0; i < KS_COUNT_OF(all); i++)
        judge(&all[i], now_ns, &longest_ns, out);
    judge_day(limits, state, use, &longest_ns, out);
    if (longest_ns > 0)
        return false;
    for (size_t i = 0; i < KS_COUNT_OF(all); i++)
        bucket_take(all[i].bucket, all[i].limit, i % 2 == 0 ? use->bytes : use->records, now_ns);
    state->day_records += use->records;
    return true;
}

void ks_limits_give_back_put(struct ks_limits *limits, const struct ks_limit_use *use)
{
    const struct ks_stream_limits *of = &use->stream->limits;
    KS_LOCK_SCOPE(&limits->mu);
    struct stream_state *state = ks_u64_map_get(&limits->streams, use->stream->number);
    if (!state)
        return; /* nothing is owed */
    struct buckets *shard = ks_u64_map_get(&state->shards.map, use->shard_index);
    struct buckets *client = ks_u64_map_get(&state->clients.map, use->client);
    if (shard) {
        bucket_give_back(&shard->of[WRITE_BYTES], of->write_bytes_per_s, use->bytes);
        bucket_give_back(&shard->of[WRITE_RECORDS], of->write_records_per_s, use->records);
    }
    if (client) {
        bucket_give_back(&client->of[CLIENT_BYTES], of->client_bytes_per_s, use->bytes);
        bucket_give_back(&client->of[CLIENT_RECORDS], of->client_records_per_s, use->records);
    }
    if (state->day == today(limits))
        state->day_records -= ks_min_u64(state->day_records, use->records);
}

/* The bytes of reads have no burst: an answer of 10 MiB closes a shard of 2 MiB a second for five
 * seconds, as in Kinesis. */
bool ks_limits_take_get(
    struct ks_limits *limits, const struct ks_limit_use *use, struct ks_limit_refusal *out)
{
    const struct ks_stream_limits *of = &use->stream->limits;
    uint64_t now_ns = ks_clock_mono_ns(limits->clock);
    uint64_t longest_ns = 0;
    KS_LOCK_SCOPE(&limits->mu);
    struct stream_state *state = state_get(limits, use->stream->number, now_ns);
    struct buckets *shard = state ? table_get(&state->shards, use->shard_index, now_ns) : NULL;
    if (!shard)
        return true;
    const struct judged bytes = {
        "read_bytes_per_second", of->read_bytes_per_s, 0, &shard->of[READ_BYTES], true};
    const struct judged calls = {"read_calls_per_second", of->read_calls_per_s,
        of->read_calls_per_s, &shard->of[READ_CALLS], true};
    judge(&bytes, now_ns, &longest_ns, out);
    judge(&calls, now_ns, &longest_ns, out);
    if (longest_ns == 0)
        bucket_take(calls.bucket, calls.limit, 1, now_ns);
    return longest_ns == 0;
}

void ks_limits_add_read(struct ks_limits *limits, const struct ks_limit_use *use)
{
    uint64_t now_ns = ks_clock_mono_ns(limits->clock);
    KS_LOCK_SCOPE(&limits->mu);
    struct stream_state *state = state_get(limits, use->stream->number, now_ns);
    struct buckets *shard = state ? table_get(&state->shards, use->shard_index, now_ns) : NULL;
    if (shard)
        bucket_take(
            &shard->of[READ_BYTES], use->stream->limits.read_bytes_per_s, use->bytes, now_ns);
}

/* ---- life ---- */

struct ks_limits *ks_limits_create(const struct ks_clock *clock)
{
    struct ks_limits *limits = ks_zalloc(sizeof *limits);
    if (!limits)
        return NULL;
    limits->clock = clock;
    ks_mutex_init(&limits->mu, KS_RANK_LIMITS);
    return limits;
}

void ks_limits_destroy(struct ks_limits *limits)
{
    if (!limits)
        return;
    KS_U64_MAP_FOR_EACH(slot, &limits->streams)
    stream_free(slot->value);
    ks_u64_map_fini(&limits->streams);
    ks_mutex_fini(&limits->mu);
    ks_free(limits);
}

size_t ks_limits_remembered(struct ks_limits *limits)
{
    size_t count = 0;
    KS_LOCK_SCOPE(&limits->mu);
    KS_U64_MAP_FOR_EACH(slot, &limits->streams)
    {
        const struct stream_state *state = slot->value;
        count += state->shards.map.count + state->clients.map.count;
    }
    return count;
}
