/* make_tool_man PROGRAM VERSION DATE: prints the page of a smaller tool. Runs during the build. */
#include "tools/bench_program.h"
#include "tools/cli_man.h"
#include "tools/inspect_program.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_man_entry bench_exit_codes[] = {{"0", "there is a result"},
    {"1, 10, 11", "something was refused or lost; what, is on standard error"},
    {"2", "wrong usage"}, {"4", "no such stream; --shards makes it"},
    {"7", "cannot connect, or the connection was lost"}, {"8", "not all was acknowledged in time"},
    {NULL, NULL}};
static const struct cli_man_entry bench_environment[] = {
    {"KSTREAM_ENDPOINT", "as --endpoint"}, {NULL, NULL}};

static const struct cli_man_entry inspect_exit_codes[] = {{"0", "all is intact"},
    {"1", "something cannot be read"}, {"2", "wrong usage"}, {"4", "there is no such thing"},
    {"5", "the broker runs: stop it, or read a copy"},
    {"9", "something is damaged; what, is in the result or on standard error"}, {NULL, NULL}};
static const struct cli_man_entry nothing[] = {{NULL, NULL}};

static const struct cli_man pages[] = {
    {.program = &bench_program,
        .source = "tools/bench_program.c",
        .description =
            "Puts records to a running broker, or reads them, for a while, and says how many a "
            "second, how long each took, and what CPU time a record cost the broker and the "
            "client. Every record put is acknowledged once it is on disk; every record read is "
            "validated.\n\n"
            "A result is given only for a run in which nothing was lost: figures of a broken run "
            "mean nothing. Records stay in the stream.",
        .exit_codes = bench_exit_codes,
        .environment = bench_environment,
        .see_also = "kstreamctl (1),\n.BR kstreamd (8)"},
    {.program = &inspect_program,
        .source = "tools/inspect_program.c",
        .description =
            "Reads the data directory of a stopped broker, or of a copy or snapshot, and never "
            "changes it. What it checks is what the broker itself relies on: checksums, headers, "
            "tables, and that all of them agree.\n\n"
            "The broker repairs nothing silently either: what is damaged is reported to readers. "
            "This tool says in advance what that is.",
        .exit_codes = inspect_exit_codes,
        .environment = nothing,
        .see_also = "kstreamd (8)"},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 4 && i < KS_COUNT_OF(pages); i++) {
        if (strcmp(argv[1], pages[i].program->name) != 0)
            continue;
        cli_man_print(&pages[i], argv[2], argv[3], stdout);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    (void)fprintf(stderr, "usage: %s kstream-bench|kstream-inspect VERSION DATE\n", argv[0]);
    return 2;
}
