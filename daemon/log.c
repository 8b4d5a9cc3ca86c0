#include "daemon/log.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 2048

static const char *const level_names[] = {
    [KS_LEVEL_DEBUG] = "debug",
    [KS_LEVEL_INFO] = "info",
    [KS_LEVEL_NOTICE] = "notice",
    [KS_LEVEL_WARNING] = "warning",
    [KS_LEVEL_ERROR] = "error",
};
static const int syslog_levels[] = {
    [KS_LEVEL_DEBUG] = 7,
    [KS_LEVEL_INFO] = 6,
    [KS_LEVEL_NOTICE] = 5,
    [KS_LEVEL_WARNING] = 4,
    [KS_LEVEL_ERROR] = 3,
};

struct line {
    char text[LINE_BYTES_MAX];
    size_t bytes;
};

static void line_char(struct line *line, char c)
{
    if (line->bytes < sizeof(line->text) - 4) /* room for the end of a JSON object */
        line->text[line->bytes++] = c;
}

static void line_text(struct line *line, const char *text)
{
    for (; *text; text++)
        line_char(line, *text);
}

/* A foreign name in a field must not forge a second line: control characters become '?'. */
static void line_plain(struct line *line, const char *text)
{
    for (; *text; text++)
        line_char(line, (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

static void line_json_char(struct line *line, char c)
{
    if (c == '"' || c == '\\')
        line_char(line, '\\');
    line_char(line, (unsigned char)c < 0x20 ? '?' : c);
}

static void line_time(struct line *line, uint64_t unix_ms)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    char text[40];
    gmtime_r(&seconds, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof(text) - n, ".%03uZ", (unsigned)(unix_ms % 1000));
    line_text(line, text);
}

/* key=value key="value with blanks" ... as members; what does not look so goes on with the value
 * before it. */
static void line_json_fields(struct line *line, const char *fields)
{
    const char *p = fields;
    while (*p) {
        while (*p == ' ')
            p++;
        const char *equals = strchr(p, '=');
        const char *blank = strchr(p, ' ');
        if (!*p)
            break;
        line_text(line, ",\"");
        if (!equals || (blank && blank < equals)) {
            line_text(line, "text\":\"");
            for (; *p; p++)
                line_json_char(line, *p);
            line_char(line, '"');
            return;
        }
        for (; p < equals; p++)
            line_json_char(line, *p);
        line_text(line, "\":\"");
        p++;
        char end = *p == '"' ? '"' : ' ';
        if (end == '"')
            p++;
        for (; *p && *p != end; p++)
            line_json_char(line, *p);
        if (*p)
            p++;
        line_char(line, '"');
    }
}

static void line_write(
    const struct ks_logger *logger, enum ks_level level, const char *name, const char *fields)
{
    struct line line = {.bytes = 0};
    if (logger->is_journal) {
        char prefix[8];
        snprintf(prefix, sizeof(prefix), "<%d>", syslog_levels[level]);
        line_text(&line, prefix);
    }
    if (atomic_load(&logger->format) == KS_LOG_FORMAT_JSON) {
        line_text(&line, "{\"time\":\"");
        line_time(&line, ks_clock_unix_ms(logger->clock));
        line_text(&line, "\",\"level\":\"");
        line_text(&line, level_names[level]);
        line_text(&line, "\",\"event\":\"");
        line_text(&line, name);
        line_char(&line, '"');
        line_json_fields(&line, fields);
        if (line.bytes >= sizeof(line.text) - 4)
            line.text[line.bytes++] = '"'; /* cut inside a text */
        line.text[line.bytes++] = '}';
    } else {
        if (!logger->is_journal) {
            line_time(&line, ks_clock_unix_ms(logger->clock));
            line_char(&line, ' ');
        }
        line_text(&line, level_names[level]);
        line_char(&line, ' ');
        line_text(&line, name);
        line_char(&line, ' ');
        line_plain(&line, fields);
    }
    line.text[line.bytes++] = '\n';
    KS_IGNORE(
        write(logger->fd, line.text, line.bytes), "there is nobody to tell that the log failed");
}

static struct ks_log_name *name_find(struct ks_logger *logger, const char *name)
{
    for (size_t i = 0; i < KS_LOG_NAMES_MAX; i++) {
        struct ks_log_name *known = &logger->names[i];
        if (!known->name)
            known->name = name;
        if (strcmp(known->name, name) == 0)
            return known;
    }
    return NULL; /* more kinds of events than rows: those are not limited */
}

static void name_report(struct ks_logger *logger, struct ks_log_name *known)
{
    char fields[160];
    snprintf(fields, sizeof(fields), "event=%s count=%llu", known->name,
        (unsigned long long)known->suppressed);
    known->suppressed = 0;
    line_write(logger, KS_LEVEL_NOTICE, "log.suppressed", fields);
}

static void logger_emit(
    const struct ks_events *events, enum ks_level level, const char *name, const char *fields)
{
    /* The seam is const for its users; the sink's own state is behind its mutex. */
    struct ks_logger *logger = (struct ks_logger *)(uintptr_t)events;
    if ((int)level < atomic_load_explicit(&logger->level, memory_order_relaxed))
        return;
    uint64_t second = ks_clock_mono_ns(logger->clock) / 1000000000u;
    KS_LOCK_SCOPE(&logger->mu);
    struct ks_log_name *known = name_find(logger, name);
    if (known && known->second != second) {
        if (known->suppressed)
            name_report(logger, known);
        known->second = second;
        known->count = 0;
    }
    if (known && known->count++ >= KS_LOG_BURST) {
        known->suppressed++;
        return;
    }
    line_write(logger, level, name, fields);
}

void ks_logger_init(struct ks_logger *logger, const struct ks_logger_options *options)
{
    memset(logger, 0, sizeof(*logger));
    logger->events.emit = logger_emit;
    ks_logger_set(logger, options->format, options->level);
    logger->clock = options->clock;
    logger->fd = options->fd;
    logger->is_journal = options->is_journal;
    ks_mutex_init(&logger->mu, KS_RANK_EVENTS);
}

void ks_logger_set(struct ks_logger *logger, enum ks_log_format format, enum ks_level level)
{
    atomic_store(&logger->format, (int)format);
    atomic_store(&logger->level, (int)level);
}

void ks_logger_fini(struct ks_logger *logger)
{
    for (size_t i = 0; i < KS_LOG_NAMES_MAX && logger->names[i].name; i++)
        if (logger->names[i].suppressed)
            name_report(logger, &logger->names[i]);
    ks_mutex_fini(&logger->mu);
}
