/* make_daemon_man PAGE VERSION DATE: prints kstreamd(8) or kstreamd.conf(5). Runs during the build.
 */
#include "daemon/config_man.h"

#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "kstreamd") == 0) {
        ks_config_man_daemon(stdout, argv[2], argv[3]);
    } else if (argc == 4 && strcmp(argv[1], "kstreamd.conf") == 0) {
        ks_config_man_file(stdout, argv[2], argv[3]);
    } else {
        (void)fprintf(stderr, "usage: %s kstreamd|kstreamd.conf VERSION DATE\n", argv[0]);
        return 2;
    }
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
