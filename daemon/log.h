/*
 * The daemon's log: an event sink (base/events.h) that writes one line per event to standard error,
 * or hands it with its fields to systemd-journald. Names are stable, fields are key=value; no
 * payload bytes, no secrets. An event that repeats more than KS_LOG_BURST times in a second is held
 * back and counted ("log.suppressed event=... count=...").
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

#define KS_LOG_BURST 20u
#define KS_LOG_NAMES_MAX 256u

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
/* Writes what was still held back. */
void ks_logger_fini(struct ks_logger *logger);

#endif
