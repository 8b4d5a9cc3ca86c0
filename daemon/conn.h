/*
 * A connection: a socket whose input is cut into frames and whose output is a queue of references.
 * Reads go into the loop's one slab; only a frame that is not yet whole gets memory of its own,
 * reserved from the input budget at its full length before the rest is read. An idle connection
 * keeps neither.
 *
 * Life:    open -> (draining) -> closed -> freed when the last call under way has ended.
 * Threads: its loop's only.
 */
#ifndef KS_DAEMON_CONN_H
#define KS_DAEMON_CONN_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/status.h"
#include "daemon/put_gate.h"

#include <event2/event_struct.h>
#include <sys/uio.h>

struct ks_conn;
struct ks_loop;

#define KS_CONN_CALLS_MAX 4096u /* design: unanswered requests of one connection */
#define KS_OUTPUT_PARTS_MAX 18u /* a prefix, sixteen extents, one to spare */

/* One answer on its way out, by reference. Made by the protocol, consumed by ks_conn_take_output.
 */
struct ks_output {
    struct ks_list link;
    struct iovec parts[KS_OUTPUT_PARTS_MAX];
    unsigned part_count;
    unsigned part;                             /* first not yet written */
    size_t bytes;                              /* of all parts, not yet written */
    void (*release)(struct ks_output *output); /* frees it; the bytes have left, or never will */
};

/* Room for an answer that is yet to be made: memory of the call that wants it. */
struct ks_conn_room {
    struct ks_list link; /* conn->wanting, while it waits */
    uint64_t bytes;      /* wanted, then granted; 0: neither */
    void (*granted)(struct ks_conn_room *room);
};

/* What the frames mean. */
struct ks_conn_protocol {
    /*
     * One complete frame, without its length; valid during the call. A status other than KS_OK
     * closes the connection when what is queued has left.
     */
    enum ks_status (*on_frame)(struct ks_conn *conn, struct ks_view body, struct ks_error *err);
    /* The input cannot be understood as frames: a last word may be queued, then the connection
     * closes. */
    void (*on_bad_input)(struct ks_conn *conn, const struct ks_error *error);
    /* The peer sends no more, or is gone (is_closed): calls that only wait should end. May be NULL.
     */
    void (*on_end)(struct ks_conn *conn);
};

/* What could not be consumed yet: part of a frame, or frames held back. Nothing when idle. */
struct ks_conn_input {
    uint8_t *bytes; /* NULL: nothing */
    size_t begin;   /* of what is not consumed */
    size_t end;
    size_t capacity;
    size_t reserved; /* of the input budget */
};

struct ks_conn {
    struct ks_loop *loop;
    const struct ks_conn_protocol *protocol;
    struct ks_list link;        /* loop->conns */
    struct ks_list dirty_link;  /* loop->dirty */
    struct ks_list starve_link; /* loop->starved */
    struct ks_list turn_link;   /* loop->turns */
    int fd;
    char peer[64];
    struct event read_event;
    struct event write_event;
    struct event frame_timer; /* pending while a frame has begun and not ended */
    struct event write_timer; /* pending while output waits for the peer */
    uint64_t active_mono_ms;  /* when something last came */
    uint64_t client;          /* its number, for limits; never reused; 0: has asked nothing yet */

    struct ks_conn_input in;
    uint64_t frame_mono_ms;    /* when the frame at the head of in began */
    uint32_t turn_frames_left; /* of this turn of the loop */
    size_t turn_bytes_left;

    struct ks_list out;
    size_t out_bytes;
    struct ks_list wanting;       /* ks_conn_room.link: first come, first served */
    uint64_t room_bytes;          /* granted */
    uint64_t write_begun_mono_ms; /* of the time over which the peer's rate is taken */
    uint64_t write_taken_mono_ms; /* when the peer last took something, or the first had to wait */
    size_t write_taken_bytes;     /* since write_begun */

    struct ks_put_flow puts; /* the protocol's, as the next two */
    struct ks_list queued_puts;
    struct ks_list requests; /* its calls */
    uint32_t calls;          /* under way: against KS_CONN_CALLS_MAX */
    uint32_t holds;          /* functions at work on it, which keep its memory */
    uint64_t in_flight_bytes;
    bool has_large_frames; /* the last one was: only the beginning of the next is read ahead */
    bool is_consuming;     /* inside consume(): no re-entry */
    bool is_paused;        /* reads stopped until calls end or output leaves */
    bool is_input_over;    /* end of input, or bad input, or draining: no more frames */
    bool is_starving;      /* has been told to wait for the input budget, and still does */
    bool is_turn_over;     /* frames are held back until others have had their turn */
    bool is_closed;
};

/* Takes fd (closed on failure as well) and the caller's count in shared->connections. Errors:
 * KS_NO_MEMORY. */
enum ks_status ks_conn_open(struct ks_loop *loop, int fd, const struct ks_conn_protocol *protocol,
    const char *peer, struct ks_conn **out_conn, struct ks_error *err) KS_MUST_USE;
/* Now. why goes to the log. */
void ks_conn_close(struct ks_conn *conn, const char *why);
/* No more frames; closes when calls are answered and the answers have left. */
void ks_conn_drain(struct ks_conn *conn);

/* Bytes of requests that the connection may have under way now: its limit, or its share of the
 * memory of all. */
uint64_t ks_conn_in_flight_max(const struct ks_conn *conn);
/* A call begins, costing bytes of the connection's in-flight budget and of the input budget; ends.
 * end may free the connection. */
void ks_conn_call_begin(struct ks_conn *conn, uint64_t bytes);
void ks_conn_call_end(struct ks_conn *conn, uint64_t bytes);

/*
 * Room for an answer of bytes. True: granted now. False: room->granted runs later, when the peer
 * has read enough, and others have; not at all if ks_conn_room_end comes first.
 */
bool ks_conn_room_take(struct ks_conn *conn, struct ks_conn_room *room, uint64_t bytes) KS_MUST_USE;
/* Gives back what was granted, or ends the wait; nothing happens when there is neither. */
void ks_conn_room_end(struct ks_conn *conn, struct ks_conn_room *room);
/* All answers together are past their budget: give little, and to whom has nothing unread. */
bool ks_conn_is_output_short(const struct ks_conn *conn);

/* Queues; released at once when the connection is closed. */
void ks_conn_take_output(struct ks_conn *conn, struct ks_output *output);

/* For loop.c. */
void ks_conn_flush(struct ks_conn *conn);
void ks_conn_feed_starved(struct ks_loop *loop);
void ks_conn_take_turns(struct ks_loop *loop);
void ks_conn_sweep_idle(struct ks_loop *loop, uint64_t idle_ms);

#endif
