/*
 * How an event looks: a line of text, a JSON object, or what systemd-journald takes
 * (https://systemd.io/JOURNAL_NATIVE_PROTOCOL). Fields are key=value key="value with blanks"; what
 * does not look so is all one text.
 */
#ifndef KS_DAEMON_LOG_LINE_H
#define KS_DAEMON_LOG_LINE_H

#include "base/bytes.h"
#include "base/events.h"

#define KS_LOG_LINE_BYTES_MAX 4096
#define KS_LOG_ID_BYTES 33 /* 32 hex digits and the end */

struct ks_log_line {
    char text[KS_LOG_LINE_BYTES_MAX];
    size_t bytes;
};

/* One event, as it was emitted. */
struct ks_log_event {
    enum ks_level level;
    const char *name;
    const char *fields;
    uint64_t unix_ms;
    const char *id; /* journald's MESSAGE_ID; "" = none */
};

const char *ks_log_level_name(enum ks_level level);
/* has_prefix: systemd reads the lines: it adds the time itself and takes the level from "<N>". */
void ks_log_line_text(struct ks_log_line *line, const struct ks_log_event *event, bool has_prefix);
void ks_log_line_json(struct ks_log_line *line, const struct ks_log_event *event, bool has_prefix);
/* One datagram: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, MESSAGE_ID, KSTREAM_EVENT and KSTREAM_<KEY>
 * per field. */
void ks_log_line_journal(struct ks_log_line *line, const struct ks_log_event *event);

#endif
