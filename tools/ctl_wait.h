/* --wait[=SECONDS] and --no-wait: until something is done. Threads: the process runs one verb. */
#ifndef KS_TOOLS_CTL_WAIT_H
#define KS_TOOLS_CTL_WAIT_H

#include "tools/ctl.h"

struct ctl_wait {
    bool is_wanted;
    uint32_t limit_ms; /* 0: the default of what waits */
};

/* Errors: KSTREAM_USAGE. */
enum kstream_status ctl_wait_read(
    const struct ctl *ctl, struct ctl_wait *out, struct kstream_error *err) KS_MUST_USE;

/* Whether it is done. An error ends the waiting. */
typedef enum kstream_status (*ctl_is_done_fn)(
    struct ctl *ctl, void *arg, bool *out_is_done, struct kstream_error *err);

/*
 * Asks again and again, after 20 ms at first and at most once a second, until it is done. what, for
 * people: "stream 'clicks' is ACTIVE". Errors: those of is_done; KSTREAM_TIMEOUT.
 */
enum kstream_status ctl_wait_until(struct ctl *ctl, uint32_t limit_ms, const char *what,
    ctl_is_done_fn is_done, void *arg, struct kstream_error *err) KS_MUST_USE;

#endif
