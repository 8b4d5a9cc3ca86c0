/*
 * One connection to the broker: frames out, frames in, and which answer belongs to which call. It
 * never waits but in client_conn_wait, and has no thread.
 * Life:    closed -> connecting -> open -> closed ... ; client_conn_keep brings it back, with
 *          growing pauses between attempts.
 * Threads: one at a time.
 */
#ifndef KS_CLIENT_CONN_H
#define KS_CLIENT_CONN_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/prng.h"
#include "client/address.h"
#include "client/watch.h"
#include "proto/frame.h"

#define CLIENT_DEADLINE_NONE UINT64_MAX

struct client_conn;

/* A request on its way. Lives in its owner; linked while it waits for an answer. */
struct client_call {
    struct ks_list node;      /* conn->calls, the oldest first */
    struct client_call *next; /* in its slot of conn->slots */
    uint64_t request_id;
    uint64_t answer_by_ns; /* later than that the connection counts as lost */
    uint64_t end_position; /* of its frame, in the bytes of the connection */
    uint64_t linked_ns;    /* when it was linked; only set to log requests */
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

/* A stretch of the frames not yet written: borrowed bytes, or the next ones of the out buffer. */
struct client_piece {
    const uint8_t *borrowed; /* NULL: lies in out */
    size_t bytes;
};

struct client_conn_options {
    const char *endpoint;                     /* for texts; outlives the connection */
    const struct client_addresses *addresses; /* copied */
    struct client_watch *watch;               /* NULL: none */
    uint32_t connect_timeout_ms;              /* for each address */
    bool log_requests;                        /* each answer is told to log */
    kstream_log_fn log;                       /* NULL: none */
    void *log_arg;
};

struct client_conn {
    struct client_conn_options options;
    struct client_addresses addresses;
    enum client_conn_state state;
    int fd;                    /* -1 when closed */
    short watched;             /* events in options.watch */
    bool is_ending;            /* in client_conn_fini */
    uint32_t address;          /* the one being tried */
    uint64_t connect_by_ns;    /* while connecting */
    uint64_t next_request_id;  /* never reused, over reconnects either */
    uint32_t put_credit_bytes; /* of the last response; 0 before the first */
    uint64_t opened_count;     /* connections made so far */
    uint64_t closed_count;     /* connections and attempts that have ended */

    struct ks_list calls;       /* waiting for answers, the oldest first */
    struct client_call **slots; /* the same by request id; their number is a power of two */
    uint32_t slot_count;
    uint32_t call_count;
    uint64_t answer_by_ns; /* no call is due before; not later than the earliest */

    struct client_piece *pieces; /* from piece_position on: not yet written */
    size_t piece_count;
    size_t piece_capacity;
    size_t piece_position;
    struct ks_buf out; /* bytes of the pieces that own theirs */
    size_t out_position;
    size_t backlog_bytes;
    uint64_t written_position; /* bytes of this connection that the socket has taken */

    uint8_t *in; /* what has arrived beyond the last whole frame */
    size_t in_bytes;
    uint8_t *frame;     /* a frame that has arrived in part */
    size_t frame_bytes; /* its length */
    size_t frame_filled;

    struct ks_error why_closed; /* of the last end of a connection or attempt */
    uint64_t trouble_since_ns;  /* no answer since; 0: all is well */
    uint64_t not_before_ns;     /* of the next attempt */
    uint32_t backoff_ms;        /* the pause before it; 0: none yet */
    struct ks_prng jitter;
};

uint64_t client_now_ns(void);
/* now + ms; KSTREAM_FOREVER gives CLIENT_DEADLINE_NONE */
uint64_t client_deadline_ns(uint32_t timeout_ms);
/* Milliseconds left for poll(2), rounded up, -1 for no limit. */
int client_poll_ms(uint64_t deadline_ns);
/*
 * Doubles *backoff_ms and returns when to try again: between half of it and all of it from now, so
 * that a thousand clients do not come back in the same millisecond.
 */
uint64_t client_backoff_ns(struct ks_prng *jitter, uint32_t *backoff_ms);

/* Errors: KS_NO_MEMORY, KS_INTERNAL no random numbers. */
enum ks_status client_conn_init(struct client_conn *conn, const struct client_conn_options *options,
    struct ks_error *err) KS_MUST_USE;
void client_conn_fini(struct client_conn *conn);

/* Closed: starts to connect if the pause since the last attempt is over. Never waits. */
void client_conn_keep(struct client_conn *conn);
/* The next attempt may come soon: somebody new wants the connection. */
void client_conn_hurry(struct client_conn *conn);
/* Closes and fails all waiting calls with that status. */
void client_conn_close(struct client_conn *conn, enum ks_status status, const char *why);
/* What a fork leaves in the child: freed without touching what the parent shares. */
void client_conn_abandon(struct client_conn *conn);

/*
 * Puts a request into the out buffer and links the call, whose on_done and answer_by_ns are set;
 * nothing is written yet.
 * Errors: KS_UNAVAILABLE not open, KS_TOO_LARGE, KS_NO_MEMORY; then the call is not linked.
 */
enum ks_status client_conn_submit(struct client_conn *conn, struct client_call *call, enum ks_op op,
    const ProtobufCMessage *message, struct ks_error *err) KS_MUST_USE;
/*
 * The same by hand, for frames that are not to be copied: reserve, then append what was reserved,
 * then client_conn_link. Borrowed bytes stay as they are until the call is done. reserve returns
 * false without memory, and nothing has changed.
 */
bool client_conn_reserve(struct client_conn *conn, size_t copied_bytes, size_t pieces) KS_MUST_USE;
void client_conn_append(struct client_conn *conn, const void *data, size_t bytes);
void client_conn_append_borrowed(struct client_conn *conn, const void *data, size_t bytes);
/* request_id: conn->next_request_id as it was when the frame was made. */
void client_conn_link(struct client_conn *conn, struct client_call *call, enum ks_op op);
/* Forgets a call if it is linked; its answer will be dropped. Not for calls with borrowed bytes. */
void client_conn_forget(struct client_conn *conn, struct client_call *call);

/* poll(2) events it waits for; 0 when closed. */
short client_conn_events(const struct client_conn *conn);
/* When it has something to do apart from the socket: an attempt, its end, a late answer. */
uint64_t client_conn_timer_ns(const struct client_conn *conn);
/* Writes and reads what is possible without waiting; runs the callbacks of finished calls; closes a
 * connection whose answers are late. */
void client_conn_process(struct client_conn *conn);
/* Waits for the socket or the deadline, then processes. */
void client_conn_wait(struct client_conn *conn, uint64_t deadline_ns);
/*
 * Open, or connects until the deadline. A connection the peer has closed meanwhile is noticed and
 * made anew, without a pause. Errors: KS_UNAVAILABLE, KS_TIMEOUT.
 */
enum ks_status client_conn_ensure(
    struct client_conn *conn, uint64_t deadline_ns, struct ks_error *err) KS_MUST_USE;

#endif
