/*
 * For verbs that change something: what --dry-run answers, and being asked before something is
 * destroyed. Such a verb takes DRY_RUN in the command table, and between its checks and its deed
 *
 *     if (ctl_is_dry_run(ctl))
 *         return st ? ctl_would_not(ctl, st, err) : ctl_would(ctl, err, "create '%s'", name);
 *
 * Threads: the process runs one verb.
 */
#ifndef KS_TOOLS_CTL_DRY_RUN_H
#define KS_TOOLS_CTL_DRY_RUN_H

#include "tools/ctl.h"

static inline bool ctl_is_dry_run(const struct ctl *ctl)
{
    return ctl_has(ctl, CTL_DRY_RUN);
}

/* Makes {"dry_run": true, "would": TEXT} the result; exit code 0. Errors: KSTREAM_NO_MEMORY. */
enum kstream_status ctl_would(struct ctl *ctl, struct kstream_error *err, const char *format, ...)
    KS_PRINTF(3, 4) KS_MUST_USE;
/*
 * Returns st. What the broker or a check would refuse makes exit code 3; that the broker could not
 * be asked keeps its own.
 */
enum kstream_status ctl_would_not(struct ctl *ctl, enum kstream_status st);

/*
 * Before something cannot be undone: on a terminal its name has to be typed, elsewhere --yes is
 * needed. what: "the stream and all its records". Errors: KSTREAM_USAGE.
 */
enum kstream_status ctl_confirm(
    struct ctl *ctl, const char *what, const char *name, struct kstream_error *err) KS_MUST_USE;

/* The request as the broker would check it. Errors: KSTREAM_VALIDATION with the broker's text. */
struct ProtobufCMessage;
enum kstream_status ctl_check_request(
    const struct ProtobufCMessage *request, struct kstream_error *err) KS_MUST_USE;

#endif
