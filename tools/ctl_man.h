/*
 * The pages of the manual, made from ctl_commands.def: kstreamctl(1) and one per group of commands,
 * as kstreamctl-stream(1). Written with the man(7) macros. Threads: plain functions.
 */
#ifndef KS_TOOLS_CTL_MAN_H
#define KS_TOOLS_CTL_MAN_H

#include "tools/ctl_commands.h"

#include <stdio.h>

/* version: "0.1.0"; date: "2026-11-24". */
struct ctl_man {
    FILE *to;
    const char *version;
    const char *date;
};

void ctl_man_main(const struct ctl_man *man);
void ctl_man_group(const struct ctl_man *man, const struct ctl_group *group);

#endif
