/* Who hears of a log's news, and who does not. */
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/engine_rig.h"

#include <stdio.h>

static struct rig rig;

struct watch {
    struct ks_log_watch watch; /* first member */
    unsigned told;
};

static void watch_told(struct ks_mail *mail)
{
    KS_CONTAINER_OF(mail, struct watch, watch.mail)->told++;
}

static void watch_arm(struct watch *watch, struct ks_mailbox *home, const char *name)
{
    watch->watch.mail.deliver = watch_told;
    watch->watch.home = home;
    ks_log_watch_arm(rig_log(&rig, name), &watch->watch);
}

static void open_with_two_streams(uint64_t seed)
{
    rig_init(&rig, seed);
    rig_must_open(&rig);
    rig_create_stream(&rig, "a");
    rig_create_stream(&rig, "b");
}

START_TEST(a_watch_is_told_once_and_only_of_its_own_log)
{
    struct watch a = {.told = 0};
    struct watch b = {.told = 0};
    open_with_two_streams(1);
    watch_arm(&a, &rig.mailbox, "a");
    watch_arm(&b, &rig.mailbox, "b");
    rig_put(&rig, "a", 3, 100);
    ck_assert_uint_eq(a.told, 1);
    ck_assert_uint_eq(b.told, 0);
    rig_put(&rig, "a", 1, 100); /* disarmed: says nothing more */
    ck_assert_uint_eq(a.told, 1);
    watch_arm(&a, &rig.mailbox, "a");
    rig_put(&rig, "b", 1, 100);
    ck_assert_uint_eq(a.told, 1);
    ck_assert_uint_eq(b.told, 1);
    ck_assert(ks_log_watch_disarm(rig_log(&rig, "a"), &a.watch));
    rig_fini(&rig);
}
END_TEST

/* Before the block is on disk there is nothing to read, so nothing to be told. */
START_TEST(a_watch_is_told_when_the_records_can_be_read)
{
    struct watch a = {.told = 0};
    static struct rig_put put;
    open_with_two_streams(2);
    watch_arm(&a, &rig.mailbox, "a");
    ck_assert_int_eq(rig_append(&rig, &put, "a", 1, 10), KS_OK);
    struct ks_step *step = ks_commit_step(rig.engine->commit);
    ck_assert(step->begin(step->self));
    step->run(step->self);
    ks_mailbox_deliver(&rig.mailbox);
    ck_assert_uint_eq(a.told, 0);
    step->end(step->self);
    ks_mailbox_deliver(&rig.mailbox);
    ck_assert_uint_eq(a.told, 1);
    rig_fini(&rig);
}
END_TEST

/* A group with records of many logs: one delivery per mailbox brings everything. */
START_TEST(a_group_wakes_each_mailbox_once)
{
    enum { LOGS = 20 };
    struct ks_mailbox other;
    struct watch here[LOGS] = {{.told = 0}};
    struct watch there[LOGS] = {{.told = 0}};
    static struct rig_put put[LOGS];
    char name[8];
    rig_init(&rig, 3);
    rig_must_open(&rig);
    ck_assert_int_eq(ks_mailbox_init(&other, false, NULL), KS_OK);
    for (int i = 0; i < LOGS; i++) {
        snprintf(name, sizeof name, "s%d", i);
        rig_create_stream(&rig, name);
        watch_arm(&here[i], &rig.mailbox, name);
        watch_arm(&there[i], &other, name);
        ck_assert_int_eq(rig_append(&rig, &put[i], name, 1, 10), KS_OK);
    }
    ck_assert(rig_step(&rig, "commit"));
    ck_assert_uint_eq(ks_mailbox_deliver(&other), LOGS);
    for (int i = 0; i < LOGS; i++) {
        ck_assert(put[i].is_delivered);
        ck_assert_uint_eq(here[i].told, 1);
        ck_assert_uint_eq(there[i].told, 1);
    }
    ks_mailbox_fini(&other);
    rig_fini(&rig);
}
END_TEST

START_TEST(who_leaves_takes_nobody_elses_news_along)
{
    struct watch watches[3] = {{.told = 0}};
    open_with_two_streams(4);
    for (int i = 0; i < 3; i++)
        watch_arm(&watches[i], &rig.mailbox, "a");
    ck_assert(ks_log_watch_disarm(rig_log(&rig, "a"), &watches[1].watch));
    ks_mailbox_deliver(&rig.mailbox);
    ck_assert_uint_eq(watches[1].told, 0);
    /* The others are told for nothing, which makes them look and arm again. */
    ck_assert_uint_eq(watches[0].told, 1);
    ck_assert_uint_eq(watches[2].told, 1);
    /* Told already: it cannot be taken back. */
    ck_assert(!ks_log_watch_disarm(rig_log(&rig, "a"), &watches[0].watch));
    rig_put(&rig, "a", 1, 10);
    ck_assert_uint_eq(watches[1].told, 0);
    rig_fini(&rig);
}
END_TEST

static void admin_delivered(struct ks_mail *mail)
{
    ck_assert_int_eq(KS_CONTAINER_OF(mail, struct ks_admin, mail)->status, KS_OK);
}

START_TEST(the_end_of_a_log_is_told)
{
    struct watch a = {.told = 0};
    struct ks_admin admin = {.mail.deliver = admin_delivered, .home = &rig.mailbox};
    struct ks_log_bounds bounds;
    open_with_two_streams(5);
    struct ks_log *log = ks_log_ref(rig_log(&rig, "a"));
    watch_arm(&a, &rig.mailbox, "a");
    ks_log_bounds(log, &bounds);
    ck_assert(!bounds.is_deleted);
    ck_assert_int_eq(ks_stream_delete(rig.engine, "a", &admin, NULL), KS_OK);
    rig_run(&rig);
    ck_assert_uint_eq(a.told, 1);
    ks_log_bounds(log, &bounds);
    ck_assert(bounds.is_deleted);
    ks_log_unref(log);
    rig_fini(&rig);
}
END_TEST

KS_SUITE("storage/log_watch")
{
    KS_TEST(a_watch_is_told_once_and_only_of_its_own_log);
    KS_TEST(a_watch_is_told_when_the_records_can_be_read);
    KS_TEST(a_group_wakes_each_mailbox_once);
    KS_TEST(who_leaves_takes_nobody_elses_news_along);
    KS_TEST(the_end_of_a_log_is_told);
}
