#include "storage/reshard_plan.h"

#include "base/alloc.h"
#include "proto/hash_range.h"
#include "proto/limits.h"

#include <stdlib.h>

#define NOT_MADE UINT32_MAX

/* An open shard, as it will be after the steps so far. */
struct piece {
    ks_u128 first;
    ks_u128 last;
    uint32_t index;
    uint64_t created_s;
    uint32_t made;     /* place among the plan's own; NOT_MADE: one of the stream */
    uint32_t position; /* of the stream's own, in its shards */
};

struct planner {
    const struct ks_stream *stream;
    uint64_t now_s;
    struct ks_reshard_plan plan;
    uint32_t made_capacity;
    uint32_t parent_capacity;
    struct piece *pieces; /* by hash range; they tile */
    uint32_t piece_count;
    bool is_out_of_memory;
};

/* ---- splits and merges ---- */

static bool make_room(struct planner *p)
{
    if (p->plan.made_count == p->made_capacity) {
        uint32_t capacity = p->made_capacity ? 2 * p->made_capacity : 4;
        struct ks_shard *grown = ks_realloc(p->plan.made, capacity * sizeof *grown);
        if (!grown)
            return false;
        p->plan.made = grown;
        p->made_capacity = capacity;
    }
    if (p->plan.parent_count + 2 > p->parent_capacity) {
        uint32_t capacity = p->parent_capacity ? 2 * p->parent_capacity : 4;
        uint32_t *grown = ks_realloc(p->plan.parents, capacity * sizeof *grown);
        if (!grown)
            return false;
        p->plan.parents = grown;
        p->parent_capacity = capacity;
    }
    return true;
}

/* A shard of the range, whose parents are one or two pieces. */
static struct piece plan_child(struct planner *p, const struct piece *parent,
    const struct piece *adjacent, ks_u128 first, ks_u128 last)
{
    struct piece child = {.first = first, .last = last, .made = p->plan.made_count};
    if (!make_room(p)) {
        p->is_out_of_memory = true;
        return child;
    }
    child.index = p->stream->next_shard_index + p->plan.made_count;
    child.created_s = ks_max_u64(p->now_s, parent->created_s + 1);
    if (adjacent)
        child.created_s = ks_max_u64(child.created_s, adjacent->created_s + 1);
    p->plan.made[p->plan.made_count++] = (struct ks_shard){.index = child.index,
        .is_open = true,
        .has_parent = true,
        .parent_index = parent->index,
        .has_adjacent_parent = adjacent != NULL,
        .adjacent_parent_index = adjacent ? adjacent->index : 0,
        .created_s = child.created_s,
        .hash_first = first,
        .hash_last = last};
    p->plan.made_open++;
    return child;
}

/* A piece that is split or merged is open no more. */
static void plan_close(struct planner *p, const struct piece *piece)
{
    if (p->is_out_of_memory)
        return;
    if (piece->made == NOT_MADE) {
        p->plan.parents[p->plan.parent_count++] = piece->position;
    } else {
        p->plan.made[piece->made].is_open = false;
        p->plan.made_open--;
    }
}

/* cut: where the second child begins. */
static void plan_split(
    struct planner *p, const struct piece *parent, ks_u128 cut, struct piece children[2])
{
    children[0] = plan_child(p, parent, NULL, parent->first, cut - 1);
    children[1] = plan_child(p, parent, NULL, cut, parent->last);
    plan_close(p, parent);
}

static struct piece plan_merge(
    struct planner *p, const struct piece *left, const struct piece *right)
{
    struct piece child = plan_child(p, left, right, left->first, right->last);
    plan_close(p, left);
    plan_close(p, right);
    return child;
}

/* ---- a new count ---- */

static ks_u128 distance(ks_u128 a, ks_u128 b)
{
    return a < b ? b - a : a - b;
}

/* Where range number k of target equal ones begins. */
static ks_u128 boundary(uint32_t target, uint32_t k)
{
    return ks_hash_range_initial(target, k).first;
}

/* In the middle, or at that boundary of the equal ranges that is nearest to it. 0: too small. */
static ks_u128 choose_cut(const struct piece *piece, uint32_t target)
{
    ks_u128 width = piece->last - piece->first;
    if (width == 0)
        return 0;
    ks_u128 middle = piece->first + width / 2 + 1;
    ks_u128 best = 0;
    uint32_t k = (uint32_t)(middle / (KS_U128_MAX / target));
    for (uint32_t i = k > 0 ? k - 1 : 0; i < target && i <= k + 1; i++) {
        ks_u128 at = boundary(target, i);
        if (at > piece->first && at <= piece->last &&
            (best == 0 || distance(at, middle) < distance(best, middle)))
            best = at;
    }
    return best ? best : middle;
}

/* False: nothing could be split any more. */
static bool round_of_splits(struct planner *p, uint32_t target)
{
    uint32_t count = p->piece_count;
    struct piece *next = ks_calloc(2 * (size_t)count, sizeof *next);
    if (!next) {
        p->is_out_of_memory = true;
        return false;
    }
    uint32_t next_count = 0;
    for (uint32_t i = 0; i < count && !p->is_out_of_memory; i++) {
        ks_u128 cut = choose_cut(&p->pieces[i], target);
        if (cut == 0) {
            next[next_count++] = p->pieces[i];
            continue;
        }
        plan_split(p, &p->pieces[i], cut, next + next_count);
        next_count += 2;
    }
    ks_free(p->pieces);
    p->pieces = next;
    p->piece_count = next_count;
    return next_count > count;
}

/*
 * Which pieces begin a shard of the target: of each boundary of the equal ranges the nearest piece,
 * each piece once. begins[i]: whether piece i does.
 */
static void choose_begins(const struct planner *p, uint32_t target, bool *begins)
{
    uint32_t at = 0;
    begins[0] = true;
    for (uint32_t k = 1; k < target; k++) {
        ks_u128 wanted = boundary(target, k);
        uint32_t last = p->piece_count - (target - k); /* leaves one piece to each that follows */
        uint32_t best = at + 1;
        while (best < last && distance(p->pieces[best + 1].first, wanted) <
                                  distance(p->pieces[best].first, wanted))
            best++;
        begins[best] = true;
        at = best;
    }
}

/* One merge for each pair of neighbours that belong together, over all ranges. */
static void round_of_merges(struct planner *p, bool *begins)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->piece_count && !p->is_out_of_memory;) {
        bool has_partner = i + 1 < p->piece_count && !begins[i + 1];
        struct piece piece =
            has_partner ? plan_merge(p, &p->pieces[i], &p->pieces[i + 1]) : p->pieces[i];
        bool is_begin = begins[i];
        i += has_partner ? 2 : 1;
        begins[kept] = is_begin;
        p->pieces[kept++] = piece;
    }
    p->piece_count = kept;
}

static enum ks_status plan_count(struct planner *p, uint32_t target, struct ks_error *err)
{
    if (target == p->piece_count)
        return KS_OK;
    while (p->piece_count < target && !p->is_out_of_memory) {
        if (!round_of_splits(p, target) && !p->is_out_of_memory)
            return ks_fail(err, KS_LIMIT, 0, "the hash keys of stream '%s' cannot be cut so small",
                p->stream->name);
    }
    KS_AUTO_FREE bool *begins = ks_calloc(p->piece_count, sizeof *begins);
    if (!begins)
        p->is_out_of_memory = true;
    else if (!p->is_out_of_memory)
        choose_begins(p, target, begins);
    while (p->piece_count > target && !p->is_out_of_memory)
        round_of_merges(p, begins);
    return KS_OK;
}

/* ---- one split, one merge ---- */

static enum ks_status find_piece(
    const struct planner *p, uint32_t index, uint32_t *out_at, struct ks_error *err)
{
    const struct ks_shard *shard = ks_stream_shard(p->stream, index);
    if (!shard)
        return ks_fail(err, KS_NOT_FOUND, 0, "stream '%s' has no shard %u", p->stream->name, index);
    for (uint32_t i = 0; i < p->piece_count; i++) {
        if (p->pieces[i].index == index) {
            *out_at = i;
            return KS_OK;
        }
    }
    return ks_fail(err, KS_INVALID, 0, "shard %u of stream '%s' is closed", index, p->stream->name);
}

static enum ks_status plan_one_split(
    struct planner *p, const struct ks_reshard_spec *spec, struct ks_error *err)
{
    uint32_t at = 0; /* gcc -O3 cannot see that success sets them */
    enum ks_status st = find_piece(p, spec->shard_index, &at, err);
    if (st)
        return st;
    const struct piece *piece = &p->pieces[at];
    if (spec->new_hash_first <= piece->first || spec->new_hash_first > piece->last)
        return ks_fail(
            err, KS_INVALID, 0, "the new hash key does not lie within shard %u", spec->shard_index);
    struct piece children[2];
    plan_split(p, piece, spec->new_hash_first, children);
    return KS_OK;
}

static enum ks_status plan_one_merge(
    struct planner *p, const struct ks_reshard_spec *spec, struct ks_error *err)
{
    uint32_t at = 0; /* gcc -O3 cannot see that success sets them */
    uint32_t next = 0;
    enum ks_status st = find_piece(p, spec->shard_index, &at, err);
    if (!st)
        st = find_piece(p, spec->adjacent_index, &next, err);
    if (st)
        return st;
    if (next != at + 1)
        return ks_fail(err, KS_INVALID, 0, "shards %u and %u do not follow each other",
            spec->shard_index, spec->adjacent_index);
    plan_merge(p, &p->pieces[at], &p->pieces[next]);
    return KS_OK;
}

/* Each with shards of its own; else it finds nothing to be done. */
static enum ks_status plan_steps(
    struct planner *p, const struct ks_reshard_spec *spec, struct ks_error *err)
{
    uint32_t done = 0;
    for (uint32_t at = 0; at < p->piece_count && done < spec->step_count; at++) {
        const struct ks_reshard_step *step = &spec->steps[done];
        const struct piece *piece = &p->pieces[at];
        struct piece children[2];
        if (piece->index != step->shard_index)
            continue;
        if (step->is_merge && at + 1 < p->piece_count)
            plan_merge(p, piece, &p->pieces[++at]);
        else if (!step->is_merge && piece->last > piece->first)
            plan_split(p, piece, piece->first + (piece->last - piece->first) / 2 + 1, children);
        else
            break;
        done++;
    }
    if (done < spec->step_count)
        return ks_fail(err, KS_INVALID, 0, "shard %u of stream '%s' is not there, or too small",
            spec->steps[done].shard_index, p->stream->name);
    return KS_OK;
}

/* ---- all of it ---- */

static int by_number(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static enum ks_status plan_spec(
    struct planner *p, const struct ks_reshard_spec *spec, struct ks_error *err)
{
    switch (spec->kind) {
    case KS_RESHARD_SPLIT:
        return plan_one_split(p, spec, err);
    case KS_RESHARD_MERGE:
        return plan_one_merge(p, spec, err);
    case KS_RESHARD_COUNT:
        return plan_count(p, spec->target_count, err);
    case KS_RESHARD_STEPS:
        return plan_steps(p, spec, err);
    }
    return ks_fail(err, KS_INVALID, 0, "no such reshard");
}

enum ks_status ks_reshard_plan_make(const struct ks_stream *stream,
    const struct ks_reshard_spec *spec, uint64_t now_s, struct ks_reshard_plan *out_plan,
    struct ks_error *err)
{
    KS_ASSERT(stream->open_count > 0);
    KS_ASSERT(spec->kind != KS_RESHARD_COUNT || spec->target_count > 0);
    struct planner p = {.stream = stream, .now_s = now_s};
    p.pieces = ks_calloc(stream->open_count, sizeof *p.pieces);
    p.is_out_of_memory = !p.pieces;
    for (uint32_t i = 0; p.pieces && i < stream->open_count; i++) {
        const struct ks_shard *shard = &stream->shards[stream->open_by_hash[i]];
        p.pieces[p.piece_count++] = (struct piece){.first = shard->hash_first,
            .last = shard->hash_last,
            .index = shard->index,
            .created_s = shard->created_s,
            .made = NOT_MADE,
            .position = stream->open_by_hash[i]};
    }
    enum ks_status st = p.is_out_of_memory ? KS_NO_MEMORY : plan_spec(&p, spec, err);
    ks_free(p.pieces);
    if (!st && p.plan.made_count > KS_SHARD_INDEX_MAX - stream->next_shard_index)
        st = ks_fail(err, KS_LIMIT, 0, "stream '%s' has had too many shards", stream->name);
    if (p.is_out_of_memory)
        st = ks_fail(err, KS_NO_MEMORY, 0, "cannot plan the shards of stream '%s'", stream->name);
    if (st) {
        ks_reshard_plan_fini(&p.plan);
        return st;
    }
    if (p.plan.parent_count > 1)
        qsort(p.plan.parents, p.plan.parent_count, sizeof *p.plan.parents, by_number);
    *out_plan = p.plan;
    return KS_OK;
}

void ks_reshard_plan_fini(struct ks_reshard_plan *plan)
{
    ks_free(plan->made);
    ks_free(plan->parents);
    *plan = (struct ks_reshard_plan){.made = NULL};
}
