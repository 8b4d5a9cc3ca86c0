/*
 * Who may put how much. The second half is a model: parties with puts under way, and a committer
 * that takes all that was admitted in one go, which takes longer the more it is. No thread, no real
 * time: the counts are the same in every run.
 */
#include "daemon/put_gate.h"
#include "tests/unit/ks_check.h"

enum { SLOT_MS = 68, PUT_BYTES = 1024, WHOLE = 16 << 20, KIB = 1024, MIB = 1 << 20 };

static struct ks_fake_clock fake;
static struct ks_put_gate gate;
static struct ks_put_lane lane;
static unsigned wakes;
static unsigned holds;

static void on_ready(struct ks_put_lane *ready_lane)
{
    KS_ASSERT(ready_lane == &lane);
    wakes++;
}

static void on_held(struct ks_put_lane *held_lane)
{
    KS_ASSERT(held_lane == &lane);
    holds++;
}

static const struct ks_put_lane_hooks hooks = {.on_ready = on_ready, .on_held = on_held};

static void set_up(void)
{
    ks_fake_clock_init(&fake, 1421889600000);
    ks_fake_clock_advance_ms(&fake, 10 * SLOT_MS);
    ks_put_gate_init(&gate, &fake.clock);
    ks_put_lane_init(&lane, &gate, &hooks);
    wakes = 0;
    holds = 0;
}

static void turn(void)
{
    struct ks_list flows;
    struct ks_list *node;
    ks_put_lane_take(&lane, &flows);
    while ((node = ks_list_pop(&flows)))
        ks_put_flow_go(&lane, KS_CONTAINER_OF(node, struct ks_put_flow, link));
}

/* ---- one flow ---- */

enum { PUTS = 4096 };
static struct put {
    struct ks_put_ticket ticket;
    bool has_gone;
} tries[PUTS];
static unsigned gone;

static void put_go(struct ks_put_ticket *ticket)
{
    struct put *put = KS_CONTAINER_OF(ticket, struct put, ticket);
    ck_assert(!put->has_gone);
    put->has_gone = true;
    gone++;
}

/* True: it went at once. */
static bool put_at(struct ks_put_flow *flow, int i, uint64_t bytes)
{
    tries[i] = (struct put){.ticket.go = put_go};
    if (ks_put_gate_enter(&lane, flow, &tries[i].ticket, bytes)) {
        tries[i].has_gone = true;
        return true;
    }
    ks_put_gate_wait(&lane, flow, &tries[i].ticket, bytes);
    return false;
}

static void leave(struct ks_put_flow *flow, int i)
{
    ks_put_gate_leave(&lane, flow, &tries[i].ticket, true);
}

START_TEST(alone_everything_goes_until_the_window_is_full)
{
    struct ks_put_flow flow;
    set_up();
    ks_put_flow_init(&flow);
    int i = 0;
    while (i < PUTS && put_at(&flow, i, 16 * KIB))
        i++;
    ck_assert_uint_eq(flow.admitted_cost, (uint64_t)i * (16 * KIB + KS_PUT_COST_BYTES));
    ck_assert_uint_gt(flow.admitted_cost, 3 * MIB);
    ck_assert_uint_le(flow.admitted_cost, ks_put_gate_part(&lane, &flow));
}
END_TEST

START_TEST(what_waits_goes_in_order_and_only_at_a_turn)
{
    struct ks_put_flow flow;
    set_up();
    ks_put_flow_init(&flow);
    ck_assert(put_at(&flow, 0, 8 * MIB)); /* more than the window: one goes in any case */
    for (int i = 1; i < 10; i++)
        ck_assert(!put_at(&flow, i, 2 * MIB));
    turn();
    ck_assert(!tries[1].has_gone);
    leave(&flow, 0);
    ck_assert_uint_eq(wakes, 1);
    ck_assert(!tries[1].has_gone);
    /* Who comes now is behind those who wait. */
    ck_assert(!put_at(&flow, 10, 2 * MIB));
    for (int i = 1; i < 10; i++) {
        turn();
        ck_assert(tries[i].has_gone);
        ck_assert(!tries[i + 1].has_gone);
        leave(&flow, i);
    }
    turn();
    ck_assert(tries[10].has_gone);
    leave(&flow, 10);
    ck_assert_uint_eq(flow.admitted_cost + flow.waiting_cost + flow.unanswered_bytes, 0);
    turn();
}
END_TEST

START_TEST(what_waits_may_leave_and_a_closed_flow_lets_nothing_go)
{
    struct ks_put_flow flow;
    set_up();
    ks_put_flow_init(&flow);
    ck_assert(put_at(&flow, 0, 8 * MIB));
    for (int i = 1; i < 5; i++)
        ck_assert(!put_at(&flow, i, 2 * MIB));
    leave(&flow, 1); /* without having gone */
    leave(&flow, 0);
    ck_assert(ks_list_is_linked(&flow.link));
    ks_put_flow_close(&lane, &flow);
    ck_assert(!ks_list_is_linked(&flow.link));
    turn();
    for (int i = 1; i < 5; i++) {
        ck_assert(!tries[i].has_gone);
        leave(&flow, i);
        leave(&flow, i); /* nothing is left of it */
    }
    ck_assert_uint_eq(flow.admitted_cost + flow.waiting_cost + flow.unanswered_bytes, 0);
    ck_assert(ks_list_is_empty(&lane.ready));
}
END_TEST

static struct ks_put_flow *closing_flow;
static void put_go_and_close(struct ks_put_ticket *ticket)
{
    put_go(ticket);
    ks_put_flow_close(&lane, closing_flow);
}

START_TEST(a_flow_that_is_closed_by_its_own_put_stops_there)
{
    struct ks_put_flow flow;
    set_up();
    ks_put_flow_init(&flow);
    closing_flow = &flow;
    ck_assert(put_at(&flow, 0, 8 * MIB));
    for (int i = 1; i < 5; i++)
        ck_assert(!put_at(&flow, i, KIB));
    tries[2].ticket.go = put_go_and_close;
    leave(&flow, 0);
    turn();
    ck_assert(tries[2].has_gone);
    ck_assert(!tries[3].has_gone);
}
END_TEST

/* ---- pressure ---- */

START_TEST(from_75_percent_on_part_and_credit_shrink_and_one_put_still_goes)
{
    struct ks_put_flow flow;
    set_up();
    gate.is_hopeless = true; /* nobody is held */
    ks_put_flow_init(&flow);
    uint64_t part = ks_put_gate_part(&lane, &flow);
    uint64_t credit = ks_put_gate_credit(&lane, &flow, WHOLE);
    for (uint32_t percent = 0; percent <= 75; percent++) {
        gate.pressure_percent = percent;
        ck_assert_uint_eq(ks_put_gate_part(&lane, &flow), part);
        ck_assert_uint_eq(ks_put_gate_credit(&lane, &flow, WHOLE), credit);
    }
    for (uint32_t percent = 76; percent <= 100; percent++) {
        gate.pressure_percent = percent;
        uint64_t less = ks_put_gate_part(&lane, &flow);
        ck_assert_uint_lt(less, part);
        part = less;
        uint64_t less_credit = ks_put_gate_credit(&lane, &flow, WHOLE);
        ck_assert(less_credit < credit || less_credit == 64 * KIB);
        credit = less_credit;
    }
    ck_assert_uint_eq(part, 0);
    ck_assert_uint_eq(credit, 64 * KIB);
    gate.pressure_percent = 250; /* journal and memory may be over their limit */
    ck_assert_uint_eq(ks_put_gate_part(&lane, &flow), 0);
    ck_assert(put_at(&flow, 0, KIB));
    ck_assert(!put_at(&flow, 1, KIB));
    leave(&flow, 0);
    turn();
    ck_assert(tries[1].has_gone);
}
END_TEST

/* What is refused comes again, and costs more than what waits. */
START_TEST(from_90_percent_on_puts_are_held_until_there_is_room)
{
    struct ks_put_flow flows[2];
    set_up();
    gone = 0;
    for (int i = 0; i < 2; i++)
        ks_put_flow_init(&flows[i]);
    gate.pressure_percent = 90;
    ck_assert(!put_at(&flows[0], 0, KIB));
    ck_assert(!put_at(&flows[0], 1, KIB));
    ck_assert(!put_at(&flows[1], 2, KIB));
    ck_assert_uint_eq(holds, 1);
    turn();
    ck_assert(ks_put_lane_look(&lane));
    turn();
    ck_assert_uint_eq(gone, 0);
    gate.pressure_percent = 89;
    ck_assert(!ks_put_lane_look(&lane));
    ck_assert_uint_eq(gone, 0); /* at the next turn */
    turn();
    ck_assert_uint_eq(gone, 3);
    /* Who has something under way is held as well, and goes on after that. */
    gate.pressure_percent = 95;
    ck_assert(!put_at(&flows[0], 3, KIB));
    leave(&flows[0], 0);
    leave(&flows[0], 1);
    turn();
    ck_assert(!tries[3].has_gone);
    ck_assert_uint_eq(holds, 2);
    gate.pressure_percent = 0;
    ck_assert(!ks_put_lane_look(&lane));
    turn();
    ck_assert(tries[3].has_gone);
    leave(&flows[0], 3);
    leave(&flows[1], 2);
}
END_TEST

START_TEST(nobody_is_held_for_more_than_a_second_nor_while_the_disk_is_full)
{
    struct ks_put_flow flow;
    set_up();
    ks_put_flow_init(&flow);
    gate.pressure_percent = 100;
    ck_assert(!put_at(&flow, 0, KIB));
    ks_fake_clock_advance_ms(&fake, 999);
    ck_assert(!put_at(&flow, 1, KIB));
    ck_assert(ks_put_lane_look(&lane));
    ks_fake_clock_advance_ms(&fake, 1);
    ck_assert(!ks_put_lane_look(&lane));
    turn();
    ck_assert(tries[0].has_gone);
    ck_assert(!tries[1].has_gone);
    leave(&flow, 0);
    turn();
    ck_assert(!tries[1].has_gone); /* its second is not over */
    gate.is_hopeless = true;
    ck_assert(!ks_put_lane_look(&lane));
    turn();
    ck_assert(tries[1].has_gone);
    leave(&flow, 1);
    ck_assert(put_at(&flow, 2, KIB));
    leave(&flow, 2);
}
END_TEST

START_TEST(a_held_flow_may_be_closed)
{
    struct ks_put_flow flows[2];
    set_up();
    gone = 0;
    for (int i = 0; i < 2; i++)
        ks_put_flow_init(&flows[i]);
    gate.pressure_percent = 100;
    for (int i = 0; i < 2; i++)
        ck_assert(!put_at(&flows[i], i, KIB));
    ks_put_flow_close(&lane, &flows[0]);
    ks_put_gate_leave(&lane, &flows[0], &tries[0].ticket, false);
    /* What waits may also leave while its flow goes on. */
    ks_put_gate_leave(&lane, &flows[1], &tries[1].ticket, false);
    gate.pressure_percent = 0;
    ck_assert(!ks_put_lane_look(&lane));
    turn();
    ck_assert_uint_eq(gone, 0);
    ck_assert_uint_eq(gate.under_way, 0);
}
END_TEST

START_TEST(credit_is_never_more_than_the_connection_may_have_under_way)
{
    struct ks_put_flow flow;
    set_up();
    ks_put_flow_init(&flow);
    ck_assert_uint_eq(ks_put_gate_credit(&lane, &flow, 300 * KIB), 300 * KIB);
    ck_assert_uint_gt(ks_put_gate_credit(&lane, &flow, WHOLE), 300 * KIB);
    ck_assert_uint_le(ks_put_gate_credit(&lane, &flow, WHOLE), WHOLE);
}
END_TEST

START_TEST(who_was_told_less_may_finish_what_it_was_told_before)
{
    struct ks_put_flow flow;
    set_up();
    ks_put_flow_init(&flow);
    int sent = 0;
    uint64_t before = ks_put_gate_credit(&lane, &flow, WHOLE);
    ck_assert_uint_ge(before, 4 * MIB);
    for (uint64_t bytes = 0; bytes < before; sent++, bytes += 32 * KIB)
        KS_IGNORE(put_at(&flow, sent, 32 * KIB), "some go, the others wait");
    gate.is_hopeless = true;
    gate.pressure_percent = 100;
    ck_assert_uint_eq(ks_put_gate_credit(&lane, &flow, WHOLE), 64 * KIB);
    for (int i = 0; i < sent; i++) {
        ck_assert(!ks_put_flow_is_full(&flow));
        leave(&flow, i);
        turn();
        ck_assert_uint_eq(ks_put_gate_credit(&lane, &flow, WHOLE), 64 * KIB);
    }
    ck_assert(!flow.is_greedy);
    ck_assert_uint_eq(flow.told_bytes, 64 * KIB);
    for (int i = 0; i < 4; i++)
        KS_IGNORE(put_at(&flow, i, 32 * KIB), "one goes");
    ck_assert(ks_put_flow_is_full(&flow));
    ck_assert(flow.is_greedy);
}
END_TEST

START_TEST(credit_is_whole_again_though_nobody_puts_any_more)
{
    struct ks_put_flow flows[2];
    set_up();
    ks_put_flow_init(&flows[0]);
    ks_put_flow_init(&flows[1]);
    for (int i = 0; i < 2; i++)
        ck_assert(put_at(&flows[i], i, 20 * KIB));
    for (int slot = 0; slot < 3; slot++) {
        ks_fake_clock_advance_ms(&fake, SLOT_MS);
        for (int i = 0; i < 2; i++) {
            ck_assert(!put_at(&flows[i], 2, 2 * MIB));
            leave(&flows[i], 2);
        }
    }
    for (int i = 0; i < 2; i++)
        leave(&flows[i], i);
    ck_assert_uint_lt(ks_put_gate_credit(&lane, &flows[0], WHOLE), WHOLE);
    ks_fake_clock_advance_ms(&fake, 2 * SLOT_MS);
    ck_assert_uint_eq(ks_put_gate_credit(&lane, &flows[0], WHOLE), WHOLE);
}
END_TEST

/* With other requests behind it. */
START_TEST(one_put_is_read_whatever_the_credit)
{
    struct ks_put_flow flow;
    set_up();
    ks_put_flow_init(&flow);
    gate.is_hopeless = true;
    gate.pressure_percent = 100;
    flow.told_bytes = ks_put_gate_credit(&lane, &flow, WHOLE);
    ck_assert_uint_eq(flow.told_bytes, 64 * KIB);
    ck_assert(put_at(&flow, 0, 8 * MIB));
    ck_assert(!ks_put_flow_is_full(&flow));
    ck_assert(!put_at(&flow, 1, KIB));
    ck_assert(ks_put_flow_is_full(&flow));
    leave(&flow, 1);
    ck_assert(!ks_put_flow_is_full(&flow));
    leave(&flow, 0);
}
END_TEST

START_TEST(many_that_begin_at_once_share_before_anything_is_known_of_them)
{
    static struct ks_put_flow flows[100];
    set_up();
    uint64_t admitted = 0;
    for (int i = 0; i < 100; i++) {
        ks_put_flow_init(&flows[i]);
        for (int k = 0; k < 40; k++)
            KS_IGNORE(put_at(&flows[i], i * 40 + k, 64 * KIB), "some go");
        admitted += flows[i].admitted_cost;
    }
    /* Each had as much as those before it left to one more. */
    ck_assert_uint_le(admitted, 22 * MIB);
    for (int i = 0; i < 100; i++)
        for (int k = 0; k < 40; k++)
            leave(&flows[i], i * 40 + k);
    ck_assert_uint_eq(gate.under_way, 0);
}
END_TEST

START_TEST(an_end_without_success_counts_for_nothing_but_is_an_end)
{
    struct ks_put_flow flow;
    set_up();
    ks_put_flow_init(&flow);
    ck_assert(put_at(&flow, 0, KIB));
    ks_put_gate_leave(&lane, &flow, &tries[0].ticket, false);
    ck_assert_uint_eq(flow.admitted_cost, 0);
    ck_assert_uint_eq(lane.latency_ns_min[0], 0);
    ck_assert(put_at(&flow, 0, KIB));
    fake.mono_ns += 5000;
    leave(&flow, 0);
    ck_assert_uint_eq(lane.latency_ns_min[0], 5000);
}
END_TEST

/* ---- the model ---- */

enum { FLOWS_MAX = 1024, QUEUE_MAX = 1 << 17, CREDIT = 1 << 29, GREEDY = 1 << 30 };

struct party_put {
    struct ks_put_ticket ticket;
    struct party *party;
    uint32_t bytes;
};

struct party {
    struct ks_put_flow flow;
    uint32_t
        window; /* puts it has unanswered; CREDIT: by that, GREEDY: all that are read from it */
    uint32_t put_bytes;
    uint32_t unanswered;
    uint64_t answered;
    uint64_t credit;
};

static struct party parties[FLOWS_MAX];
static int party_count;
static struct party_put *committed[QUEUE_MAX]; /* admitted, in the committer's queue */
static int committed_count;

static void model_begin(void)
{
    set_up();
    party_count = 0;
    committed_count = 0;
}

/* The first of them. */
static int add(int count, uint32_t window, uint32_t put_bytes)
{
    int first = party_count;
    for (int i = 0; i < count; i++) {
        struct party *party = &parties[party_count++];
        *party =
            (struct party){.window = window, .put_bytes = put_bytes, .credit = KS_PUT_CREDIT_FIRST};
        ks_put_flow_init(&party->flow);
    }
    return first;
}

static void party_go(struct ks_put_ticket *ticket)
{
    KS_ASSERT(
        committed_count < QUEUE_MAX); /* a ck_assert of each put would take most of the time */
    committed[committed_count++] = KS_CONTAINER_OF(ticket, struct party_put, ticket);
}

static bool party_may_send(const struct party *party)
{
    uint64_t bytes = (uint64_t)party->unanswered * party->put_bytes;
    if (party->window == GREEDY) /* what the connection may have under way */
        return bytes < WHOLE && !ks_put_flow_is_full(&party->flow);
    if (party->window == CREDIT)
        return bytes + party->put_bytes <= party->credit;
    return party->unanswered < party->window;
}

static void party_send(struct party *party)
{
    while (party_may_send(party)) {
        struct party_put *put = calloc(1, sizeof(*put));
        put->ticket.go = party_go;
        put->party = party;
        put->bytes = party->put_bytes;
        party->unanswered++;
        if (ks_put_gate_enter(&lane, &party->flow, &put->ticket, put->bytes))
            party_go(&put->ticket);
        else
            ks_put_gate_wait(&lane, &party->flow, &put->ticket, put->bytes);
    }
}

static void party_answer(struct party_put *put)
{
    struct party *party = put->party;
    ks_put_gate_leave(&lane, &party->flow, &put->ticket, true);
    party->credit = ks_put_gate_credit(&lane, &party->flow, WHOLE);
    party->unanswered--;
    party->answered++;
    free(put);
}

/* 0.3 ms and 200 MB/s: of what its puts cost, so that small ones are slower than the disk. */
static uint64_t commit_ns(uint64_t cost)
{
    return 300000 + cost * 5;
}

/* All send what they may; what is admitted is committed; time goes by; all of it is answered. */
static void model_run(uint64_t ms)
{
    static struct party_put *group[QUEUE_MAX];
    for (uint64_t until = fake.mono_ns + ms * 1000000; fake.mono_ns < until;) {
        for (int i = 0; i < party_count; i++)
            party_send(&parties[i]);
        KS_IGNORE(ks_put_lane_look(&lane), "looked at again anyway");
        for (int turns = 0; !ks_list_is_empty(&lane.ready); turns++) {
            KS_ASSERT(turns < QUEUE_MAX); /* they come to an end */
            turn();
        }
        uint64_t cost = 0;
        int count = committed_count;
        memcpy(group, committed, (size_t)count * sizeof(group[0]));
        committed_count = 0;
        for (int i = 0; i < count; i++)
            cost += group[i]->bytes + KS_PUT_COST_BYTES;
        fake.mono_ns += commit_ns(cost);
        for (int i = 0; i < count; i++)
            party_answer(group[i]);
    }
}

static uint64_t answered(int first, int count)
{
    uint64_t sum = 0;
    for (int i = first; i < first + count; i++)
        sum += parties[i].answered;
    return sum;
}

static void forget(void)
{
    for (int i = 0; i < party_count; i++)
        parties[i].answered = 0;
}

static void model_end(void)
{
    for (int i = 0; i < party_count; i++) {
        struct ks_list *node;
        while ((node = parties[i].flow.waiting.next) != &parties[i].flow.waiting) {
            struct party_put *put = KS_CONTAINER_OF(node, struct party_put, ticket.link);
            ks_put_gate_leave(&lane, &parties[i].flow, &put->ticket, false);
            free(put);
        }
    }
    for (int i = 0; i < committed_count; i++)
        free(committed[i]);
}

/* What four victims get within a second, beside so many others. */
static uint64_t victims_beside(uint32_t window, int others, uint32_t other_window, uint32_t bytes)
{
    model_begin();
    int victims = add(4, window, PUT_BYTES);
    add(others, other_window, bytes);
    model_run(200);
    forget();
    model_run(1000);
    uint64_t count = answered(victims, 4);
    /* Nobody starves, also among themselves. */
    for (int i = 0; i < party_count; i++)
        ck_assert_uint_gt(parties[i].answered, 0);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_ge(parties[i].answered, count / 5);
    model_end();
    return count;
}

static const struct {
    uint32_t window;
    int others;
} storms[] = {{16, 1}, {16, 64}, {16, 500}, {1, 1}, {1, 64}, {64, 1}, {64, 64}};

START_TEST(a_storm_leaves_the_others_80_percent_of_what_they_have_beside_their_like)
{
    uint64_t alone = victims_beside(storms[_i].window, storms[_i].others, storms[_i].window, 1024);
    uint64_t storm = victims_beside(storms[_i].window, storms[_i].others, GREEDY, 1024);
    ck_assert_uint_ge(storm * 10, alone * 8);
}
END_TEST

/* Greedy ones that are too many to have a put each go one after the other. */
START_TEST(greedy_ones_beside_others_have_their_turns)
{
    model_begin();
    add(4, 1, PUT_BYTES);
    int storm = add(200, GREEDY, PUT_BYTES);
    model_run(500);
    forget();
    model_run(1000);
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (int i = storm; i < party_count; i++) {
        least = ks_min_u64(least, parties[i].answered);
        most = ks_max_u64(most, parties[i].answered);
    }
    ck_assert_uint_gt(least, 100);
    ck_assert_uint_ge(least * 2, most);
    /* When those with credit have gone, so has the curb. */
    for (int i = 0; i < 4; i++)
        parties[i].window = 0;
    model_run(300);
    ck_assert(ks_list_is_empty(&lane.curbed));
    ck_assert_uint_eq(lane.curbed_cost, 0);
    /* Each that closes while it waits lets the next one have its turn. */
    for (int i = 0; i < 4; i++)
        parties[i].window = 1;
    model_run(300);
    ck_assert(!ks_list_is_empty(&lane.curbed));
    for (int i = storm; i < party_count - 1; i++) {
        parties[i].window = 0;
        ks_put_flow_close(&lane, &parties[i].flow);
    }
    forget();
    model_run(300);
    ck_assert_uint_gt(parties[party_count - 1].answered, 100);
    model_end();
}
END_TEST

START_TEST(a_storm_of_large_puts_does_not_starve_small_ones)
{
    uint64_t alone = victims_beside(16, 1, 1, 512 * KIB);
    uint64_t storm = victims_beside(16, 1, GREEDY, 512 * KIB);
    ck_assert_uint_ge(storm * 10, alone * 8);
}
END_TEST

START_TEST(who_puts_now_and_then_does_not_hold_a_bulk_load_back)
{
    model_begin();
    add(1, 4096, PUT_BYTES);
    model_run(1000);
    uint64_t alone = answered(0, 1);
    forget();
    int rare = add(1, 0, PUT_BYTES);
    for (int i = 0; i < 20; i++) {
        parties[rare].window = 1;
        model_run(1);
        parties[rare].window = 0;
        model_run(49);
    }
    ck_assert_uint_eq(answered(rare, 1), 20);
    ck_assert_uint_ge(answered(0, 1) * 10, alone * 8);
    model_end();
}
END_TEST

START_TEST(after_the_others_have_gone_the_storm_has_everything)
{
    model_begin();
    int storm = add(1, GREEDY, PUT_BYTES);
    model_run(500);
    forget();
    model_run(500);
    uint64_t alone = answered(storm, 1);
    add(4, 16, PUT_BYTES);
    model_run(500);
    forget();
    model_run(500);
    ck_assert_uint_lt(answered(storm, 1), alone / 2);
    for (int i = 1; i < party_count; i++)
        parties[i].window = 0;
    model_run(200);
    forget();
    model_run(500);
    ck_assert_uint_ge(answered(storm, 1) * 10, alone * 9);
    model_end();
}
END_TEST

START_TEST(who_keeps_within_its_credit_is_never_greedy)
{
    model_begin();
    int greedy = add(1, GREEDY, PUT_BYTES);
    int bulk = add(4, CREDIT, PUT_BYTES);
    for (int i = 0; i < 3000; i++) {
        model_run(1);
        for (int k = bulk; k < bulk + 4; k++)
            ck_assert(!parties[k].flow.is_greedy);
        gate.pressure_percent = (uint32_t)i / 30; /* and under pressure */
    }
    ck_assert(parties[greedy].flow.is_greedy);
    ck_assert_uint_gt(answered(bulk, 4) / 4, answered(greedy, 1));
    model_end();
}
END_TEST

KS_SUITE("daemon/put_gate")
{
    KS_TEST(alone_everything_goes_until_the_window_is_full);
    KS_TEST(what_waits_goes_in_order_and_only_at_a_turn);
    KS_TEST(what_waits_may_leave_and_a_closed_flow_lets_nothing_go);
    KS_TEST(a_flow_that_is_closed_by_its_own_put_stops_there);
    KS_TEST(from_75_percent_on_part_and_credit_shrink_and_one_put_still_goes);
    KS_TEST(from_90_percent_on_puts_are_held_until_there_is_room);
    KS_TEST(nobody_is_held_for_more_than_a_second_nor_while_the_disk_is_full);
    KS_TEST(a_held_flow_may_be_closed);
    KS_TEST(credit_is_never_more_than_the_connection_may_have_under_way);
    KS_TEST(who_was_told_less_may_finish_what_it_was_told_before);
    KS_TEST(credit_is_whole_again_though_nobody_puts_any_more);
    KS_TEST(one_put_is_read_whatever_the_credit);
    KS_TEST(many_that_begin_at_once_share_before_anything_is_known_of_them);
    KS_TEST(an_end_without_success_counts_for_nothing_but_is_an_end);
    KS_TEST_LOOP(a_storm_leaves_the_others_80_percent_of_what_they_have_beside_their_like,
        (int)KS_COUNT_OF(storms));
    KS_TEST(greedy_ones_beside_others_have_their_turns);
    KS_TEST(a_storm_of_large_puts_does_not_starve_small_ones);
    KS_TEST(who_puts_now_and_then_does_not_hold_a_bulk_load_back);
    KS_TEST(after_the_others_have_gone_the_storm_has_everything);
    KS_TEST(who_keeps_within_its_credit_is_never_greedy);
}
