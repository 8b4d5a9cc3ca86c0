/*
 * How many puts of a connection are worked on at a time. What is admitted is what a put of somebody
 * else waits behind in the committer's queue; so nobody may have much more admitted than the others
 * who are as busy ask for. What comes beyond that waits in its own connection, in order, while the
 * connection's other requests go on: a storm waits on itself.
 *
 * Busy is who had puts under way for most of a stretch of time. Who puts now and then claims
 * nothing: it keeps its rate whatever the others do. Greedy is who sends much more than its credit:
 * beside others all greedy ones together get a quarter of what as many others would, one after the
 * other. From 75 % of memory or journal on everybody gets less, so that puts slow down; from 90 %
 * on they wait until there is less, or for a second: then they try, and are perhaps refused.
 *
 * Threads: a flow and a lane belong to their loop.
 */
#ifndef KS_DAEMON_PUT_GATE_H
#define KS_DAEMON_PUT_GATE_H

#include "base/clock.h"
#include "base/list.h"

#include <stdatomic.h>

/* What a put costs besides its bytes: as much work as so many of them. */
#define KS_PUT_COST_BYTES 2048u
/* The credit before the first answer: said in proto/api.proto. */
#define KS_PUT_CREDIT_FIRST (128u << 10)

/* Who was busy, and the least that one of them asked for. */
struct ks_put_demand {
    _Atomic uint32_t flows;
    _Atomic uint32_t greedy; /* more of them */
    _Atomic uint64_t least_cost;
};

/* What all loops share. */
struct ks_put_gate {
    const struct ks_clock *clock;
    _Atomic uint32_t pressure_percent; /* of journal or memory, the higher; written by the server */
    _Atomic bool is_hopeless;          /* the disk is full: to wait is no use; as well */
    _Atomic uint32_t under_way;        /* flows with any put, also who is not busy */
    uint32_t lanes;
    _Atomic uint64_t slot;    /* time in steps; see put_gate.c */
    struct ks_put_demand now; /* as far as it is known in this slot; of the last slot */
    struct ks_put_demand before;
};

struct ks_put_lane;

/* The first flow came: the loop shall take a turn; call ks_put_lane_look soon. */
struct ks_put_lane_hooks {
    void (*on_ready)(struct ks_put_lane *lane);
    void (*on_held)(struct ks_put_lane *lane);
};

/* Of one loop: how quickly puts become durable here when nothing is in their way. */
struct ks_put_lane {
    struct ks_put_gate *gate;
    struct ks_list ready;  /* ks_put_flow.link: some may go, at the next turn */
    struct ks_list curbed; /* ks_put_flow.link: greedy, nothing admitted, and all greedy ones
                              together have enough; in turn */
    struct ks_list held;   /* ks_put_flow.link: until there is more room */
    uint64_t curbed_cost;  /* admitted of greedy flows beside others */
    const struct ks_put_lane_hooks *hooks;
    uint64_t latency_ns_min[2]; /* of this stretch of time, of the one before; 0 = none */
    uint64_t stretch;
};

/* Of one connection. */
struct ks_put_flow {
    struct ks_list link;    /* lane->ready, lane->curbed or lane->held */
    struct ks_list waiting; /* ks_put_ticket.link */
    uint64_t admitted_cost;
    uint64_t waiting_cost;
    uint64_t unanswered_bytes;
    uint32_t unanswered_puts;
    uint64_t credit_bytes; /* that the peer was told last */
    uint64_t told_bytes;   /* what it may have unanswered, for it was told more before */
    uint64_t slot;         /* of the next three */
    uint64_t busy_ns;
    uint64_t busy_since_ns; /* while something is under way */
    uint64_t peak_cost;
    bool is_under_way;
    bool is_greedy;  /* in this slot */
    bool was_greedy; /* in the one before */
    bool is_closed;  /* nothing goes any more */
};

/* Of one put: memory of its call. */
struct ks_put_ticket {
    struct ks_list link;    /* flow->waiting; a ticket that does not wait may be moved */
    uint64_t cost;          /* 0: has no ticket */
    uint64_t since_mono_ns; /* it came; it was admitted */
    bool is_curbed;         /* counts in lane->curbed_cost */
    void (*go)(struct ks_put_ticket *ticket); /* it was its turn */
};

void ks_put_gate_init(struct ks_put_gate *gate, const struct ks_clock *clock);
void ks_put_lane_init(struct ks_put_lane *lane, struct ks_put_gate *gate,
    const struct ks_put_lane_hooks *hooks); /* borrowed */
/* Who may go on is made ready. True: others are held still, look again soon. */
bool ks_put_lane_look(struct ks_put_lane *lane);
/* In a turn of the loop: the flows (ks_put_flow.link) to call ks_put_flow_go for. */
void ks_put_lane_take(struct ks_put_lane *lane, struct ks_list *out_flows);
void ks_put_flow_init(struct ks_put_flow *flow);
/* What waits and may go goes, in order. Whoever calls keeps the flow's memory, also when it is
 * closed meanwhile. */
void ks_put_flow_go(struct ks_put_lane *lane, struct ks_put_flow *flow);
/* The connection is closed: what waits will not go, its owner lets it leave. */
void ks_put_flow_close(struct ks_put_lane *lane, struct ks_put_flow *flow);

/* A put of bytes comes. True: it has the ticket. False: it has to wait, and has none. */
bool ks_put_gate_enter(struct ks_put_lane *lane, struct ks_put_flow *flow,
    struct ks_put_ticket *ticket, uint64_t bytes) KS_MUST_USE;
/* After that: ticket->go runs in its turn, with the ticket, unless ks_put_gate_leave comes first.
 */
void ks_put_gate_wait(struct ks_put_lane *lane, struct ks_put_flow *flow,
    struct ks_put_ticket *ticket, uint64_t bytes);
/* It is answered (is_durable: with success), or will not be worked on; without a ticket nothing
 * happens. Others go. */
void ks_put_gate_leave(struct ks_put_lane *lane, struct ks_put_flow *flow,
    struct ks_put_ticket *ticket, bool is_durable);
static inline bool ks_put_ticket_is_waiting(const struct ks_put_ticket *ticket)
{
    return ks_list_is_linked(&ticket->link);
}

/* How much a connection may have admitted now; one put is admitted in any case. */
uint64_t ks_put_gate_part(const struct ks_put_lane *lane, const struct ks_put_flow *flow);
/* Bytes of puts that the peer is told it may have unanswered, whole at most. More than a few parts
 * would only wait here. */
uint64_t ks_put_gate_credit(
    const struct ks_put_lane *lane, struct ks_put_flow *flow, uint64_t whole);
/* The peer has sent more than it was told it may, also if it counts a little differently: it is
 * read no further. One put may be on its way in any case, and other requests behind it. */
static inline bool ks_put_flow_is_full(const struct ks_put_flow *flow)
{
    return flow->unanswered_puts > 1 && flow->unanswered_bytes / 5 * 4 > flow->told_bytes;
}

#endif
