/*
 * The daemon's log: an event sink (base/events.h) that writes one line per event to standard error,
 * or hands it with its fields to systemd-journald. Names are stable, fields are key=value; no
 * payload bytes, no secrets. An event that repeats more than KS_LOG_BURST times in a second is held
 * back and counted ("log.suppressed event=... count=...").
 *
 * Who emits never waits for who reads: from ks_logger_start on, lines for the stream go through a
 * ring (daemon/log_writer.h). When that is full they are dropped and counted; "log.dropped
 * lines=..." stands in their place once there is room again.
 *
 * Threads: any thread emits.
 */
#ifndef KS_DAEMON_LOG_H
#define KS_DAEMON_LOG_H

#include "base/clock.h"
#include "base/events.h"
#include "base/md5.h"
#include "base/mutex.h"
#include "daemon/config.h"
#include "daemon/log_line.h"
#include "daemon/log_writer.h"

#define KS_LOG_BURST 20u
#define KS_LOG_NAMES_MAX 256u
#define KS_LOG_FLUSH_MS 1000u

struct ks_log_name {
    const char *name; /* an event's literal */
    uint64_t second;
    uint32_t count;
    uint64_t suppressed;
    enum ks_level level;      /* of the last one */
    uint64_t total;           /* since the start, those held back included */
    char id[KS_LOG_ID_BYTES]; /* the MD5 of "kstream:" and name; "" = not yet known */
};

struct ks_logger {
    struct ks_events events; /* first member: give &logger->events to others */
    _Atomic int format;      /* enum ks_log_format */
    _Atomic int level;       /* enum ks_level */
    bool is_journal_stream;  /* [const] systemd reads fd */
    int journal_fd;          /* [const] a socket of journald's; -1: there is none */
    struct ks_md5 *md5;      /* [mu] for ids; NULL: none */
    const struct ks_clock *clock;
    int fd;
    struct ks_mutex mu;                         /* KS_RANK_EVENTS */
    struct ks_log_name names[KS_LOG_NAMES_MAX]; /* [mu] */
    struct ks_log_line line;                    /* [mu] */
    struct ks_log_writer *writer;               /* [mu] NULL: lines are written at once */
    uint64_t dropped;                           /* [mu] lines that nobody has been told of */
};

struct ks_logger_options {
    enum ks_log_format format;
    enum ks_level level;
    const struct ks_clock *clock;
    int fd;
    const char *journal_stream; /* $JOURNAL_STREAM; NULL: not there */
    const char *journal_socket; /* path; NULL: none */
};

void ks_logger_init(struct ks_logger *logger, const struct ks_logger_options *options);
/* From now on a thread writes. Errors: KS_NO_MEMORY. */
enum ks_status ks_logger_start(struct ks_logger *logger, struct ks_error *err) KS_MUST_USE;
/* Now and then: tells of dropped lines when nothing else is logged. */
void ks_logger_tick(struct ks_logger *logger);
/* Before the process ends without ks_logger_fini: waits a bounded time for lines to be written. */
void ks_logger_flush(struct ks_logger *logger);
/* How many of each name were logged or held back. Any thread. */
struct ks_log_count {
    const char *name;
    const char *level; /* "error" */
    uint64_t count;
};
void ks_logger_counts(
    struct ks_logger *logger, void (*each)(void *arg, const struct ks_log_count *count), void *arg);
/* Any thread, from now on. */
void ks_logger_set(struct ks_logger *logger, enum ks_log_format format, enum ks_level level);
/* Writes what was still held back, as far as it is taken within KS_LOG_FLUSH_MS or so. */
void ks_logger_fini(struct ks_logger *logger);

#endif
