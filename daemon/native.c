#include "daemon/native.h"

#include "base/alloc.h"
#include "daemon/ops.h"
#include "proto/frame.h"
#include "proto/get_records.h"

#include <stdio.h>
#include <string.h>

/* A response is at most a frame; GetRecords' batches come by reference behind it. */
#define HEAD_BYTES_MAX (KS_FRAME_BYTES_MAX + KS_FRAME_LENGTH_BYTES)

/* What a call costs besides its request, about. */
#define CALL_COST_BYTES 2048u

struct native_call {
    struct ks_call call; /* first member */
    struct ks_conn *conn;
    struct ks_list link; /* conn->requests */
    uint64_t request_id;
    uint32_t op;
    uint32_t operation; /* its position in ks_operations */
    uint64_t cost_bytes;
    struct ks_conn_room room; /* for the answer */
    struct ks_put_ticket ticket;
};

/* A put that waits for its turn: no more than its bytes, for there may be many. */
struct native_queued {
    struct ks_put_ticket ticket;
    struct ks_list link; /* conn->queued_puts */
    struct ks_conn *conn;
    uint64_t request_id;
    uint64_t begun_mono_ns;
    uint32_t operation;
    uint32_t bytes;
    uint8_t message[];
};

struct native_output {
    struct ks_output output; /* first member */
    struct ks_buf head;
    struct ks_read read;
    bool has_read;
};

static void output_release(struct ks_output *output)
{
    struct native_output *native = KS_CONTAINER_OF(output, struct native_output, output);
    if (native->has_read)
        ks_read_release(&native->read);
    ks_buf_fini(&native->head);
    ks_free(native);
}

static void output_send(struct ks_conn *conn, struct native_output *native)
{
    struct ks_output *output = &native->output;
    output->release = output_release;
    output->parts[output->part_count++] =
        (struct iovec){.iov_base = native->head.data, .iov_len = native->head.bytes};
    output->bytes = native->head.bytes;
    for (uint32_t i = 0; native->has_read && i < native->read.extent_count; i++) {
        const struct ks_view *extent = &native->read.extents[i];
        output->parts[output->part_count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)extent->data, .iov_len = extent->bytes};
        output->bytes += extent->bytes;
    }
    ks_conn_take_output(conn, output);
}

_Static_assert(KS_READ_EXTENTS_MAX + 1 <= KS_OUTPUT_PARTS_MAX, "a read fits one output");

static struct native_output *output_make(void)
{
    struct native_output *native = ks_zalloc(sizeof(*native));
    if (native)
        ks_buf_init(&native->head, HEAD_BYTES_MAX);
    return native;
}

/* ---- answers ---- */

static uint32_t put_credit(struct ks_conn *conn)
{
    ks_server_look_at_pressure(conn->loop->shared->server);
    uint64_t credit =
        ks_put_gate_credit(&conn->loop->puts, &conn->puts, ks_conn_in_flight_max(conn));
    return (uint32_t)ks_min_u64(credit, UINT32_MAX);
}

static enum ks_status encode_error(struct native_call *native, struct ks_buf *to)
{
    struct ks_call *call = &native->call;
    const struct ks_response_head head = {.request_id = native->request_id,
        .put_credit_bytes = put_credit(native->conn),
        .op = KS_OP_ERROR};
    Kstream__Error error;
    kstream__error__init(&error);
    error.status = (uint32_t)call->status;
    error.message = (char *)(uintptr_t)(call->message ? call->message : call->error.text);
    error.exception = (char *)(uintptr_t)ks_status_info(call->status)->exception;
    if (call->routing)
        error.routing = ks_routing_message(call, call->routing);
    if (call->has_refusal) {
        error.has_retry_after_ms = error.has_limit = error.has_current = true;
        error.retry_after_ms = call->refusal.retry_after_ms;
        error.limit_name = (char *)(uintptr_t)call->refusal.name;
        error.limit = call->refusal.limit;
        error.current = call->refusal.current;
    }
    return ks_response_append(to, &head, &error.base);
}

static enum ks_status encode_answer(struct native_call *native, struct native_output *output)
{
    struct ks_call *call = &native->call;
    const struct ks_response_head head = {.request_id = native->request_id,
        .put_credit_bytes = put_credit(native->conn),
        .op = native->op};
    if (call->status)
        return encode_error(native, &output->head);
    if (native->op == KS_OP_PUT_RECORDS) {
        struct ks_put_response response;
        ks_put_work_response(call, &response);
        return ks_put_response_append(&output->head, &head, &response);
    }
    if (native->op == KS_OP_GET_RECORDS && call->has_read) {
        enum ks_status st = ks_get_response_append_prefix(&output->head, native->request_id,
            head.put_credit_bytes, (const void *)call->response, call->read.bytes);
        if (st)
            return st;
        /* The bytes leave by reference; the pins go with them. */
        output->read = call->read;
        output->has_read = true;
        call->has_read = false;
        return KS_OK;
    }
    return ks_response_append(&output->head, &head, call->response);
}

/* From the whole request to its answer; how long either was on the wire is not our affair. */
static void report_if_slow(const struct native_call *native, uint64_t ms)
{
    const struct ks_call *call = &native->call;
    uint64_t limit_ms = call->server->live.log_slow_request;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    if (limit_ms == 0 || ms < limit_ms)
        return;
    if (call->stream_number > 0)
        KS_IGNORE(ks_registry_find_number(call->server->engine, call->stream_number, &stream),
            "deleted meanwhile: no name");
    ks_emit(call->server->events, KS_LEVEL_WARNING, "request.slow",
        "op=%s ms=%llu waited_ms=%llu status=%s stream=%s bytes=%llu peer=%s request=%llu",
        ks_operation_by_number(native->op)->name, (unsigned long long)ms,
        (unsigned long long)(call->waited_ns / 1000000), ks_status_name(call->status),
        stream ? stream->name : "-", (unsigned long long)native->cost_bytes, native->conn->peer,
        (unsigned long long)native->request_id);
}

_Static_assert(KS_END < KS_METER_STATUSES_MAX, "a count per status");

static enum ks_request_class class_of(uint32_t op)
{
    if (op == KS_OP_PUT_RECORD || op == KS_OP_PUT_RECORDS)
        return KS_REQUEST_PUT;
    return op == KS_OP_GET_RECORDS ? KS_REQUEST_GET : KS_REQUEST_ADMIN;
}

static void measure(const struct native_call *native)
{
    const struct ks_call *call = &native->call;
    struct ks_loop_meter *meter = call->loop->meter;
    uint64_t now_ns = ks_clock_mono_ns(&ks_clock_system);
    uint64_t begun_ns = call->begun_mono_ns + call->waited_ns;
    ks_meter_add(&meter->requests[native->operation], 1);
    if (call->status)
        ks_meter_add(&meter->errors[call->status], 1);
    ks_latency_add(&meter->duration[class_of(native->op)], begun_ns, now_ns, 1);
    report_if_slow(native, now_ns > begun_ns ? (now_ns - begun_ns) / 1000000 : 0);
}

static void native_done(struct ks_call *call)
{
    struct native_call *native = KS_CONTAINER_OF(call, struct native_call, call);
    struct ks_conn *conn = native->conn;
    measure(native);
    uint64_t cost_bytes = native->cost_bytes;
    ks_conn_room_end(conn, &native->room);
    struct native_output *output = conn->is_closed ? NULL : output_make();
    if (output && encode_answer(native, output)) {
        output_release(&output->output);
        output = NULL;
    }
    if (output)
        output_send(conn, output);
    else
        ks_conn_close(
            conn, "no memory for an answer"); /* a request without answer must not look pending */
    ks_list_remove(&native->link);
    ks_put_gate_leave(&conn->loop->puts, &conn->puts, &native->ticket, call->status == KS_OK);
    ks_call_fini(call);
    ks_free(native);
    ks_conn_call_end(conn, cost_bytes);
}

static void native_room_granted(struct ks_conn_room *room)
{
    struct native_call *native = KS_CONTAINER_OF(room, struct native_call, room);
    native->call.resume(&native->call);
}

static bool native_promise(struct ks_call *call, uint64_t bytes)
{
    struct native_call *native = KS_CONTAINER_OF(call, struct native_call, call);
    if (native->room.bytes > 0)
        return true; /* it has waited for it */
    native->room.granted = native_room_granted;
    return ks_conn_room_take(native->conn, &native->room, bytes);
}

static void native_end_promise(struct ks_call *call)
{
    struct native_call *native = KS_CONTAINER_OF(call, struct native_call, call);
    ks_conn_room_end(native->conn, &native->room);
}

static bool native_is_output_short(const struct ks_call *call)
{
    const struct native_call *native = (const struct native_call *)(const void *)call;
    return ks_conn_is_output_short(native->conn);
}

/* ---- requests ---- */

/* For input that names no request, or a request we have no memory for. */
static void send_error(struct ks_conn *conn, uint64_t request_id, const struct ks_error *error)
{
    struct native_output *output = output_make();
    const struct ks_response_head head = {
        .request_id = request_id, .put_credit_bytes = put_credit(conn), .op = KS_OP_ERROR};
    Kstream__Error message;
    kstream__error__init(&message);
    message.status = (uint32_t)error->status;
    message.message = (char *)(uintptr_t)error->text;
    message.exception = (char *)(uintptr_t)ks_status_info(error->status)->exception;
    if (output && ks_response_append(&output->head, &head, &message.base)) {
        output_release(&output->output);
        output = NULL;
    }
    if (output)
        output_send(conn, output);
    else
        ks_conn_close(conn, "no memory for an answer");
}

static void fail_memory(struct ks_conn *conn, uint64_t request_id)
{
    struct ks_error error = KS_ERROR_INIT;
    ks_fail(&error, KS_NO_MEMORY, 0, "out of memory for this request");
    send_error(conn, request_id, &error);
}

static uint64_t cost_of(struct ks_view message)
{
    return message.bytes + KS_FRAME_LENGTH_BYTES + CALL_COST_BYTES;
}

/* NULL: no memory, the peer has been told. */
static struct native_call *native_make(
    struct ks_conn *conn, uint64_t request_id, const struct ks_operation *operation)
{
    struct native_call *native = ks_zalloc(sizeof(*native));
    if (!native) {
        fail_memory(conn, request_id);
        return NULL;
    }
    ks_call_init(&native->call, conn->loop, native_done);
    if (conn->client == 0)
        conn->client = atomic_fetch_add(&native->call.server->clients, 1) + 1;
    native->call.client = conn->client;
    native->call.promise = native_promise;
    native->call.end_promise = native_end_promise;
    native->call.is_output_short = native_is_output_short;
    native->conn = conn;
    native->request_id = request_id;
    native->op = (uint32_t)operation->op;
    native->operation = (uint32_t)(operation - ks_operations);
    ks_list_push(&conn->requests, &native->link);
    return native;
}

static void native_run(struct native_call *native, struct ks_view message)
{
    native->cost_bytes = cost_of(message);
    ks_call_run(&native->call, &ks_operations[native->operation], message);
}

/* ---- puts that wait for their turn ---- */

/* It has been admitted: its call begins. */
static void queued_go(struct ks_put_ticket *ticket)
{
    struct native_queued *queued = KS_CONTAINER_OF(ticket, struct native_queued, ticket);
    struct ks_conn *conn = queued->conn;
    struct ks_view message = ks_view_of(queued->message, queued->bytes);
    struct native_call *native =
        native_make(conn, queued->request_id, &ks_operations[queued->operation]);
    ks_list_remove(&queued->link);
    if (native) {
        native->ticket = queued->ticket;
        native->call.begun_mono_ns = queued->begun_mono_ns;
        native_run(native, message);
    } else {
        ks_put_gate_leave(&conn->loop->puts, &conn->puts, &queued->ticket, false);
        ks_conn_call_end(conn, cost_of(message));
    }
    ks_free(queued);
}

static void queued_drop(struct native_queued *queued)
{
    struct ks_conn *conn = queued->conn;
    ks_list_remove(&queued->link);
    ks_put_gate_leave(&conn->loop->puts, &conn->puts, &queued->ticket, false);
    ks_conn_call_end(conn, cost_of(ks_view_of(queued->message, queued->bytes)));
    ks_free(queued);
}

static void queue_put(struct ks_conn *conn, const struct ks_request_view *request,
    const struct ks_operation *operation)
{
    struct native_queued *queued = ks_malloc(sizeof(*queued) + request->message.bytes);
    if (!queued) {
        fail_memory(conn, request->request_id);
        return;
    }
    *queued = (struct native_queued){.conn = conn,
        .request_id = request->request_id,
        .begun_mono_ns = ks_clock_mono_ns(&ks_clock_system),
        .operation = (uint32_t)(operation - ks_operations),
        .bytes = (uint32_t)request->message.bytes};
    queued->ticket.go = queued_go;
    if (queued->bytes > 0)
        memcpy(queued->message, request->message.data, queued->bytes);
    ks_list_push(&conn->queued_puts, &queued->link);
    ks_conn_call_begin(conn, cost_of(request->message));
    ks_put_gate_wait(&conn->loop->puts, &conn->puts, &queued->ticket, queued->bytes);
}

static void begin_put(struct ks_conn *conn, const struct ks_request_view *request,
    const struct ks_operation *operation)
{
    struct ks_put_ticket ticket = {.cost = 0};
    ks_server_look_at_pressure(conn->loop->shared->server);
    if (!ks_put_gate_enter(&conn->loop->puts, &conn->puts, &ticket, request->message.bytes)) {
        queue_put(conn, request, operation);
        return;
    }
    struct native_call *native = native_make(conn, request->request_id, operation);
    if (!native) {
        ks_put_gate_leave(&conn->loop->puts, &conn->puts, &ticket, false);
        return;
    }
    native->ticket = ticket;
    ks_conn_call_begin(conn, cost_of(request->message));
    native_run(native, request->message);
}

/* ---- frames ---- */

static enum ks_status native_frame(struct ks_conn *conn, struct ks_view body, struct ks_error *err)
{
    struct ks_request_view request;
    struct ks_error error = KS_ERROR_INIT;
    memset(&request, 0, sizeof(request));
    enum ks_status st = ks_request_peek(body, &request, &error);
    if (st) {
        ks_emit(conn->loop->shared->events, KS_LEVEL_WARNING, "connection.malformed_request",
            "peer=%s bytes=%zu why=\"%s\"", conn->peer, body.bytes, error.text);
        send_error(conn, request.request_id, &error);
        if (err)
            *err = error;
        return st;
    }
    const struct ks_operation *operation = ks_operation_by_number(request.op);
    if (!operation) {
        ks_fail(&error, KS_UNSUPPORTED, 0, "operation %u is not known to this version", request.op);
        send_error(conn, request.request_id, &error);
        return KS_OK;
    }
    if (class_of(request.op) == KS_REQUEST_PUT) {
        begin_put(conn, &request, operation);
        return KS_OK;
    }
    struct native_call *native = native_make(conn, request.request_id, operation);
    if (native) {
        ks_conn_call_begin(conn, cost_of(request.message));
        native_run(native, request.message);
    }
    return KS_OK;
}

static void native_bad_input(struct ks_conn *conn, const struct ks_error *error)
{
    ks_emit(conn->loop->shared->events, KS_LEVEL_WARNING, "connection.garbage",
        "peer=%s why=\"%s\"", conn->peer, error->text);
    send_error(conn, 0, error);
}

static void native_end(struct ks_conn *conn)
{
    if (conn->is_closed) {
        /* What nobody waits for any more is not stored any more. */
        ks_put_flow_close(&conn->loop->puts, &conn->puts);
        while (!ks_list_is_empty(&conn->queued_puts))
            queued_drop(KS_CONTAINER_OF(conn->queued_puts.next, struct native_queued, link));
    }
    struct ks_list *node = conn->requests.next;
    while (node != &conn->requests) {
        struct native_call *native = KS_CONTAINER_OF(node, struct native_call, link);
        node = node->next; /* ending a wait ends this call and no other */
        if (native->call.end_wait)
            native->call.end_wait(&native->call);
        else if (conn->is_closed && ks_list_is_linked(&native->room.link))
            native->call.abandon(&native->call);
    }
}

const struct ks_conn_protocol ks_native_protocol = {
    .on_frame = native_frame,
    .on_bad_input = native_bad_input,
    .on_end = native_end,
};
