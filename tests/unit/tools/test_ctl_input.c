#include "tests/unit/ks_check.h"
#include "tools/ctl_input.h"

#include <stdio.h>

static struct ctl_args args;

static enum ks_status apply(
    const char *verb, const char *text, json_t **out_input, json_t *keep, struct ks_error *err)
{
    memset(&args, 0, sizeof args);
    args.verb = ctl_verb_find(verb);
    ck_assert_ptr_nonnull(args.verb);
    *out_input = json_loads(text, JSON_DECODE_ANY, NULL);
    ck_assert_ptr_nonnull(*out_input);
    return ctl_input_apply(&args, *out_input, keep, err);
}

START_TEST(members_of_a_request_become_options)
{
    json_t *keep = json_array();
    json_t *input = NULL;
    ck_assert_int_eq(apply("list-shards",
                         "{\"StreamName\": \"clicks\", \"MaxResults\": 5, \"NextToken\": null,"
                         " \"StreamCreationTimestamp\": 1.5,"
                         " \"ShardFilter\": {\"Type\": \"AT_LATEST\"}}",
                         &input, keep, NULL),
        KS_OK);
    ck_assert_str_eq(args.values[CTL_STREAM_NAME], "clicks");
    ck_assert_str_eq(args.values[CTL_MAX_RESULTS], "5");
    ck_assert_str_eq(args.values[CTL_STREAM_CREATION], "1.5");
    ck_assert_str_eq(args.values[CTL_SHARD_FILTER], "{\"Type\":\"AT_LATEST\"}");
    ck_assert_ptr_null(args.values[CTL_NEXT_TOKEN]);
    json_decref(input);
    ck_assert_int_eq(
        apply("delete-stream", "{\"EnforceConsumerDeletion\": true}", &input, keep, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_ENFORCE_CONSUMERS], "");
    json_decref(input);
    ck_assert_int_eq(
        apply("delete-stream", "{\"EnforceConsumerDeletion\": false}", &input, keep, NULL), KS_OK);
    ck_assert_ptr_null(args.values[CTL_ENFORCE_CONSUMERS]);
    json_decref(input);
    ck_assert_int_eq(
        apply("put-records", "{\"StreamARN\": \"arn:x\", \"Records\": [{\"Data\": \"a\"}]}", &input,
            keep, NULL),
        KS_OK);
    ck_assert_str_eq(args.values[CTL_STREAM_ARN], "arn:x");
    ck_assert_str_eq(ctl_args_item(&args, CTL_RECORDS, 0), "[{\"Data\":\"a\"}]");
    json_decref(input);
    json_decref(keep);
}
END_TEST

START_TEST(the_command_line_wins)
{
    json_t *keep = json_array();
    json_t *input = json_loads("{\"StreamName\": \"from-json\", \"Limit\": 3}", 0, NULL);
    memset(&args, 0, sizeof args);
    args.verb = ctl_verb_find("describe-stream");
    args.values[CTL_STREAM_NAME] = "from-line";
    ck_assert_int_eq(ctl_input_apply(&args, input, keep, NULL), KS_OK);
    ck_assert_str_eq(args.values[CTL_STREAM_NAME], "from-line");
    ck_assert_str_eq(args.values[CTL_LIMIT], "3");
    json_decref(input);
    json_decref(keep);
}
END_TEST

struct bad_case {
    const char *text;
    const char *error;
};

static const struct bad_case bad[] = {
    {"[]", "an object is needed"},
    {"{\"StremName\": \"x\"}", "unknown member 'StremName'; did you mean 'StreamName'?"},
    {"{\"streamName\": \"x\"}", "unknown member 'streamName'; did you mean 'StreamName'?"},
    {"{\"StreamName\": 5}", "'StreamName' is to be a string"},
    {"{\"Limit\": \"5\"}", "'Limit' is to be a whole number"},
    {"{\"Limit\": 1.5}", "'Limit' is to be a whole number"},
    {"{\"ShardFilter\": {}}", "unknown member 'ShardFilter'"},
};

START_TEST(what_is_no_request_is_refused)
{
    json_t *keep = json_array();
    json_t *input = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(apply("describe-stream", bad[_i].text, &input, keep, &err), KS_USAGE);
    ck_assert_msg(strstr(err.text, bad[_i].error), "%s", err.text);
    json_decref(input);
    json_decref(keep);
}
END_TEST

/* What a skeleton has can be given back, and is the form of every option. */
START_TEST(a_skeleton_is_a_request)
{
    size_t operations = 0;
    for (size_t i = 0; ctl_verb_at(i); i++) {
        const struct ctl_verb *verb = ctl_verb_at(i);
        if (!ctl_verb_is_kinesis(verb))
            continue;
        operations++;
        json_t *skeleton = ctl_input_skeleton(verb);
        json_t *keep = json_array();
        ck_assert_uint_gt(json_object_size(skeleton), 0);
        memset(&args, 0, sizeof args);
        args.verb = verb;
        struct ks_error err = KS_ERROR_INIT;
        ck_assert_msg(
            ctl_input_apply(&args, skeleton, keep, &err) == KS_OK, "%s: %s", verb->name, err.text);
        for (void *at = json_object_iter(skeleton); at; at = json_object_iter_next(skeleton, at))
            ck_assert_int_ne(ctl_input_option(verb, json_object_iter_key(at)), CTL_OPTION_COUNT);
        json_decref(keep);
        json_decref(skeleton);
    }
    ck_assert_uint_ge(operations, 9);
    ck_assert(!ctl_verb_is_kinesis(ctl_verb_find("tail")));
    ck_assert(!ctl_verb_is_kinesis(ctl_verb_find("help")));
}
END_TEST

KS_SUITE("tools/ctl_input")
{
    KS_TEST(members_of_a_request_become_options);
    KS_TEST(the_command_line_wins);
    KS_TEST_LOOP(what_is_no_request_is_refused, (int)KS_COUNT_OF(bad));
    KS_TEST(a_skeleton_is_a_request);
}
