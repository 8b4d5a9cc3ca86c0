/*
 * Where the layers without a caller to return to (committer, flusher, recovery) report what
 * happened. The daemon turns events into log lines, tests count them. Names are stable:
 * `journal.torn_tail`. No payload bytes, ever.
 */
#ifndef KS_BASE_EVENTS_H
#define KS_BASE_EVENTS_H

#include "base/defs.h"

enum ks_level { KS_LEVEL_DEBUG, KS_LEVEL_INFO, KS_LEVEL_NOTICE, KS_LEVEL_WARNING, KS_LEVEL_ERROR };

/* Any thread may emit. fields: "key=value key=value", at most 400 bytes. */
struct ks_events {
    void (*emit)(
        const struct ks_events *events, enum ks_level level, const char *name, const char *fields);
};

extern const struct ks_events ks_events_ignore;

void ks_emit(const struct ks_events *events, enum ks_level level, const char *name,
    const char *format, ...) KS_PRINTF(4, 5);

#endif
