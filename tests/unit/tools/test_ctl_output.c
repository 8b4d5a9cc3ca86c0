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
    const char *list_member;
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
    {"{\"Bytes\": 1, \"Last\": {\"Bytes\": 2, \"Files\": 3}, \"All\": {\"Bytes\": 4}}",
        CTL_OUTPUT_TABLE, NULL, NULL, false,
        "Field       Value\n"
        "Bytes       1\n"
        "Last.Bytes  2\n"
        "Files       3\n"
        "All.Bytes   4\n"},
    /* As the aws CLI writes text. */
    {list_text, CTL_OUTPUT_TEXT, "StreamNames", NULL, false, "clicks\tviews\n"},
    {list_text, CTL_OUTPUT_TEXT, "StreamNames[1]", NULL, false, "views\n"},
    {list_text, CTL_OUTPUT_TEXT, "Missing", NULL, false, "None\n"},
    {list_text, CTL_OUTPUT_TEXT, NULL, NULL, false,
        "STREAMNAMES\tclicks\n"
        "STREAMNAMES\tviews\n"
        "STREAMSUMMARIES\t\t2026-11-22T23:46:30.123Z\tclicks\n"
        "STREAMMODEDETAILS\tPROVISIONED\n"
        "STREAMSUMMARIES\t12\t\tviews\n"},
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
    /* Lists of lists have the names of what was selected, as far as it has one. */
    {list_text, CTL_OUTPUT_TABLE, "StreamSummaries[].[StreamName, Count]", NULL, false,
        "StreamName  Count\nclicks           \nviews          12\n"},
    {list_text, CTL_OUTPUT_TABLE, "StreamSummaries[].[StreamName, Count]", NULL, true,
        "clicks\nviews          12\n"},
    {list_text, CTL_OUTPUT_TABLE, "[[`1`, 'a'], [`2`, 'b']]", NULL, false, "1  a\n2  b\n"},
    {list_text, CTL_OUTPUT_TABLE, "StreamSummaries[].{name: StreamName, n: Count}", NULL, false,
        "name     n\nclicks    \nviews   12\n"},
    {list_text, CTL_OUTPUT_TABLE, "sort(StreamNames)", NULL, false, "StreamName\nclicks\nviews\n"},
    {list_text, CTL_OUTPUT_TEXT, "StreamSummaries[].[StreamName, Count]", NULL, false,
        "clicks\tNone\nviews\t12\n"},
    {list_text, CTL_OUTPUT_CSV, "StreamSummaries[].[StreamName, Count]", NULL, false,
        "StreamName,Count\nclicks,\nviews,12\n"},
    /* One value a line. */
    {list_text, CTL_OUTPUT_NDJSON, NULL, "StreamSummaries", false,
        "{\"StreamName\":\"clicks\",\"StreamModeDetails\":{\"StreamMode\":\"PROVISIONED\"},"
        "\"StreamCreationTimestamp\":\"2026-11-22T23:46:30.123Z\"}\n"
        "{\"StreamName\":\"views\",\"Count\":12}\n"},
    {list_text, CTL_OUTPUT_NDJSON, "StreamNames", NULL, false, "\"clicks\"\n\"views\"\n"},
    {list_text, CTL_OUTPUT_NDJSON, "StreamSummaries[1]", NULL, false,
        "{\"StreamName\":\"views\",\"Count\":12}\n"},
    {list_text, CTL_OUTPUT_NDJSON, "Missing", NULL, false, "null\n"},
    /* CSV: the same grid, times as they are, quotes where they are needed. */
    {list_text, CTL_OUTPUT_CSV, NULL, "StreamSummaries", false,
        "StreamName,StreamMode,StreamCreationTimestamp,Count\n"
        "clicks,PROVISIONED,2026-11-22T23:46:30.123Z,\nviews,,,12\n"},
    {"[{\"a\": \"x,y\", \"b\": \"say \\\"hi\\\"\", \"c\": \"two\\nlines\", \"d\": \" z\", \"e\": "
     "true,"
     " \"f\": null, \"g\": [1, {\"h\": 0.5}]}]",
        CTL_OUTPUT_CSV, NULL, NULL, false,
        "a,b,c,d,e,f,g\n\"x,y\",\"say \"\"hi\"\"\",\"two\nlines\",\" z\",true,,"
        "\"[1,{\"\"h\"\":0.5}]\"\n"},
    {"{\"a\": 1, \"b\": []}", CTL_OUTPUT_CSV, NULL, NULL, false, "a,b\n1,[]\n"},
    {list_text, CTL_OUTPUT_CSV, "StreamNames", NULL, false, "StreamName\nclicks\nviews\n"},
    {"[\"\"]", CTL_OUTPUT_CSV, "@", NULL, true, "\"\"\n"},
    {"[]", CTL_OUTPUT_CSV, "@", NULL, false, "Value\n"},
    /* A real number keeps all its digits, and no more. */
    {"[0.1, 2.5, 0.30000000000000004]", CTL_OUTPUT_NDJSON, NULL, NULL, false,
        "0.1\n2.5\n0.30000000000000004\n"},
    {"[[0.005, 0.30000000000000004, 1e30, -2.0, \"0.0050, \\\" 0.0050\", 7, {\"0.50\": 1e-7}]]",
        CTL_OUTPUT_NDJSON, NULL, NULL, false,
        "[0.005,0.30000000000000004,1e30,-2.0,\"0.0050, \\\" 0.0050\",7,{\"0.50\":1e-7}]\n"},
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
    ck_assert_int_eq(ctl_output_print(&output, value, c->list_member, to, NULL), KS_OK);
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

static char *table_of(const char *json, size_t width)
{
    struct ctl_output output = {.format = CTL_OUTPUT_TABLE, .width = width};
    json_t *value = json_loads(json, 0, NULL);
    ck_assert_ptr_nonnull(value);
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    ck_assert_int_eq(ctl_output_print(&output, value, NULL, to, NULL), KS_OK);
    fclose(to);
    json_decref(value);
    strip_ends(text);
    return text;
}

#define HASH_KEY "340282366920938463463374607431768211455"
#define SEQUENCE "49680535392610630886875456511338518788616030589307322370"

/* What does not fit goes on in the next line: a number that is cut is another number. */
START_TEST(a_narrow_terminal_cuts_nothing)
{
    static const char shards[] =
        "[{\"ShardId\": \"shardId-000000000000\", \"n\": 123456789, "
        "\"EndingHashKey\": \"" HASH_KEY "\", \"SequenceNumber\": \"" SEQUENCE "\"},"
        " {\"ShardId\": \"shardId-000000000001\", \"n\": 7, "
        "\"EndingHashKey\": \"0\", \"SequenceNumber\": \"1\"}]";
    char *text = table_of(shards, 70);
    ck_assert_str_eq(text,
        "ShardId                       n  EndingHashKey       SequenceNumber\n"
        "shardId-000000000000  123456789  340282366920938463  49680535392610630\n"
        "                                 463374607431768211  88687545651133851\n"
        "                                 455                 87886160305893073\n"
        "                                                     22370\n"
        "shardId-000000000001          7  0                   1\n");
    free(text);
    /* Too many columns: they are as wide as they must be. */
    text = table_of(shards, 60);
    ck_assert_str_eq(text,
        "ShardId                       n  EndingHashKey                            SequenceNumber\n"
        "shardId-000000000000  123456789  " HASH_KEY "  " SEQUENCE "\n"
        "shardId-000000000001          7  0                                        1\n");
    free(text);
}
END_TEST

START_TEST(a_table_that_fits_is_left_alone)
{
    char *text = table_of("[{\"Key\": \"k\", \"Data\": \"0123456789\"}]", 15);
    ck_assert_str_eq(text, "Key  Data\nk    0123456789\n");
    free(text);
}
END_TEST

START_TEST(words_are_not_split_nor_are_characters)
{
    char *text = table_of(
        "{\"Key\": \"k\", \"Data\": \"a long text that goes on and would need more\"}", 30);
    ck_assert_str_eq(text, "Field  Value\nKey    k\nData   a long text that goes\n"
                           "       on and would need more\n");
    free(text);
    text = table_of("[{\"K\": \"\u00fc\u00fc\u00fc\u00fc\u00fc\"}]", 18);
    ck_assert_str_eq(text, "K\n\\xc3\\xbc\\xc3\\xbc\n\\xc3\\xbc\\xc3\\xbc\n\\xc3\\xbc\n");
    free(text);
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

struct grid_case {
    enum ctl_output_format format;
    const char *columns;
    const char *sort_by;
    const char *expected;
};

static const struct grid_case grids[] = {
    {CTL_OUTPUT_TABLE, "count,StreamName", "-StreamName",
        "Count  StreamName\n   12  views\n       clicks\n"},
    {CTL_OUTPUT_CSV, "StreamName,4", "Count", "StreamName,Count\nviews,12\nclicks,\n"},
    {CTL_OUTPUT_TEXT, "StreamMode,StreamName", NULL, "PROVISIONED\tclicks\n\tviews\n"},
    {CTL_OUTPUT_TEXT, "StreamName", "-1", "views\nclicks\n"},
};

START_TEST(columns_can_be_chosen_and_rows_ordered)
{
    const struct grid_case *c = &grids[_i];
    struct ctl_output output = {.format = c->format, .columns = c->columns, .sort_by = c->sort_by};
    json_t *value = json_loads(list_text, 0, NULL);
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    ck_assert_int_eq(ctl_output_print(&output, value, "StreamSummaries", to, NULL), KS_OK);
    fclose(to);
    strip_ends(text);
    ck_assert_str_eq(text, c->expected);
    free(text);
    json_decref(value);
}
END_TEST

START_TEST(titles_and_a_status_have_a_colour_if_wanted)
{
    struct ctl_output output = {.format = CTL_OUTPUT_TABLE, .has_color = true};
    json_t *value =
        json_loads("[{\"Name\": \"a\", \"Status\": \"ACTIVE\"}, {\"Name\": \"b\", \"Status\": "
                   "\"DELETING\"}]",
            0, NULL);
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    ck_assert_int_eq(ctl_output_print(&output, value, NULL, to, NULL), KS_OK);
    fclose(to);
    ck_assert_ptr_nonnull(strstr(text, "\033[1mName"));
    ck_assert_ptr_nonnull(strstr(text, "\033[32mACTIVE"));
    ck_assert_ptr_nonnull(strstr(text, "\033[31mDELETING"));
    free(text);
    json_decref(value);
}
END_TEST

START_TEST(an_unknown_column_is_named_with_those_there_are)
{
    static const char *const bad[] = {"Count,Nope", "0", "5", "", "StreamName,"};
    for (size_t i = 0; i < KS_COUNT_OF(bad); i++) {
        struct ctl_output output = {.format = CTL_OUTPUT_CSV, .columns = bad[i]};
        json_t *value = json_loads(list_text, 0, NULL);
        struct ks_error err = KS_ERROR_INIT;
        FILE *to = fopen("/dev/null", "w");
        ck_assert_int_eq(ctl_output_print(&output, value, "StreamSummaries", to, &err), KS_USAGE);
        ck_assert_ptr_nonnull(
            strstr(err.text, "there are: StreamName, StreamMode, StreamCreationTimestamp, Count"));
        fclose(to);
        json_decref(value);
    }
}
END_TEST

START_TEST(sorting_knows_numbers_in_texts_and_puts_nothing_last)
{
    struct ctl_output output = {.format = CTL_OUTPUT_TEXT, .columns = "n", .sort_by = "n"};
    static const char *const expected[] = {"2\n10\n0100\n\n", "0100\n10\n2\n\n"};
    for (size_t i = 0; i < 2; i++) {
        output.sort_by = i ? "-n" : "n";
        json_t *value =
            json_loads("[{\"n\": \"10\"}, {\"m\": 1}, {\"n\": \"2\"}, {\"n\": \"0100\"}]", 0, NULL);
        char *text = NULL;
        size_t bytes = 0;
        FILE *to = open_memstream(&text, &bytes);
        ck_assert_int_eq(ctl_output_print(&output, value, NULL, to, NULL), KS_OK);
        fclose(to);
        ck_assert_str_eq(text, expected[i]);
        free(text);
        json_decref(value);
    }
}
END_TEST

START_TEST(columns_need_a_format_that_has_some)
{
    struct ctl_output output = {.format = CTL_OUTPUT_JSON};
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ctl_output_check(&output, NULL), KS_OK);
    output.columns = "a";
    ck_assert_int_eq(ctl_output_check(&output, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "--columns"));
    output.format = CTL_OUTPUT_NDJSON;
    output.columns = NULL;
    output.sort_by = "a";
    ck_assert_int_eq(ctl_output_check(&output, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "--sort-by"));
    output.format = CTL_OUTPUT_CSV;
    ck_assert_int_eq(ctl_output_check(&output, NULL), KS_OK);
}
END_TEST

KS_SUITE("tools/ctl_output")
{
    KS_TEST_LOOP(columns_can_be_chosen_and_rows_ordered, (int)KS_COUNT_OF(grids));
    KS_TEST(titles_and_a_status_have_a_colour_if_wanted);
    KS_TEST(an_unknown_column_is_named_with_those_there_are);
    KS_TEST(sorting_knows_numbers_in_texts_and_puts_nothing_last);
    KS_TEST(columns_need_a_format_that_has_some);
    KS_TEST_LOOP(one_value_is_printed_in_every_way, (int)KS_COUNT_OF(cases));
    KS_TEST(a_narrow_terminal_cuts_nothing);
    KS_TEST(a_table_that_fits_is_left_alone);
    KS_TEST(words_are_not_split_nor_are_characters);
    KS_TEST(a_full_disk_is_noticed);
    KS_TEST(only_known_formats_are_taken);
}
