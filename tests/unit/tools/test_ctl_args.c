#include "tests/unit/ks_check.h"
#include "tools/ctl_args.h"

#include <stdio.h>

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
    enum ks_status st = ctl_args_parse(argc, argv, args, err);
    bool is_whole = !ctl_args_has(args, CTL_HELP) && !ctl_args_has(args, CTL_VERSION);
    return st || !is_whole ? st : ctl_args_check(args, err);
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
    ck_assert_str_eq(args.values[CTL_FILE], "access.log");
    ck_assert_int_eq(parse("put --stream-name clicks access.log", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_FILE], "access.log");
    ck_assert_int_eq(parse("create-stream clicks --shards 4", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_SHARD_COUNT], "4");
    ck_assert_int_eq(parse("tail clicks --since -2h", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_SINCE], "-2h");
}
END_TEST

START_TEST(a_verb_has_several_names)
{
    struct ctl_args args;
    ck_assert_int_eq(parse("stream create clicks --shards 4 -y", &args, NULL), KS_USAGE);
    ck_assert_int_eq(parse("stream create clicks --shards 4", &args, NULL), KS_OK);
    ck_assert_str_eq(args.verb->name, "create-stream");
    ck_assert_str_eq(args.values[CTL_STREAM_NAME], "clicks");
    ck_assert_int_eq(parse("-o json shard list clicks", &args, NULL), KS_OK);
    ck_assert_str_eq(args.verb->name, "list-shards");
    ck_assert_int_eq(parse("record put clicks hello --key k", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_PARTITION_KEY], "k");
    ck_assert_str_eq(args.values[CTL_DATA], "hello");
    ck_assert_int_eq(parse("describe-stream --stream-arn arn:x/y", &args, NULL), KS_OK);
    ck_assert_int_eq(parse("wait stream-exists clicks --wait=10", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_WAIT], "10");
    ck_assert_int_eq(parse("create-stream --wait clicks", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_WAIT], "");
    ck_assert_str_eq(args.values[CTL_STREAM_NAME], "clicks");
    ck_assert_int_eq(parse("stream --help", &args, NULL), KS_OK);
    ck_assert_ptr_null(args.verb);
    ck_assert_str_eq(args.noun, "stream");
}
END_TEST

START_TEST(lists_take_many_words_and_bare_words_fill_options)
{
    struct ctl_args args;
    ck_assert_int_eq(parse("help stream create", &args, NULL), KS_OK);
    ck_assert_str_eq(args.verb->name, "help");
    ck_assert_str_eq(ctl_args_item(&args, CTL_TOPIC, 0), "stream");
    ck_assert_str_eq(ctl_args_item(&args, CTL_TOPIC, 1), "create");
    ck_assert_ptr_null(ctl_args_item(&args, CTL_TOPIC, 2));
    ck_assert_int_eq(parse("help --topic a b --topic c -o json", &args, NULL), KS_OK);
    ck_assert_str_eq(ctl_args_item(&args, CTL_TOPIC, 2), "c");
    ck_assert_str_eq(args.values[CTL_OUTPUT], "json");
    /* Behind -- everything is a bare word. */
    ck_assert_int_eq(parse("put-record clicks --key k -- --data", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_DATA], "--data");
    /* Words fill what no option has filled. */
    ck_assert_int_eq(parse("put-record hello --key k --stream-name s", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_STREAM_NAME], "s");
    ck_assert_str_eq(args.values[CTL_DATA], "hello");
}
END_TEST

START_TEST(letters_may_be_joined_and_values_may_touch)
{
    struct ctl_args args;
    ck_assert_int_eq(parse("tail clicks -fn5 -ojson", &args, NULL), KS_OK);
    ck_assert(ctl_args_has(&args, CTL_FOLLOW));
    ck_assert_str_eq(args.values[CTL_COUNT], "5");
    ck_assert_str_eq(args.values[CTL_OUTPUT], "json");
    ck_assert_int_eq(parse("tail clicks --since=-2h --no-fol", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_SINCE], "-2h");
    ck_assert(ctl_args_has(&args, CTL_NO_FOLLOW));
    ck_assert_int_eq(parse("put clicks -", &args, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_FILE], "-");
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
    {"describe-stream --query a", "'--stream-name' is missing"},
    {"stream creat x", "did you mean 'stream create'?"},
    {"stream", "'stream' needs a verb"},
    {"stream -o json create", "unexpected argument 'create'"},
    {"put-record x y z", "unexpected argument 'z'"},
    {"create-stream --stream-name --shard-count 4", "'--stream-name' needs a value"},
    {"list-streams -o yaml", "'--output yaml': table, json, text, ndjson, csv or none"},
    {"list-streams -o", "'-o' needs a value"},
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

KS_SUITE("tools/ctl_args")
{
    KS_TEST(options_stand_before_or_behind_the_verb);
    KS_TEST(the_word_kinesis_changes_nothing);
    KS_TEST(the_stream_may_be_named_without_its_option);
    KS_TEST_LOOP(mistakes_are_named, (int)KS_COUNT_OF(refused));
    KS_TEST(help_and_version_need_nothing_else);
    KS_TEST(numbers_have_bounds_and_a_default);
    KS_TEST(a_verb_has_several_names);
    KS_TEST(lists_take_many_words_and_bare_words_fill_options);
    KS_TEST(letters_may_be_joined_and_values_may_touch);
}
