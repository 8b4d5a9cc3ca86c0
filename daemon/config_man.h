/* The pages of the manual about kstreamd, made from config.def: kstreamd(8), kstreamd.conf(5). Used
 * during the build. Threads: plain functions. */
#ifndef KS_DAEMON_CONFIG_MAN_H
#define KS_DAEMON_CONFIG_MAN_H

#include <stdio.h>

/* version: "0.1.0"; date: "2026-11-24". */
void ks_config_man_daemon(FILE *to, const char *version, const char *date);
void ks_config_man_file(FILE *to, const char *version, const char *date);

#endif
