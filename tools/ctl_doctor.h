/*
 * What the facts about a machine mean: for each check a verdict, a sentence, and a line that says
 * how to mend it. Threads: plain functions.
 */
#ifndef KS_TOOLS_CTL_DOCTOR_H
#define KS_TOOLS_CTL_DOCTOR_H

#include "proto/api.pb-c.h"

#include <jansson.h>
#include <stdbool.h>

struct ctl_doctor_facts {
    const Kstream__HostFacts *host;
    const Kstream__DescribeHostResponse *broker; /* NULL: only a directory is looked at */
    const char *directory;
};

struct ctl_doctor_counts {
    unsigned problems;
    unsigned warnings;
};

/*
 * {"checks": [{"check", "verdict", "finding", "fix"}], "problems", "warnings"}; verdict is ok,
 * unknown, warning or problem, fix null where there is nothing to mend. NULL: out of memory.
 */
json_t *ctl_doctor_judge(
    const struct ctl_doctor_facts *facts, struct ctl_doctor_counts *out_counts);

#endif
