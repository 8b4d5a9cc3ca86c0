#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ID_PREFIX "kstream:"
#define START_WAIT_MS 100 /* for a reader of the log, while there is no thread to wait for him */

/* ---- where it goes ---- */

/* $JOURNAL_STREAM is "device:inode" of the stream that systemd reads: ours, or one of a parent that
 * has redirected us since. */
static bool stream_is_journal(int fd, const char *journal_stream)
{
    struct stat stat;
    char ours[64];
    if (!journal_stream || fstat(fd, &stat) < 0)
        return false;
    snprintf(ours, sizeof(ours), "%llu:%llu", (unsigned long long)stat.st_dev,
        (unsigned long long)stat.st_ino);
    return strcmp(ours, journal_stream) == 0;
}

static int journal_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* A journal that is full, or starting again, takes nothing now: the line goes to the stream, which
 * systemd reads as well. */
static bool journal_send(const struct ks_logger *logger, const struct ks_log_line *line)
{
    return logger->journal_fd >= 0 &&
           send(logger->journal_fd, line->text, line->bytes, MSG_NOSIGNAL) == (ssize_t)line->bytes;
}

static void event_say(struct ks_logger *logger, enum ks_level level, const char *name,
    const char *format, ...) KS_PRINTF(4, 5);

/* mu held. After lines were dropped: not before there is room for many, and then first how many.
 * False: not yet. */
static bool stream_resume(struct ks_logger *logger)
{
    uint64_t dropped = logger->dropped;
    if (dropped == 0)
        return true;
    if (logger->writer && !ks_log_writer_has_room(logger->writer, KS_LOG_RING_BYTES / 2))
        return false;
    logger->dropped = 0;
    event_say(logger, KS_LEVEL_WARNING, "log.dropped", "lines=%llu", (unsigned long long)dropped);
    return true;
}

/* mu held. */
static void event_write(struct ks_logger *logger, const struct ks_log_event *event)
{
    struct ks_log_line *line = &logger->line;
    enum ks_log_format format = (enum ks_log_format)atomic_load(&logger->format);
    if (format == KS_LOG_FORMAT_AUTO)
        format = logger->is_journal_stream ? KS_LOG_FORMAT_JOURNAL : KS_LOG_FORMAT_TEXT;
    if (format == KS_LOG_FORMAT_JOURNAL) {
        ks_log_line_journal(line, event);
        if (journal_send(logger, line))
            return;
    }
    if (!stream_resume(logger)) {
        logger->dropped++;
        return;
    }
    if (format == KS_LOG_FORMAT_JSON)
        ks_log_line_json(line, event, logger->is_journal_stream);
    else
        ks_log_line_text(line, event, logger->is_journal_stream);
    bool is_taken = logger->writer
                        ? ks_log_writer_put(logger->writer, line->text, line->bytes)
                        : ks_log_write(logger->fd, line->text, line->bytes, START_WAIT_MS);
    if (!is_taken)
        logger->dropped++;
}

/* ---- events ---- */

/* mu held. Stable as long as the name is. */
static void name_make_id(struct ks_logger *logger, struct ks_log_name *known)
{
    char text[sizeof(ID_PREFIX) + 64];
    ks_u128 hash;
    if (!logger->md5 || known->id[0])
        return;
    int n = snprintf(text, sizeof(text), ID_PREFIX "%s", known->name);
    struct ks_view view = ks_view_of(text, (size_t)n);
    if (n < 0 || (size_t)n >= sizeof(text) || ks_md5_many(logger->md5, &view, 1, &hash))
        return;
    snprintf(known->id, sizeof(known->id), "%016llx%016llx", (unsigned long long)(hash >> 64),
        (unsigned long long)hash);
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

static void event_log(
    struct ks_logger *logger, enum ks_level level, const char *name, const char *fields)
{
    struct ks_log_name *known = name_find(logger, name);
    if (known)
        name_make_id(logger, known);
    const struct ks_log_event event = {.level = level,
        .name = name,
        .fields = fields,
        .unix_ms = ks_clock_unix_ms(logger->clock),
        .id = known ? known->id : ""};
    event_write(logger, &event);
}

static void event_say(
    struct ks_logger *logger, enum ks_level level, const char *name, const char *format, ...)
{
    char fields[160];
    va_list args;
    va_start(args, format);
    vsnprintf(fields, sizeof(fields), format, args);
    va_end(args);
    event_log(logger, level, name, fields);
}

static void name_report(struct ks_logger *logger, struct ks_log_name *known)
{
    uint64_t count = known->suppressed;
    known->suppressed = 0;
    event_say(logger, KS_LEVEL_NOTICE, "log.suppressed", "event=%s count=%llu", known->name,
        (unsigned long long)count);
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
    if (known) {
        known->total++;
        known->level = level;
    }
    if (known && known->count++ >= KS_LOG_BURST) {
        known->suppressed++;
        return;
    }
    event_log(logger, level, name, fields);
}

void ks_logger_init(struct ks_logger *logger, const struct ks_logger_options *options)
{
    memset(logger, 0, sizeof(*logger));
    logger->events.emit = logger_emit;
    ks_logger_set(logger, options->format, options->level);
    logger->clock = options->clock;
    logger->fd = options->fd;
    logger->is_journal_stream = stream_is_journal(options->fd, options->journal_stream);
    logger->journal_fd = journal_connect(options->journal_socket);
    if (ks_md5_create(&logger->md5, NULL))
        logger->md5 = NULL;
    ks_mutex_init(&logger->mu, KS_RANK_EVENTS);
}

enum ks_status ks_logger_start(struct ks_logger *logger, struct ks_error *err)
{
    struct ks_log_writer *writer;
    enum ks_status st = ks_log_writer_start(logger->fd, &writer, err);
    if (st)
        return st;
    KS_LOCK_SCOPE(&logger->mu);
    logger->writer = writer;
    return KS_OK;
}

void ks_logger_tick(struct ks_logger *logger)
{
    KS_LOCK_SCOPE(&logger->mu);
    KS_IGNORE(stream_resume(logger), "the next tick tries again");
}

void ks_logger_flush(struct ks_logger *logger)
{
    if (logger->writer)
        KS_IGNORE(ks_log_writer_flush(logger->writer, KS_LOG_FLUSH_MS), "nobody reads them");
}

void ks_logger_counts(
    struct ks_logger *logger, void (*each)(void *arg, const struct ks_log_count *count), void *arg)
{
    KS_LOCK_SCOPE(&logger->mu);
    for (size_t i = 0; i < KS_LOG_NAMES_MAX && logger->names[i].name; i++) {
        const struct ks_log_name *known = &logger->names[i];
        const struct ks_log_count count = {
            .name = known->name, .level = ks_log_level_name(known->level), .count = known->total};
        if (known->total > 0)
            each(arg, &count);
    }
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
    ks_logger_flush(logger);
    if (stream_resume(logger))
        ks_logger_flush(logger);
    ks_log_writer_stop(logger->writer);
    logger->writer = NULL;
    if (logger->journal_fd >= 0)
        close(logger->journal_fd);
    ks_md5_destroy(logger->md5);
    ks_mutex_fini(&logger->mu);
}
