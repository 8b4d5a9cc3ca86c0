/* Tags and other settings of a stream: sets of tags, and changes that are whole or not at all. */
#include "storage/account.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/retention_rig.h"

#include <stdio.h>

/* ---- sets of tags ---- */

static struct ks_tags *with(const struct ks_tags *from, const char *key, const char *value)
{
    const struct ks_tag tag = {key, value};
    struct ks_tags *tags = NULL;
    ck_assert_int_eq(ks_tags_with(from, &tag, 1, &tags, NULL), KS_OK);
    return tags;
}

/* "a=1 b=2" */
static void expect_tags(const struct ks_tags *tags, const char *expected)
{
    char text[256] = "";
    size_t at = 0;
    for (uint32_t i = 0; tags && i < tags->count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s=%s", i ? " " : "",
            tags->items[i].key, tags->items[i].value);
    ck_assert_str_eq(text, expected);
}

START_TEST(tags_are_sorted_and_a_key_has_one_value)
{
    const struct ks_tag more[] = {{"b", "1"}, {"a", "2"}, {"B", ""}, {"b", "3"}};
    struct ks_tags *tags = NULL;
    ck_assert_int_eq(ks_tags_with(NULL, more, 4, &tags, NULL), KS_OK);
    expect_tags(tags, "B= a=2 b=3");
    struct ks_tags *newer = with(tags, "a", "4");
    expect_tags(newer, "B= a=4 b=3");
    expect_tags(tags, "B= a=2 b=3"); /* the old set is as it was */
    const struct ks_tag gone[] = {{"b", NULL}, {"nothing", NULL}, {"B", NULL}};
    struct ks_tags *less = NULL;
    ck_assert_int_eq(ks_tags_without(newer, gone, 3, &less, NULL), KS_OK);
    expect_tags(less, "a=4");
    ks_tags_unref(tags);
    ks_tags_unref(newer);
    ks_tags_unref(less);
}
END_TEST

START_TEST(no_tags_are_no_set)
{
    struct ks_tags *tags = with(NULL, "k", "v");
    const struct ks_tag gone = {"k", NULL};
    struct ks_tags *none = tags;
    ck_assert_int_eq(ks_tags_without(tags, &gone, 1, &none, NULL), KS_OK);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(ks_tags_with(NULL, NULL, 0, &none, NULL), KS_OK);
    ck_assert_ptr_null(none);
    ck_assert_ptr_null(ks_tags_ref(NULL));
    ks_tags_unref(NULL);
    ks_tags_unref(tags);
}
END_TEST

/* The limit is of what there will be, not of what is asked for. */
START_TEST(fifty_tags_and_no_more)
{
    char keys[KS_TAGS_PER_STREAM_MAX + 1][8];
    struct ks_tag more[KS_TAGS_PER_STREAM_MAX + 1];
    for (unsigned i = 0; i <= KS_TAGS_PER_STREAM_MAX; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        more[i] = (struct ks_tag){keys[i], "v"};
    }
    struct ks_tags *tags = NULL;
    struct ks_tags *other = NULL;
    ck_assert_int_eq(ks_tags_with(NULL, more, KS_TAGS_PER_STREAM_MAX + 1, &tags, NULL), KS_LIMIT);
    ck_assert_ptr_null(tags);
    ck_assert_int_eq(ks_tags_with(NULL, more, KS_TAGS_PER_STREAM_MAX, &tags, NULL), KS_OK);
    ck_assert_uint_eq(tags->count, KS_TAGS_PER_STREAM_MAX);
    ck_assert_int_eq(ks_tags_with(tags, more + 1, 1, &other, NULL), KS_OK);
    ks_tags_unref(other);
    ck_assert_int_eq(ks_tags_with(tags, more + KS_TAGS_PER_STREAM_MAX, 1, &other, NULL), KS_LIMIT);
    ks_tags_unref(tags);
}
END_TEST

/* ---- settings of a stream ---- */

static enum ks_status set_number(enum ks_setting setting, uint32_t number)
{
    struct ks_setting_change change = {.setting = setting, .number = number};
    return world_set(&world, "orders", &change);
}

static enum ks_status set_tag(const char *key, const char *value)
{
    const struct ks_tag tag = {key, value};
    struct ks_setting_change change = {
        .setting = value ? KS_SETTING_TAGS_ADD : KS_SETTING_TAGS_REMOVE,
        .tags = &tag,
        .tag_count = 1};
    return world_set(&world, "orders", &change);
}

START_TEST(settings_are_there_after_a_restart)
{
    setup();
    ck_assert_int_eq(set_number(KS_SETTING_RECORD_BYTES, 5 << 20), KS_OK);
    ck_assert_int_eq(set_number(KS_SETTING_WARM_MIBPS, 7), KS_OK);
    ck_assert_int_eq(set_number(KS_SETTING_METRICS_ON, 0x41), KS_OK);
    ck_assert_int_eq(set_number(KS_SETTING_METRICS_OFF, 0x03), KS_OK);
    ck_assert_int_eq(set_tag("team", "red"), KS_OK);
    ck_assert_int_eq(set_tag("stage", "test"), KS_OK);
    ck_assert_int_eq(set_tag("stage", NULL), KS_OK);
    struct ks_setting_change limits = {
        .setting = KS_SETTING_LIMITS, .limits = {KS_LIMITS_CUSTOM, 1, 2, 3, 4, 5, 6, 7}};
    ck_assert_int_eq(world_set(&world, "orders", &limits), KS_OK);
    for (int i = 0; i < 2; i++) {
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
        ck_assert_int_eq(stream->status, KS_STREAM_ACTIVE);
        ck_assert_uint_eq(stream->record_bytes_max, 5 << 20);
        ck_assert_uint_eq(stream->warm_mibps, 7);
        ck_assert_uint_eq(stream->shard_metrics, 0x40);
        expect_tags(stream->tags, "team=red");
        ck_assert(ks_stream_limits_equal(&stream->limits, &limits.limits));
        if (i == 0)
            world_restart(&world, _i % 2);
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_change_says_what_was_before)
{
    setup();
    struct ks_setting_change change = {.setting = KS_SETTING_METRICS_ON, .number = 0x05};
    ck_assert_int_eq(world_set(&world, "orders", &change), KS_OK);
    ck_assert_uint_eq(change.metrics_before, 0);
    change.number = 0x02;
    ck_assert_int_eq(world_set(&world, "orders", &change), KS_OK);
    ck_assert_uint_eq(change.metrics_before, 0x05);
    world_fini(&world);
}
END_TEST

/* Producers that route must hear of it; other settings are none of their business. */
START_TEST(a_new_record_size_makes_a_newer_routing)
{
    setup();
    struct ks_stream *before = world_stream(&world, "orders");
    ck_assert_int_eq(set_number(KS_SETTING_WARM_MIBPS, 3), KS_OK);
    ck_assert_int_eq(set_number(KS_SETTING_RECORD_BYTES, before->record_bytes_max), KS_OK);
    struct ks_stream *same = world_stream(&world, "orders");
    ck_assert_uint_eq(same->routing_epoch, before->routing_epoch);
    ck_assert_int_eq(set_number(KS_SETTING_RECORD_BYTES, 2 << 20), KS_OK);
    struct ks_stream *after = world_stream(&world, "orders");
    ck_assert_uint_eq(after->routing_epoch, before->routing_epoch + 1);
    put(world_log(&world, "orders", 0), 100); /* the log takes puts of the newer routing */
    ks_stream_unref(before);
    ks_stream_unref(same);
    ks_stream_unref(after);
    world_fini(&world);
}
END_TEST

START_TEST(a_change_that_is_refused_leaves_all_as_it_was)
{
    setup();
    ck_assert_int_eq(set_tag("team", "red"), KS_OK);
    fail_next_commit();
    ck_assert_int_eq(set_tag("team", "blue"), KS_STORAGE_FULL);
    fail_next_commit();
    ck_assert_int_eq(set_number(KS_SETTING_RECORD_BYTES, 2 << 20), KS_STORAGE_FULL);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    ck_assert_int_eq(stream->status, KS_STREAM_ACTIVE);
    ck_assert_uint_eq(stream->record_bytes_max, 1 << 20);
    expect_tags(stream->tags, "team=red");
    world_fini(&world);
}
END_TEST

START_TEST(what_is_deleted_or_missing_is_not_changed)
{
    setup();
    struct ks_setting_change change = {.setting = KS_SETTING_TAGS_ADD};
    ck_assert_int_eq(world_delete_later(&world, "orders", DAY_MS), KS_OK);
    ck_assert_int_eq(set_tag("team", "red"), KS_IN_USE);
    ck_assert_int_eq(set_number(KS_SETTING_WARM_MIBPS, 1), KS_IN_USE);
    struct ks_admin admin = {.home = &world.box};
    ck_assert_int_eq(ks_stream_set(world.engine, 999, &change, &admin, NULL), KS_NOT_FOUND);
    world_fini(&world);
}
END_TEST

/* ---- the account ---- */

START_TEST(the_account_is_there_after_a_restart)
{
    setup();
    struct ks_account account;
    ks_account_get(world.engine, &account);
    ck_assert_uint_eq(account.commitment_started_unix_ms, 0);
    const struct ks_account wanted = {1000, 2000, 3000};
    ck_assert_int_eq(world_set_account(&world, &wanted), KS_OK);
    const struct ks_account refused = {4000, 5000, 6000};
    fail_next_commit();
    ck_assert_int_eq(world_set_account(&world, &refused), KS_STORAGE_FULL);
    for (int i = 0; i < 2; i++) {
        ks_account_get(world.engine, &account);
        ck_assert_uint_eq(account.commitment_started_unix_ms, 1000);
        ck_assert_uint_eq(account.commitment_earliest_end_unix_ms, 2000);
        ck_assert_uint_eq(account.commitment_ended_unix_ms, 3000);
        world_restart(&world, _i % 2);
    }
    world_fini(&world);
}
END_TEST

START_TEST(on_demand_streams_are_counted)
{
    setup();
    ck_assert_uint_eq(ks_registry_on_demand_streams(world.engine), 0);
    ck_assert_int_eq(world_set_mode(&world, "orders", KS_STREAM_ON_DEMAND), KS_OK);
    ck_assert_int_eq(world_create(&world, "others", 1), KS_OK);
    ck_assert_uint_eq(ks_registry_on_demand_streams(world.engine), 1);
    world_restart(&world, true);
    ck_assert_uint_eq(ks_registry_on_demand_streams(world.engine), 1);
    ck_assert_int_eq(world_set_mode(&world, "others", KS_STREAM_ON_DEMAND), KS_OK);
    ck_assert_int_eq(world_set_mode(&world, "orders", KS_STREAM_PROVISIONED), KS_OK);
    ck_assert_uint_eq(ks_registry_on_demand_streams(world.engine), 1);
    ck_assert_int_eq(world_delete(&world, "others"), KS_OK);
    ck_assert_uint_eq(ks_registry_on_demand_streams(world.engine), 0);
    world_fini(&world);
}
END_TEST

static unsigned done_count;
static void note_done(struct ks_mail *mail)
{
    (void)mail;
    done_count++;
}

/* While the stream is UPDATING, tags wait for their turn and other settings are refused. */
START_TEST(tags_wait_for_other_changes)
{
    setup();
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    const struct ks_tag tag = {"team", "red"};
    struct ks_setting_change slow = {.setting = KS_SETTING_WARM_MIBPS, .number = 9};
    struct ks_setting_change other = {.setting = KS_SETTING_WARM_MIBPS, .number = 8};
    struct ks_setting_change tags = {.setting = KS_SETTING_TAGS_ADD, .tags = &tag, .tag_count = 1};
    struct ks_admin first = {.mail.deliver = note_done, .home = &world.box};
    struct ks_admin second = first;
    struct ks_admin third = first;
    done_count = 0;
    ck_assert_int_eq(ks_stream_set(world.engine, stream->number, &slow, &first, NULL), KS_OK);
    ck_assert_int_eq(world_status(&world, "orders"), KS_STREAM_UPDATING);
    ck_assert_int_eq(ks_stream_set(world.engine, stream->number, &other, &third, NULL), KS_IN_USE);
    ck_assert_int_eq(ks_stream_set(world.engine, stream->number, &tags, &second, NULL), KS_OK);
    world_pump(&world);
    ck_assert_uint_eq(done_count, 2);
    ck_assert_int_eq(first.status, KS_OK);
    ck_assert_int_eq(second.status, KS_OK);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *after = world_stream(&world, "orders");
    ck_assert_uint_eq(after->warm_mibps, 9);
    expect_tags(after->tags, "team=red");
    world_fini(&world);
}
END_TEST

KS_SUITE("storage/settings")
{
    KS_TEST(tags_are_sorted_and_a_key_has_one_value);
    KS_TEST(no_tags_are_no_set);
    KS_TEST(fifty_tags_and_no_more);
    KS_TEST_LOOP(settings_are_there_after_a_restart, 2);
    KS_TEST(a_change_says_what_was_before);
    KS_TEST(a_new_record_size_makes_a_newer_routing);
    KS_TEST(a_change_that_is_refused_leaves_all_as_it_was);
    KS_TEST(what_is_deleted_or_missing_is_not_changed);
    KS_TEST(tags_wait_for_other_changes);
    KS_TEST_LOOP(the_account_is_there_after_a_restart, 2);
    KS_TEST(on_demand_streams_are_counted);
}
