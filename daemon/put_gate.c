#include "daemon/put_gate.h"

/* Of one that is busy alone; of all together. More would only queue. */
#define WINDOW_ALONE (4u << 20)
#define WINDOW_SHARED (2u << 20)
/* Beside somebody who asks for one small put at a time the others still get so much each, or what
 * the disk takes while it is busy with one such put anyway. */
#define PART_MIN (48u << 10)
#define PART_MIN_BYTES_PER_MS (128u << 10)
#define PRESSURE_FREE_PERCENT 75u
#define PRESSURE_HOLD_PERCENT 90u
#define HELD_NS_MAX 1000000000ull
#define CREDIT_PARTS 2u
#define CREDIT_MIN (64u << 10)
#define GREEDY_DIVIDES 4u
#define SLOT_SHIFT 26 /* 67 ms */
#define SLOT_NS (1ull << SLOT_SHIFT)
#define STRETCH_SHIFT 32 /* 4.3 s */

static void demand_clear(struct ks_put_demand *demand)
{
    atomic_store_explicit(&demand->flows, 0, memory_order_relaxed);
    atomic_store_explicit(&demand->greedy, 0, memory_order_relaxed);
    atomic_store_explicit(&demand->least_cost, UINT64_MAX, memory_order_relaxed);
}

static void demand_copy(struct ks_put_demand *demand, const struct ks_put_demand *from)
{
    atomic_store_explicit(&demand->flows, atomic_load_explicit(&from->flows, memory_order_relaxed),
        memory_order_relaxed);
    atomic_store_explicit(&demand->greedy,
        atomic_load_explicit(&from->greedy, memory_order_relaxed), memory_order_relaxed);
    atomic_store_explicit(&demand->least_cost,
        atomic_load_explicit(&from->least_cost, memory_order_relaxed), memory_order_relaxed);
}

void ks_put_gate_init(struct ks_put_gate *gate, const struct ks_clock *clock)
{
    gate->clock = clock;
    atomic_init(&gate->pressure_percent, 0);
    atomic_init(&gate->is_hopeless, false);
    atomic_init(&gate->under_way, 0);
    gate->lanes = 0;
    atomic_init(&gate->slot, 0);
    demand_clear(&gate->now);
    demand_clear(&gate->before);
}

void ks_put_lane_init(
    struct ks_put_lane *lane, struct ks_put_gate *gate, const struct ks_put_lane_hooks *hooks)
{
    *lane = (struct ks_put_lane){.gate = gate, .hooks = hooks};
    ks_list_init(&lane->held);
    ks_list_init(&lane->ready);
    ks_list_init(&lane->curbed);
    gate->lanes++;
}

void ks_put_flow_init(struct ks_put_flow *flow)
{
    *flow = (struct ks_put_flow){.told_bytes = KS_PUT_CREDIT_FIRST};
    ks_list_init(&flow->waiting);
}

static uint64_t under_pressure(const struct ks_put_gate *gate, uint64_t whole)
{
    uint64_t pressure = atomic_load_explicit(&gate->pressure_percent, memory_order_relaxed);
    if (pressure <= PRESSURE_FREE_PERCENT)
        return whole;
    return pressure >= 100 ? 0 : whole * (100 - pressure) / (100 - PRESSURE_FREE_PERCENT);
}

/* A put that came at since_ns is better held than refused. */
static bool is_held(const struct ks_put_gate *gate, uint64_t since_ns, uint64_t now_ns)
{
    return atomic_load_explicit(&gate->pressure_percent, memory_order_relaxed) >=
               PRESSURE_HOLD_PERCENT &&
           !atomic_load_explicit(&gate->is_hopeless, memory_order_relaxed) &&
           now_ns - since_ns < HELD_NS_MAX;
}

/* ---- who asks for how much ---- */

/* One of the loops moves the time on; what others say in this moment may be lost for a slot. */
static void gate_move(struct ks_put_gate *gate, uint64_t slot)
{
    uint64_t was = atomic_load_explicit(&gate->slot, memory_order_relaxed);
    if (slot <= was || !atomic_compare_exchange_strong(&gate->slot, &was, slot))
        return;
    if (slot == was + 1)
        demand_copy(&gate->before, &gate->now);
    else
        demand_clear(&gate->before);
    demand_clear(&gate->now);
}

static void gate_claim(struct ks_put_gate *gate, bool is_greedy, uint64_t cost)
{
    if (is_greedy) {
        atomic_fetch_add_explicit(&gate->now.greedy, 1, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&gate->now.flows, 1, memory_order_relaxed);
    uint64_t least = atomic_load_explicit(&gate->now.least_cost, memory_order_relaxed);
    while (cost < least && !atomic_compare_exchange_weak_explicit(&gate->now.least_cost, &least,
                               cost, memory_order_relaxed, memory_order_relaxed))
        continue;
}

/* A slot of the flow has ended: who was busy for most of it claims what it had at most. */
static void flow_roll(struct ks_put_gate *gate, struct ks_put_flow *flow, uint64_t now_ns)
{
    uint64_t slot = now_ns >> SLOT_SHIFT;
    if (slot == flow->slot)
        return;
    gate_move(gate, slot);
    bool is_busy = flow->is_under_way;
    if (is_busy)
        flow->busy_ns += ((flow->slot + 1) << SLOT_SHIFT) - flow->busy_since_ns;
    /* Longer ago: it has been waiting ever since, or it did nothing. */
    bool was_busy = slot == flow->slot + 1 ? flow->busy_ns >= SLOT_NS / 2 : is_busy;
    if (was_busy)
        gate_claim(gate, flow->is_greedy, flow->peak_cost);
    flow->slot = slot;
    flow->busy_ns = 0;
    flow->busy_since_ns = slot << SLOT_SHIFT;
    flow->peak_cost = flow->admitted_cost + flow->waiting_cost;
    flow->was_greedy = flow->is_greedy;
    flow->is_greedy = ks_put_flow_is_full(flow);
}

static void flow_note_begin(struct ks_put_gate *gate, struct ks_put_flow *flow, uint64_t now_ns)
{
    flow->peak_cost = ks_max_u64(flow->peak_cost, flow->admitted_cost + flow->waiting_cost);
    if (flow->is_under_way)
        return;
    flow->is_under_way = true;
    flow->busy_since_ns = now_ns;
    atomic_fetch_add_explicit(&gate->under_way, 1, memory_order_relaxed);
}

static void flow_note_end(struct ks_put_gate *gate, struct ks_put_flow *flow, uint64_t now_ns)
{
    if (flow->admitted_cost + flow->waiting_cost > 0)
        return;
    flow->is_under_way = false;
    flow->busy_ns += now_ns - flow->busy_since_ns;
    atomic_fetch_sub_explicit(&gate->under_way, 1, memory_order_relaxed);
}

/* ---- how long a put takes ---- */

static void lane_note(struct ks_put_lane *lane, uint64_t now_ns, uint64_t latency_ns)
{
    uint64_t stretch = now_ns >> STRETCH_SHIFT;
    if (stretch != lane->stretch) {
        lane->latency_ns_min[1] = stretch == lane->stretch + 1 ? lane->latency_ns_min[0] : 0;
        lane->latency_ns_min[0] = 0;
        lane->stretch = stretch;
    }
    uint64_t *least = &lane->latency_ns_min[0];
    *least = *least ? ks_min_u64(*least, latency_ns) : latency_ns;
}

/* The least of the last seconds: what is more than that was spent behind others. */
static uint64_t lane_latency_ns(const struct ks_put_lane *lane)
{
    const uint64_t *least = lane->latency_ns_min;
    if (least[0] == 0 || least[1] == 0)
        return ks_max_u64(least[0], least[1]);
    return ks_min_u64(least[0], least[1]);
}

/* ---- what each may have ---- */

static uint32_t larger(const _Atomic uint32_t *one, const _Atomic uint32_t *other)
{
    return KS_MAX(atomic_load_explicit(one, memory_order_relaxed),
        atomic_load_explicit(other, memory_order_relaxed));
}

/* As far as is known; nobody may be known to be busy. */
static bool is_alone(const struct ks_put_gate *gate)
{
    return larger(&gate->now.flows, &gate->before.flows) +
               larger(&gate->now.greedy, &gate->before.greedy) <=
           1;
}

static bool is_greedy(const struct ks_put_flow *flow)
{
    return flow->is_greedy || flow->was_greedy;
}

/* Before pressure, beside others. */
static uint64_t flow_part(const struct ks_put_lane *lane, const struct ks_put_flow *flow)
{
    const struct ks_put_gate *gate = lane->gate;
    uint64_t flows = larger(&gate->now.flows, &gate->before.flows);
    uint64_t greedy = ks_max_u64(larger(&gate->now.greedy, &gate->before.greedy), 1);
    if (flows == 0)
        return WINDOW_SHARED / greedy;
    uint64_t least = ks_min_u64(atomic_load_explicit(&gate->now.least_cost, memory_order_relaxed),
        atomic_load_explicit(&gate->before.least_cost, memory_order_relaxed));
    uint64_t part_min =
        ks_max_u64(PART_MIN, lane_latency_ns(lane) / 1000 * PART_MIN_BYTES_PER_MS / 1000);
    if (is_greedy(flow))
        return ks_min_u64(WINDOW_SHARED / greedy, ks_max_u64(part_min / greedy, least)) /
               GREEDY_DIVIDES;
    return ks_min_u64(WINDOW_SHARED / flows, ks_max_u64(part_min, least));
}

/* Of many that have begun just now nothing is known yet. */
static uint64_t alone_part(const struct ks_put_gate *gate, uint64_t whole)
{
    return whole / ks_max_u64(atomic_load_explicit(&gate->under_way, memory_order_relaxed), 1);
}

uint64_t ks_put_gate_part(const struct ks_put_lane *lane, const struct ks_put_flow *flow)
{
    const struct ks_put_gate *gate = lane->gate;
    return under_pressure(
        gate, is_alone(gate) ? alone_part(gate, WINDOW_ALONE) : flow_part(lane, flow));
}

uint64_t ks_put_gate_credit(
    const struct ks_put_lane *lane, struct ks_put_flow *flow, uint64_t whole)
{
    struct ks_put_gate *gate = lane->gate;
    /* There may be no puts any more that would. */
    gate_move(gate, ks_clock_mono_ns(gate->clock) >> SLOT_SHIFT);
    uint64_t credit = is_alone(gate) ? alone_part(gate, whole)
                                     : ks_min_u64(whole, CREDIT_PARTS * flow_part(lane, flow));
    credit = ks_max_u64(under_pressure(gate, credit), CREDIT_MIN);
    flow->credit_bytes = credit;
    flow->told_bytes = ks_max_u64(credit, ks_min_u64(flow->told_bytes, whole));
    return credit;
}

/* ---- greedy ones beside others ---- */

static bool is_curbed(const struct ks_put_lane *lane, const struct ks_put_flow *flow)
{
    return is_greedy(flow) && larger(&lane->gate->now.flows, &lane->gate->before.flows) > 0;
}

/* For one more put: their parts may be less than a put each. */
static bool lane_has_curbed_room(
    const struct ks_put_lane *lane, const struct ks_put_flow *flow, uint64_t cost)
{
    const struct ks_put_gate *gate = lane->gate;
    uint64_t greedy = larger(&gate->now.greedy, &gate->before.greedy);
    return lane->curbed_cost == 0 || !is_curbed(lane, flow) ||
           lane->curbed_cost + cost <=
               ks_max_u64(greedy / gate->lanes, 1) * ks_put_gate_part(lane, flow);
}

static struct ks_put_ticket *flow_first(const struct ks_put_flow *flow)
{
    return KS_CONTAINER_OF(flow->waiting.next, struct ks_put_ticket, link);
}

static void lane_push_ready(struct ks_put_lane *lane, struct ks_put_flow *flow)
{
    if (ks_list_is_empty(&lane->ready))
        lane->hooks->on_ready(lane);
    ks_list_push(&lane->ready, &flow->link);
}

/* The next of them, if it may go. */
static void lane_uncurb(struct ks_put_lane *lane)
{
    while (!ks_list_is_empty(&lane->curbed)) {
        struct ks_put_flow *flow = KS_CONTAINER_OF(lane->curbed.next, struct ks_put_flow, link);
        bool has_any = !ks_list_is_empty(&flow->waiting);
        if (has_any && !lane_has_curbed_room(lane, flow, flow_first(flow)->cost))
            return;
        ks_list_remove(&flow->link);
        if (has_any) {
            lane_push_ready(lane, flow);
            return;
        }
    }
}

/* ---- in and out ---- */

static bool flow_may_admit(
    const struct ks_put_lane *lane, const struct ks_put_flow *flow, uint64_t cost)
{
    return flow->admitted_cost == 0 ? lane_has_curbed_room(lane, flow, cost)
                                    : flow->admitted_cost + cost <= ks_put_gate_part(lane, flow);
}

static void flow_admit(struct ks_put_lane *lane, struct ks_put_flow *flow,
    struct ks_put_ticket *ticket, uint64_t now_ns)
{
    flow->admitted_cost += ticket->cost;
    ticket->since_mono_ns = now_ns;
    ticket->is_curbed = is_curbed(lane, flow);
    if (ticket->is_curbed)
        lane->curbed_cost += ticket->cost;
}

static void flow_note_sent(struct ks_put_flow *flow, uint64_t bytes)
{
    flow->unanswered_bytes += bytes;
    flow->unanswered_puts++;
}

bool ks_put_gate_enter(struct ks_put_lane *lane, struct ks_put_flow *flow,
    struct ks_put_ticket *ticket, uint64_t bytes)
{
    uint64_t now_ns = ks_clock_mono_ns(lane->gate->clock);
    KS_ASSERT(ticket->cost == 0);
    flow_roll(lane->gate, flow, now_ns);
    if (!ks_list_is_empty(&flow->waiting) || is_held(lane->gate, now_ns, now_ns) ||
        !flow_may_admit(lane, flow, bytes + KS_PUT_COST_BYTES))
        return false;
    ticket->cost = bytes + KS_PUT_COST_BYTES;
    flow_note_sent(flow, bytes);
    flow_admit(lane, flow, ticket, now_ns);
    flow_note_begin(lane->gate, flow, now_ns);
    return true;
}

static void lane_push_held(struct ks_put_lane *lane, struct ks_put_flow *flow)
{
    if (ks_list_is_empty(&lane->held))
        lane->hooks->on_held(lane);
    ks_list_push(&lane->held, &flow->link);
}

/* It goes on at the next turn; or when one of its own ends, when there is room for anybody, or when
 * it is its turn among the greedy ones. */
static void flow_make_ready(struct ks_put_lane *lane, struct ks_put_flow *flow, uint64_t now_ns)
{
    if (flow->is_closed || ks_list_is_empty(&flow->waiting) || ks_list_is_linked(&flow->link))
        return;
    if (is_held(lane->gate, flow_first(flow)->since_mono_ns, now_ns))
        lane_push_held(lane, flow);
    else if (flow->admitted_cost == 0 && is_curbed(lane, flow))
        ks_list_push(&lane->curbed, &flow->link);
    else
        lane_push_ready(lane, flow);
}

void ks_put_gate_wait(struct ks_put_lane *lane, struct ks_put_flow *flow,
    struct ks_put_ticket *ticket, uint64_t bytes)
{
    uint64_t now_ns = ks_clock_mono_ns(lane->gate->clock);
    KS_ASSERT(ticket->cost == 0);
    ticket->cost = bytes + KS_PUT_COST_BYTES;
    ticket->since_mono_ns = now_ns;
    ks_list_push(&flow->waiting, &ticket->link);
    flow->waiting_cost += ticket->cost;
    flow_note_sent(flow, bytes);
    flow->is_greedy |= ks_put_flow_is_full(flow);
    flow_note_begin(lane->gate, flow, now_ns);
    if (flow->admitted_cost == 0) {
        flow_make_ready(lane, flow, now_ns);
        lane_uncurb(lane);
    }
}

/* What the peer has sent goes down by what is answered, though it is told less than it has sent. */
static void flow_note_answer(struct ks_put_flow *flow, uint64_t bytes)
{
    flow->unanswered_bytes -= bytes;
    flow->unanswered_puts--;
    uint64_t left = flow->told_bytes - ks_min_u64(flow->told_bytes, bytes);
    flow->told_bytes = ks_max_u64(flow->credit_bytes, left);
}

static void flow_leave_queue(struct ks_put_flow *flow, struct ks_put_ticket *ticket)
{
    ks_list_remove(&ticket->link);
    flow->waiting_cost -= ticket->cost;
}

void ks_put_lane_take(struct ks_put_lane *lane, struct ks_list *out_flows)
{
    ks_list_init(out_flows);
    ks_list_splice(out_flows, &lane->ready);
}

bool ks_put_lane_look(struct ks_put_lane *lane)
{
    uint64_t now_ns = ks_clock_mono_ns(lane->gate->clock);
    struct ks_list flows;
    struct ks_list *node;
    ks_list_init(&flows);
    ks_list_splice(&flows, &lane->held);
    while ((node = ks_list_pop(&flows))) {
        struct ks_put_flow *flow = KS_CONTAINER_OF(node, struct ks_put_flow, link);
        if (ks_list_is_empty(&flow->waiting))
            continue;
        if (is_held(lane->gate, flow_first(flow)->since_mono_ns, now_ns))
            ks_list_push(&lane->held, &flow->link);
        else
            lane_push_ready(lane, flow);
    }
    return !ks_list_is_empty(&lane->held);
}

/* No more than were there when it began: what ends at once makes the flow ready for the next
 * turn. */
void ks_put_flow_go(struct ks_put_lane *lane, struct ks_put_flow *flow)
{
    uint64_t now_ns = ks_clock_mono_ns(lane->gate->clock);
    const struct ks_list *last = flow->waiting.prev;
    bool is_last = false;
    while (!is_last && !flow->is_closed && !ks_list_is_empty(&flow->waiting)) {
        struct ks_put_ticket *ticket = flow_first(flow);
        if (is_held(lane->gate, ticket->since_mono_ns, now_ns) ||
            !flow_may_admit(lane, flow, ticket->cost)) {
            if (flow->admitted_cost == 0)
                flow_make_ready(lane, flow, now_ns);
            break;
        }
        is_last = &ticket->link == last;
        flow_leave_queue(flow, ticket);
        flow_admit(lane, flow, ticket, now_ns);
        ticket->go(ticket);
    }
    lane_uncurb(lane);
}

void ks_put_flow_close(struct ks_put_lane *lane, struct ks_put_flow *flow)
{
    flow->is_closed = true;
    if (ks_list_is_linked(&flow->link))
        ks_list_remove(&flow->link);
    lane_uncurb(lane);
}

void ks_put_gate_leave(struct ks_put_lane *lane, struct ks_put_flow *flow,
    struct ks_put_ticket *ticket, bool is_durable)
{
    if (ticket->cost == 0)
        return;
    uint64_t now_ns = ks_clock_mono_ns(lane->gate->clock);
    flow_roll(lane->gate, flow, now_ns);
    if (ks_put_ticket_is_waiting(ticket)) {
        flow_leave_queue(flow, ticket);
    } else {
        KS_ASSERT(flow->admitted_cost >= ticket->cost);
        flow->admitted_cost -= ticket->cost;
        if (ticket->is_curbed)
            lane->curbed_cost -= ticket->cost;
        if (is_durable)
            lane_note(lane, now_ns, now_ns - ticket->since_mono_ns);
    }
    flow_note_answer(flow, ticket->cost - KS_PUT_COST_BYTES);
    ticket->cost = 0;
    flow_note_end(lane->gate, flow, now_ns);
    flow_make_ready(lane, flow, now_ns);
    lane_uncurb(lane);
}
