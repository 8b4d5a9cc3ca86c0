#include "tests/unit/ks_check.h"
#include "tools/cli.h"

#include <string.h>

enum { VERB_EAT, VERB_DRINK };
enum { OPTION_OUTPUT, OPTION_COLD, OPTION_GLASS };

static const struct cli_verb verbs[] = {
    [VERB_EAT] = {"eat", "THING", "eat a thing", "Slowly.", "  dine eat apple"},
    [VERB_DRINK] = {"drink", "THING", "drink a thing", "", ""},
};
static const struct cli_option options[] = {
    [OPTION_OUTPUT] = {"output", 'o', "FORMAT", "how", 0},
    [OPTION_COLD] = {"cold", 'c', NULL, "not warm", 0},
    [OPTION_GLASS] = {"glass", 0, "SIZE", "which glass", 1u << VERB_DRINK},
};
static const struct cli_program program = {"dine", "eats and drinks", verbs, 2, options, 3};

static struct cli_args args;
static struct ks_error error;

/* words: separated by blanks. */
static enum ks_status parse(const char *words)
{
    static char text[256];
    static char *argv[16];
    int argc = 1;
    snprintf(text, sizeof text, "%s", words);
    argv[0] = (char *)(uintptr_t) "dine";
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    error = (struct ks_error)KS_ERROR_INIT;
    return cli_parse(&program, argc, argv, &args, &error);
}

START_TEST(options_stand_anywhere)
{
    static const char *const lines[] = {"drink water --glass small -o json --cold",
        "--cold drink -o json --glass=small water", "-c -ojson drink --glass small water"};
    for (size_t i = 0; i < KS_COUNT_OF(lines); i++) {
        ck_assert_int_eq(parse(lines[i]), KS_OK);
        ck_assert_ptr_eq(args.verb, &verbs[VERB_DRINK]);
        ck_assert_uint_eq(args.operand_count, 1);
        ck_assert_str_eq(args.operands[0], "water");
        ck_assert_str_eq(args.values[OPTION_OUTPUT], "json");
        ck_assert_str_eq(args.values[OPTION_GLASS], "small");
        ck_assert_ptr_nonnull(args.values[OPTION_COLD]);
    }
    ck_assert_int_eq(parse("eat apple"), KS_OK);
    ck_assert_ptr_null(args.values[OPTION_COLD]);
    ck_assert_int_eq(parse("eat -- --cold"), KS_OK);
    ck_assert_str_eq(args.operands[0], "--cold");
}
END_TEST

START_TEST(what_is_wrong_is_named)
{
    static const struct {
        const char *line;
        const char *text;
    } cases[] = {
        {"", "a verb is missing"},
        {"drnk water", "no verb 'drnk'; did you mean 'drink'?"},
        {"sleep", "no verb 'sleep'"},
        {"eat --outptu json", "unknown option '--outptu'; did you mean '--output'?"},
        {"eat --xyzzy", "unknown option '--xyzzy'"},
        {"eat -x", "unknown option '-x'"},
        {"eat --output", "'--output' needs a value"},
        {"eat --cold=very", "'--cold=very' takes no value"},
        {"eat --glass small", "'eat' takes no option '--glass'"},
        {"eat a b c d", "'d' is one word too many"},
    };
    for (size_t i = 0; i < KS_COUNT_OF(cases); i++) {
        ck_assert_int_eq(parse(cases[i].line), KS_USAGE);
        ck_assert_str_eq(error.text, cases[i].text);
    }
}
END_TEST

START_TEST(help_and_version_need_nothing_else)
{
    ck_assert_int_eq(parse("--help"), KS_OK);
    ck_assert(args.wants_help && !args.verb);
    ck_assert_int_eq(parse("help"), KS_OK);
    ck_assert(args.wants_help);
    ck_assert_int_eq(parse("help eat"), KS_OK);
    ck_assert(args.wants_help && args.verb == &verbs[VERB_EAT]);
    ck_assert_int_eq(parse("eat -h"), KS_OK);
    ck_assert(args.wants_help && args.verb == &verbs[VERB_EAT]);
    ck_assert_int_eq(parse("--version"), KS_OK);
    ck_assert(args.wants_version);
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    cli_help_print(&program, &verbs[VERB_EAT], to);
    fclose(to);
    ck_assert_str_eq(text, "dine eat THING: eat a thing\n\nSlowly.\n\nOptions:\n"
                           "  -o, --output FORMAT          how\n"
                           "  -c, --cold                   not warm\n"
                           "  -h, --help                   this text\n"
                           "\nExamples:\n  dine eat apple\n");
    free(text);
}
END_TEST

START_TEST(numbers_have_bounds)
{
    const struct cli_range range = {"size", 2, 9, 5};
    uint64_t number = 0;
    ck_assert_int_eq(cli_number(NULL, &range, &number, NULL), KS_OK);
    ck_assert_uint_eq(number, 5);
    ck_assert_int_eq(cli_number("9", &range, &number, NULL), KS_OK);
    ck_assert_uint_eq(number, 9);
    static const char *const wrong[] = {
        "", "1", "10", "-3", "+3", " 3", "3x", "three", "99999999999999999999"};
    for (size_t i = 0; i < KS_COUNT_OF(wrong); i++) {
        ck_assert_int_eq(cli_number(wrong[i], &range, &number, &error), KS_USAGE);
        ck_assert_ptr_nonnull(strstr(error.text, "a number from 2 to 9 is needed"));
    }
}
END_TEST

KS_SUITE("tools/cli")
{
    KS_TEST(options_stand_anywhere);
    KS_TEST(what_is_wrong_is_named);
    KS_TEST(help_and_version_need_nothing_else);
    KS_TEST(numbers_have_bounds);
}
