/*
 * The command line: which verb, which options. Everything is made from ctl_commands.def.
 * Threads: getopt_long has global state, so one parse at a time.
 */
#ifndef KS_TOOLS_CTL_ARGS_H
#define KS_TOOLS_CTL_ARGS_H

#include "base/status.h"

#include <stdio.h>

enum ctl_option_id {
#define CTL_OPTION(id, name, letter, metavar) CTL_##id,
#define CTL_ALIAS(name, id)
#define CTL_VERB(id, name, arguments, summary)
#define CTL_TAKES(id, text)
#define CTL_NEEDS(id, text)
#define CTL_EXAMPLE(text)
#define CTL_END()
#include "tools/ctl_commands.def"
#undef CTL_OPTION
#undef CTL_ALIAS
#undef CTL_VERB
#undef CTL_TAKES
#undef CTL_NEEDS
#undef CTL_EXAMPLE
#undef CTL_END
    CTL_OPTION_COUNT
};

/* The options of every verb come first in the table. */
#define CTL_COMMON_COUNT (CTL_VERSION + 1)

enum ctl_verb_id {
#define CTL_OPTION(id, name, letter, metavar)
#define CTL_ALIAS(name, id)
#define CTL_VERB(id, name, arguments, summary) CTL_VERB_##id,
#define CTL_TAKES(id, text)
#define CTL_NEEDS(id, text)
#define CTL_EXAMPLE(text)
#define CTL_END()
#include "tools/ctl_commands.def"
#undef CTL_OPTION
#undef CTL_ALIAS
#undef CTL_VERB
#undef CTL_TAKES
#undef CTL_NEEDS
#undef CTL_EXAMPLE
#undef CTL_END
    CTL_VERB_COUNT
};

struct ctl_use {
    enum ctl_option_id option;
    bool is_needed;
    const char *text; /* NULL ends a list */
};

struct ctl_verb {
    enum ctl_verb_id id;
    const char *name;
    const char *arguments;       /* "[NAME] [FILE]" */
    const char *summary;         /* "list the streams" */
    const struct ctl_use *uses;  /* ends with a NULL text */
    const char *const *examples; /* ends with NULL */
};

#define CTL_OPERANDS_MAX 2

/* All texts are borrowed from argv. */
struct ctl_args {
    const struct ctl_verb *verb;            /* NULL: none given, only --help or --version */
    const char *values[CTL_OPTION_COUNT];   /* NULL: not given; a switch has "" */
    const char *operands[CTL_OPERANDS_MAX]; /* what is no option and not the stream's name */
    size_t operand_count;
};

/*
 * Reads `kstreamctl [options] [kinesis] VERB [NAME] [options]`, in any order behind the verb.
 * `help VERB` counts as `VERB --help`. With --help or --version nothing else need be complete.
 * out_args->verb and the values seen so far are set for errors too. Errors: KS_USAGE; the text may
 * end with "; did you mean '...'?".
 */
enum ks_status ctl_args_parse(
    int argc, char **argv, struct ctl_args *out_args, struct ks_error *err) KS_MUST_USE;

/* NULL when there is no such verb. */
const struct ctl_verb *ctl_verb_find(const char *name);
const struct ctl_verb *ctl_verb_at(size_t index);       /* NULL behind the last */
const char *ctl_option_name(enum ctl_option_id option); /* "stream-name" */

static inline bool ctl_args_has(const struct ctl_args *args, enum ctl_option_id option)
{
    return args->values[option] != NULL;
}

/* The option's number within the bounds; fallback when it is not given. Errors: KS_USAGE. */
struct ctl_range {
    uint64_t min;
    uint64_t max;
    uint64_t fallback;
};
enum ks_status ctl_args_number(const struct ctl_args *args, enum ctl_option_id option,
    struct ctl_range range, uint64_t *out_number, struct ks_error *err) KS_MUST_USE;

/* verb NULL: the overview. */
void ctl_help_print(FILE *to, const struct ctl_verb *verb);

/* The closest of the names to a mistyped one, NULL when none is close. names ends with NULL. */
const char *ctl_closest(const char *typed, const char *const *names);

#endif
