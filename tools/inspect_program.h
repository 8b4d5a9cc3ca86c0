/* The command line of kstream-inspect: its verbs, options and texts. Threads: constant. */
#ifndef KS_TOOLS_INSPECT_PROGRAM_H
#define KS_TOOLS_INSPECT_PROGRAM_H

#include "tools/cli.h"

enum inspect_verb { INSPECT_VERB_VERIFY, INSPECT_VERB_LIST, INSPECT_VERB_DUMP };
enum inspect_option {
    INSPECT_OPTION_OUTPUT,
    INSPECT_OPTION_NO_HEADER,
    INSPECT_OPTION_QUIET,
    INSPECT_OPTION_THREADS,
    INSPECT_OPTION_STREAM,
    INSPECT_OPTION_SHARD,
    INSPECT_OPTION_SEGMENT,
    INSPECT_OPTION_FROM,
    INSPECT_OPTION_LIMIT,
};

/* Verbs and options stand in the order of the enums. */
extern const struct cli_program inspect_program;

#endif
