/* What a change would take with it, for --dry-run and before being asked. Threads: the process runs
 * one verb. */
#ifndef KS_TOOLS_CTL_SURVEY_H
#define KS_TOOLS_CTL_SURVEY_H

#include "client/kstream_admin.h"
#include "tools/ctl.h"

json_t *ctl_number_to_json(uint64_t value);
/* null for 0. */
json_t *ctl_time_or_null(uint64_t unix_ms);
json_t *ctl_survey_to_json(const struct kstream_compact_info *info);

/* What ctl->stream would lose. hours 0: if it were deleted; else by that retention. */
enum kstream_status ctl_survey(struct ctl *ctl, uint32_t hours, struct kstream_compact_info *info,
    struct kstream_error *err) KS_MUST_USE;

/* Adds it to the result, as WouldGo. */
enum kstream_status ctl_survey_give(struct ctl *ctl, const struct kstream_compact_info *info,
    struct kstream_error *err) KS_MUST_USE;

#endif
