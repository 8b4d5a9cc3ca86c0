#include "tests/unit/ks_check.h"
#include "tools/ctl_items.h"

#include <stdio.h>
#include <time.h>

static const char *const records[] = {
    "{\"arrival_time\": \"2026-11-22T23:46:30.123Z\", \"key\": \"alice\", \"data\": \"one\"}",
    "{\"arrival_time\": \"2026-11-22T23:46:31.000Z\", \"key\": \"bob\", \"data\": \"a\\u001bb\"}",
    "{\"key\": \"a key that is longer\", \"other\": 1}",
};

struct items_case {
    enum ctl_output_format format;
    const char *query;
    const char *columns;
    bool no_header;
    const char *expected;
};

static const struct items_case cases[] = {
    {CTL_OUTPUT_TABLE, NULL, NULL, false,
        "arrival_time                   key    data\n"
        "2026-11-23T00:46:30.123+01:00  alice  one\n"
        "2026-11-23T00:46:31.000+01:00  bob    a\\x1bb\n"
        "                               a key that is longer  \n"},
    {CTL_OUTPUT_TABLE, NULL, "data,key", true,
        "one   alice\na\\x1bb  bob\n        a key that is longer\n"},
    {CTL_OUTPUT_CSV, NULL, NULL, false,
        "arrival_time,key,data\n2026-11-22T23:46:30.123Z,alice,one\n"
        "2026-11-22T23:46:31.000Z,bob,a\x1b"
        "b\n,a key that is longer,\n"},
    {CTL_OUTPUT_CSV, "{k: key, n: length(key)}", NULL, false,
        "k,n\nalice,5\nbob,3\na key that is longer,20\n"},
    {CTL_OUTPUT_CSV, "[key, data]", NULL, false,
        "key,data\nalice,one\nbob,a\x1b"
        "b\na key that is longer,\n"},
    {CTL_OUTPUT_CSV, "key", NULL, true, "alice\nbob\na key that is longer\n"},
    {CTL_OUTPUT_TABLE, "key", NULL, false, "key\nalice\nbob\na key that is longer\n"},
    {CTL_OUTPUT_TEXT, "[key, data]", NULL, false,
        "alice\tone\nbob\ta\x1b"
        "b\na key that is longer\tNone\n"},
    {CTL_OUTPUT_TEXT, NULL, "key", false, "alice\nbob\na key that is longer\n"},
    {CTL_OUTPUT_NDJSON, "key", NULL, false, "\"alice\"\n\"bob\"\n\"a key that is longer\"\n"},
    {CTL_OUTPUT_JSON, "[data]", NULL, false, "[\"one\"]\n[\"a\\u001Bb\"]\n[null]\n"},
    {CTL_OUTPUT_NONE, NULL, NULL, false, ""},
};

START_TEST(items_are_printed_as_they_come_in_every_way)
{
    setenv("TZ", "XXX-1", 1);
    tzset();
    const struct items_case *c = &cases[_i];
    struct jmes *query = NULL;
    if (c->query)
        ck_assert_int_eq(jmes_parse(ks_view_of_text(c->query), &query, NULL), KS_OK);
    struct ctl_output output = {
        .format = c->format, .query = query, .columns = c->columns, .no_header = c->no_header};
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    struct ctl_items items;
    ctl_items_init(&items, &output, to);
    for (size_t i = 0; i < KS_COUNT_OF(records); i++) {
        json_t *value = json_loads(records[i], 0, NULL);
        ck_assert_int_eq(ctl_items_print(&items, value, NULL), KS_OK);
        json_decref(value);
    }
    ctl_items_fini(&items);
    fclose(to);
    ck_assert_str_eq(text, c->expected);
    free(text);
    jmes_free(query);
}
END_TEST

/* tail(1) cannot know what comes: the rows behind a wide one line up with it. */
START_TEST(a_table_becomes_as_wide_as_its_rows)
{
    struct ctl_output output = {.format = CTL_OUTPUT_TABLE};
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    struct ctl_items items;
    ctl_items_init(&items, &output, to);
    static const char *const keys[] = {
        "a", "wide\\u0007", "b", "more than forty characters are not waited for", "c"};
    for (size_t i = 0; i < KS_COUNT_OF(keys); i++) {
        char json[120];
        snprintf(json, sizeof json, "{\"key\": \"%s\", \"data\": \"x\"}", keys[i]);
        json_t *value = json_loads(json, 0, NULL);
        ck_assert_int_eq(ctl_items_print(&items, value, NULL), KS_OK);
        json_decref(value);
    }
    ctl_items_fini(&items);
    fclose(to);
    ck_assert_str_eq(text, "key  data\na    x\nwide\\x07  x\nb         x\n"
                           "more than forty characters are not waited for  x\n"
                           "c                                         x\n");
    free(text);
}
END_TEST

START_TEST(a_query_that_fails_says_so)
{
    struct jmes *query = NULL;
    ck_assert_int_eq(jmes_parse(ks_view_of_text("sum(key)"), &query, NULL), KS_OK);
    struct ctl_output output = {.format = CTL_OUTPUT_JSON, .query = query};
    struct ctl_items items;
    ctl_items_init(&items, &output, stdout);
    json_t *value = json_loads(records[0], 0, NULL);
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ctl_items_print(&items, value, &err), KS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "--query: invalid-type"));
    ctl_items_fini(&items);
    json_decref(value);
    jmes_free(query);
}
END_TEST

KS_SUITE("tools/ctl_items")
{
    KS_TEST_LOOP(items_are_printed_as_they_come_in_every_way, (int)KS_COUNT_OF(cases));
    KS_TEST(a_table_becomes_as_wide_as_its_rows);
    KS_TEST(a_query_that_fails_says_so);
}
