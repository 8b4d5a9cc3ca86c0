/* The help texts, made from ctl_commands.def. Threads: plain functions. */
#ifndef KS_TOOLS_CTL_HELP_H
#define KS_TOOLS_CTL_HELP_H

#include "tools/ctl_commands.h"

#include <jansson.h>
#include <stdio.h>

/* What there is; fits a screen. */
void ctl_help_overview(FILE *to);
/* The verbs of a group with what they do; NULL: of all groups. */
void ctl_help_group(FILE *to, const struct ctl_group *group);
void ctl_help_verb(FILE *to, const struct ctl_verb *verb);
/* The options of every verb. */
void ctl_help_options(FILE *to);

/*
 * What `kstreamctl help TOPIC` shows: a verb by any name, a group, "commands", "options"; false:
 * there is nothing of that name.
 */
bool ctl_help_topic(FILE *to, const char *topic);

/* The verbs with groups, names, options and examples, as an array. NULL: out of memory. */
json_t *ctl_help_json(void);

#endif
