#include "client/client.h"

#include "base/alloc.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* ---- the client and its workers ---- */

bool client_is_ours(const struct kstream_client *client)
{
    return client->pid == getpid();
}

void client_ref(struct kstream_client *client)
{
    client->references++;
}

void client_unref(struct kstream_client *client)
{
    KS_ASSERT(client->references > 0);
    if (--client->references > 0)
        return;
    if (client_is_ours(client))
        client_conn_fini(&client->conn);
    else
        client_conn_abandon(&client->conn);
    client_watch_fini(&client->watch);
    ks_free(client);
}

void client_add_worker(struct kstream_client *client, struct client_worker *worker)
{
    client_ref(client);
    ks_list_push(&client->workers, &worker->node);
}

void client_remove_worker(struct kstream_client *client, struct client_worker *worker)
{
    ks_list_remove(&worker->node);
    client_unref(client);
}

void client_arm(struct kstream_client *client, uint64_t timer_ns)
{
    client_watch_timer(&client->watch, timer_ns);
}

enum ks_status client_conn_of(
    struct kstream_client *client, struct client_conn *conn, struct ks_error *err)
{
    struct client_conn_options options = {.endpoint = client->endpoint.text,
        .addresses = &client->addresses,
        .watch = &client->watch,
        .connect_timeout_ms = client->connect_timeout_ms,
        .log_requests = client->log_requests,
        .log = client->log,
        .log_arg = client->log_arg};
    return client_conn_init(conn, &options, err);
}

void client_log(
    const struct kstream_client *client, enum kstream_log_level level, const char *format, ...)
{
    if (!client->log)
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    KS_IGNORE(vsnprintf(text, sizeof text, format, args), "a long line is cut");
    va_end(args);
    client->log(level, text, client->log_arg);
}

static void hello_done(struct client_call *call KS_UNUSED, enum ks_status status KS_UNUSED,
    uint8_t *frame, const struct ks_response_view *response KS_UNUSED,
    const struct ks_error *err KS_UNUSED)
{
    ks_free(frame); /* that it came is the news */
}

void client_say_hello(struct kstream_client *client)
{
    struct client_conn *conn = &client->conn;
    if (conn->state != CLIENT_CONN_OPEN || conn->trouble_since_ns == 0 ||
        ks_list_is_linked(&client->hello.node))
        return;
    Kstream__PingRequest request = KSTREAM__PING_REQUEST__INIT;
    client->hello.on_done = hello_done;
    client->hello.answer_by_ns = client_deadline_ns(client->request_timeout_ms);
    KS_IGNORE(client_conn_submit(conn, &client->hello, KS_OP_PING, &request.base, NULL),
        "without memory the next turn asks");
}

/* The worker that has not had this turn yet. The list may have changed since the one before: a
 * callback may close what it likes. */
static struct client_worker *next_worker(const struct kstream_client *client)
{
    KS_LIST_FOR_EACH(node, &client->workers)
    {
        struct client_worker *worker = KS_CONTAINER_OF(node, struct client_worker, node);
        if (worker->turn != client->turn)
            return worker;
    }
    return NULL;
}

static uint64_t client_timer_ns(const struct kstream_client *client)
{
    /* A closed connection waits for a reader or a call that wants it. */
    uint64_t timer_ns = client->conn.state == CLIENT_CONN_CLOSED
                            ? CLIENT_DEADLINE_NONE
                            : client_conn_timer_ns(&client->conn);
    KS_LIST_FOR_EACH(node, &client->workers)
    {
        struct client_worker *worker = KS_CONTAINER_OF(node, struct client_worker, node);
        timer_ns = ks_min_u64(timer_ns, worker->timer_ns(worker));
    }
    return timer_ns;
}

size_t kstream_process(struct kstream_client *client)
{
    size_t happened = 0;
    client_ref(client); /* a callback may close it */
    client_watch_turn(&client->watch);
    client_conn_process(&client->conn);
    client->turn++;
    for (struct client_worker *worker; (worker = next_worker(client));) {
        worker->turn = client->turn;
        happened += worker->run(worker);
    }
    client_conn_process(&client->conn); /* what the readers ask for leaves now */
    client_arm(client, client_timer_ns(client));
    client_unref(client);
    return happened;
}

int kstream_fd(struct kstream_client *client, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = client_watch_start(&client->watch, &inner);
    if (st) {
        KS_IGNORE(client_result(st, &inner, 0, err), "the result is -1");
        return -1;
    }
    /* Every connection enters the set with its next turn, which comes at once. */
    client_arm(client, 0);
    return client->watch.epoll_fd;
}

short kstream_events(const struct kstream_client *client KS_UNUSED)
{
    return POLLIN;
}

int kstream_timeout_ms(const struct kstream_client *client)
{
    return client_poll_ms(client_timer_ns(client));
}

/* ---- one blocking exchange ---- */

/* A call as the blocking exchange waits for it. */
struct waiting_call {
    struct client_call call; /* first member */
    bool is_done;
    enum ks_status status;
    struct client_answer answer;
    struct ks_error err;
};

static void waiting_call_done(struct client_call *call, enum ks_status status, uint8_t *frame,
    const struct ks_response_view *response, const struct ks_error *err)
{
    struct waiting_call *waiting = KS_CONTAINER_OF(call, struct waiting_call, call);
    waiting->is_done = true;
    waiting->status = status;
    waiting->answer.frame = frame;
    if (response)
        waiting->answer.response = *response;
    if (err)
        waiting->err = *err;
}

uint64_t client_call_deadline_ns(const struct kstream_client *client, uint32_t timeout_ms)
{
    return client_deadline_ns(timeout_ms == 0 ? client->request_timeout_ms : timeout_ms);
}

enum ks_status client_unpack_failed(
    const struct ks_arena *arena, const char *what, struct ks_error *err)
{
    return arena->was_refused
               ? ks_fail(err, KS_NO_MEMORY, 0, "no memory here for an answer of the broker")
               : ks_fail(err, KS_PROTOCOL, 0, "%s is malformed", what);
}

struct client_broker_error client_read_error_message(
    const Kstream__Error *error, struct ks_error *err)
{
    struct client_broker_error result = {.status = ks_status_from_wire(error->status),
        .expected_producer_sequence = error->expected_producer_sequence,
        .routing = error->routing};
    if (result.status == KS_OK) {
        result.status = ks_fail(err, KS_PROTOCOL, 0, "the broker answered an error without status");
        return result;
    }
    KS_IGNORE(ks_fail(err, result.status, 0, "%s", error->message), "only fills err");
    return result;
}

struct client_broker_error client_read_error(
    struct ks_arena *arena, struct ks_view message, struct ks_error *err)
{
    ProtobufCMessage *unpacked = ks_arena_unpack(arena, &kstream__error__descriptor, message);
    if (!unpacked)
        return (struct client_broker_error){
            .status = client_unpack_failed(arena, "an error of the broker", err)};
    return client_read_error_message((const Kstream__Error *)(const void *)unpacked, err);
}

/* Waits for one attempt; true: out_answer or the status is final. */
static enum ks_status exchange_once(struct kstream_client *client,
    const struct client_exchange *exchange, struct client_answer *out_answer, bool *out_is_lost,
    struct ks_error *err)
{
    struct waiting_call waiting = {
        .call = {.on_done = waiting_call_done, .answer_by_ns = CLIENT_DEADLINE_NONE}};
    *out_is_lost = false;
    if (client->is_closed)
        return ks_fail(err, KS_INVALID, 0, "the client is closed");
    uint64_t connect_deadline_ns =
        ks_min_u64(exchange->deadline_ns, client_deadline_ns(client->connect_timeout_ms));
    enum ks_status st = client_conn_ensure(&client->conn, connect_deadline_ns, err);
    if (st)
        return st;
    st = client_conn_submit(&client->conn, &waiting.call, exchange->op, exchange->request, err);
    if (st)
        return st;
    client->last_request_id = waiting.call.request_id;
    client_conn_process(&client->conn);
    while (!waiting.is_done) {
        if (client_now_ns() >= exchange->deadline_ns) {
            client_conn_forget(&client->conn, &waiting.call);
            /* Whatever holds the answer up may hold up the next one too: start anew. */
            client_conn_close(&client->conn, KS_UNAVAILABLE, "the broker did not answer in time");
            return ks_fail(
                err, KS_TIMEOUT, 0, "'%s' did not answer in time", client->endpoint.text);
        }
        client_conn_wait(&client->conn, exchange->deadline_ns);
    }
    if (waiting.status) {
        *out_is_lost = true;
        if (err)
            *err = waiting.err;
        return waiting.status;
    }
    *out_answer = waiting.answer;
    return KS_OK;
}

enum ks_status client_exchange(struct kstream_client *client,
    const struct client_exchange *exchange, struct client_answer *out_answer, struct ks_error *err)
{
    struct client_answer answer = {.frame = NULL};
    bool is_lost = false;
    client->last_request_id = 0;
    enum ks_status st = exchange_once(client, exchange, &answer, &is_lost, err);
    if (st == KS_UNAVAILABLE && is_lost && exchange->is_repeatable)
        st = exchange_once(client, exchange, &answer, &is_lost, err);
    if (st)
        return st;
    if (answer.response.op == KS_OP_ERROR) {
        struct ks_arena arena;
        ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
        st = client_read_error(&arena, answer.response.message, err).status;
        ks_arena_fini(&arena);
        ks_free(answer.frame);
        return st;
    }
    *out_answer = answer;
    return KS_OK;
}

enum ks_status client_call(struct kstream_client *client, const struct client_exchange *exchange,
    struct ks_arena *arena, ProtobufCMessage **out_message, struct ks_error *err)
{
    struct client_answer answer = {.frame = NULL};
    enum ks_status st = client_exchange(client, exchange, &answer, err);
    if (st)
        return st;
    KS_AUTO_FREE KS_UNUSED uint8_t *frame = answer.frame;
    ProtobufCMessage *message = ks_arena_unpack(
        arena, ks_operation_by_number((uint32_t)exchange->op)->response, answer.response.message);
    if (!message)
        return client_unpack_failed(arena, "the broker's answer", err);
    *out_message = message;
    return KS_OK;
}

enum ks_status client_check_place(const void *out, struct ks_error *err)
{
    return out ? KS_OK : ks_fail(err, KS_INVALID, 0, "a place for the result is needed");
}

enum ks_status client_check_list(
    const void *list, size_t count, const char *of_what, struct ks_error *err)
{
    return list || count == 0
               ? KS_OK
               : ks_fail(err, KS_INVALID, 0, "%s is NULL but its count is %zu", of_what, count);
}

static enum ks_status client_ping(struct kstream_client *client, uint64_t deadline_ns,
    struct kstream_server_info *info, struct ks_error *err)
{
    Kstream__PingRequest request = KSTREAM__PING_REQUEST__INIT;
    struct client_exchange exchange = {.op = KS_OP_PING,
        .request = &request.base,
        .deadline_ns = deadline_ns,
        .is_repeatable = true};
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, &exchange, &arena, &message, err);
    if (st == KS_OK && info) {
        const Kstream__PingResponse *pong = (const void *)message;
        struct kstream_server_info filled = {.size = sizeof filled,
            .server_unix_ms = pong->server_unix_ms,
            .run_id = pong->run_id,
            .pid = pong->pid};
        snprintf(filled.version, sizeof filled.version, "%s", pong->version);
        snprintf(filled.region, sizeof filled.region, "%s", pong->region);
        snprintf(filled.account_id, sizeof filled.account_id, "%s", pong->account_id);
        if (pong->addresses && strlen(pong->addresses) < sizeof filled.addresses)
            snprintf(filled.addresses, sizeof filled.addresses, "%s", pong->addresses);
        size_t size = info->size;
        memcpy(info, &filled, KS_MIN(size, sizeof filled));
        info->size = size;
    }
    ks_arena_fini(&arena);
    return st;
}

static enum ks_status client_open(const struct kstream_config *config, uint32_t timeout_ms,
    struct kstream_client **out_client, uint64_t *request_id, struct ks_error *err)
{
    struct client_addresses addresses;
    enum ks_status st = client_addresses_find(&config->endpoint, &addresses, err);
    if (st)
        return st;
    struct kstream_client *fresh = ks_zalloc(sizeof *fresh);
    if (!fresh)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a client");
    fresh->endpoint = config->endpoint;
    fresh->addresses = addresses;
    fresh->connect_timeout_ms = config->connect_timeout_ms;
    fresh->request_timeout_ms = config->request_timeout_ms;
    fresh->log_requests = config->log_requests;
    fresh->log = config->log;
    fresh->log_arg = config->log_arg;
    fresh->references = 1;
    fresh->pid = getpid();
    ks_list_init(&fresh->workers);
    client_watch_init(&fresh->watch);
    st = client_conn_of(fresh, &fresh->conn, err);
    KS_CLEANUP(kstream_closep) struct kstream_client *client = fresh;
    if (st == KS_OK && timeout_ms > 0)
        st = client_ping(client, client_deadline_ns(timeout_ms), NULL, err);
    *request_id = client->last_request_id;
    if (st == KS_OK)
        *out_client = KS_TAKE(client);
    return st;
}

enum kstream_status kstream_connect(struct kstream_config *config, uint32_t timeout_ms,
    struct kstream_client **out_client, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    uint64_t request_id = 0;
    enum ks_status st = KS_OK;
    if (!config || !out_client)
        st = ks_fail(&inner, KS_INVALID, 0, "a config and a place for the client are needed");
    else
        st = client_open(config, timeout_ms, out_client, &request_id, &inner);
    kstream_config_free(config);
    return client_result(st, &inner, request_id, err);
}

void kstream_close(struct kstream_client *client)
{
    if (!client || client->is_closed)
        return;
    client->is_closed = true;
    client->conn.is_ending = true;
    if (client_is_ours(client))
        client_conn_close(&client->conn, KS_UNAVAILABLE, "the client is closed");
    client_unref(client);
}

enum kstream_status kstream_ping(struct kstream_client *client, uint32_t timeout_ms,
    struct kstream_server_info *info, struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st = client_ping(client, client_deadline_ns(timeout_ms), info, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}
