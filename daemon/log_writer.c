#include "daemon/log_writer.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "daemon/log_line.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define WRITER_STACK_BYTES (64u * 1024)

/* A line in the ring: its length, then its bytes; both may go around the end. */
typedef uint16_t line_length;
_Static_assert(KS_LOG_LINE_BYTES_MAX <= UINT16_MAX, "a length holds every line's");
_Static_assert(KS_LOG_RING_BYTES >= 8 * KS_LOG_LINE_BYTES_MAX, "the ring holds lines");

struct ks_log_writer {
    int fd;                 /* [const] */
    struct ks_mutex mu;     /* KS_RANK_LOG_WRITER, never held while writing */
    struct ks_cond more;    /* there is a line, or the end */
    struct ks_cond written; /* all is */
    uint64_t put_bytes;     /* [mu] into the ring, ever; where the next line begins */
    uint64_t taken_bytes;   /* [mu] out of it */
    bool is_writing;        /* [mu] the thread holds a line that is not yet written */
    bool is_ending;         /* [mu] */
    bool is_left_behind;    /* [mu] the thread frees it */
    pthread_t thread;
    char line[KS_LOG_LINE_BYTES_MAX]; /* [thread] */
    char ring[KS_LOG_RING_BYTES];     /* [mu] */
};

/* ---- the ring ---- */

static void ring_copy_in(struct ks_log_writer *writer, const void *from, size_t bytes)
{
    size_t at = writer->put_bytes % KS_LOG_RING_BYTES;
    size_t first = KS_MIN(bytes, KS_LOG_RING_BYTES - at);
    memcpy(writer->ring + at, from, first);
    memcpy(writer->ring, (const char *)from + first, bytes - first);
    writer->put_bytes += bytes;
}

static void ring_copy_out(struct ks_log_writer *writer, void *to, size_t bytes)
{
    size_t at = writer->taken_bytes % KS_LOG_RING_BYTES;
    size_t first = KS_MIN(bytes, KS_LOG_RING_BYTES - at);
    memcpy(to, writer->ring + at, first);
    memcpy((char *)to + first, writer->ring, bytes - first);
    writer->taken_bytes += bytes;
}

static bool ring_has_room(const struct ks_log_writer *writer, size_t bytes)
{
    return KS_LOG_RING_BYTES - (writer->put_bytes - writer->taken_bytes) >= bytes;
}

bool ks_log_writer_has_room(struct ks_log_writer *writer, size_t bytes)
{
    KS_LOCK_SCOPE(&writer->mu);
    return ring_has_room(writer, bytes);
}

bool ks_log_writer_put(struct ks_log_writer *writer, const char *text, size_t bytes)
{
    line_length length = (line_length)bytes;
    KS_ASSERT(bytes <= KS_LOG_LINE_BYTES_MAX);
    KS_LOCK_SCOPE(&writer->mu);
    if (!ring_has_room(writer, sizeof(length) + bytes))
        return false;
    ring_copy_in(writer, &length, sizeof(length));
    ring_copy_in(writer, text, bytes);
    ks_cond_signal(&writer->more);
    return true;
}

/* ---- the thread ---- */

bool ks_log_write(int fd, const char *text, size_t bytes, int wait_ms)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    /* A pipe with room takes a page, and a line is no longer. */
    return poll(&room, 1, wait_ms) == 1 && (room.revents & POLLOUT) &&
           write(fd, text, bytes) == (ssize_t)bytes;
}

static void line_write(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, text, bytes);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd room = {.fd = fd, .events = POLLOUT};
            KS_IGNORE(poll(&room, 1, -1), "the next write says how it is");
            continue;
        }
        if (n < 0 && errno != EINTR)
            return; /* nobody is left to be told */
        text += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
}

/* mu held. False: the end. */
static bool await_line(struct ks_log_writer *writer, line_length *out_length)
{
    writer->is_writing = false;
    while (writer->taken_bytes == writer->put_bytes && !writer->is_ending) {
        ks_cond_broadcast(&writer->written);
        ks_cond_wait(&writer->more, &writer->mu);
    }
    if (writer->is_ending)
        return false;
    writer->is_writing = true;
    ring_copy_out(writer, out_length, sizeof(*out_length));
    ring_copy_out(writer, writer->line, *out_length);
    return true;
}

static void writer_free(struct ks_log_writer *writer)
{
    ks_cond_fini(&writer->more);
    ks_cond_fini(&writer->written);
    ks_mutex_fini(&writer->mu);
    ks_free(writer);
}

static void *writer_run(void *arg)
{
    struct ks_log_writer *writer = arg;
    line_length length;
    ks_mutex_lock(&writer->mu);
    while (await_line(writer, &length)) {
        ks_mutex_unlock(&writer->mu);
        line_write(writer->fd, writer->line, length);
        ks_mutex_lock(&writer->mu);
    }
    bool is_left_behind = writer->is_left_behind;
    ks_mutex_unlock(&writer->mu);
    if (is_left_behind)
        writer_free(writer);
    return NULL;
}

/* ---- life ---- */

enum ks_status ks_log_writer_start(int fd, struct ks_log_writer **out_writer, struct ks_error *err)
{
    struct ks_log_writer *writer = ks_zalloc(sizeof(*writer));
    if (!writer)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot start the log's thread");
    writer->fd = fd;
    ks_mutex_init(&writer->mu, KS_RANK_LOG_WRITER);
    ks_cond_init(&writer->more);
    ks_cond_init(&writer->written);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WRITER_STACK_BYTES);
    int rc = pthread_create(&writer->thread, &attributes, writer_run, writer);
    pthread_attr_destroy(&attributes);
    if (rc) {
        writer_free(writer);
        return ks_fail(err, KS_NO_MEMORY, rc, "cannot start the log's thread");
    }
    pthread_setname_np(writer->thread, "log");
    *out_writer = writer;
    return KS_OK;
}

bool ks_log_writer_flush(struct ks_log_writer *writer, uint64_t timeout_ms)
{
    uint64_t until_ms = ks_clock_mono_ns(&ks_clock_system) / 1000000 + timeout_ms;
    KS_LOCK_SCOPE(&writer->mu);
    while (writer->taken_bytes != writer->put_bytes || writer->is_writing) {
        uint64_t now_ms = ks_clock_mono_ns(&ks_clock_system) / 1000000;
        if (now_ms >= until_ms)
            return false;
        KS_IGNORE(ks_cond_wait_ms(&writer->written, &writer->mu, until_ms - now_ms),
            "the condition says it");
    }
    return true;
}

void ks_log_writer_stop(struct ks_log_writer *writer)
{
    if (!writer)
        return;
    ks_mutex_lock(&writer->mu);
    bool is_held = writer->is_writing;
    writer->is_ending = true;
    writer->is_left_behind = is_held;
    if (is_held)
        pthread_detach(writer->thread); /* before it can free what has its name */
    ks_cond_signal(&writer->more);
    ks_mutex_unlock(&writer->mu);
    if (is_held)
        return;
    pthread_join(writer->thread, NULL);
    writer_free(writer);
}
