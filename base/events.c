#include "base/events.h"

#include <stdarg.h>
#include <stdio.h>

#define FIELDS_BYTES_MAX 400

static void ignore_event(KS_UNUSED const struct ks_events *events, KS_UNUSED enum ks_level level,
    KS_UNUSED const char *name, KS_UNUSED const char *fields)
{
}

const struct ks_events ks_events_ignore = {.emit = ignore_event};

void ks_emit(
    const struct ks_events *events, enum ks_level level, const char *name, const char *format, ...)
{
    char fields[FIELDS_BYTES_MAX + 1];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(fields, sizeof fields, format, args);
    va_end(args);
    /* The event counts even if its fields cannot be printed. */
    events->emit(events, level, name, length < 0 ? "" : fields);
}
