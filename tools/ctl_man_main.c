/*
 * make_man GROUP VERSION DATE: prints the page of a group, or for "kstreamctl" the page of the
 * whole. Runs during the build.
 */
#include "tools/ctl_man.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc != 4) {
        (void)fprintf(stderr, "usage: %s GROUP VERSION DATE\n", argv[0]);
        return 2;
    }
    struct ctl_man man = {.to = stdout, .version = argv[2], .date = argv[3]};
    const struct ctl_group *group = ctl_group_find(argv[1]);
    if (group) {
        ctl_man_group(&man, group);
    } else if (strcmp(argv[1], "kstreamctl") == 0) {
        ctl_man_main(&man);
    } else {
        (void)fprintf(stderr, "%s: there is no group '%s'\n", argv[0], argv[1]);
        return 2;
    }
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
