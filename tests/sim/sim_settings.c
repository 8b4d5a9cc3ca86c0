/*
 * Settings of streams: changed at any moment, beside reshards, removals and crashes. A snapshot
 * always shows all of one change or nothing of it, and what was answered is there after a crash.
 */
#include "base/alloc.h"
#include "storage/account.h"
#include "tests/sim/sim_world.h"

#include <stdio.h>
#include <stdlib.h>

#define CHANGE_TAGS_MAX KS_TAGS_PER_STREAM_MAX

/* What a change needs of memory until it is answered. */
struct sim_change {
    struct ks_setting_change change;
    struct ks_tag tags[CHANGE_TAGS_MAX];
    char keys[CHANGE_TAGS_MAX][8];
    char values[CHANGE_TAGS_MAX][8];
};

/* ---- what a stream should have ---- */

static uint32_t count_tags(const struct sim_settings *settings)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < SIM_TAG_KEYS; i++)
        count += settings->tags[i] != 0;
    return count;
}

static bool has_tags(const struct sim_settings *settings, const struct ks_tags *tags)
{
    if (count_tags(settings) != (tags ? tags->count : 0))
        return false;
    for (uint32_t i = 0; tags && i < tags->count; i++) {
        unsigned long key = strtoul(tags->items[i].key + 1, NULL, 10);
        unsigned long value = strtoul(tags->items[i].value, NULL, 10);
        if (key >= SIM_TAG_KEYS || settings->tags[key] != value)
            return false;
    }
    return true;
}

static bool matches(const struct sim_settings *settings, const struct ks_stream *snapshot)
{
    return settings->record_bytes == snapshot->record_bytes_max &&
           settings->warm_mibps == snapshot->warm_mibps &&
           settings->metrics == snapshot->shard_metrics &&
           ks_stream_limits_equal(&settings->limits, &snapshot->limits) &&
           has_tags(settings, snapshot->tags);
}

bool sim_check_settings(
    struct sim_world *world, struct sim_stream *stream, const struct ks_stream *snapshot)
{
    return matches(&stream->settings, snapshot) ||
           (stream->is_setting && matches(&stream->settings_next, snapshot)) ||
           sim_fail(world, "stream %s has other settings", stream->name);
}

bool sim_settings_recovered(
    struct sim_world *world, struct sim_stream *stream, const struct ks_stream *snapshot)
{
    bool is_right = sim_check_settings(world, stream, snapshot);
    if (stream->is_setting && matches(&stream->settings_next, snapshot)) {
        stream->settings = stream->settings_next;
        world->totals->settings_found++;
    }
    stream->is_setting = false;
    return is_right;
}

/* ---- changing them ---- */

static void choose_tags(
    struct sim_world *world, struct sim_change *change, struct sim_settings *next, bool is_removal)
{
    uint32_t count_max = ks_prng_chance(&world->prng, 1, 3) ? CHANGE_TAGS_MAX : 8;
    uint32_t count = 1 + (uint32_t)ks_prng_below(&world->prng, count_max);
    unsigned first = (unsigned)ks_prng_below(&world->prng, SIM_TAG_KEYS);
    change->change.tags = change->tags;
    change->change.tag_count = count;
    for (uint32_t i = 0; i < count; i++) {
        unsigned key = (first + i) % SIM_TAG_KEYS;
        unsigned value = 1 + (unsigned)ks_prng_below(&world->prng, 200);
        next->tags[key] = is_removal ? 0 : (uint8_t)value;
        snprintf(change->keys[i], sizeof change->keys[i], "k%u", key);
        snprintf(change->values[i], sizeof change->values[i], "%u", value);
        change->tags[i] = (struct ks_tag){change->keys[i], change->values[i]};
    }
}

static void choose_limits(struct sim_world *world, struct ks_stream_limits *limits)
{
    *limits = (struct ks_stream_limits){.mode = KS_LIMITS_OFF};
    if (ks_prng_chance(&world->prng, 1, 3))
        return;
    limits->mode = (enum ks_limits_mode)ks_prng_below(&world->prng, KS_LIMITS_MODES);
    limits->write_bytes_per_s = ks_prng_below(&world->prng, 1000);
    limits->write_records_per_s = ks_prng_below(&world->prng, 1000);
    limits->read_bytes_per_s = ks_prng_below(&world->prng, 1000);
    limits->read_calls_per_s = ks_prng_below(&world->prng, 1000);
    limits->records_per_day = ks_prng_below(&world->prng, 1000);
    limits->client_bytes_per_s = ks_prng_below(&world->prng, 1000);
    limits->client_records_per_s = ks_prng_below(&world->prng, 1000);
}

void sim_settings_first(
    struct sim_world *world, struct sim_stream *stream, struct ks_stream_spec *spec)
{
    static struct sim_change change; /* copied by the create that follows */
    stream->settings = (struct sim_settings){.record_bytes = spec->record_bytes_max};
    if (ks_prng_chance(&world->prng, 1, 2))
        return;
    choose_tags(world, &change, &stream->settings, false);
    spec->tags = change.change.tags;
    spec->tag_count = change.change.tag_count;
}

bool sim_set_something(struct sim_world *world)
{
    if (ks_prng_chance(&world->prng, 1, 10))
        return sim_check_account(world) && sim_set_account(world);
    struct sim_stream *stream = sim_pick_stream(world);
    if (!stream || stream->is_setting)
        return true;
    struct sim_change *change = ks_zalloc(sizeof *change);
    KS_ASSERT(change);
    struct sim_settings next = stream->settings;
    change->change.setting = (enum ks_setting)ks_prng_below(&world->prng, KS_SETTING_COUNT);
    change->change.number = 1 + (uint32_t)ks_prng_below(&world->prng, 127);
    switch (change->change.setting) {
    case KS_SETTING_RECORD_BYTES:
        change->change.number <<= 20;
        next.record_bytes = change->change.number;
        break;
    case KS_SETTING_WARM_MIBPS:
        next.warm_mibps = change->change.number;
        break;
    case KS_SETTING_METRICS_ON:
        next.metrics |= change->change.number;
        break;
    case KS_SETTING_METRICS_OFF:
        next.metrics &= ~change->change.number;
        break;
    case KS_SETTING_TAGS_ADD:
    case KS_SETTING_TAGS_REMOVE:
        choose_tags(world, change, &next, change->change.setting == KS_SETTING_TAGS_REMOVE);
        break;
    case KS_SETTING_LIMITS:
        choose_limits(world, &change->change.limits);
        next.limits = change->change.limits;
        break;
    case KS_SETTING_COUNT:
        break;
    }
    struct sim_admin *op = sim_admin_new(world, stream, SIM_SET);
    op->change = change;
    op->is_too_much = count_tags(&next) > KS_TAGS_PER_STREAM_MAX;
    struct ks_error err = KS_ERROR_INIT;
    enum ks_status st =
        ks_stream_set(world->engine, stream->number, &change->change, &op->admin, &err);
    if (st == KS_OK) {
        stream->settings_next = next;
        stream->is_setting = true;
    }
    return sim_admin_begun(world, op, st, &err);
}

void sim_set_answered(struct sim_admin *op)
{
    if (op->kind == SIM_SET_ACCOUNT) {
        op->world->is_setting_account = false;
        if (op->admin.status == KS_OK)
            op->world->account = op->world->account_next;
        return;
    }
    struct sim_stream *stream = op->stream;
    stream->is_setting = false;
    if (op->admin.status != KS_OK)
        return;
    stream->settings = stream->settings_next;
    op->world->totals->settings_changed++;
}

/* ---- the account ---- */

bool sim_set_account(struct sim_world *world)
{
    if (world->is_setting_account)
        return true;
    struct sim_admin *op = sim_admin_new(world, &world->streams[0], SIM_SET_ACCOUNT);
    const struct ks_account account = {.commitment_started_unix_ms = world->next_uid++};
    struct ks_error err = KS_ERROR_INIT;
    enum ks_status st = ks_account_set(world->engine, &account, &op->admin, &err);
    if (st == KS_OK) {
        world->is_setting_account = true;
        world->account_next = account.commitment_started_unix_ms;
    }
    return sim_admin_begun(world, op, st, &err);
}

bool sim_check_account(struct sim_world *world)
{
    struct ks_account account;
    ks_account_get(world->engine, &account);
    return account.commitment_started_unix_ms == world->account ||
           (world->is_setting_account &&
               account.commitment_started_unix_ms == world->account_next) ||
           sim_fail(world, "the account has other settings");
}

bool sim_account_recovered(struct sim_world *world)
{
    struct ks_account account;
    bool is_right = sim_check_account(world);
    ks_account_get(world->engine, &account);
    world->account = account.commitment_started_unix_ms;
    world->is_setting_account = false;
    return is_right;
}
