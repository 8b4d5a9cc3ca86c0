#include "daemon/http.h"

#include "base/alloc.h"
#include "base/mailbox.h"
#include "daemon/metrics.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define HTTP_STACK_BYTES (512u * 1024)
#define HTTP_HEADERS_BYTES_MAX 8192
#define HTTP_BODY_BYTES_MAX 4096
#define HTTP_TIMEOUT_S 30

struct ks_http {
    struct ks_http_options options;
    unsigned fds_left; /* of options.fds, not yet evhttp's */
    struct event_base *base;
    struct evhttp *evhttp;
    struct event *mailbox_event;
    struct ks_mailbox mailbox;
    struct ks_mail stop;
    pthread_t thread;
};

static void http_answer(struct evhttp_request *request, int code, const char *text)
{
    struct evbuffer *body = evhttp_request_get_output_buffer(request);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_add_header(headers, "Content-Type", "text/plain; charset=utf-8");
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evbuffer_add_printf(body, "%s\n", text);
    evhttp_send_reply(request, code, NULL, NULL);
}

static void http_livez(struct evhttp_request *request, void *arg)
{
    struct ks_http *http = arg;
    char reason[256];
    bool is_ready = http->options.is_ready(http->options.arg, reason, sizeof(reason));
    http_answer(request, 200, is_ready ? "ok" : reason);
}

static void http_readyz(struct evhttp_request *request, void *arg)
{
    struct ks_http *http = arg;
    char reason[256];
    bool is_ready = http->options.is_ready(http->options.arg, reason, sizeof(reason));
    http_answer(request, is_ready ? 200 : 503, is_ready ? "ok" : reason);
}

static void http_metrics(struct evhttp_request *request, void *arg)
{
    struct ks_http *http = arg;
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    ks_buf_init(&text, KS_METRICS_BYTES_MAX);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    if (!http->options.write_metrics(http->options.arg, &text) ||
        evbuffer_add(evhttp_request_get_output_buffer(request), text.data, text.bytes) < 0) {
        http_answer(request, 503, "out of memory");
        return;
    }
    evhttp_add_header(headers, "Content-Type", KS_METRICS_CONTENT_TYPE);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_send_reply(request, 200, NULL, NULL);
}

static void http_other(struct evhttp_request *request, void *arg)
{
    (void)arg;
    http_answer(request, 404,
        "not found: this door has /livez, /readyz and /metrics; data goes over the native port");
}

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
    if (http->evhttp)
        evhttp_free(http->evhttp);
    if (http->mailbox_event)
        event_free(http->mailbox_event);
    if (http->base)
        event_base_free(http->base);
    while (http->fds_left > 0)
        close(http->options.fds[--http->fds_left]);
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
    http->evhttp = evhttp_new(http->base);
    http->mailbox_event =
        event_new(http->base, http->mailbox.event_fd, EV_READ | EV_PERSIST, http_mail, http);
    if (!http->evhttp || !http->mailbox_event || event_add(http->mailbox_event, NULL) < 0)
        return false;
    evhttp_set_allowed_methods(http->evhttp, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_max_headers_size(http->evhttp, HTTP_HEADERS_BYTES_MAX);
    evhttp_set_max_body_size(http->evhttp, HTTP_BODY_BYTES_MAX);
    evhttp_set_timeout(http->evhttp, HTTP_TIMEOUT_S);
    evhttp_set_cb(http->evhttp, "/livez", http_livez, http);
    evhttp_set_cb(http->evhttp, "/readyz", http_readyz, http);
    if (http->options.write_metrics)
        evhttp_set_cb(http->evhttp, "/metrics", http_metrics, http);
    evhttp_set_gencb(http->evhttp, http_other, NULL);
    while (http->fds_left > 0)
        if (evhttp_accept_socket(http->evhttp, http->options.fds[--http->fds_left]) != 0)
            return false;
    return true;
}

enum ks_status ks_http_start(
    const struct ks_http_options *options, struct ks_http **out_http, struct ks_error *err)
{
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
    http->fds_left = options->fd_count;
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
