/*
 * One connection to the broker: frames out, frames in, and which answer belongs to which call. It
 * never waits but in client_conn_wait, never reconnects by itself, and has no thread.
 * Life:    closed -> connecting -> open -> closed ... ; client_conn_begin starts each round.
 * Threads: one at a time.
 */
#ifndef KS_CLIENT_CONN_H
#define KS_CLIENT_CONN_H

#include "base/bytes.h"
#include "base/list.h"
#include "client/config.h"
#include "proto/frame.h"

#include <netdb.h>

#define CLIENT_DEADLINE_NONE UINT64_MAX

/* A request on its way. Lives in its owner; linked while it waits for an answer. */
struct client_call {
    struct ks_list node;
    uint64_t request_id;
    enum ks_op op;
    /*
     * Runs once, from client_conn_process or client_conn_close, with the call unlinked. status
     * KS_OK: response is valid, its bytes lie in frame, which the receiver frees (ks_free); else
     * there is no frame and err says what happened to the connection.
     */
    void (*on_done)(struct client_call *call, enum ks_status status, uint8_t *frame,
        const struct ks_response_view *response, const struct ks_error *err);
};

enum client_conn_state { CLIENT_CONN_CLOSED, CLIENT_CONN_CONNECTING, CLIENT_CONN_OPEN };

struct client_conn {
    struct client_endpoint endpoint;
    enum client_conn_state state;
    int fd;                     /* -1 when closed */
    struct addrinfo *addresses; /* while connecting */
    struct addrinfo *address;   /* the one being tried */
    uint64_t next_request_id;   /* never reused, over reconnects either */
    uint32_t put_credit_bytes;  /* of the last response; 0 before the first */
    uint64_t opened_count;      /* connections made so far */
    struct ks_list calls;       /* waiting for answers, the oldest first */
    struct ks_buf out;          /* frames not yet written */
    size_t out_position;
    uint8_t *in; /* what has arrived beyond the last whole frame */
    size_t in_bytes;
    uint8_t *frame;     /* a frame that has arrived in part */
    size_t frame_bytes; /* its length */
    size_t frame_filled;
    struct ks_error why_closed; /* text for the next caller */
};

uint64_t client_now_ns(void);
/* now + ms; KSTREAM_FOREVER gives CLIENT_DEADLINE_NONE */
uint64_t client_deadline_ns(uint32_t timeout_ms);
/* Milliseconds left for poll(2), rounded up, -1 for no limit. */
int client_poll_ms(uint64_t deadline_ns);

/* Errors: KS_NO_MEMORY. */
enum ks_status client_conn_init(struct client_conn *conn, const struct client_endpoint *endpoint,
    struct ks_error *err) KS_MUST_USE;
void client_conn_fini(struct client_conn *conn);

/*
 * Starts to connect; the state says how far it came (a unix socket is open at once). Names are
 * looked up here, which may take the resolver's time. Errors: KS_UNAVAILABLE.
 */
enum ks_status client_conn_begin(struct client_conn *conn, struct ks_error *err) KS_MUST_USE;
/* Closes and fails all waiting calls with that status. */
void client_conn_close(struct client_conn *conn, enum ks_status status, const char *why);

/*
 * Puts a request into the out buffer and links the call; nothing is written yet.
 * Errors: KS_UNAVAILABLE not open, KS_TOO_LARGE, KS_NO_MEMORY; then the call is not linked.
 */
enum ks_status client_conn_submit(struct client_conn *conn, struct client_call *call, enum ks_op op,
    const ProtobufCMessage *message, struct ks_error *err) KS_MUST_USE;
/* Forgets a call; its answer will be dropped. */
void client_conn_forget(struct client_conn *conn, struct client_call *call);

/* Bytes not yet written to the socket. */
size_t client_conn_backlog(const struct client_conn *conn);
/* poll(2) events it waits for; 0 when closed. */
short client_conn_events(const struct client_conn *conn);
/* Writes and reads what is possible without waiting; runs the callbacks of finished calls. */
void client_conn_process(struct client_conn *conn);
/* Waits for the socket or the deadline, then processes. */
void client_conn_wait(struct client_conn *conn, uint64_t deadline_ns);
/*
 * Open, or connects until the deadline. A connection the peer has closed meanwhile is noticed and
 * made anew. Errors: KS_UNAVAILABLE, KS_TIMEOUT.
 */
enum ks_status client_conn_ensure(
    struct client_conn *conn, uint64_t deadline_ns, struct ks_error *err) KS_MUST_USE;

#endif
