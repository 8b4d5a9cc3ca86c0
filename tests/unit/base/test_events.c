#include "base/events.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>
#include <string.h>

struct kept_events {
    struct ks_events events; /* first member */
    unsigned count;
    enum ks_level level;
    char name[64];
    char fields[1024];
};

/* The sink is const to those who emit; its own state is behind it. */
static void keep(
    const struct ks_events *events, enum ks_level level, const char *name, const char *fields)
{
    struct kept_events *kept = (struct kept_events *)events;
    kept->count++;
    kept->level = level;
    (void)snprintf(kept->name, sizeof kept->name, "%s", name);
    (void)snprintf(kept->fields, sizeof kept->fields, "%s", fields);
}

START_TEST(an_event_reaches_its_sink)
{
    struct kept_events kept = {.events = {.emit = keep}};
    ks_emit(
        &kept.events, KS_LEVEL_WARNING, "journal.torn_tail", "lsn=%d ignored_bytes=%d", 1204, 4096);
    ck_assert_uint_eq(kept.count, 1);
    ck_assert_int_eq(kept.level, KS_LEVEL_WARNING);
    ck_assert_str_eq(kept.name, "journal.torn_tail");
    ck_assert_str_eq(kept.fields, "lsn=1204 ignored_bytes=4096");
}
END_TEST

START_TEST(long_fields_are_cut_at_400_bytes)
{
    struct kept_events kept = {.events = {.emit = keep}};
    char long_text[600];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    ks_emit(&kept.events, KS_LEVEL_INFO, "test.long", "path=%s", long_text);
    ck_assert_uint_eq(strlen(kept.fields), 400);
}
END_TEST

START_TEST(events_may_be_ignored)
{
    ks_emit(&ks_events_ignore, KS_LEVEL_ERROR, "test.ignored", "n=%d", 1);
}
END_TEST

KS_SUITE("base/events")
{
    KS_TEST(an_event_reaches_its_sink);
    KS_TEST(long_fields_are_cut_at_400_bytes);
    KS_TEST(events_may_be_ignored);
}
