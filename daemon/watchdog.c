#include "daemon/watchdog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOKS_PER_LIMIT 4
#define NAME_BYTES 32
#define STEPS_MAX 16

void ks_watchdog_init(struct ks_watchdog *watchdog, const char *usec, const char *pid)
{
    memset(watchdog, 0, sizeof(*watchdog));
    if (!usec || (pid && strtoull(pid, NULL, 10) != (unsigned long long)getpid()))
        return;
    uint64_t limit_us = strtoull(usec, NULL, 10);
    if (limit_us > 0 && limit_us < UINT64_MAX / 2)
        watchdog->interval_ms = ks_max_u64(1, limit_us / 1000 / LOOKS_PER_LIMIT);
}

int ks_watchdog_sleep_ms(const struct ks_watchdog *watchdog, uint64_t now_mono_ms, int most_ms)
{
    if (watchdog->interval_ms == 0)
        return most_ms;
    if (watchdog->due_mono_ms <= now_mono_ms)
        return 0;
    return (int)ks_min_u64((uint64_t)most_ms, watchdog->due_mono_ms - now_mono_ms);
}

/* Each loop was sent a mail at the last look. */
static bool loops_are_alive(const struct ks_server *server, char stuck[NAME_BYTES])
{
    bool is_alive = true;
    for (unsigned i = 0; i < server->loop_count; i++) {
        if (ks_loop_probe(&server->loops[i]))
            continue;
        is_alive = false;
        snprintf(stuck, NAME_BYTES, "loop-%02u", i);
    }
    return is_alive;
}

/* Not a single turn between two looks, with work there both times. */
static bool committer_is_alive(struct ks_watchdog *watchdog, char stuck[NAME_BYTES])
{
    struct ks_step_pulse pulses[STEPS_MAX];
    size_t count = ks_engine_pulses(watchdog->server->engine, pulses, STEPS_MAX);
    bool is_alive = true;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(pulses[i].name, "commit") != 0)
            continue;
        is_alive = !pulses[i].is_busy || !watchdog->is_committer_busy ||
                   pulses[i].turns != watchdog->committer_turns;
        watchdog->committer_turns = pulses[i].turns;
        watchdog->is_committer_busy = pulses[i].is_busy;
        if (!is_alive)
            snprintf(stuck, NAME_BYTES, "ks-commit");
    }
    return is_alive;
}

void ks_watchdog_tick(struct ks_watchdog *watchdog, uint64_t now_mono_ms)
{
    char stuck[NAME_BYTES] = "";
    if (watchdog->interval_ms == 0 || now_mono_ms < watchdog->due_mono_ms)
        return;
    watchdog->due_mono_ms = now_mono_ms + watchdog->interval_ms;
    bool is_alive = loops_are_alive(watchdog->server, stuck);
    is_alive = committer_is_alive(watchdog, stuck) && is_alive;
    if (is_alive) {
        if (watchdog->is_stuck)
            ks_emit(watchdog->events, KS_LEVEL_NOTICE, "watchdog.goes_on",
                "text=\"what hung has answered\"");
        ks_notify_send(watchdog->notify, "WATCHDOG=1");
    } else if (!watchdog->is_stuck) {
        ks_emit(watchdog->events, KS_LEVEL_ERROR, "watchdog.stuck",
            "thread=%s text=\"it made no progress for %llu ms; the service manager restarts the "
            "broker if that goes on\"",
            stuck, (unsigned long long)watchdog->interval_ms);
    }
    watchdog->is_stuck = !is_alive;
}
