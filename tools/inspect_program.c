#include "tools/inspect_program.h"

static const struct cli_verb verbs[] = {
    [INSPECT_VERB_VERIFY] = {"verify", "DIR|FILE.seg", "check everything, byte by byte",
        "Checks every row of the catalog and the rows against each other, every block of the "
        "journal\n"
        "that is part of the log and every batch in it, header, footer and every record of every\n"
        "segment, and the index. What is damaged is named with file, offset, stream, shard and\n"
        "sequences. Exit code 0: all is intact; 9: something is damaged.",
        "  kstream-inspect verify /var/lib/kstream\n"
        "  kstream-inspect verify --output json /backup/kstream | jq .findings"},
    [INSPECT_VERB_LIST] = {"list", "WHAT DIR", "list streams, shards, segments or journal",
        "WHAT is streams, shards, segments or journal. Sequences are those inside: 1, 2, 3... in "
        "each\n"
        "shard.",
        "  kstream-inspect list segments /var/lib/kstream"},
    [INSPECT_VERB_DUMP] = {"dump", "DIR|FILE.seg", "print records",
        "Prints the records of a directory, shard by shard, or of one sealed segment file, which "
        "may\n"
        "belong to a running broker. As text: stream, shard, sequence, arrival, key, data, "
        "separated\n"
        "by tabs; what is no plain text as base64:... With --output json an object a line.\n"
        "Damaged records are left out and listed on standard error; then the exit code is 9.",
        "  kstream-inspect dump /var/lib/kstream --stream clicks --shard 0 --limit 10\n"
        "  kstream-inspect dump /var/lib/kstream/segments/00/0000000000000001.seg --output json"},
};

#define DUMP_ONLY (1u << INSPECT_VERB_DUMP)
#define VERIFY_ONLY (1u << INSPECT_VERB_VERIFY)

static const struct cli_option options[] = {
    [INSPECT_OPTION_OUTPUT] = {"output", 'o', "FORMAT", "table, json or text", 0},
    [INSPECT_OPTION_NO_HEADER] = {"no-header", 0, NULL, "no line with the names of the columns", 0},
    [INSPECT_OPTION_QUIET] = {"quiet", 'q', NULL, "no progress", VERIFY_ONLY},
    [INSPECT_OPTION_THREADS] = {"threads", 0, "N", "as many as there are cores, unless said",
        VERIFY_ONLY},
    [INSPECT_OPTION_STREAM] = {"stream", 's', "NAME", "only this stream", DUMP_ONLY},
    [INSPECT_OPTION_SHARD] = {"shard", 0, "SHARD", "only this shard: 3 or shardId-000000000003",
        DUMP_ONLY},
    [INSPECT_OPTION_SEGMENT] = {"segment", 0, "ID",
        "only this segment of the directory, by its id in hex", DUMP_ONLY},
    [INSPECT_OPTION_FROM] = {"from-sequence", 0, "N", "records from this sequence on", DUMP_ONLY},
    [INSPECT_OPTION_LIMIT] = {"limit", 'n', "N", "at most so many records", DUMP_ONLY},
};

const struct cli_program inspect_program = {.name = "kstream-inspect",
    .summary = "reads and checks a stopped broker's data directory, and never changes it",
    .verbs = verbs,
    .verb_count = KS_COUNT_OF(verbs),
    .options = options,
    .option_count = KS_COUNT_OF(options)};
