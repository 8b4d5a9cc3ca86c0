/*
 * A loop: one thread, one libevent base, one mailbox, and the connections dealt to it, for life.
 * Nothing that runs here may block.
 *
 * Threads: everything but ks_loop_send, _stop and _join runs on the loop's own thread.
 */
#ifndef KS_DAEMON_LOOP_H
#define KS_DAEMON_LOOP_H

#include "base/clock.h"
#include "base/events.h"
#include "base/mailbox.h"
#include "base/md5.h"
#include "daemon/budget.h"
#include "daemon/park.h"
#include "daemon/put_gate.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>

struct ks_acceptor;
struct ks_live;
struct ks_loop_meter;
struct ks_loop_minutes;
struct ks_heat;

#define KS_SLAB_BYTES (64u * 1024) /* one read */

/* What all loops share. Borrowed, outlives them. */
struct ks_loop_shared {
    const struct ks_clock *clock;
    const struct ks_events *events;
    const struct ks_live *live; /* limits of a connection, timeouts: as they are now */
    struct ks_budget input;     /* bytes of requests being received or worked on */
    struct ks_budget output;    /* bytes of answers on their way out */
    struct ks_put_gate put_gate;
    _Atomic uint32_t connections;
    _Atomic uint64_t accepted; /* connections, since the start */
    _Atomic uint64_t refused;
    _Atomic uint32_t busy;        /* connections with requests under way */
    _Atomic bool is_memory_short; /* that of records: who holds it and does not read is cut off */
    uint64_t idle_timeout_ms;     /* 0: none */
    uint32_t connections_max;     /* for which there are descriptors */
    void *server;                 /* of the protocol above */
};

struct ks_loop {
    struct ks_loop_shared *shared;
    unsigned index;
    pthread_t thread;
    bool is_running;    /* [main] thread must be joined */
    struct ks_mutex mu; /* KS_RANK_WAKE */
    struct ks_cond ended;
    bool has_ended; /* [mu] the thread is about to return */
    struct event_base *base;
    struct ks_mailbox mailbox;
    struct event mailbox_event;
    struct event flush_event; /* made active when dirty gets its first connection */
    struct event starve_timer;
    struct event turn_timer; /* the next turn of the loop */
    struct event held_timer; /* pending while puts are held */
    struct event idle_timer;
    struct ks_list conns;
    struct ks_list dirty;      /* connections with new output */
    struct ks_list starved;    /* connections waiting for a budget */
    struct ks_list turns;      /* connections that had their turn and have more */
    struct ks_parking parking; /* calls waiting for records, or for a reshard */
    struct ks_list held_puts;  /* ks_put_work.held_link, in the order they came (put_work.c) */
    uint64_t held_put_bytes;
    struct ks_put_lane puts;
    uint8_t *slab; /* KS_SLAB_BYTES: what one read brings; empty between events */
    struct ks_md5 *md5;
    struct ks_mail stop_mail;
    struct ks_mail abort_mail;
    struct ks_mail probe_mail; /* "do you live", under way while is_probed */
    _Atomic bool is_probed;
    struct ks_loop_meter *meter;           /* set before it runs; NULL in tests of a bare loop */
    struct ks_loop_minutes *minutes;       /* likewise */
    struct ks_heat *heat;                  /* likewise */
    void (*on_stop)(struct ks_loop *loop); /* what else listens on this loop closes */
    struct ks_acceptor *acceptor;          /* of loop 0; borrowed */
    bool is_stopping;
};

/* Errors: KS_NO_MEMORY, KS_INTERNAL. On failure nothing is left. */
enum ks_status ks_loop_init(struct ks_loop *loop, unsigned index, struct ks_loop_shared *shared,
    struct ks_error *err) KS_MUST_USE;
void ks_loop_fini(struct ks_loop *loop); /* joined; delivers what mail is left */
/* Errors: KS_NO_MEMORY. */
enum ks_status ks_loop_start(struct ks_loop *loop, struct ks_error *err) KS_MUST_USE;
/* Any thread, once. Requests under way are finished and answered, then connections close and the
 * thread ends. */
void ks_loop_stop(struct ks_loop *loop);
/* Any thread, once, after stop: connections close now. */
void ks_loop_abort(struct ks_loop *loop);
/* False when the thread still runs after timeout_ms. */
bool ks_loop_join(struct ks_loop *loop, uint64_t timeout_ms);
/* Main only, for the watchdog: true when the loop has read the probe before; sends the next. */
bool ks_loop_probe(struct ks_loop *loop);
/* The loop's thread: turns are taken after what the sockets have brought meanwhile. */
void ks_loop_next_turn(struct ks_loop *loop);
/* The loop's thread, after a connection went: a stopping loop ends with its last one. */
void ks_loop_check_end(struct ks_loop *loop);

#endif
