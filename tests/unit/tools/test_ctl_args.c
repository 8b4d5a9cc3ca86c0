#include "tests/unit/ks_check.h"
#include "tools/ctl_args.h"

#define WORDS_MAX 24

/* Parses a line split at blanks. The words stay valid until the next call. */
static enum ks_status parse(const char *line, struct ctl_args *args, struct ks_error *err)
{
    static char copy[512];
    char *argv[WORDS_MAX] = {NULL};
    int argc = 0;
    snprintf(copy, sizeof copy, "kstreamctl %s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return ctl_args_parse(argc, argv, args, err);
}

START_TEST(options_stand_before_or_behind_the_verb)
{
    struct ctl_args args;
    ck_assert_int_eq(
        parse("--endpoint 127.0.0.1:1 create-stream --stream-name s --shard-count 4 -o json", &args,
            NULL),
        KS_OK);
    ck_assert_str_eq(args.verb->name, "create-stream");
    ck_assert_str_eq(args.values[CTL_ENDPOINT], "127.0.0.1:1");
    ck_assert_str_eq(args.values[CTL_STREAM_NAME], "s");
    ck_assert_str_eq(args.values[CTL_SHARD_COUNT], "4");
    ck_assert_str_eq(args.values[CTL_OUTPUT], "json");
    ck_assert_int_eq(parse("list-streams --endpoint unix:/x", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_ENDPOINT], "unix:/x");
}
END_TEST

START_TEST(the_word_kinesis_changes_nothing)
{
    struct ctl_args args;
    ck_assert_int_eq(
        parse("kinesis list-streams --query StreamNames --output table", &args, NULL), KS_OK);
    ck_assert_str_eq(args.verb->name, "list-streams");
    ck_assert_str_eq(args.values[CTL_QUERY], "StreamNames");
    ck_assert_int_eq(parse("-o text kinesis list-streams", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_OUTPUT], "text");
}
END_TEST

START_TEST(the_stream_may_be_named_without_its_option)
{
    struct ctl_args args;
    ck_assert_int_eq(parse("put clicks access.log --key-field 1", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_STREAM_NAME], "clicks");
    ck_assert_uint_eq(args.operand_count, 1);
    ck_assert_str_eq(args.operands[0], "access.log");
    ck_assert_int_eq(parse("put --stream-name clicks access.log", &args, NULL), KS_OK);
    ck_assert_str_eq(args.operands[0], "access.log");
    ck_assert_int_eq(parse("create-stream clicks --shards 4", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_SHARD_COUNT], "4");
    ck_assert_int_eq(parse("tail clicks --since -2h", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_SINCE], "-2h");
}
END_TEST

struct refused_case {
    const char *line;
    const char *text;
};

static const struct refused_case refused[] = {
    {"", "no command"},
    {"list-stream", "did you mean 'list-streams'?"},
    {"craete-stream x", "did you mean 'create-stream'?"},
    {"frobnicate", "unknown command 'frobnicate'"},
    {"create-stream --shard-cuont 4 x", "did you mean '--shard-count'?"},
    {"create-stream --shard-cuont=4 x", "'--shard-cuont'; did you mean '--shard-count'?"},
    {"create-stream", "'--stream-name' is missing"},
    {"put-record --stream-name x --data y", "'--partition-key' is missing"},
    {"create-stream x --shard-count", "needs a value"},
    {"create-stream x --no-wait=1", "'--no-wait' takes no value"},
    {"list-streams x", "unexpected argument 'x'"},
    {"create-stream x y", "unexpected argument 'y'"},
    {"put x y z", "unexpected argument 'z'"},
    {"list-streams --shard-count 4", "unknown option '--shard-count'"},
    {"list-streams -Z", "unknown option '-Z'"},
    {"put x --key", "'--key' needs a value"},
    {"put-record x --da y", "could be"},
    {"help frobnicate", "unknown command"},
};

START_TEST(mistakes_are_named)
{
    struct ctl_args args;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(parse(refused[_i].line, &args, &err), KS_USAGE);
    ck_assert_msg(strstr(err.text, refused[_i].text), "%s", err.text);
}
END_TEST

START_TEST(help_and_version_need_nothing_else)
{
    struct ctl_args args;
    ck_assert_int_eq(parse("--help", &args, NULL), KS_OK);
    ck_assert_ptr_null(args.verb);
    ck_assert(ctl_args_has(&args, CTL_HELP));
    ck_assert_int_eq(parse("put --help", &args, NULL), KS_OK);
    ck_assert_str_eq(args.verb->name, "put");
    ck_assert_int_eq(parse("help put", &args, NULL), KS_OK);
    ck_assert_str_eq(args.verb->name, "put");
    ck_assert_int_eq(parse("--version", &args, NULL), KS_OK);
    ck_assert(ctl_args_has(&args, CTL_VERSION));
}
END_TEST

START_TEST(numbers_have_bounds_and_a_default)
{
    struct ctl_args args;
    uint64_t number = 0;
    struct ctl_range range = {1, 500, 77};
    ck_assert_int_eq(parse("put x", &args, NULL), KS_OK);
    ck_assert_int_eq(ctl_args_number(&args, CTL_BATCH, range, &number, NULL), KS_OK);
    ck_assert_uint_eq(number, 77);
    static const char *const bad[] = {"0", "501", "-1", "x", "5x", "99999999999999999999", "+5"};
    for (size_t i = 0; i < KS_COUNT_OF(bad); i++) {
        args.values[CTL_BATCH] = bad[i];
        ck_assert_int_eq(ctl_args_number(&args, CTL_BATCH, range, &number, NULL), KS_USAGE);
    }
    args.values[CTL_BATCH] = "500";
    ck_assert_int_eq(ctl_args_number(&args, CTL_BATCH, range, &number, NULL), KS_OK);
    ck_assert_uint_eq(number, 500);
}
END_TEST

/* Checks the text of one help: it fits a screen of 24 lines and 80 columns. */
static void check_help(const struct ctl_verb *verb, char **out_text)
{
    size_t bytes = 0;
    FILE *to = open_memstream(out_text, &bytes);
    ctl_help_print(to, verb);
    fclose(to);
    int lines = 0;
    int column = 0;
    for (const char *at = *out_text; *at; at++) {
        column = *at == '\n' ? 0 : column + 1;
        lines += *at == '\n';
        ck_assert_msg(column <= 80, "%s", *out_text);
    }
    ck_assert_msg(lines <= 24, "%d lines:\n%s", lines, *out_text);
}

START_TEST(every_help_fits_a_screen_and_has_an_example)
{
    char *text = NULL;
    check_help(NULL, &text);
    for (size_t i = 0; ctl_verb_at(i); i++)
        ck_assert_ptr_nonnull(strstr(text, ctl_verb_at(i)->name));
    free(text);
    for (size_t i = 0; ctl_verb_at(i); i++) {
        check_help(ctl_verb_at(i), &text);
        ck_assert_ptr_nonnull(strstr(text, "\n  $ kstreamctl "));
        for (const struct ctl_use *use = ctl_verb_at(i)->uses; use->text; use++)
            ck_assert_ptr_nonnull(strstr(text, ctl_option_name(use->option)));
        free(text);
    }
}
END_TEST

KS_SUITE("tools/ctl_args")
{
    KS_TEST(options_stand_before_or_behind_the_verb);
    KS_TEST(the_word_kinesis_changes_nothing);
    KS_TEST(the_stream_may_be_named_without_its_option);
    KS_TEST_LOOP(mistakes_are_named, (int)KS_COUNT_OF(refused));
    KS_TEST(help_and_version_need_nothing_else);
    KS_TEST(numbers_have_bounds_and_a_default);
    KS_TEST(every_help_fits_a_screen_and_has_an_example);
}
