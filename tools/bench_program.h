/* The command line of kstream-bench: its verbs, options and texts. Threads: constant. */
#ifndef KS_TOOLS_BENCH_PROGRAM_H
#define KS_TOOLS_BENCH_PROGRAM_H

#include "tools/cli.h"

enum bench_verb { BENCH_VERB_PRODUCE, BENCH_VERB_CONSUME, BENCH_VERB_LATENCY };
enum bench_option {
    BENCH_OPTION_OUTPUT,
    BENCH_OPTION_ENDPOINT,
    BENCH_OPTION_STREAM,
    BENCH_OPTION_SHARDS,
    BENCH_OPTION_RECORD_BYTES,
    BENCH_OPTION_SECONDS,
    BENCH_OPTION_WARMUP,
    BENCH_OPTION_CONNECTIONS,
    BENCH_OPTION_IN_FLIGHT,
    BENCH_OPTION_KEYS,
    BENCH_OPTION_RATE,
    BENCH_OPTION_TIMEOUT,
    BENCH_OPTION_SERVER_PID,
};

/* Verbs and options stand in the order of the enums. */
extern const struct cli_program bench_program;

#endif
