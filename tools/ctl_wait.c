#include "tools/ctl_wait.h"

#include "base/clock.h"
#include "tools/ctl_time.h"

#include <poll.h>
#include <stdio.h>

#define PAUSE_MS_MIN 20u
#define PAUSE_MS_MAX 1000u
#define LIMIT_MS_MAX 86400000u
/* A wait that is over sooner needs no words. */
#define TOLD_AFTER_MS 1000u

enum kstream_status ctl_wait_read(
    const struct ctl *ctl, struct ctl_wait *out, struct kstream_error *err)
{
    uint64_t limit_ms = 0;
    const char *text = ctl_text(ctl, CTL_WAIT);
    if (text && ctl_has(ctl, CTL_NO_WAIT))
        return ctl_fail(err, KSTREAM_USAGE, "'--wait' and '--no-wait' exclude each other");
    struct ks_error inner = KS_ERROR_INIT;
    if (text && text[0] &&
        (ctl_duration_from_text(text, &limit_ms, NULL) || limit_ms == 0 || limit_ms > LIMIT_MS_MAX))
        return ctl_fail_from(err,
            ctl_args_fail(
                &ctl->args, CTL_WAIT, "1ms to 24h is needed; a bare number is seconds", &inner),
            &inner);
    *out =
        (struct ctl_wait){.is_wanted = !ctl_has(ctl, CTL_NO_WAIT), .limit_ms = (uint32_t)limit_ms};
    return KSTREAM_OK;
}

static void tell(const struct ctl *ctl, const char *what)
{
    if (ctl->progress == CTL_PROGRESS_JSON) {
        json_t *event = json_pack("{s:s, s:s}", "event", "waiting", "for", what);
        if (event && json_dumpf(event, stderr, JSON_COMPACT) == 0)
            fputc('\n', stderr);
        json_decref(event);
    } else if (ctl->progress != CTL_PROGRESS_NONE) {
        fprintf(stderr, "waiting until %s\n", what);
    }
}

enum kstream_status ctl_wait_until(struct ctl *ctl, uint32_t limit_ms, const char *what,
    ctl_is_done_fn is_done, void *arg, struct kstream_error *err)
{
    uint64_t began_ms = ks_clock_mono_ns(&ks_clock_system) / 1000000;
    uint32_t pause_ms = PAUSE_MS_MIN;
    bool is_told = false;
    for (;;) {
        bool has_ended = false;
        enum kstream_status st = is_done(ctl, arg, &has_ended, err);
        if (st || has_ended)
            return st;
        uint64_t waited_ms = ks_clock_mono_ns(&ks_clock_system) / 1000000 - began_ms;
        if (waited_ms >= limit_ms) {
            ctl->hint = "--wait=SECONDS allows more time";
            return ctl_fail(err, KSTREAM_TIMEOUT, "waited %llu s until %s",
                (unsigned long long)waited_ms / 1000, what);
        }
        if (waited_ms >= TOLD_AFTER_MS && !is_told) {
            tell(ctl, what);
            is_told = true;
        }
        uint64_t left_ms = limit_ms - waited_ms;
        KS_IGNORE(poll(NULL, 0, (int)KS_MIN(pause_ms, left_ms)), "a pause");
        pause_ms = KS_MIN(pause_ms * 2, PAUSE_MS_MAX);
    }
}
