/*
 * Lines on their way to a descriptor that may take none for long: a pipe whose reader has stopped,
 * a terminal that is held, a file on a slow disk. They wait in a ring of bounded size, and a thread
 * writes them; who logs waits for nothing.
 *
 * Threads: any puts; the thread is the writer's own.
 */
#ifndef KS_DAEMON_LOG_WRITER_H
#define KS_DAEMON_LOG_WRITER_H

#include "base/status.h"

#define KS_LOG_RING_BYTES (128u * 1024)

struct ks_log_writer;

/* fd is borrowed. Errors: KS_NO_MEMORY. */
enum ks_status ks_log_writer_start(
    int fd, struct ks_log_writer **out_writer, struct ks_error *err) KS_MUST_USE;
/* One line of at most KS_LOG_LINE_BYTES_MAX bytes; false: there is no room for it. Never waits for
 * the descriptor. */
bool ks_log_writer_put(struct ks_log_writer *writer, const char *text, size_t bytes);
bool ks_log_writer_has_room(struct ks_log_writer *writer, size_t bytes);
/* Waits for all lines to be written, not longer than timeout_ms; false: some are left. */
bool ks_log_writer_flush(struct ks_log_writer *writer, uint64_t timeout_ms);
/* NULL is fine. Lines that are left are dropped; a thread that the descriptor holds is left behind,
 * with what is its own. */
void ks_log_writer_stop(struct ks_log_writer *writer);

/* Without a thread: the line is written if fd takes it within wait_ms. */
bool ks_log_write(int fd, const char *text, size_t bytes, int wait_ms);

#endif
