/* What an operation needs of the running broker: one struct, made by main.c, borrowed by everything
 * else. */
#ifndef KS_DAEMON_SERVER_H
#define KS_DAEMON_SERVER_H

#include "base/mutex.h"
#include "daemon/config.h"
#include "daemon/heat.h"
#include "daemon/history.h"
#include "daemon/iterator.h"
#include "daemon/loop.h"
#include "daemon/meter.h"
#include "daemon/readers.h"
#include "daemon/timekeeper.h"
#include "storage/engine.h"

struct ks_catalog_copies;

struct ks_server {
    const struct ks_config *config;   /* as at the start; LIVE settings are read from live */
    struct ks_live live;              /* as they are now */
    struct ks_mutex settings_mu;      /* KS_RANK_SETTINGS; held to copy or to list them */
    struct ks_config *running;        /* [settings_mu] what is in force, and where it comes from */
    struct ks_config *latest;         /* [settings_mu] as the last good reading said */
    const struct ks_clock *clock;     /* the broker's; of arrivals, iterators, retention */
    struct ks_timekeeper *timekeeper; /* what keeps it */
    const struct ks_events *events;
    struct ks_engine *engine;
    struct ks_readers *readers;
    struct ks_token_key token_key;
    uint64_t run_id;                      /* raised at every start */
    uint64_t started_mono_ns;             /* of the system's clock */
    uint64_t started_unix_ms;             /* of the broker's clock */
    const struct ks_addresses *addresses; /* of its doors, set before the loops run; NULL: none */
    struct ks_loop_shared loop_shared;
    struct ks_meter *meter;
    struct ks_limits *limits;         /* what streams with limits have taken */
    _Atomic uint64_t clients;         /* connections that have asked for anything, ever */
    struct ks_catalog_copies *copies; /* of the catalog */
    struct ks_minutes *minutes;
    struct ks_history *history;
    struct ks_heat *heats; /* of each loop */
    unsigned heat_count;
    struct ks_loop *loops;
    unsigned loop_count;
    _Atomic uint64_t pressure_mono_ms; /* when the pressure on puts was last looked at */
};

/* Makes the LIVE settings of config those of the running broker: settings, budgets, the engine's
 * limits. engine may still be missing. */
void ks_server_apply(struct ks_server *server, const struct ks_config *config);
/* The engine's limits as config says, the others as by default. */
void ks_server_engine_limits(const struct ks_config *config, struct ks_engine_limits *limits);
/* Tells the gate of puts how full memory and journal are; every 10 ms at most: asking the engine
 * for every answer would cost too much. */
void ks_server_look_at_pressure(struct ks_server *server);

static inline uint64_t ks_server_unix_ms(const struct ks_server *server)
{
    return ks_clock_unix_ms(server->clock);
}

#endif
