/*
 * Calls that wait for records, on their loop. Those that wait for the same log share one watch
 * (storage/log.h): a commit wakes only loops where somebody waits for a log of its group, and there
 * only the calls of those logs are looked at.
 *
 * Threads: the loop's only.
 */
#ifndef KS_DAEMON_PARK_H
#define KS_DAEMON_PARK_H

#include "base/list.h"
#include "base/status.h"
#include "storage/log.h"
#include "storage/u64_map.h"

#include <event2/event_struct.h>

struct ks_loop;
struct ks_park_spot;

enum ks_park_end { KS_PARK_NEWS, KS_PARK_TIMEOUT, KS_PARK_STOP };

/* One call that waits: its memory. */
struct ks_park {
    struct ks_list link;
    struct ks_park_spot *spot; /* NULL: not parked */
    struct event timer;
    /* Not parked any more when it runs; may park again. */
    void (*resume)(struct ks_park *park, enum ks_park_end why);
};

/* All of one loop. */
struct ks_parking {
    struct ks_loop *loop;
    struct ks_u64_map spots; /* by log id */
    _Atomic uint32_t count;  /* parks; the loop writes */
};

void ks_parking_init(struct ks_parking *parking, struct ks_loop *loop);
void ks_parking_fini(struct ks_parking *parking); /* nothing is parked */

/*
 * Until the log has news, for wait_ms at most. Look at the log again afterwards: what came before
 * is not told. Errors: KS_NO_MEMORY, nothing is parked.
 */
enum ks_status ks_park_begin(struct ks_parking *parking, struct ks_park *park, struct ks_log *log,
    uint64_t wait_ms) KS_MUST_USE;
void ks_park_cancel(struct ks_park *park); /* resume will not run */
/* Resumes all of them. */
void ks_parking_stop(struct ks_parking *parking);

#endif
