/*
 * The command lines of the smaller tools (kstream-bench, kstream-inspect): verbs, options, help,
 * "did you mean", all from tables. kstreamctl has its own (ctl_args.h).
 * Threads: getopt_long has global state, so one parse at a time.
 */
#ifndef KS_TOOLS_CLI_H
#define KS_TOOLS_CLI_H

#include "base/status.h"

#include <stdio.h>

#define CLI_OPTIONS_MAX 32
#define CLI_OPERANDS_MAX 3

struct cli_option {
    const char *name;
    char letter;         /* 0: no short form */
    const char *metavar; /* NULL: a switch */
    const char *text;
    uint32_t verbs; /* bit n: verb n takes it; 0: all do */
};

struct cli_verb {
    const char *name;
    const char *arguments; /* "DIR" */
    const char *summary;   /* "check everything in a data directory" */
    const char *details;   /* more lines of help, or "" */
    const char *examples;  /* lines behind "  NAME ", or "" */
};

/* --help and --version are understood without being listed. */
struct cli_program {
    const char *name;
    const char *summary;
    const struct cli_verb *verbs;
    size_t verb_count;
    const struct cli_option *options;
    size_t option_count;
};

/* All texts are borrowed from argv. */
struct cli_args {
    const struct cli_verb *verb; /* NULL: only --help or --version */
    bool wants_help;
    bool wants_version;
    const char
        *values[CLI_OPTIONS_MAX]; /* by place in the table; NULL: not given, a switch has "" */
    const char *operands[CLI_OPERANDS_MAX];
    size_t operand_count;
};

/* Reads `PROGRAM VERB [OPERAND...] [options]`, options anywhere. Errors: KS_USAGE. */
enum ks_status cli_parse(const struct cli_program *program, int argc, char **argv,
    struct cli_args *out_args, struct ks_error *err) KS_MUST_USE;

/* verb NULL: the overview. */
void cli_help_print(const struct cli_program *program, const struct cli_verb *verb, FILE *to);

/* A number within the bounds; text NULL gives the fallback. name: of the option, for the error.
 * Errors: KS_USAGE. */
struct cli_range {
    const char *name;
    uint64_t min;
    uint64_t max;
    uint64_t fallback;
};
enum ks_status cli_number(const char *text, const struct cli_range *range, uint64_t *out_number,
    struct ks_error *err) KS_MUST_USE;

#endif
