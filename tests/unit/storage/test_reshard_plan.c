/* Plans of splits and merges: totals, ranges, lineage. Nothing here has a log. */
#include "base/alloc.h"
#include "base/prng.h"
#include "proto/hash_range.h"
#include "storage/registry_priv.h"
#include "storage/reshard_plan.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>

#define NOW_S 1700000000u

/* A stream that is only ranges and lineage. */
static struct ks_stream *make_stream(uint32_t shards)
{
    struct ks_stream *stream = ks_stream_new(shards);
    ck_assert_ptr_nonnull(stream);
    stream->next_shard_index = shards;
    for (uint32_t i = 0; i < shards; i++) {
        struct ks_hash_range range = ks_hash_range_initial(shards, i);
        stream->shards[i] = (struct ks_shard){.index = i,
            .is_open = true,
            .created_s = NOW_S,
            .hash_first = range.first,
            .hash_last = range.last};
    }
    ck_assert(ks_stream_route_init(stream));
    return stream;
}

/* What the reshard would publish. */
static struct ks_stream *apply(struct ks_stream *from, const struct ks_reshard_plan *plan)
{
    struct ks_stream *stream = ks_stream_new(from->shard_count + plan->made_count);
    ck_assert_ptr_nonnull(stream);
    memcpy(stream->shards, from->shards, from->shard_count * sizeof *from->shards);
    for (uint32_t i = 0; i < plan->parent_count; i++) {
        ck_assert(stream->shards[plan->parents[i]].is_open);
        stream->shards[plan->parents[i]].is_open = false;
    }
    if (plan->made_count > 0)
        memcpy(
            stream->shards + from->shard_count, plan->made, plan->made_count * sizeof *plan->made);
    stream->next_shard_index = from->next_shard_index + plan->made_count;
    ks_stream_unref(from);
    return stream;
}

/* Every key belongs to one open shard, every child covers what its parents covered, and is dated
 * behind them; what is closed has children that cover it. */
static void check_stream(struct ks_stream *stream)
{
    ck_assert(ks_stream_route_init(stream));
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        const struct ks_shard *shard = &stream->shards[i];
        ck_assert_uint_eq(shard->index, i);
        if (shard->has_parent) {
            ck_assert_uint_lt(shard->parent_index, i);
            const struct ks_shard *parent = &stream->shards[shard->parent_index];
            ck_assert(!parent->is_open);
            ck_assert_uint_gt(shard->created_s, parent->created_s);
            if (!shard->has_adjacent_parent)
                ck_assert(parent->hash_first <= shard->hash_first &&
                          shard->hash_last <= parent->hash_last);
        }
        if (shard->has_adjacent_parent) {
            const struct ks_shard *left = &stream->shards[shard->parent_index];
            const struct ks_shard *right = &stream->shards[shard->adjacent_parent_index];
            ck_assert(!right->is_open && left->hash_last + 1 == right->hash_first);
            ck_assert(
                shard->hash_first == left->hash_first && shard->hash_last == right->hash_last);
            ck_assert_uint_gt(shard->created_s, right->created_s);
        }
    }
}

static struct ks_stream *must_plan(struct ks_stream *stream, const struct ks_reshard_spec *spec)
{
    struct ks_reshard_plan plan;
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_reshard_plan_make(stream, spec, NOW_S, &plan, &error);
    ck_assert_msg(st == KS_OK, "%s: %s", ks_status_name(st), error.text);
    stream = apply(stream, &plan);
    ks_reshard_plan_fini(&plan);
    check_stream(stream);
    return stream;
}

static struct ks_stream *to_count(struct ks_stream *stream, uint32_t target)
{
    const struct ks_reshard_spec spec = {.kind = KS_RESHARD_COUNT, .target_count = target};
    stream = must_plan(stream, &spec);
    ck_assert_uint_eq(stream->open_count, target);
    return stream;
}

/* The widest open range, in thousandths of an equal share. */
static uint64_t widest(const struct ks_stream *stream)
{
    ks_u128 most = 0;
    for (uint32_t i = 0; i < stream->open_count; i++) {
        const struct ks_shard *shard = &stream->shards[stream->open_by_hash[i]];
        ks_u128 width = shard->hash_last - shard->hash_first;
        most = width > most ? width : most;
    }
    return (uint64_t)(most / (KS_U128_MAX / stream->open_count / 1000));
}

/* As the real service was seen to do it. */
START_TEST(a_new_count_takes_as_many_shards_as_in_kinesis)
{
    static const struct {
        uint32_t from, to, total;
    } seen[] = {{2, 4, 6}, {4, 5, 15}, {10, 13, 37}, {4, 2, 6}, {5, 3, 7}, {10, 3, 17}, {7, 7, 7},
        {1, 2, 3}, {2, 1, 3}, {3, 9, 3 + 6 + 12 + 3}};
    for (size_t i = 0; i < KS_COUNT_OF(seen); i++) {
        struct ks_stream *stream = to_count(make_stream(seen[i].from), seen[i].to);
        ck_assert_uint_eq(stream->shard_count, seen[i].total);
        ks_stream_unref(stream);
    }
}
END_TEST

/* Where cuts can be placed so that the ranges come out equal, they do (but for the few keys by
 * which equal ranges of two counts differ: 2^128 is no multiple of most). */
START_TEST(a_new_count_makes_ranges_as_equal_as_it_can)
{
    static const uint32_t equal[][2] = {{1, 2}, {2, 4}, {4, 5}, {5, 10}, {3, 6}, {6, 3}, {4, 2},
        {9, 3}, {100, 200}, {1, 4}, {5000, 10000}};
    for (size_t i = 0; i < KS_COUNT_OF(equal); i++) {
        struct ks_stream *stream = to_count(make_stream(equal[i][0]), equal[i][1]);
        for (uint32_t k = 0; k < stream->open_count; k++) {
            ks_u128 first = stream->shards[stream->open_by_hash[k]].hash_first;
            ks_u128 wanted = ks_hash_range_initial(equal[i][1], k).first;
            ck_assert((first < wanted ? wanted - first : first - wanted) <= equal[i][1]);
        }
        ks_stream_unref(stream);
    }
    for (uint32_t from = 1; from < 40; from++) {
        for (uint32_t to = (from + 1) / 2; to <= 2 * from; to++) {
            struct ks_stream *stream = to_count(make_stream(from), to);
            ck_assert_uint_le(widest(stream), 2000);
            ks_stream_unref(stream);
        }
    }
}
END_TEST

/* Any open shard, split anywhere; any neighbours, merged; any count; in any order. */
START_TEST(ranges_tile_after_any_sequence_of_splits_and_merges)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, 1000 + (uint64_t)_i);
    struct ks_stream *stream = make_stream(1 + (uint32_t)ks_prng_below(&prng, 6));
    for (int step = 0; step < 60; step++) {
        struct ks_reshard_spec spec = {.kind = (enum ks_reshard_kind)ks_prng_below(&prng, 3)};
        uint32_t at = (uint32_t)ks_prng_below(&prng, stream->open_count);
        const struct ks_shard *shard = &stream->shards[stream->open_by_hash[at]];
        ks_u128 width = shard->hash_last - shard->hash_first;
        spec.shard_index = shard->index;
        if (spec.kind == KS_RESHARD_SPLIT && width > 0) {
            ks_u128 offset = (ks_u128)ks_prng_u64(&prng) << 64 | ks_prng_u64(&prng);
            spec.new_hash_first = shard->hash_first + 1 + offset % width;
        } else if (spec.kind == KS_RESHARD_MERGE && at + 1 < stream->open_count) {
            spec.adjacent_index = stream->shards[stream->open_by_hash[at + 1]].index;
        } else {
            spec.kind = KS_RESHARD_COUNT;
            spec.target_count = 1 + (uint32_t)ks_prng_below(&prng, 12);
        }
        stream = must_plan(stream, &spec);
        if (spec.kind == KS_RESHARD_COUNT)
            ck_assert_uint_eq(stream->open_count, spec.target_count);
    }
    ks_stream_unref(stream);
}
END_TEST

START_TEST(what_cannot_be_split_or_merged_is_refused)
{
    struct ks_stream *stream = make_stream(2);
    struct ks_reshard_plan plan;
    ks_u128 first = stream->shards[1].hash_first;
    const struct {
        struct ks_reshard_spec spec;
        enum ks_status status;
    } refused[] = {
        {{.kind = KS_RESHARD_SPLIT, .shard_index = 1, .new_hash_first = first}, KS_INVALID},
        {{.kind = KS_RESHARD_SPLIT, .shard_index = 1, .new_hash_first = first - 1}, KS_INVALID},
        {{.kind = KS_RESHARD_SPLIT, .shard_index = 0, .new_hash_first = first}, KS_INVALID},
        {{.kind = KS_RESHARD_SPLIT, .shard_index = 2, .new_hash_first = first + 1}, KS_NOT_FOUND},
        {{.kind = KS_RESHARD_MERGE, .shard_index = 1, .adjacent_index = 0}, KS_INVALID},
        {{.kind = KS_RESHARD_MERGE, .shard_index = 1, .adjacent_index = 1}, KS_INVALID},
        {{.kind = KS_RESHARD_MERGE, .shard_index = 1, .adjacent_index = 7}, KS_NOT_FOUND},
    };
    for (size_t i = 0; i < KS_COUNT_OF(refused); i++)
        ck_assert_int_eq(
            ks_reshard_plan_make(stream, &refused[i].spec, NOW_S, &plan, NULL), refused[i].status);
    ks_stream_unref(stream);
    /* Ranges of one key each: there is nothing to cut. */
    stream = ks_stream_new(2);
    stream->next_shard_index = 2;
    stream->shards[0] = (struct ks_shard){.is_open = true};
    stream->shards[1] =
        (struct ks_shard){.index = 1, .is_open = true, .hash_first = 1, .hash_last = KS_U128_MAX};
    ck_assert(ks_stream_route_init(stream));
    stream = to_count(stream, 5);
    ks_stream_unref(stream);
}
END_TEST

KS_SUITE("storage/reshard_plan")
{
    KS_TEST(a_new_count_takes_as_many_shards_as_in_kinesis);
    KS_TEST(a_new_count_makes_ranges_as_equal_as_it_can);
    KS_TEST_LOOP(ranges_tile_after_any_sequence_of_splits_and_merges, 20);
    KS_TEST(what_cannot_be_split_or_merged_is_refused);
}
