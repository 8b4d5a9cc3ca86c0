/* What was found wrong: counted always, kept up to a bound. */
#include "base/alloc.h"
#include "tools/inspect.h"

#include <stdarg.h>
#include <stdio.h>

void inspect_report_init(struct inspect_report *report)
{
    *report = (struct inspect_report){.findings = NULL};
    ks_mutex_init(&report->mu, KS_RANK_EVENTS);
}

void inspect_report_fini(struct inspect_report *report)
{
    ks_free(report->findings);
    ks_mutex_fini(&report->mu);
}

/* The place for one more; NULL: there is none. mu held. */
static struct inspect_finding *finding_slot(struct inspect_report *report)
{
    if (report->finding_count == INSPECT_FINDINGS_MAX)
        return NULL;
    if (report->finding_count == report->finding_capacity) {
        size_t capacity = report->finding_capacity ? 2 * report->finding_capacity : 16;
        struct inspect_finding *grown =
            ks_realloc(report->findings, capacity * sizeof *report->findings);
        if (!grown)
            return NULL;
        report->findings = grown;
        report->finding_capacity = capacity;
    }
    return &report->findings[report->finding_count++];
}

void inspect_report_add(
    struct inspect_report *report, const struct inspect_finding *finding, const char *format, ...)
{
    KS_LOCK_SCOPE(&report->mu);
    if (finding->severity == INSPECT_NOTE)
        report->notes++;
    else
        report->damages++;
    if (finding->first_sequence > 0)
        report->lost_records += finding->last_sequence - finding->first_sequence + 1;
    struct inspect_finding *slot = finding_slot(report);
    if (!slot)
        return;
    *slot = *finding;
    if (finding->shard)
        slot->log_id = finding->shard->log_id;
    va_list args;
    va_start(args, format);
    vsnprintf(slot->text, sizeof slot->text, format, args);
    va_end(args);
}
