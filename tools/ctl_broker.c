/* The verbs about the broker as a whole. */
#include "client/kstream_admin.h"
#include "tools/ctl.h"

enum kstream_status ctl_run_confirm_clock(struct ctl *ctl, struct kstream_error *err)
{
    struct kstream_clock_info info = KSTREAM_CLOCK_INFO_INIT;
    enum kstream_status st = ctl_connect(ctl, err);
    if (!st)
        st = kstream_confirm_clock(ctl->client, ctl->timeout_ms, &info, err);
    if (st)
        return st;
    ctl->result = json_pack("{s:o, s:f, s:b, s:f, s:s}", "clock", ctl_json_time(info.clock_unix_ms),
        "stepped_seconds", (double)info.step_ms / 1000, "was_retention_held",
        info.was_retention_held, "retention_behind_seconds",
        (double)info.retention_behind_ms / 1000, "why", info.why);
    return ctl->result ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}
