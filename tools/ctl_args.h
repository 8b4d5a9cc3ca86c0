/*
 * The command line: which verb, which options. What there is comes from ctl_commands.def.
 * Threads: plain functions.
 */
#ifndef KS_TOOLS_CTL_ARGS_H
#define KS_TOOLS_CTL_ARGS_H

#include "base/status.h"
#include "tools/ctl_commands.h"

/* Values of options that take a list, and bare words. */
#define CTL_ITEMS_MAX 1024

struct ctl_item {
    enum ctl_option_id option;
    const char *text;
};

/* All texts are borrowed from argv. */
struct ctl_args {
    const struct ctl_verb *verb;           /* NULL: none given, only --help or --version */
    const char *noun;                      /* "stream" without a verb behind it, with --help */
    const char *values[CTL_OPTION_COUNT];  /* NULL: not given; a switch has ""; a list its first */
    const char *origins[CTL_OPTION_COUNT]; /* of a value that is no option; NULL: of one that is */
    const char *aliases[CTL_OPTION_COUNT]; /* another name that was typed; NULL: none */
    bool is_bare[CTL_OPTION_COUNT];        /* it was a bare word */
    struct ctl_item items[CTL_ITEMS_MAX];  /* all values of lists, in order */
    size_t item_count;
};

/*
 * Reads `kstreamctl [options] [kinesis] VERB [words] [options]`, in any order behind the verb. An
 * option may be shortened as long as it is clear. Whether all is there that the verb needs is for
 * ctl_args_check, when every gap has been filled. out_args->verb and the values seen so far are set
 * for errors too. Errors: KS_USAGE; the text may end with "; did you mean '...'?".
 */
enum ks_status ctl_args_parse(
    int argc, char **argv, struct ctl_args *out_args, struct ks_error *err) KS_MUST_USE;

/* Errors: KS_USAGE, an option that the verb needs is missing. */
enum ks_status ctl_args_check(const struct ctl_args *args, struct ks_error *err) KS_MUST_USE;

static inline bool ctl_args_has(const struct ctl_args *args, enum ctl_option_id option)
{
    return args->values[option] != NULL;
}

/* Whether the command line itself says it. */
static inline bool ctl_args_is_given(const struct ctl_args *args, enum ctl_option_id option)
{
    return args->values[option] && !args->origins[option];
}

/*
 * KS_USAGE with where the value stands and what it is: "'--timeout 0s': 1ms to 24h is needed",
 * "'KSTREAM_TIMEOUT 0s' ...".
 */
enum ks_status ctl_args_fail(const struct ctl_args *args, enum ctl_option_id option,
    const char *needed, struct ks_error *err);

/* The n-th value of an option that takes a list; NULL behind the last. */
const char *ctl_args_item(const struct ctl_args *args, enum ctl_option_id option, size_t n);

/*
 * The option that a verb takes by this name, own or alias; CTL_OPTION_COUNT: there is none. verb
 * NULL: what may stand before the verb.
 */
enum ctl_option_id ctl_args_option(const struct ctl_verb *verb, const char *name);
enum ctl_option_id ctl_args_letter(const struct ctl_verb *verb, char letter);

/* The option's number within the bounds; fallback when it is not given. Errors: KS_USAGE. */
struct ctl_range {
    uint64_t min;
    uint64_t max;
    uint64_t fallback;
};
enum ks_status ctl_args_number(const struct ctl_args *args, enum ctl_option_id option,
    struct ctl_range range, uint64_t *out_number, struct ks_error *err) KS_MUST_USE;

/*
 * Whether the option may have this value: one of its choices, and UTF-8 unless any bytes make
 * sense. from: where it stands, "--output". Errors: KS_USAGE.
 */
enum ks_status ctl_option_check(enum ctl_option_id option, const char *from, const char *value,
    struct ks_error *err) KS_MUST_USE;

#endif
