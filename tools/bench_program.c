#include "tools/bench_program.h"

#define COMMON_DETAILS                                                                             \
    "Figures are of the time behind the warm-up. There is no result, and the exit code is not "    \
    "0,\n"                                                                                         \
    "when a record was not acknowledged or was damaged, or when the connection was lost.\n"        \
    "server_cpu_ns_per_record is null when the broker is not on this machine."

static const struct cli_verb verbs[] = {
    [BENCH_VERB_PRODUCE] = {"produce", "", "put records as fast as it goes, or at a rate",
        COMMON_DETAILS "\nWith --rate, latency counts from the moment a record was due.",
        "  kstream-bench produce --shards 4\n"
        "  kstream-bench produce --record-bytes 100 --connections 16 --seconds 30 --output json"},
    [BENCH_VERB_CONSUME] = {"consume", "", "read a stream, each record validated, again and again",
        COMMON_DETAILS
        "\nLatency is that of a call that returns a batch. More connections than shards: several\n"
        "read the same shard.",
        "  kstream-bench consume --connections 10"},
    [BENCH_VERB_LATENCY] = {"latency", "", "put one record at a time",
        COMMON_DETAILS "\nOne unanswered record a connection, unless --in-flight says otherwise.",
        "  kstream-bench latency --seconds 30"},
};

#define PUTS (1u << BENCH_VERB_PRODUCE | 1u << BENCH_VERB_LATENCY)

static const struct cli_option options[] = {
    [BENCH_OPTION_OUTPUT] = {"output", 'o', "FORMAT", "table, json or text", 0},
    [BENCH_OPTION_ENDPOINT] = {"endpoint", 'e', "ADDRESS",
        "HOST:PORT or unix:PATH; KSTREAM_ENDPOINT", 0},
    [BENCH_OPTION_STREAM] = {"stream", 's', "NAME", "\"bench\" unless said", 0},
    [BENCH_OPTION_SHARDS] = {"shards", 0, "N", "make the stream first, with so many shards", 0},
    [BENCH_OPTION_RECORD_BYTES] = {"record-bytes", 'b', "SIZE",
        "data of a record, 1KiB unless said", PUTS},
    [BENCH_OPTION_SECONDS] = {"seconds", 0, "S", "how long, 10 unless said", 0},
    [BENCH_OPTION_WARMUP] = {"warmup", 0, "S", "before that, not counted; 1 unless said", 0},
    [BENCH_OPTION_CONNECTIONS] = {"connections", 'c', "N", "1 unless said", 0},
    [BENCH_OPTION_IN_FLIGHT] = {"in-flight", 0, "N",
        "unanswered records of a connection; 16 MiB of them", PUTS},
    [BENCH_OPTION_KEYS] = {"keys", 0, "N", "different partition keys, 1000 or more unless said",
        PUTS},
    [BENCH_OPTION_RATE] = {"rate", 0, "N", "records a second, all connections together", PUTS},
    [BENCH_OPTION_TIMEOUT] = {"timeout", 0, "S",
        "how long an acknowledgement may take, 30 unless said", PUTS},
    [BENCH_OPTION_SERVER_PID] = {"server-pid", 0, "PID", "whose CPU time counts as the broker's",
        0},
};

const struct cli_program bench_program = {.name = "kstream-bench",
    .summary = "how fast a broker takes records, hands them out, and answers",
    .verbs = verbs,
    .verb_count = KS_COUNT_OF(verbs),
    .options = options,
    .option_count = KS_COUNT_OF(options)};
