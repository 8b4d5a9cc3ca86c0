/* Whether to colour: --color, and what people have agreed on in the environment. */
#ifndef KS_TOOLS_CTL_COLOR_H
#define KS_TOOLS_CTL_COLOR_H

#include <stdbool.h>

/*
 * mode "always" and "never" mean it; "auto" or NULL: NO_COLOR and TERM=dumb say no, CLICOLOR_FORCE
 * yes, else a terminal decides.
 */
bool ctl_color_is_wanted(const char *mode, bool is_terminal);

#endif
