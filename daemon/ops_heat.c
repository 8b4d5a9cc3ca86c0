/* DescribeHeat: what the samples of the loops' puts say about a stream. */
#include "base/alloc.h"
#include "daemon/ops.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_MS 60000u
#define KEYS_DEFAULT 20
#define SHARD_RECORDS_PER_S 1000.0
#define SHARD_BYTES_PER_S 1048576.0

struct point {
    uint64_t stream_number;
    uint64_t hash_top;
    uint64_t key_id;
    uint32_t shard_index;
    double records_per_s;
    double bytes_per_s;
};

struct heat_work {
    struct ks_call *call;
    struct ks_server *server;
    struct ks_stream *stream; /* NULL: all of them */
    struct point *points;
    size_t point_count;
    size_t points_max;
    double records_per_s;
    double load; /* of all shards, of what one may take */
    uint64_t window_ms;
};

/* ---- gathering ---- */

static double load_of(double records_per_s, double bytes_per_s)
{
    double by_records = records_per_s / SHARD_RECORDS_PER_S;
    double by_bytes = bytes_per_s / SHARD_BYTES_PER_S;
    return by_records > by_bytes ? by_records : by_bytes;
}

/* What the ring of this loop reaches back, at most the window. mu held. */
static uint64_t covered_ms(
    const struct ks_heat *heat, const struct ks_server *server, uint64_t now_ms)
{
    uint64_t oldest_ms = server->started_mono_ns / 1000000;
    if (heat->sample_count > KS_HEAT_SAMPLES)
        oldest_ms = heat->samples[heat->sample_count % KS_HEAT_SAMPLES].mono_ms;
    uint64_t age_ms = now_ms > oldest_ms ? now_ms - oldest_ms : 0;
    return ks_max_u64(1000, ks_min_u64(age_ms, WINDOW_MS));
}

static void gather(struct heat_work *work, struct ks_heat *heat, uint64_t now_ms)
{
    KS_LOCK_SCOPE(&heat->mu);
    uint64_t covered = covered_ms(heat, work->server, now_ms);
    uint64_t count = ks_min_u64(heat->sample_count, KS_HEAT_SAMPLES);
    work->window_ms = ks_max_u64(work->window_ms, covered);
    for (uint64_t i = 0; i < count && work->point_count < work->points_max; i++) {
        const struct ks_heat_sample *sample = &heat->samples[i];
        bool is_of_stream = !work->stream || sample->stream_number == work->stream->number;
        if (!is_of_stream || sample->mono_ms + covered < now_ms)
            continue;
        double per_s = sample->weight * 1000.0 / (double)covered;
        work->points[work->point_count++] = (struct point){.stream_number = sample->stream_number,
            .hash_top = sample->hash_top,
            .key_id = sample->key_id,
            .shard_index = sample->shard_index,
            .records_per_s = per_s,
            .bytes_per_s = per_s * sample->bytes};
        work->records_per_s += per_s;
    }
}

static int by_shard_and_hash(const void *a, const void *b)
{
    const struct point *left = a;
    const struct point *right = b;
    if (left->shard_index != right->shard_index)
        return left->shard_index < right->shard_index ? -1 : 1;
    return left->hash_top < right->hash_top ? -1 : left->hash_top > right->hash_top;
}

static int by_key(const void *a, const void *b)
{
    const struct point *left = a;
    const struct point *right = b;
    return left->key_id < right->key_id ? -1 : left->key_id > right->key_id;
}

/* ---- a shard ---- */

struct shard_points {
    const struct point *points;
    size_t count;
    double records_per_s;
    double bytes_per_s;
};

static struct shard_points points_of(const struct heat_work *work, uint32_t shard_index)
{
    struct shard_points found = {.count = 0};
    size_t first = 0; /* of this shard or a later one */
    for (size_t end = work->point_count; first < end;) {
        size_t middle = first + (end - first) / 2;
        if (work->points[middle].shard_index < shard_index)
            first = middle + 1;
        else
            end = middle;
    }
    found.points = &work->points[first];
    for (size_t i = first; i < work->point_count; i++) {
        if (work->points[i].shard_index != shard_index)
            break;
        found.count++;
        found.records_per_s += work->points[i].records_per_s;
        found.bytes_per_s += work->points[i].bytes_per_s;
    }
    return found;
}

/* Sorted by hash. Where a split leaves the least to the heavier child; false: nowhere. */
static bool find_split(const struct shard_points *shard_points, const struct ks_shard *shard,
    ks_u128 *out_at, double *out_share)
{
    bool by_bytes = shard_points->bytes_per_s / SHARD_BYTES_PER_S >
                    shard_points->records_per_s / SHARD_RECORDS_PER_S;
    double all = by_bytes ? shard_points->bytes_per_s : shard_points->records_per_s;
    double below = 0;
    double best = 2;
    for (size_t i = 0; i < shard_points->count; i++) {
        const struct point *point = &shard_points->points[i];
        ks_u128 at = (ks_u128)point->hash_top << 64;
        bool is_place = i > 0 && point->hash_top != point[-1].hash_top && at > shard->hash_first &&
                        at <= shard->hash_last;
        double heavier = below > all - below ? below / all : (all - below) / all;
        if (is_place && heavier < best) {
            best = heavier;
            *out_at = at;
            *out_share = heavier;
        }
        below += by_bytes ? point->bytes_per_s : point->records_per_s;
    }
    return best <= 1;
}

/* False: out of memory. */
static bool split_fill(struct ks_arena *arena, const struct shard_points *points,
    const struct ks_shard *shard, Kstream__HeatShard *out)
{
    ks_u128 at = 0;
    double share = 0;
    char text[KS_U128_TEXT_BYTES];
    if (!find_split(points, shard, &at, &share))
        return true;
    ks_u128_to_text(at, text);
    out->split_at = ks_arena_strdup(arena, text);
    out->has_split_share = true;
    out->split_share = share;
    return out->split_at != NULL;
}

static int hottest_shard_first(const void *a, const void *b)
{
    const Kstream__HeatShard *left = *(Kstream__HeatShard *const *)a;
    const Kstream__HeatShard *right = *(Kstream__HeatShard *const *)b;
    if (left->share > right->share || left->share < right->share)
        return left->share > right->share ? -1 : 1;
    return strcmp(left->shard_id, right->shard_id);
}

static bool shards_fill(struct heat_work *work, Kstream__DescribeHeatResponse *response)
{
    struct ks_arena *arena = &work->call->arena;
    const struct ks_stream *stream = work->stream;
    response->shards =
        ks_arena_alloc(arena, ((size_t)stream->open_count + 1) * sizeof(response->shards[0]));
    if (!response->shards)
        return false;
    for (uint32_t i = 0; i < stream->open_count; i++) {
        const struct ks_shard *shard = &stream->shards[stream->open_by_hash[i]];
        struct shard_points points = points_of(work, shard->index);
        Kstream__HeatShard *message = ks_arena_alloc(arena, sizeof(*message));
        if (!message)
            return false;
        kstream__heat_shard__init(message);
        message->shard_id = ks_shard_id_in(arena, shard->index);
        message->records_per_s = points.records_per_s;
        message->bytes_per_s = points.bytes_per_s;
        message->share = load_of(points.records_per_s, points.bytes_per_s); /* made one below */
        work->load += message->share;
        if (!message->shard_id || !split_fill(arena, &points, shard, message))
            return false;
        response->shards[response->n_shards++] = message;
    }
    for (size_t i = 0; i < response->n_shards && work->load > 0; i++)
        response->shards[i]->share /= work->load;
    qsort(response->shards, response->n_shards, sizeof(response->shards[0]), hottest_shard_first);
    return true;
}

/* ---- keys ---- */

static int heaviest_key_first(const void *a, const void *b)
{
    const Kstream__HeatKey *left = *(Kstream__HeatKey *const *)a;
    const Kstream__HeatKey *right = *(Kstream__HeatKey *const *)b;
    if (left->share > right->share || left->share < right->share)
        return left->share > right->share ? -1 : 1;
    return 0;
}

/* The key as one of the loops remembers it. False: no memory; *out_key NULL: none does. */
static bool key_find(struct heat_work *work, uint64_t key_id, Kstream__HeatKey **out_key)
{
    struct ks_server *server = work->call->server;
    struct ks_arena *arena = &work->call->arena;
    *out_key = NULL;
    for (unsigned l = 0; l < server->heat_count; l++) {
        struct ks_heat *heat = &server->heats[l];
        KS_LOCK_SCOPE(&heat->mu);
        for (uint32_t i = 0; i < KS_HEAT_KEYS; i++) {
            const struct ks_heat_key *at = &heat->keys[i];
            if (at->count == 0 || at->key_id != key_id || at->stream_number != work->stream->number)
                continue;
            Kstream__HeatKey *key = ks_arena_alloc(arena, sizeof(*key));
            uint8_t *bytes = ks_arena_alloc(arena, KS_HEAT_KEY_BYTES);
            if (!key || !bytes)
                return false;
            kstream__heat_key__init(key);
            memcpy(bytes, at->key, at->key_bytes);
            key->key = (ProtobufCBinaryData){.len = at->key_bytes, .data = bytes};
            key->is_cut = at->is_cut;
            *out_key = key;
            return true;
        }
    }
    return true;
}

/* The shard's hottest one is noted with it. */
static void key_note(Kstream__DescribeHeatResponse *response, const Kstream__HeatKey *key)
{
    for (size_t i = 0; i < response->n_shards; i++) {
        Kstream__HeatShard *shard = response->shards[i];
        if (strcmp(shard->shard_id, key->shard_id) != 0 || shard->records_per_s <= 0)
            continue;
        double share = key->records_per_s / shard->records_per_s;
        if (shard->has_hottest_key_share && shard->hottest_key_share >= share)
            continue;
        shard->has_hottest_key = true;
        shard->hottest_key = key->key;
        shard->has_hottest_key_share = true;
        shard->hottest_key_share = share < 1 ? share : 1;
    }
}

/* points[0] to count - 1 are of one key. */
static bool key_add(struct heat_work *work, const struct point *points, size_t count,
    Kstream__DescribeHeatResponse *response)
{
    Kstream__HeatKey *key = NULL;
    if (!key_find(work, points[0].key_id, &key))
        return false;
    if (!key)
        return true; /* light enough to be forgotten */
    for (size_t i = 0; i < count; i++)
        key->records_per_s += points[i].records_per_s;
    key->share = work->records_per_s > 0 ? key->records_per_s / work->records_per_s : 0;
    key->shard_id = ks_shard_id_in(&work->call->arena, points[count - 1].shard_index);
    if (!key->shard_id)
        return false;
    key_note(response, key);
    response->keys[response->n_keys++] = key;
    return true;
}

static bool keys_fill(
    struct heat_work *work, size_t keys_max, Kstream__DescribeHeatResponse *response)
{
    size_t room = (size_t)work->call->server->heat_count * KS_HEAT_KEYS + 1;
    response->keys = ks_arena_alloc(&work->call->arena, room * sizeof(response->keys[0]));
    if (!response->keys)
        return false;
    qsort(work->points, work->point_count, sizeof(work->points[0]), by_key);
    for (size_t i = 0, n = 0; i < work->point_count && response->n_keys + 1 < room; i += n) {
        n = 1;
        while (i + n < work->point_count && work->points[i + n].key_id == work->points[i].key_id)
            n++;
        if (!key_add(work, &work->points[i], n, response))
            return false;
    }
    qsort(response->keys, response->n_keys, sizeof(response->keys[0]), heaviest_key_first);
    response->n_keys = KS_MIN(response->n_keys, keys_max);
    return true;
}

/* ---- of all streams ---- */

static int by_stream_and_shard(const void *a, const void *b)
{
    const struct point *left = a;
    const struct point *right = b;
    if (left->stream_number != right->stream_number)
        return left->stream_number < right->stream_number ? -1 : 1;
    return by_shard_and_hash(a, b);
}

/* Keeps out sorted, the hottest first. */
static uint32_t hot_shard_add(
    struct ks_hot_shard *out, uint32_t count, uint32_t count_max, const struct ks_hot_shard *more)
{
    double load = load_of(more->records_per_s, more->bytes_per_s);
    uint32_t at = count;
    while (at > 0 && load_of(out[at - 1].records_per_s, out[at - 1].bytes_per_s) < load)
        at--;
    if (at == count_max)
        return count;
    uint32_t moved = KS_MIN(count, count_max - 1) - at;
    memmove(&out[at + 1], &out[at], moved * sizeof(out[0]));
    out[at] = *more;
    return KS_MIN(count + 1, count_max);
}

uint32_t ks_heat_hottest(struct ks_server *server, struct ks_hot_shard *out, uint32_t count_max)
{
    struct heat_work work = {
        .server = server, .points_max = (size_t)server->heat_count * KS_HEAT_SAMPLES};
    uint64_t now_ms = ks_clock_mono_ns(&ks_clock_system) / 1000000;
    uint32_t count = 0;
    KS_AUTO_FREE struct point *points = ks_calloc(work.points_max, sizeof(points[0]));
    if (!points)
        return 0;
    work.points = points;
    for (unsigned i = 0; i < server->heat_count; i++)
        gather(&work, &server->heats[i], now_ms);
    qsort(points, work.point_count, sizeof(points[0]), by_stream_and_shard);
    for (size_t i = 0; i < work.point_count;) {
        struct ks_hot_shard shard = {
            .stream_number = points[i].stream_number, .shard_index = points[i].shard_index};
        for (; i < work.point_count && points[i].stream_number == shard.stream_number &&
               points[i].shard_index == shard.shard_index;
             i++) {
            shard.records_per_s += points[i].records_per_s;
            shard.bytes_per_s += points[i].bytes_per_s;
        }
        count = hot_shard_add(out, count, count_max, &shard);
    }
    return count;
}

/* ---- the operation ---- */

static const ProtobufCMessage *build_heat(
    struct ks_call *call, const ProtobufCMessage *message, struct ks_error *err)
{
    const Kstream__DescribeHeatRequest *request = (const void *)message;
    const struct ks_stream_address address = KS_STREAM_ADDRESS(request);
    struct ks_server *server = call->server;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    if (ks_stream_resolve(server, &address, &stream, err))
        return NULL;
    struct heat_work work = {.call = call,
        .server = server,
        .stream = stream,
        .points_max = (size_t)server->heat_count * KS_HEAT_SAMPLES};
    work.points = ks_arena_alloc(&call->arena, work.points_max * sizeof(work.points[0]));
    Kstream__DescribeHeatResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!work.points || !response)
        return NULL;
    kstream__describe_heat_response__init(response);
    uint64_t now_ms = ks_clock_mono_ns(&ks_clock_system) / 1000000;
    for (unsigned i = 0; i < server->heat_count; i++)
        gather(&work, &server->heats[i], now_ms);
    qsort(work.points, work.point_count, sizeof(work.points[0]), by_shard_and_hash);
    response->window_ms = work.window_ms;
    response->samples = work.point_count;
    size_t keys_max = request->has_keys ? (size_t)request->keys : KEYS_DEFAULT;
    bool is_fine = shards_fill(&work, response) && keys_fill(&work, keys_max, response);
    return is_fine ? &response->base : NULL;
}

void ks_op_describe_heat(struct ks_call *call, const ProtobufCMessage *message)
{
    ks_call_build(call, message, build_heat);
}
