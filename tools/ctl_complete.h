/*
 * What could stand next on a command line that is not finished: from the command table, for
 * completion in shells. What only the broker or files know is for the caller to add.
 * Threads: plain functions.
 */
#ifndef KS_TOOLS_CTL_COMPLETE_H
#define KS_TOOLS_CTL_COMPLETE_H

#include "tools/ctl_args.h"

#include <stdio.h>

enum ctl_completion_kind {
    CTL_COMPLETE_NOTHING, /* any text may stand here, or none */
    CTL_COMPLETE_COMMANDS,
    CTL_COMPLETE_OPTIONS,
    CTL_COMPLETE_VALUES
};

struct ctl_completion {
    enum ctl_completion_kind kind;
    struct ctl_args args;      /* what the words before say */
    enum ctl_option_id option; /* whose values */
    char lead[80];             /* "--output=", which every value has before it; "" */
    const char *typed;         /* what they begin with, behind lead */
};

/* words: those behind "kstreamctl", the last is the unfinished one, perhaps "". count is at
 * least 1. */
void ctl_complete_look(const char *const *words, size_t count, struct ctl_completion *out);

/* Prints a candidate if it begins with what has been typed: "--output=json\tdescription". */
void ctl_complete_offer(
    const struct ctl_completion *completion, FILE *to, const char *value, const char *description);
/* Prints the candidates that the table knows. */
void ctl_complete_print(const struct ctl_completion *completion, FILE *to);
/* Whether the hints of the option are to be looked up: "<streams>". */
bool ctl_complete_wants(const struct ctl_completion *completion, const char *lookup);

#endif
