#include "tests/unit/ks_check.h"
#include "tools/ctl_query.h"

static const char answer_text[] =
    "{\"StreamNames\": [\"a\", \"b\"], \"Shards\": [{\"ShardId\": \"s0\"}, {\"ShardId\": \"s1\"}],"
    " \"odd-name\": {\"x\": 7}}";

struct query_case {
    const char *query;
    const char *expected; /* compact JSON */
    const char *last_name;
};

static const struct query_case cases[] = {
    {"StreamNames", "[\"a\",\"b\"]", "StreamNames"},
    {"StreamNames[0]", "\"a\"", "StreamNames"},
    {"StreamNames[-1]", "\"b\"", "StreamNames"},
    {"StreamNames[2]", "null", "StreamNames"},
    {"StreamNames[-3]", "null", "StreamNames"},
    {"Shards[1].ShardId", "\"s1\"", "ShardId"},
    {"Shards.ShardId", "null", "ShardId"},
    {"Nothing.There[4].AtAll", "null", "AtAll"},
    {"\"odd-name\".x", "7", "x"},
};

START_TEST(a_path_names_a_part)
{
    json_t *answer = json_loads(answer_text, 0, NULL);
    struct ctl_query query;
    ck_assert_int_eq(ctl_query_parse(cases[_i].query, &query, NULL), KS_OK);
    char *text = json_dumps(ctl_query_apply(&query, answer), JSON_COMPACT | JSON_ENCODE_ANY);
    ck_assert_str_eq(text, cases[_i].expected);
    ck_assert_str_eq(ctl_query_last_name(&query), cases[_i].last_name);
    free(text);
    json_decref(answer);
}
END_TEST

START_TEST(the_whole_is_an_at_sign)
{
    json_t *answer = json_loads(answer_text, 0, NULL);
    struct ctl_query query;
    ck_assert_int_eq(ctl_query_parse("@", &query, NULL), KS_OK);
    ck_assert_ptr_eq(ctl_query_apply(&query, answer), answer);
    ck_assert_str_eq(ctl_query_last_name(&query), "");
    json_decref(answer);
}
END_TEST

static const char *const refused[] = {"", ".", "a.", ".a", "a..b", "a[", "a[]", "a[*]", "a[0:2]",
    "a[x]", "a[?b=='c']", "length(a)", "a | b", "a.b ", "{x: a}", "[a, b]", "a[0]b", "a.[0]",
    "a[9999999999]", "\"\"", "\"a", "a*", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

START_TEST(what_is_no_plain_path_is_refused_and_not_misread)
{
    struct ctl_query query;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ctl_query_parse(refused[_i], &query, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "Shards[0].ShardId"));
}
END_TEST

KS_SUITE("tools/ctl_query")
{
    KS_TEST_LOOP(a_path_names_a_part, (int)KS_COUNT_OF(cases));
    KS_TEST(the_whole_is_an_at_sign);
    KS_TEST_LOOP(what_is_no_plain_path_is_refused_and_not_misread, (int)KS_COUNT_OF(refused));
}
