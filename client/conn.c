#include "client/conn.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_BYTES (64u << 10)      /* small frames are cut out of it, large ones read directly */
#define OUT_BYTES_MAX (64u << 20) /* requests waiting for the socket, four of the largest */
#define OUT_COMPACT_BYTES (1u << 20)
#define READS_PER_TURN 16

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

enum ks_status client_conn_init(
    struct client_conn *conn, const struct client_endpoint *endpoint, struct ks_error *err)
{
    *conn = (struct client_conn){.endpoint = *endpoint, .fd = -1, .next_request_id = 1};
    ks_list_init(&conn->calls);
    ks_buf_init(&conn->out, OUT_BYTES_MAX);
    conn->in = ks_malloc(IN_BYTES);
    return conn->in ? KS_OK : ks_fail(err, KS_NO_MEMORY, 0, "no memory for a connection");
}

void client_conn_fini(struct client_conn *conn)
{
    client_conn_close(conn, KS_UNAVAILABLE, "the client is closed");
    ks_buf_fini(&conn->out);
    ks_free(conn->in);
    conn->in = NULL;
}

static void conn_fail_calls(struct client_conn *conn, const struct ks_error *why)
{
    /* A callback may submit to a connection made anew: only those waiting now fail. */
    struct ks_list failed;
    ks_list_init(&failed);
    ks_list_splice(&failed, &conn->calls);
    for (struct ks_list *node; (node = ks_list_pop(&failed));) {
        struct client_call *call = KS_CONTAINER_OF(node, struct client_call, node);
        call->on_done(call, why->status, NULL, NULL, why);
    }
}

static void conn_close(struct client_conn *conn, const struct ks_error *why)
{
    struct ks_error reason = *why;
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    conn->state = CLIENT_CONN_CLOSED;
    if (conn->addresses)
        freeaddrinfo(conn->addresses);
    conn->addresses = NULL;
    conn->address = NULL;
    ks_free(conn->frame);
    conn->frame = NULL;
    conn->in_bytes = 0;
    conn->out.bytes = 0;
    conn->out_position = 0;
    conn->why_closed = reason;
    conn_fail_calls(conn, &reason);
}

void client_conn_close(struct client_conn *conn, enum ks_status status, const char *why)
{
    struct ks_error err = KS_ERROR_INIT;
    KS_IGNORE(ks_fail(&err, status, 0, "%s", why), "only fills err");
    conn_close(conn, &err);
}

static void conn_opened(struct client_conn *conn)
{
    if (conn->addresses)
        freeaddrinfo(conn->addresses);
    conn->addresses = NULL;
    conn->address = NULL;
    conn->state = CLIENT_CONN_OPEN;
    conn->opened_count++;
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

static enum ks_status conn_fail_connect(struct client_conn *conn, int errnum, struct ks_error *err)
{
    struct ks_error why = KS_ERROR_INIT;
    enum ks_status st =
        ks_fail(&why, KS_UNAVAILABLE, errnum, "cannot connect to '%s'", conn->endpoint.text);
    conn_close(conn, &why);
    if (err)
        *err = why;
    return st;
}

/* Tries addresses from conn->address on until one connects or is under way. */
static enum ks_status conn_try(struct client_conn *conn, int errnum, struct ks_error *err)
{
    for (; conn->address; conn->address = conn->address->ai_next) {
        if (conn->fd >= 0)
            close(conn->fd);
        conn->fd = conn_socket(conn->address->ai_family);
        if (conn->fd >= 0 &&
            connect(conn->fd, conn->address->ai_addr, conn->address->ai_addrlen) == 0) {
            conn_opened(conn);
            return KS_OK;
        }
        errnum = errno;
        if (conn->fd >= 0 && errnum == EINPROGRESS) {
            conn->state = CLIENT_CONN_CONNECTING;
            return KS_OK;
        }
    }
    return conn_fail_connect(conn, errnum, err);
}

static enum ks_status conn_begin_unix(struct client_conn *conn, struct ks_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _Static_assert(sizeof conn->endpoint.path == sizeof address.sun_path, "parsed to fit");
    memcpy(address.sun_path, conn->endpoint.path, sizeof address.sun_path);
    conn->fd = conn_socket(AF_UNIX);
    /* EAGAIN: the listener's queue is full; the caller tries again like after a refusal. */
    if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&address, sizeof address) < 0)
        return conn_fail_connect(conn, errno, err);
    conn_opened(conn);
    return KS_OK;
}

enum ks_status client_conn_begin(struct client_conn *conn, struct ks_error *err)
{
    KS_ASSERT(conn->state == CLIENT_CONN_CLOSED);
    if (conn->endpoint.path[0] != '\0')
        return conn_begin_unix(conn, err);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(conn->endpoint.host, conn->endpoint.port, &hints, &conn->addresses);
    if (rc != 0) {
        conn->addresses = NULL;
        return ks_fail(err, KS_UNAVAILABLE, 0, "cannot find the address of '%s': %s",
            conn->endpoint.host, gai_strerror(rc));
    }
    conn->address = conn->addresses;
    return conn_try(conn, 0, err);
}

enum ks_status client_conn_submit(struct client_conn *conn, struct client_call *call, enum ks_op op,
    const ProtobufCMessage *message, struct ks_error *err)
{
    KS_ASSERT(!ks_list_is_linked(&call->node));
    if (conn->state != CLIENT_CONN_OPEN)
        return ks_fail(err, KS_UNAVAILABLE, 0, "not connected to '%s'", conn->endpoint.text);
    if (conn->out_position > OUT_COMPACT_BYTES) {
        conn->out.bytes -= conn->out_position;
        memmove(conn->out.data, conn->out.data + conn->out_position, conn->out.bytes);
        conn->out_position = 0;
    }
    struct ks_request_head head = {.request_id = conn->next_request_id, .op = op};
    enum ks_status st = ks_request_append(&conn->out, &head, message);
    if (st)
        return ks_fail(err, st, 0, "cannot send a request: %s", ks_status_info(st)->text);
    conn->next_request_id++;
    call->request_id = head.request_id;
    call->op = op;
    ks_list_push(&conn->calls, &call->node);
    return KS_OK;
}

void client_conn_forget(struct client_conn *conn KS_UNUSED, struct client_call *call)
{
    if (ks_list_is_linked(&call->node))
        ks_list_remove(&call->node);
}

size_t client_conn_backlog(const struct client_conn *conn)
{
    return conn->out.bytes - conn->out_position;
}

short client_conn_events(const struct client_conn *conn)
{
    switch (conn->state) {
    case CLIENT_CONN_CLOSED:
        return 0;
    case CLIENT_CONN_CONNECTING:
        return POLLOUT;
    case CLIENT_CONN_OPEN:
        return (short)(POLLIN | (client_conn_backlog(conn) > 0 ? POLLOUT : 0));
    }
    return 0;
}

static void conn_lost(struct client_conn *conn, int errnum)
{
    struct ks_error why = KS_ERROR_INIT;
    KS_IGNORE(
        ks_fail(&why, KS_UNAVAILABLE, errnum, "lost the connection to '%s'", conn->endpoint.text),
        "only fills why");
    conn_close(conn, &why);
}

static void conn_process_connect(struct client_conn *conn)
{
    struct pollfd poller = {.fd = conn->fd, .events = POLLOUT};
    if (poll(&poller, 1, 0) <= 0)
        return;
    int errnum = 0;
    socklen_t length = sizeof errnum;
    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &errnum, &length) < 0)
        errnum = errno;
    if (errnum == 0) {
        conn_opened(conn);
        return;
    }
    conn->address = conn->address->ai_next;
    KS_IGNORE(conn_try(conn, errnum, NULL), "why_closed keeps the reason");
}

static void conn_write(struct client_conn *conn)
{
    while (client_conn_backlog(conn) > 0) {
        ssize_t n = send(
            conn->fd, conn->out.data + conn->out_position, client_conn_backlog(conn), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            /* Answers that came before the reset are still worth reading. */
            conn->out.bytes = 0;
            conn->out_position = 0;
            return;
        }
        conn->out_position += (size_t)n;
    }
    conn->out.bytes = 0;
    conn->out_position = 0;
}

static struct client_call *conn_find_call(struct client_conn *conn, uint64_t request_id)
{
    KS_LIST_FOR_EACH(node, &conn->calls)
    {
        struct client_call *call = KS_CONTAINER_OF(node, struct client_call, node);
        if (call->request_id == request_id)
            return call;
    }
    return NULL;
}

/* Takes the frame (with its length bytes). False: the peer talks nonsense, the connection ends. */
static bool conn_take_frame(struct client_conn *conn, uint8_t *frame, size_t frame_bytes)
{
    struct ks_error err = KS_ERROR_INIT;
    struct ks_response_view response;
    struct ks_view body =
        ks_view_of(frame + KS_FRAME_LENGTH_BYTES, frame_bytes - KS_FRAME_LENGTH_BYTES);
    if (ks_response_peek(body, &response, &err) != KS_OK) {
        ks_free(frame);
        client_conn_close(conn, KS_PROTOCOL, "the broker sent a malformed answer");
        return false;
    }
    conn->put_credit_bytes = response.put_credit_bytes;
    struct client_call *call = conn_find_call(conn, response.request_id);
    if (!call) {
        ks_free(frame); /* the answer to a call that has timed out */
        return true;
    }
    if (response.op != (uint32_t)call->op && response.op != KS_OP_ERROR) {
        ks_free(frame);
        client_conn_close(conn, KS_PROTOCOL, "the broker answered something else than was asked");
        return false;
    }
    ks_list_remove(&call->node);
    call->on_done(call, KS_OK, frame, &response, NULL);
    return true;
}

/* Starts the frame whose beginning lies at data. False: the connection has ended. */
static bool conn_start_frame(struct client_conn *conn, struct ks_view data, size_t *out_taken)
{
    struct ks_frame frame;
    struct ks_error err = KS_ERROR_INIT;
    *out_taken = 0;
    if (ks_frame_parse(data, &frame, &err) != KS_OK) {
        client_conn_close(conn, KS_PROTOCOL, "the peer does not speak the protocol of kstream");
        return false;
    }
    if (frame.frame_bytes == 0)
        return true;
    conn->frame = ks_malloc(frame.frame_bytes);
    if (!conn->frame) {
        client_conn_close(conn, KS_NO_MEMORY, "no memory here for an answer of the broker");
        return false;
    }
    conn->frame_bytes = frame.frame_bytes;
    conn->frame_filled = KS_MIN(frame.frame_bytes, data.bytes);
    memcpy(conn->frame, data.data, conn->frame_filled);
    *out_taken = conn->frame_filled;
    return true;
}

/* Gives away the frame in progress once it is whole. False: the connection has ended. */
static bool conn_finish_frame(struct client_conn *conn)
{
    if (!conn->frame || conn->frame_filled < conn->frame_bytes)
        return true;
    uint64_t round = conn->opened_count;
    uint8_t *frame = KS_TAKE(conn->frame);
    return conn_take_frame(conn, frame, conn->frame_bytes) && conn->state == CLIENT_CONN_OPEN &&
           conn->opened_count == round;
}

/* Cuts frames out of conn->in. False: the connection has ended. */
static bool conn_cut_frames(struct client_conn *conn)
{
    size_t position = 0;
    while (position < conn->in_bytes && !conn->frame) {
        size_t taken = 0;
        if (!conn_start_frame(
                conn, ks_view_of(conn->in + position, conn->in_bytes - position), &taken))
            return false;
        if (taken == 0)
            break;
        position += taken;
        if (!conn_finish_frame(conn))
            return false;
    }
    conn->in_bytes -= position;
    memmove(conn->in, conn->in + position, conn->in_bytes);
    return true;
}

static void conn_read(struct client_conn *conn)
{
    for (int turn = 0; turn < READS_PER_TURN; turn++) {
        bool is_direct = conn->frame != NULL;
        uint8_t *to = is_direct ? conn->frame + conn->frame_filled : conn->in + conn->in_bytes;
        size_t room =
            is_direct ? conn->frame_bytes - conn->frame_filled : IN_BYTES - conn->in_bytes;
        ssize_t n = recv(conn->fd, to, room, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            conn_lost(conn, n < 0 ? errno : 0);
            return;
        }
        if (is_direct)
            conn->frame_filled += (size_t)n;
        else
            conn->in_bytes += (size_t)n;
        if (!(is_direct ? conn_finish_frame(conn) : conn_cut_frames(conn)))
            return;
        if ((size_t)n < room)
            return; /* the socket is empty: poll says when there is more */
    }
}

void client_conn_process(struct client_conn *conn)
{
    if (conn->state == CLIENT_CONN_CONNECTING)
        conn_process_connect(conn);
    if (conn->state != CLIENT_CONN_OPEN)
        return;
    conn_write(conn);
    conn_read(conn);
    if (conn->state == CLIENT_CONN_OPEN)
        conn_write(conn);
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
    if (conn->state == CLIENT_CONN_CLOSED) {
        enum ks_status st = client_conn_begin(conn, err);
        if (st)
            return st;
    }
    while (conn->state == CLIENT_CONN_CONNECTING) {
        if (client_now_ns() >= deadline_ns) {
            client_conn_close(conn, KS_UNAVAILABLE, "connecting took too long");
            return ks_fail(
                err, KS_TIMEOUT, 0, "cannot connect to '%s' in time", conn->endpoint.text);
        }
        client_conn_wait(conn, deadline_ns);
    }
    if (conn->state == CLIENT_CONN_OPEN)
        return KS_OK;
    if (err)
        *err = conn->why_closed;
    return conn->why_closed.status;
}
