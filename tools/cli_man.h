/*
 * The page of the manual of a smaller tool, from the tables of its command line and what stands
 * only there. Threads: plain functions.
 */
#ifndef KS_TOOLS_CLI_MAN_H
#define KS_TOOLS_CLI_MAN_H

#include "tools/cli.h"

/* A label and what it means; the last of a list has label NULL. */
struct cli_man_entry {
    const char *label;
    const char *text;
};

struct cli_man {
    const struct cli_program *program;
    const char *source;      /* file of the tables */
    const char *description; /* paragraphs, an empty line between them */
    const struct cli_man_entry *exit_codes;
    const struct cli_man_entry *environment;
    const char *see_also; /* "kstreamctl (1)": arguments of .BR */
};

/* version: "0.1.0"; date: "2026-11-24". */
void cli_man_print(const struct cli_man *man, const char *version, const char *date, FILE *to);

#endif
