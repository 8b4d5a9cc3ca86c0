/* "Did you mean": the closest of some names to what was typed. Threads: a plain function. */
#ifndef KS_TOOLS_CTL_CLOSEST_H
#define KS_TOOLS_CTL_CLOSEST_H

/* NULL when none is close. names ends with NULL. */
const char *ctl_closest(const char *typed, const char *const *names);

#endif
