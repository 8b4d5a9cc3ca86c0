#include "tools/ctl_color.h"

#include <stdlib.h>
#include <string.h>

bool ctl_color_is_wanted(const char *mode, bool is_terminal)
{
    const char *no_color = getenv("NO_COLOR");
    const char *force = getenv("CLICOLOR_FORCE");
    const char *terminal = getenv("TERM");
    if (mode && strcmp(mode, "auto") != 0)
        return strcmp(mode, "always") == 0;
    if (no_color && no_color[0])
        return false;
    if (force && force[0] && strcmp(force, "0") != 0)
        return true;
    return is_terminal && terminal && terminal[0] && strcmp(terminal, "dumb") != 0;
}
