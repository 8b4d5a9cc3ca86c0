#include "client/conn.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "client/conn_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_BYTES_MAX (64u << 20) /* requests waiting for the socket, four of the largest */
#define BACKOFF_MS_FIRST 10u
#define BACKOFF_MS_MAX 1000u
#define SLOTS_FIRST 64u

/* ---- time ---- */

uint64_t client_now_ns(void)
{
    return ks_clock_mono_ns(&ks_clock_system);
}

uint64_t client_deadline_ns(uint32_t timeout_ms)
{
    return timeout_ms == KSTREAM_FOREVER ? CLIENT_DEADLINE_NONE
                                         : client_now_ns() + (uint64_t)timeout_ms * 1000000u;
}

int client_poll_ms(uint64_t deadline_ns)
{
    if (deadline_ns == CLIENT_DEADLINE_NONE)
        return -1;
    uint64_t now = client_now_ns();
    uint64_t left_ms = deadline_ns > now ? (deadline_ns - now + 999999u) / 1000000u : 0;
    return (int)ks_min_u64(left_ms, 3600000);
}

uint64_t client_backoff_ns(struct ks_prng *jitter, uint32_t *backoff_ms)
{
    *backoff_ms = *backoff_ms ? KS_MIN(*backoff_ms * 2, BACKOFF_MS_MAX) : BACKOFF_MS_FIRST;
    uint64_t half_ns = (uint64_t)*backoff_ms * 500000u;
    return client_now_ns() + half_ns + ks_prng_below(jitter, half_ns);
}

/* ---- life ---- */

enum ks_status client_conn_init(
    struct client_conn *conn, const struct client_conn_options *options, struct ks_error *err)
{
    *conn = (struct client_conn){.options = *options,
        .addresses = *options->addresses,
        .fd = -1,
        .next_request_id = 1,
        .answer_by_ns = CLIENT_DEADLINE_NONE};
    ks_list_init(&conn->calls);
    ks_buf_init(&conn->out, OUT_BYTES_MAX);
    uint64_t seed = 0;
    enum ks_status st = ks_random_bytes(&seed, sizeof seed, err);
    if (st)
        return st;
    ks_prng_seed(&conn->jitter, seed);
    conn->in = ks_malloc(CLIENT_CONN_IN_BYTES);
    return conn->in ? KS_OK : ks_fail(err, KS_NO_MEMORY, 0, "no memory for a connection");
}

static void conn_free(struct client_conn *conn)
{
    ks_buf_fini(&conn->out);
    ks_free(conn->pieces);
    conn->pieces = NULL;
    ks_free(conn->slots);
    conn->slots = NULL;
    ks_free(conn->in);
    conn->in = NULL;
}

void client_conn_fini(struct client_conn *conn)
{
    conn->is_ending = true;
    client_conn_close(conn, KS_UNAVAILABLE, "the client is closed");
    conn_free(conn);
}

void client_conn_abandon(struct client_conn *conn)
{
    /* The descriptor is this process's copy: closing it neither ends the parent's connection nor
     * takes it out of the parent's epoll set. */
    if (conn->fd >= 0)
        close(conn->fd);
    ks_free(conn->frame);
    conn_free(conn);
}

static void conn_fail_calls(struct client_conn *conn, const struct ks_error *why)
{
    /* A callback may submit to a connection made anew: only those waiting now fail. */
    struct ks_list failed;
    ks_list_init(&failed);
    ks_list_splice(&failed, &conn->calls);
    for (uint32_t i = 0; i < conn->slot_count; i++)
        conn->slots[i] = NULL;
    conn->call_count = 0;
    conn->answer_by_ns = CLIENT_DEADLINE_NONE;
    for (struct ks_list *node; (node = ks_list_pop(&failed));) {
        struct client_call *call = KS_CONTAINER_OF(node, struct client_call, node);
        call->on_done(call, why->status, NULL, NULL, why);
    }
}

static void conn_close_socket(struct client_conn *conn)
{
    if (conn->fd < 0)
        return;
    if (conn->options.watch)
        client_watch_fd(conn->options.watch, conn->fd, 0, &conn->watched);
    close(conn->fd);
    conn->fd = -1;
    conn->watched = 0;
}

/* Once when it is lost, or cannot be made, and once when it is back. */
static void conn_log(const struct client_conn *conn, const char *event, const char *reason)
{
    char text[512];
    if (!conn->options.log)
        return;
    KS_IGNORE(snprintf(text, sizeof text, "%s endpoint=%s%s%s", event, conn->options.endpoint,
                  reason ? " reason=" : "", reason ? reason : ""),
        "a long line is cut");
    conn->options.log(KSTREAM_LOG_INFO, text, conn->options.log_arg);
}

static void conn_close(struct client_conn *conn, const struct ks_error *why)
{
    struct ks_error reason = *why;
    if (conn->trouble_since_ns == 0 && !conn->is_ending)
        conn_log(conn, "connection.lost", reason.text);
    conn_close_socket(conn);
    conn->state = CLIENT_CONN_CLOSED;
    ks_free(conn->frame);
    conn->frame = NULL;
    conn->in_bytes = 0;
    client_conn_drop_output(conn);
    conn->written_position = 0;
    conn->why_closed = reason;
    conn->closed_count++;
    if (conn->trouble_since_ns == 0)
        conn->trouble_since_ns = client_now_ns();
    conn->not_before_ns = client_backoff_ns(&conn->jitter, &conn->backoff_ms);
    conn_fail_calls(conn, &reason);
}

void client_conn_close(struct client_conn *conn, enum ks_status status, const char *why)
{
    struct ks_error err = KS_ERROR_INIT;
    KS_IGNORE(ks_fail(&err, status, 0, "%s", why), "only fills err");
    conn_close(conn, &err);
}

void client_conn_lost(struct client_conn *conn, int errnum)
{
    struct ks_error why = KS_ERROR_INIT;
    KS_IGNORE(ks_fail(&why, KS_UNAVAILABLE, errnum, "lost the connection to '%s'",
                  conn->options.endpoint),
        "only fills why");
    conn_close(conn, &why);
}

/* ---- connecting ---- */

static void conn_opened(struct client_conn *conn)
{
    conn->state = CLIENT_CONN_OPEN;
    conn->opened_count++;
    if (conn->trouble_since_ns)
        conn_log(conn, "connection.back", NULL);
}

static int conn_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd >= 0 && family != AF_UNIX)
        /* Without it the last part of a batch waits for the peer's delayed acknowledgement. */
        KS_IGNORE(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "only costs time");
    return fd;
}

static void conn_fail_connect(struct client_conn *conn, int errnum)
{
    struct ks_error why = KS_ERROR_INIT;
    KS_IGNORE(
        ks_fail(&why, KS_UNAVAILABLE, errnum, "cannot connect to '%s'", conn->options.endpoint),
        "only fills why");
    conn_close(conn, &why);
}

/* Tries addresses from conn->address on until one connects or is under way. */
static void conn_try(struct client_conn *conn, int errnum)
{
    for (; conn->address < conn->addresses.count; conn->address++) {
        const struct client_address *address = &conn->addresses.list[conn->address];
        conn_close_socket(conn);
        conn->fd = conn_socket(address->socket.any.sa_family);
        if (conn->fd >= 0 && connect(conn->fd, &address->socket.any, address->bytes) == 0) {
            conn_opened(conn);
            return;
        }
        errnum = errno;
        /* A unix socket whose listener has a full queue says EAGAIN: like a refusal, for later. */
        if (conn->fd >= 0 && errnum == EINPROGRESS) {
            conn->state = CLIENT_CONN_CONNECTING;
            conn->connect_by_ns = client_deadline_ns(conn->options.connect_timeout_ms);
            return;
        }
    }
    conn_fail_connect(conn, errnum);
}

static void conn_begin(struct client_conn *conn)
{
    KS_ASSERT(conn->state == CLIENT_CONN_CLOSED);
    conn->address = 0;
    conn_try(conn, 0);
}

/* The present attempt has failed: the next address, if there is one. */
static void conn_try_next(struct client_conn *conn, int errnum)
{
    conn->state = CLIENT_CONN_CLOSED;
    conn->address++;
    conn_try(conn, errnum);
}

static void conn_process_connect(struct client_conn *conn)
{
    struct pollfd poller = {.fd = conn->fd, .events = POLLOUT};
    if (poll(&poller, 1, 0) <= 0) {
        if (client_now_ns() >= conn->connect_by_ns)
            conn_try_next(conn, ETIMEDOUT);
        return;
    }
    int errnum = 0;
    socklen_t length = sizeof errnum;
    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &errnum, &length) < 0)
        errnum = errno;
    if (errnum == 0)
        conn_opened(conn);
    else
        conn_try_next(conn, errnum);
}

void client_conn_keep(struct client_conn *conn)
{
    if (conn->state == CLIENT_CONN_CLOSED && client_now_ns() >= conn->not_before_ns)
        conn_begin(conn);
}

void client_conn_hurry(struct client_conn *conn)
{
    conn->backoff_ms = 0;
    conn->not_before_ns =
        ks_min_u64(conn->not_before_ns, client_now_ns() + BACKOFF_MS_FIRST * 1000000u);
}

/* ---- calls ---- */

static struct client_call **conn_slot(const struct client_conn *conn, uint64_t request_id)
{
    return &conn->slots[request_id & (conn->slot_count - 1)];
}

/* Room for one more call. */
static bool conn_reserve_slot(struct client_conn *conn)
{
    if (conn->call_count < conn->slot_count)
        return true;
    uint32_t count = conn->slot_count ? conn->slot_count * 2 : SLOTS_FIRST;
    struct client_call **slots = ks_calloc(count, sizeof(struct client_call *));
    if (!slots)
        return false;
    ks_free(conn->slots);
    conn->slots = slots;
    conn->slot_count = count;
    KS_LIST_FOR_EACH(node, &conn->calls)
    {
        struct client_call *call = KS_CONTAINER_OF(node, struct client_call, node);
        struct client_call **slot = conn_slot(conn, call->request_id);
        call->next = *slot;
        *slot = call;
    }
    return true;
}

struct client_call *client_conn_take_call(struct client_conn *conn, uint64_t request_id)
{
    if (conn->slot_count == 0)
        return NULL;
    struct client_call **at = conn_slot(conn, request_id);
    while (*at && (*at)->request_id != request_id)
        at = &(*at)->next;
    struct client_call *call = *at;
    if (!call)
        return NULL;
    *at = call->next;
    conn->call_count--;
    ks_list_remove(&call->node);
    return call;
}

bool client_conn_reserve(struct client_conn *conn, size_t copied_bytes, size_t pieces)
{
    return conn_reserve_slot(conn) && client_conn_reserve_output(conn, copied_bytes, pieces);
}

void client_conn_link(struct client_conn *conn, struct client_call *call, enum ks_op op)
{
    KS_ASSERT(!ks_list_is_linked(&call->node));
    KS_ASSERT(conn->call_count < conn->slot_count);
    call->op = op;
    call->request_id = conn->next_request_id++;
    call->end_position = conn->written_position + conn->backlog_bytes;
    if (conn->options.log_requests)
        call->linked_ns = client_now_ns();
    struct client_call **slot = conn_slot(conn, call->request_id);
    call->next = *slot;
    *slot = call;
    conn->call_count++;
    conn->answer_by_ns = ks_min_u64(conn->answer_by_ns, call->answer_by_ns);
    ks_list_push(&conn->calls, &call->node);
}

enum ks_status client_conn_submit(struct client_conn *conn, struct client_call *call, enum ks_op op,
    const ProtobufCMessage *message, struct ks_error *err)
{
    if (conn->state != CLIENT_CONN_OPEN)
        return ks_fail(err, KS_UNAVAILABLE, 0, "not connected to '%s'", conn->options.endpoint);
    if (!client_conn_reserve(conn, 0, 1))
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a request");
    struct ks_request_head head = {.request_id = conn->next_request_id, .op = op};
    size_t before = conn->out.bytes;
    enum ks_status st = ks_request_append(&conn->out, &head, message);
    if (st)
        return ks_fail(err, st, 0, "cannot send a request: %s", ks_status_info(st)->text);
    client_conn_note_copied(conn, conn->out.bytes - before);
    client_conn_link(conn, call, op);
    return KS_OK;
}

void client_conn_forget(struct client_conn *conn, struct client_call *call)
{
    if (ks_list_is_linked(&call->node))
        KS_IGNORE(client_conn_take_call(conn, call->request_id), "it is the call itself");
}

/* Whether an answer is late; else answer_by_ns is the earliest that can be. */
static bool conn_is_late(struct client_conn *conn)
{
    uint64_t now_ns = client_now_ns();
    if (now_ns < conn->answer_by_ns)
        return false;
    conn->answer_by_ns = CLIENT_DEADLINE_NONE;
    KS_LIST_FOR_EACH(node, &conn->calls)
    {
        const struct client_call *call = KS_CONTAINER_OF(node, struct client_call, node);
        conn->answer_by_ns = ks_min_u64(conn->answer_by_ns, call->answer_by_ns);
    }
    return now_ns >= conn->answer_by_ns;
}

/* ---- turns ---- */

short client_conn_events(const struct client_conn *conn)
{
    switch (conn->state) {
    case CLIENT_CONN_CLOSED:
        return 0;
    case CLIENT_CONN_CONNECTING:
        return POLLOUT;
    case CLIENT_CONN_OPEN:
        return (short)(POLLIN | (conn->backlog_bytes > 0 ? POLLOUT : 0));
    }
    return 0;
}

uint64_t client_conn_timer_ns(const struct client_conn *conn)
{
    switch (conn->state) {
    case CLIENT_CONN_CLOSED:
        return conn->not_before_ns;
    case CLIENT_CONN_CONNECTING:
        return conn->connect_by_ns;
    case CLIENT_CONN_OPEN:
        return conn->answer_by_ns;
    }
    return CLIENT_DEADLINE_NONE;
}

void client_conn_process(struct client_conn *conn)
{
    if (conn->state == CLIENT_CONN_CONNECTING)
        conn_process_connect(conn);
    if (conn->state == CLIENT_CONN_OPEN) {
        client_conn_write(conn);
        client_conn_read(conn);
    }
    if (conn->state == CLIENT_CONN_OPEN && conn_is_late(conn))
        client_conn_close(conn, KS_UNAVAILABLE, "the broker did not answer in time");
    if (conn->state == CLIENT_CONN_OPEN)
        client_conn_write(conn); /* what the callbacks had to say */
    if (conn->options.watch && conn->fd >= 0)
        client_watch_fd(conn->options.watch, conn->fd, client_conn_events(conn), &conn->watched);
}

void client_conn_wait(struct client_conn *conn, uint64_t deadline_ns)
{
    struct pollfd poller = {.fd = conn->fd, .events = client_conn_events(conn)};
    KS_IGNORE(poll(&poller, 1, client_poll_ms(deadline_ns)), "an interrupted wait is a short one");
    client_conn_process(conn);
}

enum ks_status client_conn_ensure(
    struct client_conn *conn, uint64_t deadline_ns, struct ks_error *err)
{
    if (conn->state == CLIENT_CONN_OPEN)
        client_conn_process(conn); /* notices that the peer has gone */
    if (conn->state == CLIENT_CONN_CLOSED)
        conn_begin(conn);
    while (conn->state == CLIENT_CONN_CONNECTING) {
        if (client_now_ns() >= deadline_ns) {
            client_conn_close(conn, KS_UNAVAILABLE, "connecting took too long");
            return ks_fail(
                err, KS_TIMEOUT, 0, "cannot connect to '%s' in time", conn->options.endpoint);
        }
        client_conn_wait(conn, ks_min_u64(deadline_ns, conn->connect_by_ns));
    }
    if (conn->state == CLIENT_CONN_OPEN)
        return KS_OK;
    if (err)
        *err = conn->why_closed;
    return conn->why_closed.status;
}
