/*
 * SIGHUP: reads all sources of the configuration again. Anything wrong: nothing changes, and the
 * log says why. Else the LIVE settings are those of the files from now on, and the log says which
 * changed and which wait for a restart.
 *
 * Threads: main.
 */
#ifndef KS_DAEMON_RELOAD_H
#define KS_DAEMON_RELOAD_H

#include "daemon/log.h"
#include "daemon/server.h"

struct ks_reload {
    const struct ks_config_sources *sources; /* as at the start */
    struct ks_server *server;                /* its settings in force are changed */
    struct ks_logger *logger;
};

/* Errors: those of ks_config_load; logged. */
enum ks_status ks_reload_run(const struct ks_reload *reload);

#endif
