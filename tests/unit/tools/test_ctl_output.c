#include "tests/unit/ks_check.h"
#include "tools/ctl_output.h"

#include <errno.h>
#include <time.h>

static const char list_text[] =
    "{\"StreamNames\": [\"clicks\", \"views\"], \"StreamSummaries\": ["
    "{\"StreamName\": \"clicks\", \"StreamModeDetails\": {\"StreamMode\": \"PROVISIONED\"},"
    " \"StreamCreationTimestamp\": \"2026-11-22T23:46:30.123Z\"},"
    "{\"StreamName\": \"views\", \"Count\": 12}]}";

static const char describe_text[] =
    "{\"StreamDescription\": {\"StreamName\": \"clicks\", \"Has\": true, \"Hours\": 24,"
    " \"Mode\": {\"StreamMode\": \"PROVISIONED\"}, \"Empty\": [], \"Monitoring\": [{\"Metrics\": "
    "[]}],"
    " \"Shards\": [{\"ShardId\": \"s0\", \"Range\": {\"Start\": \"0\"}, \"Seq\": {\"Start\": "
    "\"7\"}}]}}";

struct print_case {
    const char *value;
    enum ctl_output_format format;
    const char *query; /* NULL: none */
    const char *table_member;
    bool no_header;
    const char *expected;
};

static const struct print_case cases[] = {
    /* The line of the user's own script. */
    {list_text, CTL_OUTPUT_TABLE, "StreamNames", "StreamSummaries", false,
        "StreamName\nclicks\nviews\n"},
    {list_text, CTL_OUTPUT_TABLE, "StreamNames", "StreamSummaries", true, "clicks\nviews\n"},
    {list_text, CTL_OUTPUT_TABLE, NULL, "StreamSummaries", false,
        "StreamName  StreamMode   StreamCreationTimestamp        Count\n"
        "clicks      PROVISIONED  2026-11-23T00:46:30.123+01:00       \n"
        "views                                                      12\n"},
    {list_text, CTL_OUTPUT_TABLE, "StreamSummaries[0].StreamName", NULL, false,
        "StreamName\nclicks\n"},
    {list_text, CTL_OUTPUT_TABLE, "Missing", NULL, false, "Missing\n\n"},
    {"{\"StreamNames\": []}", CTL_OUTPUT_TABLE, "StreamNames", NULL, false, "StreamName\n"},
    {describe_text, CTL_OUTPUT_TABLE, NULL, NULL, false,
        "Field       Value\n"
        "StreamName  clicks\n"
        "Has         true\n"
        "Hours       24\n"
        "StreamMode  PROVISIONED\n"
        "Empty       \n"
        "\n"
        "ShardId  Start  Seq.Start\n"
        "s0       0      7\n"},
    /* As the aws CLI writes text. */
    {list_text, CTL_OUTPUT_TEXT, "StreamNames", NULL, false, "clicks\tviews\n"},
    {list_text, CTL_OUTPUT_TEXT, "StreamNames[1]", NULL, false, "views\n"},
    {list_text, CTL_OUTPUT_TEXT, "Missing", NULL, false, "None\n"},
    {list_text, CTL_OUTPUT_TEXT, NULL, NULL, false,
        "STREAMNAMES\tclicks\n"
        "STREAMNAMES\tviews\n"
        "STREAMSUMMARIES\tNone\t2026-11-22T23:46:30.123Z\tclicks\n"
        "STREAMMODEDETAILS\tPROVISIONED\n"
        "STREAMSUMMARIES\t12\tNone\tviews\n"},
    {describe_text, CTL_OUTPUT_TEXT, NULL, NULL, false,
        "STREAMDESCRIPTION\tTrue\t24\tclicks\n"
        "MODE\tPROVISIONED\n"
        "SHARDS\ts0\n"
        "RANGE\t0\n"
        "SEQ\t7\n"},
    {"{\"StreamName\": \"x\", \"StreamStatus\": \"ACTIVE\"}", CTL_OUTPUT_TEXT, NULL, NULL, false,
        "x\tACTIVE\n"},
    {"{\"StreamName\": \"x\", \"StreamStatus\": \"ACTIVE\"}", CTL_OUTPUT_JSON, NULL, NULL, false,
        "{\n    \"StreamName\": \"x\",\n    \"StreamStatus\": \"ACTIVE\"\n}\n"},
    {list_text, CTL_OUTPUT_JSON, "StreamNames[0]", NULL, false, "\"clicks\"\n"},
    {list_text, CTL_OUTPUT_JSON, "Missing", NULL, false, "null\n"},
    {list_text, CTL_OUTPUT_NONE, NULL, NULL, false, ""},
};

/* smartcols pads all columns but the last; ends of lines are not compared. */
static void strip_ends(char *text)
{
    char *to = text;
    for (char *at = text; *at; at++) {
        if (*at == '\n')
            while (to > text && to[-1] == ' ')
                to--;
        *to++ = *at;
    }
    *to = '\0';
}

START_TEST(one_value_is_printed_in_every_way)
{
    setenv("TZ", "XXX-1", 1);
    tzset();
    const struct print_case *c = &cases[_i];
    struct ctl_output output = {.format = c->format, .no_header = c->no_header};
    struct jmes *query = NULL;
    if (c->query)
        ck_assert_int_eq(jmes_parse(ks_view_of_text(c->query), &query, NULL), KS_OK);
    output.query = query;
    json_t *value = json_loads(c->value, 0, NULL);
    ck_assert_ptr_nonnull(value);
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    ck_assert_int_eq(ctl_output_print(&output, value, c->table_member, to, NULL), KS_OK);
    fclose(to);
    char expected[1024];
    snprintf(expected, sizeof expected, "%s", c->expected);
    strip_ends(expected);
    strip_ends(text);
    ck_assert_str_eq(text, expected);
    free(text);
    jmes_free(query);
    json_decref(value);
}
END_TEST

START_TEST(a_narrow_terminal_cuts_and_does_not_wrap)
{
    struct ctl_output output = {.format = CTL_OUTPUT_TABLE, .width = 30};
    json_t *value =
        json_loads("[{\"Key\": \"k\", \"Data\": "
                   "\"a long text that goes on and on and would need more than one line\"}]",
            0, NULL);
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    ck_assert_int_eq(ctl_output_print(&output, value, NULL, to, NULL), KS_OK);
    fclose(to);
    size_t column = 0;
    for (const char *at = text; *at; at++) {
        column = *at == '\n' ? 0 : column + 1;
        ck_assert_uint_le(column, 30);
    }
    free(text);
    json_decref(value);
}
END_TEST

START_TEST(a_full_disk_is_noticed)
{
    FILE *full = fopen("/dev/full", "w");
    ck_assert_ptr_nonnull(full);
    struct ctl_output output = {.format = CTL_OUTPUT_JSON};
    json_t *value = json_loads("{\"a\": 1}", 0, NULL);
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ctl_output_print(&output, value, NULL, full, &err), KS_IO);
    ck_assert_int_eq(err.errnum, ENOSPC);
    json_decref(value);
    fclose(full);
}
END_TEST

START_TEST(only_known_formats_are_taken)
{
    enum ctl_output_format format;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ctl_output_format_from_text("table", &format, NULL), KS_OK);
    ck_assert_int_eq(format, CTL_OUTPUT_TABLE);
    ck_assert_int_eq(ctl_output_format_from_text("none", &format, NULL), KS_OK);
    ck_assert_int_eq(ctl_output_format_from_text("yaml", &format, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "yaml"));
}
END_TEST

KS_SUITE("tools/ctl_output")
{
    KS_TEST_LOOP(one_value_is_printed_in_every_way, (int)KS_COUNT_OF(cases));
    KS_TEST(a_narrow_terminal_cuts_and_does_not_wrap);
    KS_TEST(a_full_disk_is_noticed);
    KS_TEST(only_known_formats_are_taken);
}
