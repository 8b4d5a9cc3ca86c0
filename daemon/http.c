#include "daemon/http.h"

#include "base/alloc.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "daemon/http_request.h"
#include "daemon/metrics.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/util.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HTTP_STACK_BYTES (512u * 1024)
#define TEXT_TYPE "text/plain; charset=utf-8"
#define PAUSE_MS 100 /* when descriptors have run out */

/* For a whole request to come, and then for its answer to be taken. */
static const struct timeval request_time = {.tv_sec = 30};
/* For the peer to have read the last answer of a connection, and to close. */
static const struct timeval end_time = {.tv_sec = 2};

struct ks_http {
    struct ks_http_options options;
    int fds[KS_HTTP_SOCKETS_MAX]; /* options.fd_count */
    struct event_base *base;
    struct event *accept_events[KS_HTTP_SOCKETS_MAX];
    struct event *pause_timer;
    struct event *mailbox_event;
    struct ks_mailbox mailbox;
    struct ks_mail stop;
    struct ks_list conns; /* http_conn.link, who was served longest ago first */
    unsigned conn_count;
    pthread_t thread;
};

struct http_conn {
    struct ks_list link;
    struct ks_http *http;
    struct bufferevent *bev;
    struct event *timer;
    size_t head_bytes; /* of the request that is being answered, still in the input */
    bool is_answering; /* an answer has not left yet */
    bool is_last;      /* nothing is read after this answer */
    bool has_eof;      /* the peer sends no more */
};

struct answer {
    int code;
    const char *type;
    const char *allow; /* NULL, or the header of that name */
    const char *text;
    size_t bytes;
};

/* ---- connections ---- */

static void conn_close(struct http_conn *conn)
{
    ks_list_remove(&conn->link);
    conn->http->conn_count--;
    if (conn->timer)
        event_free(conn->timer);
    if (conn->bev)
        bufferevent_free(conn->bev); /* and its socket */
    ks_free(conn);
}

static const char *reason_of(int code)
{
    switch (code) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Bad Request";
    }
}

static void conn_answer(struct http_conn *conn, const struct answer *answer, bool is_head)
{
    struct evbuffer *out = bufferevent_get_output(conn->bev);
    char date[64];
    evutil_date_rfc1123(date, sizeof(date), NULL);
    int n = evbuffer_add_printf(out,
        "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
        "Cache-Control: no-store\r\n%s%s%sConnection: %s\r\n\r\n",
        answer->code, reason_of(answer->code), date, answer->type, answer->bytes,
        answer->allow ? "Allow: " : "", answer->allow ? answer->allow : "",
        answer->allow ? "\r\n" : "", conn->is_last ? "close" : "keep-alive");
    conn->is_answering = true;
    if (n < 0 || (!is_head && evbuffer_add(out, answer->text, answer->bytes) < 0)) {
        conn_close(conn); /* out of memory */
        return;
    }
    event_add(conn->timer, &request_time);
    /* Served last, put off last. */
    ks_list_remove(&conn->link);
    ks_list_push(&conn->http->conns, &conn->link);
}

static void conn_answer_line(struct http_conn *conn, int code, const char *line, bool is_head)
{
    char text[320];
    int n = snprintf(text, sizeof(text), "%s\n", line);
    const struct answer answer = {.code = code,
        .type = TEXT_TYPE,
        .allow = code == 405 ? "GET, HEAD" : NULL,
        .text = text,
        .bytes = (size_t)KS_MIN(n, (int)sizeof(text) - 1)};
    conn_answer(conn, &answer, is_head);
}

/* ---- what is asked ---- */

static void answer_metrics(struct http_conn *conn, bool is_head)
{
    struct ks_http *http = conn->http;
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, KS_METRICS_BYTES_MAX);
    if (!http->options.write_metrics(http->options.arg, &text)) {
        conn_answer_line(conn, 503, "out of memory", is_head);
        return;
    }
    const struct answer answer = {.code = 200,
        .type = KS_METRICS_CONTENT_TYPE,
        .text = (const char *)text.data,
        .bytes = text.bytes};
    conn_answer(conn, &answer, is_head);
}

static bool path_is(const struct ks_http_request *request, const char *path)
{
    return ks_view_equal(request->path, ks_view_of_text(path));
}

static void conn_serve(struct http_conn *conn, const struct ks_http_request *request)
{
    struct ks_http *http = conn->http;
    char reason[256];
    bool is_head = ks_view_equal(request->method, ks_view_of_text("HEAD"));
    if (!is_head && !ks_view_equal(request->method, ks_view_of_text("GET"))) {
        conn_answer_line(conn, 405, "this door answers GET and HEAD", false);
    } else if (path_is(request, "/livez")) {
        bool is_ready = http->options.is_ready(http->options.arg, reason, sizeof(reason));
        conn_answer_line(conn, 200, is_ready ? "ok" : reason, is_head);
    } else if (path_is(request, "/readyz")) {
        bool is_ready = http->options.is_ready(http->options.arg, reason, sizeof(reason));
        conn_answer_line(conn, is_ready ? 200 : 503, is_ready ? "ok" : reason, is_head);
    } else if (path_is(request, "/metrics") && http->options.write_metrics) {
        answer_metrics(conn, is_head);
    } else {
        conn_answer_line(conn, 404,
            "not found: this door has /livez, /readyz and /metrics; data goes over the native port",
            is_head);
    }
}

/* One request at a time: the next one is looked at when the answer has left. */
static void conn_go_on(struct http_conn *conn)
{
    struct evbuffer *in = bufferevent_get_input(conn->bev);
    struct ks_http_request request;
    if (conn->is_last) { /* nothing of what comes now is meant for us */
        evbuffer_drain(in, evbuffer_get_length(in));
        return;
    }
    if (conn->is_answering || evbuffer_get_length(in) == 0)
        return;
    size_t bytes = ks_min_u64(evbuffer_get_length(in), KS_HTTP_HEAD_BYTES_MAX);
    const uint8_t *data = evbuffer_pullup(in, (ev_ssize_t)bytes);
    enum ks_http_parsed parsed =
        data ? ks_http_request_parse(ks_view_of(data, bytes), &request) : KS_HTTP_TOO_LARGE;
    switch (parsed) {
    case KS_HTTP_MORE:
        return;
    case KS_HTTP_BAD:
        conn->is_last = true;
        conn_answer_line(conn, 400, "this is no HTTP request", false);
        return;
    case KS_HTTP_TOO_LARGE:
        conn->is_last = true;
        conn_answer_line(conn, 431, "the head of the request is too large", false);
        return;
    case KS_HTTP_WHOLE:
        conn->is_last = !request.keeps_open || request.has_body;
        conn->head_bytes = request.head_bytes;
        conn_serve(conn, &request);
        return;
    }
}

static void conn_readable(struct bufferevent *bev, void *arg)
{
    (void)bev;
    conn_go_on(arg);
}

/* All of the answer is with the kernel. */
static void conn_written(struct bufferevent *bev, void *arg)
{
    struct http_conn *conn = arg;
    if (!conn->is_answering)
        return;
    conn->is_answering = false;
    evbuffer_drain(bufferevent_get_input(bev), conn->head_bytes);
    conn->head_bytes = 0;
    if (conn->has_eof) {
        conn_close(conn);
        return;
    }
    /* Closed at once, what the peer still sends would take the answer back from it. */
    if (conn->is_last)
        shutdown(bufferevent_getfd(bev), SHUT_WR);
    event_add(conn->timer, conn->is_last ? &end_time : &request_time);
    conn_go_on(conn);
}

static void conn_ended(struct bufferevent *bev, short what, void *arg)
{
    struct http_conn *conn = arg;
    (void)bev;
    if (!(what & BEV_EVENT_EOF) || !conn->is_answering) {
        conn_close(conn);
        return;
    }
    conn->is_last = true;
    conn->has_eof = true;
}

static void conn_timed_out(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    conn_close(arg);
}

/* Takes the socket. */
static void conn_open(struct ks_http *http, int fd)
{
    struct http_conn *conn = ks_zalloc(sizeof(*conn));
    if (!conn) {
        close(fd);
        return;
    }
    conn->http = http;
    conn->bev = bufferevent_socket_new(http->base, fd, BEV_OPT_CLOSE_ON_FREE);
    conn->timer = event_new(http->base, -1, 0, conn_timed_out, conn);
    ks_list_push(&http->conns, &conn->link);
    http->conn_count++;
    if (!conn->bev)
        close(fd);
    if (!conn->bev || !conn->timer) {
        conn_close(conn);
        return;
    }
    bufferevent_setcb(conn->bev, conn_readable, conn_written, conn_ended, conn);
    bufferevent_setwatermark(conn->bev, EV_READ, 0, KS_HTTP_HEAD_BYTES_MAX);
    event_add(conn->timer, &request_time);
    bufferevent_enable(conn->bev, EV_READ | EV_WRITE);
}

/* ---- accepting ---- */

static void http_pause(struct ks_http *http)
{
    static const struct timeval pause = {.tv_usec = PAUSE_MS * 1000};
    ks_emit(http->options.events, KS_LEVEL_ERROR, "connection.no_descriptors",
        "text=\"raise LimitNOFILE or ulimit -n\"");
    for (unsigned i = 0; i < http->options.fd_count; i++)
        event_del(http->accept_events[i]);
    event_add(http->pause_timer, &pause);
}

static void http_resume(evutil_socket_t fd, short what, void *arg)
{
    struct ks_http *http = arg;
    (void)fd, (void)what;
    for (unsigned i = 0; i < http->options.fd_count; i++)
        event_add(http->accept_events[i], NULL);
}

/* One a time. At the limit who was served longest ago gives way: a peer that holds all it can get
 * keeps nobody out. */
static void http_accept(evutil_socket_t socket, short what, void *arg)
{
    struct ks_http *http = arg;
    (void)what;
    int fd = accept4(socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            http_pause(http);
        return;
    }
    if (http->conn_count >= http->options.connections_max)
        conn_close(KS_CONTAINER_OF(http->conns.next, struct http_conn, link));
    conn_open(http, fd);
}

/* ---- life ---- */

static void http_mail(evutil_socket_t fd, short what, void *arg)
{
    struct ks_http *http = arg;
    (void)fd, (void)what;
    ks_mailbox_deliver(&http->mailbox);
}

static void http_end(struct ks_mail *mail)
{
    event_base_loopbreak(KS_CONTAINER_OF(mail, struct ks_http, stop)->base);
}

static void *http_run(void *arg)
{
    event_base_dispatch(((struct ks_http *)arg)->base);
    return NULL;
}

static void http_free(struct ks_http *http)
{
    while (!ks_list_is_empty(&http->conns))
        conn_close(KS_CONTAINER_OF(http->conns.next, struct http_conn, link));
    for (unsigned i = 0; i < http->options.fd_count; i++) {
        if (http->accept_events[i])
            event_free(http->accept_events[i]);
        close(http->fds[i]);
    }
    if (http->pause_timer)
        event_free(http->pause_timer);
    if (http->mailbox_event)
        event_free(http->mailbox_event);
    if (http->base)
        event_base_free(http->base);
    ks_mailbox_fini(&http->mailbox);
    ks_free(http);
}

static bool http_open(struct ks_http *http)
{
    struct event_config *config = event_config_new();
    if (!config)
        return false;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    http->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!http->base)
        return false;
    http->pause_timer = event_new(http->base, -1, 0, http_resume, http);
    http->mailbox_event =
        event_new(http->base, http->mailbox.event_fd, EV_READ | EV_PERSIST, http_mail, http);
    if (!http->pause_timer || !http->mailbox_event || event_add(http->mailbox_event, NULL) < 0)
        return false;
    for (unsigned i = 0; i < http->options.fd_count; i++) {
        http->accept_events[i] =
            event_new(http->base, http->fds[i], EV_READ | EV_PERSIST, http_accept, http);
        if (!http->accept_events[i] || event_add(http->accept_events[i], NULL) < 0)
            return false;
    }
    return true;
}

enum ks_status ks_http_start(
    const struct ks_http_options *options, struct ks_http **out_http, struct ks_error *err)
{
    KS_ASSERT(options->fd_count <= KS_HTTP_SOCKETS_MAX && options->connections_max > 0);
    struct ks_http *http = ks_zalloc(sizeof(*http));
    enum ks_status st = http ? ks_mailbox_init(&http->mailbox, true, err)
                             : ks_fail(err, KS_NO_MEMORY, 0, "cannot start the HTTP door");
    if (st) {
        for (unsigned i = 0; i < options->fd_count; i++)
            close(options->fds[i]);
        ks_free(http);
        return st;
    }
    http->options = *options;
    memcpy(http->fds, options->fds, options->fd_count * sizeof(http->fds[0]));
    ks_list_init(&http->conns);
    http->stop.deliver = http_end;
    if (!http_open(http)) {
        http_free(http);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot start the HTTP door");
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, HTTP_STACK_BYTES);
    int rc = pthread_create(&http->thread, &attributes, http_run, http);
    pthread_attr_destroy(&attributes);
    if (rc) {
        http_free(http);
        return ks_fail(err, KS_NO_MEMORY, rc, "cannot start the HTTP door");
    }
    pthread_setname_np(http->thread, "http");
    *out_http = http;
    return KS_OK;
}

void ks_http_stop(struct ks_http *http)
{
    if (!http)
        return;
    ks_mailbox_send(&http->mailbox, &http->stop);
    pthread_join(http->thread, NULL);
    http_free(http);
}
