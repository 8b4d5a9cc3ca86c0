#include "base/alloc.h"
#include "tests/unit/ks_check.h"
#include "tools/jmes.h"

/* The language itself is held against the reference implementation: test_jmes_oracle.py. Here: its
 * bounds, its texts for people, and what happens without memory. */

static const char document_text[] =
    "{\"StreamNames\": [\"views\", \"clicks\"], \"Streams\": [{\"Name\": \"views\", \"n\": 2.5},"
    " {\"Name\": \"clicks\", \"n\": 7, \"Tags\": {\"a\": [1, [2]]}}]}";

static enum ks_status parse(const char *text, struct jmes **out, struct ks_error *err)
{
    return jmes_parse(ks_view_of_text(text), out, err);
}

struct refused_case {
    const char *text;
    const char *error;
};

static const struct refused_case refused[] = {
    {"", "syntax: something is missing at the end, at character 1"},
    {"a b", "syntax: 'b' is not expected, at character 3"},
    {"a[?b == 'c'", "syntax: something is missing at the end, at character 12"},
    {"a ? b", "syntax: '?' begins nothing, at character 3"},
    {"ä", "syntax: 'ä' begins nothing, at character 1"},
    {"'a", "syntax: ' has no closing one, at character 1"},
    {"lenght(a)", "unknown-function: no function 'lenght', at character 1"},
    {"length(a, b)", "invalid-arity: length() takes 1 argument, not 2, at character 1"},
    {"not_null()", "invalid-arity: not_null() takes 1 argument or more, not 0, at character 1"},
    {"\xff", "syntax: not UTF-8"},
};

START_TEST(a_bad_expression_is_refused_with_its_place)
{
    struct ks_error err = KS_ERROR_INIT;
    struct jmes *expression = NULL;
    ck_assert_int_eq(parse(refused[_i].text, &expression, &err), KS_USAGE);
    ck_assert_str_eq(err.text, refused[_i].error);
    ck_assert_ptr_null(expression);
}
END_TEST

START_TEST(a_bad_value_is_refused_with_the_argument)
{
    json_t *document = json_loads(document_text, 0, NULL);
    struct ks_error err = KS_ERROR_INIT;
    struct jmes *expression = NULL;
    json_t *result = NULL;
    ck_assert_int_eq(parse("sum(StreamNames)", &expression, NULL), KS_OK);
    ck_assert_int_eq(jmes_search(expression, document, 0, &result, &err), KS_INVALID);
    ck_assert_str_eq(
        err.text, "invalid-type: argument 1 of sum() is to be array of numbers, not array");
    ck_assert_ptr_null(result);
    jmes_free(expression);
    json_decref(document);
}
END_TEST

/* The text repeated, between a beginning and an end; to be freed. */
static char *repeat(const char *begin, const char *middle, size_t times, const char *end)
{
    char *text = calloc(strlen(begin) + times * strlen(middle) + strlen(end) + 1, 1);
    ck_assert_ptr_nonnull(text);
    char *at = stpcpy(text, begin);
    for (size_t i = 0; i < times; i++)
        at = stpcpy(at, middle);
    stpcpy(at, end);
    return text;
}

struct bound_case {
    const char *begin;
    const char *middle;
    size_t times;
    const char *end;
};

static const struct bound_case too_much[] = {
    {"", "(", JMES_NESTING_MAX + 1, "a"},
    {"", "[", JMES_NESTING_MAX + 1, "a"},
    {"", "!", JMES_NESTING_MAX + 1, "a"},
    {"", "length(", JMES_NESTING_MAX + 1, "a"},
    {"", "a[?", JMES_NESTING_MAX + 1, "a"},
    {"a", ".a", JMES_HEIGHT_MAX, ""},
    {"a", "[0]", JMES_HEIGHT_MAX, ""},
    {"a", " || a", JMES_HEIGHT_MAX, ""},
    {"a", " | a", JMES_HEIGHT_MAX, ""},
    {"", " ", JMES_TEXT_BYTES_MAX, "a"},
    {"not_null(a", ", a", 64, ")"},
};

START_TEST(what_would_take_unbounded_stack_or_memory_is_refused)
{
    const struct bound_case *c = &too_much[_i];
    char *text = repeat(c->begin, c->middle, c->times, c->end);
    struct ks_error err = KS_ERROR_INIT;
    struct jmes *expression = NULL;
    ck_assert_int_eq(parse(text, &expression, &err), KS_USAGE);
    ck_assert_msg(strncmp(err.text, "limit: ", 7) == 0, "%s", err.text);
    free(text);
}
END_TEST

/* Each step doubles what is there: as a list, as a tree that shares its parts, as a text, as work.
 */
static const struct bound_case explosions[] = {
    {"@", " | [@, @][]", 60, ""},
    {"@", " | [@, @]", 60, ""},
    {"to_string(@)", " | join('', [@, @])", 60, ""},
    {"@", " | [@, @]", 60, " | to_string(@)"},
    {"[[@, @], [@, @]]", " | [@, @]", 40, " | @ == [@[0], @[0]]"},
    {"@", " | {a: @, b: @}", 60, ""},
    {"@", " | [@, @][] | [?length(@) > `-1`]", 40, ""},
};

START_TEST(what_would_take_unbounded_time_ends)
{
    const struct bound_case *c = &explosions[_i];
    char *text = repeat(c->begin, c->middle, c->times, c->end);
    json_t *document = json_loads(document_text, 0, NULL);
    struct ks_error err = KS_ERROR_INIT;
    struct jmes *expression = NULL;
    json_t *result = NULL;
    ck_assert_int_eq(parse(text, &expression, &err), KS_OK);
    ck_assert_int_eq(jmes_search(expression, document, 100000, &result, &err), KS_INVALID);
    ck_assert_msg(strncmp(err.text, "limit: ", 7) == 0, "%s", err.text);
    jmes_free(expression);
    json_decref(document);
    free(text);
}
END_TEST

static const char *const expressions[] = {
    "StreamNames[?starts_with(@, 'v')] | [0]",
    "Streams[].{name: Name, list: [n, Tags.a[]]}",
    "sort_by(Streams, &Name)[*].[Name, to_string(n)]",
    "join('-', reverse(sort(StreamNames)))",
    "merge(Streams[0], {x: `{\"y\": [1, \"z\"]}`}).keys(@)",
    "map(&not_null(Tags, `1`), Streams[::-1]) || \"a b\"",
    "max_by(Streams, &n).values(@)[1:] && contains(StreamNames, 'x')",
    "Streams[*].*[] | length(@) == `7` || `unquoted`",
    "to_number('12') < avg(Streams[].n) && reverse('öx')",
};

START_TEST(without_memory_there_is_an_error_and_no_leak)
{
    json_set_alloc_funcs(ks_malloc, ks_free);
    json_t *document = json_loads(document_text, 0, NULL);
    enum ks_status st = KS_NO_MEMORY;
    uint64_t nth = 1;
    for (; st; nth++) {
        struct jmes *expression = NULL;
        json_t *result = NULL;
        ks_alloc_fail_nth(nth, false);
        st = parse(expressions[_i], &expression, NULL);
        if (!st)
            st = jmes_search(expression, document, 0, &result, NULL);
        ks_alloc_fail_nth(0, false);
        json_decref(result);
        jmes_free(expression);
        ck_assert_uint_lt(nth, 10000);
    }
    ck_assert_uint_gt(nth, 5);
    json_decref(document);
}
END_TEST

struct title_case {
    const char *text;
    const char *title;
};

static const struct title_case titles[] = {
    {"StreamNames", "StreamNames"},
    {"StreamNames[0]", "StreamNames"},
    {"Streams[*].Name", "Name"},
    {"Streams[?n > `1`].Name | [0]", "Name"},
    {"Streams[?n > `1`]", "Streams"},
    {"sort(StreamNames)", "StreamNames"},
    {"sort_by(Streams, &n)[].Name", "Name"},
    {"Streams[].[Name, n]", ""},
    {"length(Streams)", ""},
    {"Streams.length(@)", ""},
    {"@", ""},
    {"'x'", ""},
    {"not_null(a.b, c)", "b"},
    {"*.Name", "Name"},
    {"a[].b[]", "b"},
};

START_TEST(a_title_is_the_last_name_on_the_way)
{
    struct jmes *expression = NULL;
    ck_assert_int_eq(parse(titles[_i].text, &expression, NULL), KS_OK);
    ck_assert_str_eq(jmes_title(expression), titles[_i].title);
    jmes_free(expression);
}
END_TEST

START_TEST(the_columns_of_a_list_of_lists_have_titles)
{
    static const char *const with_columns[] = {"Streams[].[Name, Tags.x, length(@)]",
        "sort_by(Streams, &n)[*].[Name, Tags.x, 'y'] | [0:2]",
        "Streams[].[Name, Tags.x, `1`] | sort_by(@, &[0])"};
    for (size_t i = 0; i < KS_COUNT_OF(with_columns); i++) {
        struct jmes *expression = NULL;
        ck_assert_int_eq(parse(with_columns[i], &expression, NULL), KS_OK);
        ck_assert_str_eq(jmes_column_title(expression, 0), "Name");
        ck_assert_str_eq(jmes_column_title(expression, 1), "x");
        ck_assert_str_eq(jmes_column_title(expression, 2), "");
        ck_assert_ptr_null(jmes_column_title(expression, 3));
        jmes_free(expression);
    }
    struct jmes *expression = NULL;
    ck_assert_int_eq(parse("[Name, n].Name", &expression, NULL), KS_OK);
    ck_assert_ptr_null(jmes_column_title(expression, 0));
    jmes_free(expression);
}
END_TEST

KS_SUITE("tools/jmes")
{
    KS_TEST_LOOP(a_bad_expression_is_refused_with_its_place, (int)KS_COUNT_OF(refused));
    KS_TEST(a_bad_value_is_refused_with_the_argument);
    KS_TEST_LOOP(what_would_take_unbounded_stack_or_memory_is_refused, (int)KS_COUNT_OF(too_much));
    KS_TEST_LOOP(what_would_take_unbounded_time_ends, (int)KS_COUNT_OF(explosions));
    KS_TEST_LOOP(without_memory_there_is_an_error_and_no_leak, (int)KS_COUNT_OF(expressions));
    KS_TEST_LOOP(a_title_is_the_last_name_on_the_way, (int)KS_COUNT_OF(titles));
    KS_TEST(the_columns_of_a_list_of_lists_have_titles);
}
