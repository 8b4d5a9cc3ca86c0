/*
 * produce and latency: one thread over all connections, a producer each. Every acknowledgement is
 * taken by a callback and counted; one that is missing, failed or repeated after a lost connection
 * makes the run worthless, and it says so instead of printing figures.
 */
#include "base/alloc.h"
#include "tools/bench.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define KEY_BYTES 16
#define RETRY_MS 10000u /* a broker that is away so long ends the run */
#define PUTS_PER_TURN 64u
#define WAIT_NS 50000000u
#define FILL_BYTES 4096u

struct produce;

struct slot {
    struct produce *run;
    struct kstream_client *client;
    struct kstream_producer *producer;
    uint64_t unanswered;
};

/* Of a record that had a time to be sent at: what the broker makes it wait counts. */
struct timed {
    struct slot *slot;
    uint64_t due_ns;
    struct timed *next; /* free ones */
};

struct produce {
    const struct bench_options *options;
    struct bench_result *result;
    struct slot *slots;
    struct pollfd *polls;
    uint32_t slot_count;
    uint32_t turn; /* the slot that puts next */
    uint8_t *data;
    char (*keys)[KEY_BYTES];
    uint64_t next_key;
    struct timed *timed; /* as many as may be unanswered; with a rate only */
    struct timed *timed_free;
    uint64_t sent;
    uint64_t answered;
    uint64_t failed;
    bool is_measuring;
    uint64_t paced_ns; /* when the next record is due */
    struct ks_error first_failure;
};

/* ---- acknowledgements ---- */

static void note_failure(struct produce *run, const struct kstream_ack *ack)
{
    if (run->failed++ > 0)
        return;
    const struct kstream_error error = KSTREAM_ERROR_INIT;
    run->first_failure.status = bench_fail(&run->first_failure, ack->status, &error);
    if (ack->text[0])
        snprintf(run->first_failure.text, sizeof run->first_failure.text, "%.200s", ack->text);
}

static void take_ack(struct slot *slot, const struct kstream_ack *ack, uint64_t latency_ns)
{
    struct produce *run = slot->run;
    slot->unanswered--;
    run->answered++;
    if (ack->status != KSTREAM_OK || ack->was_repeated) {
        note_failure(run, ack);
        return;
    }
    if (!run->is_measuring)
        return;
    run->result->records++;
    bench_histogram_add(&run->result->latency, latency_ns);
}

static void on_ack(const struct kstream_ack *ack, void *arg)
{
    take_ack(arg, ack, ack->latency_ns);
}

static void give_timed(struct produce *run, struct timed *timed)
{
    timed->next = run->timed_free;
    run->timed_free = timed;
}

static void on_timed_ack(const struct kstream_ack *ack, void *arg)
{
    struct timed *timed = arg;
    struct produce *run = timed->slot->run;
    take_ack(timed->slot, ack, bench_now_ns() - timed->due_ns);
    give_timed(run, timed);
}

/* ---- setting up ---- */

/* Text that does not repeat within a record, the same in every run. */
static void fill_data(uint8_t *data, uint32_t bytes)
{
    uint32_t state = 2463534242u;
    for (uint32_t i = 0; i < bytes; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        data[i] = (uint8_t)('a' + state % 26);
    }
}

static enum ks_status fail_memory(struct ks_error *err)
{
    return ks_fail(err, KS_NO_MEMORY, 0, "no memory for so many connections, keys or records");
}

static enum ks_status open_slot(struct produce *run, struct slot *slot, struct ks_error *err)
{
    slot->run = run;
    enum ks_status st = bench_connect(run->options, &slot->client, err);
    if (st)
        return st;
    struct kstream_producer_options options = KSTREAM_PRODUCER_OPTIONS_INIT;
    options.linger_ms = run->options->linger_ms;
    options.retry_time_max_ms = RETRY_MS;
    options.request_timeout_ms = run->options->timeout_ms;
    /* in_flight is what bounds it. */
    uint64_t each = run->options->record_bytes + 256u;
    options.memory_bytes_max = ks_max_u64(options.memory_bytes_max, run->options->in_flight * each);
    struct kstream_error error = KSTREAM_ERROR_INIT;
    enum kstream_status kst = kstream_producer_open(
        slot->client, run->options->stream, &options, &slot->producer, &error);
    return kst ? bench_fail(err, kst, &error) : KS_OK;
}

static bool make_timed(struct produce *run)
{
    if (run->options->rate <= 0)
        return true;
    uint64_t count = run->options->in_flight * run->slot_count;
    run->timed = ks_calloc(count, sizeof *run->timed);
    for (uint64_t i = 0; run->timed && i < count; i++) {
        run->timed[i].next = run->timed_free;
        run->timed_free = &run->timed[i];
    }
    return run->timed != NULL;
}

static enum ks_status set_up(struct produce *run, struct ks_error *err)
{
    const struct bench_options *options = run->options;
    run->slots = ks_calloc(options->connections, sizeof *run->slots);
    run->polls = ks_calloc(options->connections, sizeof *run->polls);
    run->keys = ks_calloc(options->keys, KEY_BYTES);
    run->data = ks_malloc(ks_max_u64(options->record_bytes, 1));
    run->slot_count = options->connections;
    if (!run->slots || !run->polls || !run->keys || !run->data || !make_timed(run))
        return fail_memory(err);
    fill_data(run->data, options->record_bytes);
    for (uint64_t i = 0; i < options->keys; i++) {
        char text[32];
        snprintf(text, sizeof text, "key-%012llu", (unsigned long long)i);
        memcpy(run->keys[i], text, KEY_BYTES);
    }
    for (uint32_t i = 0; i < run->slot_count; i++) {
        enum ks_status st = open_slot(run, &run->slots[i], err);
        if (st)
            return st;
    }
    return KS_OK;
}

static void tear_down(struct produce *run)
{
    for (uint32_t i = 0; run->slots && i < run->slot_count; i++) {
        KS_IGNORE(kstream_producer_close(run->slots[i].producer, 0, NULL, NULL),
            "flushed before, or the run has failed");
        kstream_close(run->slots[i].client);
    }
    ks_free(run->slots);
    ks_free(run->polls);
    ks_free(run->keys);
    ks_free(run->data);
    ks_free(run->timed);
}

/* ---- sending ---- */

/* Out of the free ones before the put, whose callbacks give others back. */
static struct timed *take_timed(struct produce *run, struct slot *slot)
{
    struct timed *timed = run->timed_free;
    KS_ASSERT(timed); /* as many as may be unanswered */
    run->timed_free = timed->next;
    timed->slot = slot;
    timed->due_ns = run->paced_ns;
    return timed;
}

static enum ks_status put_one(
    struct produce *run, struct slot *slot, bool *out_is_full, struct ks_error *err)
{
    const struct bench_options *options = run->options;
    const char *key = run->keys[run->next_key];
    struct timed *timed = options->rate > 0 ? take_timed(run, slot) : NULL;
    struct kstream_error error = KSTREAM_ERROR_INIT;
    enum kstream_status st = kstream_producer_put(slot->producer, key, KEY_BYTES, run->data,
        options->record_bytes, timed ? on_timed_ack : on_ack, timed ? (void *)timed : slot, &error);
    if (st && timed)
        give_timed(run, timed);
    *out_is_full = st == KSTREAM_FULL;
    if (st == KSTREAM_FULL)
        return KS_OK;
    if (st)
        return bench_fail(err, st, &error);
    if (timed)
        run->paced_ns += (uint64_t)(1e9 / options->rate);
    if (++run->next_key == options->keys)
        run->next_key = 0;
    run->sent++;
    slot->unanswered++;
    return KS_OK;
}

static bool is_due(const struct produce *run)
{
    return run->options->rate <= 0 || run->paced_ns <= bench_now_ns();
}

/* A turn for every connection. *out_put: how many records went out. */
static enum ks_status put_round(struct produce *run, uint32_t *out_put, struct ks_error *err)
{
    *out_put = 0;
    /* With a rate the connections take turns record by record, so that each has its share of it. */
    uint32_t burst = run->options->rate > 0 ? 1 : PUTS_PER_TURN;
    for (uint32_t i = 0; i < run->slot_count; i++) {
        struct slot *slot = &run->slots[run->turn];
        run->turn = run->turn + 1 == run->slot_count ? 0 : run->turn + 1;
        bool is_full = false;
        for (uint32_t n = 0; n < burst && slot->unanswered < run->options->in_flight; n++) {
            if (!is_due(run))
                return KS_OK;
            enum ks_status st = put_one(run, slot, &is_full, err);
            if (st)
                return st;
            if (is_full)
                break;
            (*out_put)++;
        }
    }
    return KS_OK;
}

/* Until an answer comes, a record is due, or wait_ns. */
static void wait_for_work(struct produce *run, uint64_t wait_ns)
{
    for (uint32_t i = 0; i < run->slot_count; i++) {
        struct pollfd *one = &run->polls[i];
        uint32_t wants_ms = kstream_producer_wants(run->slots[i].producer, &one->fd, &one->events);
        wait_ns = ks_min_u64(wait_ns, (uint64_t)wants_ms * 1000000u);
    }
    const struct timespec timeout = {
        .tv_sec = (time_t)(wait_ns / 1000000000u), .tv_nsec = (long)(wait_ns % 1000000000u)};
    KS_IGNORE(ppoll(run->polls, run->slot_count, &timeout, NULL), "looked at in any case");
    for (uint32_t i = 0; i < run->slot_count; i++)
        KS_IGNORE(kstream_producer_poll(run->slots[i].producer, 0), "acks are counted");
}

static uint64_t pause_ns(const struct produce *run)
{
    if (run->options->rate <= 0)
        return WAIT_NS;
    uint64_t now_ns = bench_now_ns();
    return ks_min_u64(run->paced_ns > now_ns ? run->paced_ns - now_ns : 0, WAIT_NS);
}

/* What the library would ride out is the end of a measurement. */
static enum ks_status check_trouble(const struct produce *run, struct ks_error *err)
{
    if (run->failed > 0)
        return ks_fail(err, run->first_failure.status, 0,
            "no result: %llu records failed or were sent again, the first: %.120s",
            (unsigned long long)run->failed, run->first_failure.text);
    for (uint32_t i = 0; i < run->slot_count; i++) {
        struct kstream_producer_stats stats = KSTREAM_PRODUCER_STATS_INIT;
        kstream_producer_stats(run->slots[i].producer, &stats);
        const char *trouble = kstream_producer_trouble(run->slots[i].producer);
        if (stats.reconnects > 0 || (!stats.is_connected && trouble[0]))
            return ks_fail(err, KS_UNAVAILABLE, 0, "no result: the connection was lost: %.150s",
                trouble[0] ? trouble : "and made again");
    }
    return KS_OK;
}

/* Sends until the time has come. */
static enum ks_status work_until(struct produce *run, uint64_t end_ns, struct ks_error *err)
{
    uint64_t checked_ns = bench_now_ns();
    for (;;) {
        uint32_t put = 0;
        enum ks_status st = put_round(run, &put, err);
        if (st)
            return st;
        if (put == 0)
            wait_for_work(run, pause_ns(run));
        uint64_t now_ns = bench_now_ns();
        if (now_ns >= end_ns)
            return KS_OK;
        if (now_ns - checked_ns < WAIT_NS)
            continue;
        checked_ns = now_ns;
        st = check_trouble(run, err);
        if (st)
            return st;
    }
}

static enum ks_status finish(struct produce *run, struct ks_error *err)
{
    for (uint32_t i = 0; i < run->slot_count; i++) {
        struct kstream_error error = KSTREAM_ERROR_INIT;
        enum kstream_status st =
            kstream_producer_flush(run->slots[i].producer, run->options->timeout_ms, &error);
        if (st && run->failed == 0)
            return ks_fail(err, (enum ks_status)st, 0, "no result: %.200s", error.text);
    }
    enum ks_status st = check_trouble(run, err);
    if (!st && run->answered != run->sent)
        st = ks_fail(err, KS_INTERNAL, 0, "no result: of %llu records only %llu were acknowledged",
            (unsigned long long)run->sent, (unsigned long long)run->answered);
    return st;
}

static enum ks_status measure(struct produce *run, struct bench_meter *meter, struct ks_error *err)
{
    const struct bench_options *options = run->options;
    uint64_t started_ns = bench_now_ns();
    uint64_t warm_ns = started_ns + (uint64_t)(options->warmup_seconds * 1e9);
    run->paced_ns = started_ns;
    enum ks_status st = work_until(run, warm_ns, err);
    if (st)
        return st;
    bench_meter_start(meter);
    run->is_measuring = true;
    st = work_until(run, bench_now_ns() + (uint64_t)(options->seconds * 1e9), err);
    run->is_measuring = false;
    bench_meter_stop(meter, run->result);
    run->result->bytes = run->result->records * options->record_bytes;
    if (st)
        return st;
    st = finish(run, err);
    if (!st && run->result->records == 0)
        st = ks_fail(err, KS_TIMEOUT, 0, "no result: nothing was acknowledged in that time");
    return st;
}

enum ks_status bench_produce(
    const struct bench_options *options, struct bench_result *result, struct ks_error *err)
{
    struct produce run = {.options = options, .result = result};
    struct kstream_client *client = NULL;
    struct bench_meter meter;
    enum ks_status st = bench_connect(options, &client, err);
    if (!st)
        st = bench_prepare_stream(options, client, &result->shards, err);
    if (!st)
        st = bench_meter_init(&meter, options, client, err);
    if (!st)
        st = set_up(&run, err);
    if (!st)
        st = measure(&run, &meter, err);
    tear_down(&run);
    kstream_close(client);
    return st;
}
