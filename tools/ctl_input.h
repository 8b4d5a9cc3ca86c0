/*
 * --cli-input-json and --generate-cli-skeleton: the request of a verb's Kinesis operation as JSON,
 * with the names of the Kinesis API. What a request has comes from the messages of the protocol; of
 * that only members count for which the verb takes the option of that name. Threads: plain
 * functions.
 */
#ifndef KS_TOOLS_CTL_INPUT_H
#define KS_TOOLS_CTL_INPUT_H

#include "tools/ctl_args.h"

#include <jansson.h>

/* Whether the verb is an operation of Kinesis. */
bool ctl_verb_is_kinesis(const struct ctl_verb *verb);

/*
 * Fills options that the line leaves open from the members of input, an object. What args points to
 * lies in input and in keep, an array, which the caller keeps as long as args.
 * Errors: KS_USAGE an unknown member, or one of the wrong type; KS_NO_MEMORY.
 */
enum ks_status ctl_input_apply(
    struct ctl_args *args, json_t *input, json_t *keep, struct ks_error *err) KS_MUST_USE;

/* A request with an empty value for each member. NULL: out of memory. */
json_t *ctl_input_skeleton(const struct ctl_verb *verb);

/* The option that stands for a member of the request: of "StreamName" STREAM_NAME. */
enum ctl_option_id ctl_input_option(const struct ctl_verb *verb, const char *member);

#endif
