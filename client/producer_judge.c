/*
 * What an answer means for a batch: stored, refused for now, refused for good, or still open. The
 * rules of idempotent producers stand in docs/kstream-protocol.md; the broker's side of them in
 * storage/producers.h.
 */
#include "client/producer_priv.h"

/* Whether an earlier attempt's outcome stays open after this status, or it is known that nothing of
 * this attempt was stored. */
static bool leaves_outcome_open(enum ks_status status)
{
    return status == KS_TIMEOUT || status == KS_POISONED || status == KS_INTERNAL ||
           status == KS_IO || status == KS_UNAVAILABLE;
}

void producer_die(struct kstream_producer *p, enum ks_status status, const char *text)
{
    if (p->fatal)
        return;
    p->fatal = status;
    p->wants_turn = true; /* which fails all that waits */
    KS_IGNORE(ks_fail(&p->trouble, status, 0, "%s", text), "only fills it");
    client_log(p->client, KSTREAM_LOG_ERROR, "producer.ends reason=\"%s\"", p->trouble.text);
}

static bool has_passed_ms(uint64_t since_ns, uint32_t ms)
{
    return client_now_ns() - since_ns >= (uint64_t)ms * 1000000u;
}

/* Refused for now. When that has gone on for too long, request_done gives the shard's batches up.
 */
static void shard_back_off(struct producer_shard *shard, enum ks_status status, const char *text)
{
    struct kstream_producer *p = shard->producer;
    KS_IGNORE(ks_fail(&p->trouble, status, 0, "%s", text), "only fills it");
    if (shard->trouble_since_ns == 0) {
        shard->trouble_since_ns = client_now_ns();
        client_log(p->client, KSTREAM_LOG_INFO, "producer.refused shard=%u reason=\"%s\"",
            shard->index, text);
    }
    shard->gives_up =
        shard->gives_up || has_passed_ms(shard->trouble_since_ns, p->options.retry_time_max_ms);
    shard->not_before_ns = client_backoff_ns(&p->jitter, &shard->backoff_ms);
}

/* For good: what follows in the shard gets a new identity, for the broker would see a gap. One that
 * may be resumed has none but its own, so it ends here. */
static void batch_give_up(struct producer_batch *batch, enum ks_status status, const char *text)
{
    struct producer_shard *shard = batch->shard;
    struct kstream_producer *p = batch->producer;
    if (p->options.resume)
        producer_die(p, status, text);
    producer_batch_fail(batch, status, text);
    producer_shard_new_identity(shard);
}

/* The batch before it that still waits under the same producer id; NULL: there is none. */
static struct producer_batch *batch_predecessor(struct producer_batch *batch)
{
    struct producer_batch *found = NULL;
    KS_LIST_FOR_EACH(node, &batch->shard->batches)
    {
        struct producer_batch *earlier = KS_CONTAINER_OF(node, struct producer_batch, node);
        if (earlier == batch)
            break;
        if (earlier->producer_id == batch->producer_id)
            found = earlier;
    }
    return found;
}

static void batch_unknown(struct producer_batch *batch, const char *text)
{
    struct producer_batch *earlier = batch_predecessor(batch);
    if (earlier) {
        /*
         * The broker may not know the producer because its first batch has yet to be stored: sent
         * again behind that one. Behind a batch that is certainly not stored nothing is.
         */
        if (!earlier->is_maybe_stored && !earlier->is_in_flight)
            batch->is_maybe_stored = false;
    } else if (batch->is_maybe_stored || batch->producer->options.resume) {
        batch_give_up(batch, KS_PRODUCER_UNKNOWN, text);
    } else if (batch->producer_id != batch->shard->producer_id) {
        batch->producer_id = 0;
    } else {
        /* Never stored, and the broker has forgotten this producer: a new one may go on. */
        producer_shard_new_identity(batch->shard);
    }
}

static void batch_gap(struct producer_batch *batch, uint64_t expected, const char *text)
{
    struct producer_shard *shard = batch->shard;
    /* Nothing was stored of it, in this attempt or before: the broker has not come that far. */
    batch->is_maybe_stored = false;
    if (batch->producer_id != shard->producer_id)
        batch->producer_id = 0; /* the batch before it failed for good */
    else if (producer_shard_head(shard) != batch)
        return; /* sent again behind the one that is missing */
    else if (expected < batch->producer_sequence && batch->producer->is_ack_memory &&
             !batch->producer->options.resume)
        /* A crash has taken what was answered from memory. This batch never came that far. */
        producer_shard_new_identity(shard);
    else if (expected != batch->producer_sequence)
        batch_give_up(batch, KS_PRODUCER_GAP, text);
    else
        shard_back_off(shard, KS_PRODUCER_GAP, text);
}

/* The closed shard says: not applied. */
static void batch_shard_closed(struct producer_batch *batch, const char *text)
{
    batch->is_maybe_stored = false;
    if (!batch->shard->is_open)
        return; /* handed to the children when none of its questions is open */
    shard_back_off(batch->shard, KS_SHARD_CLOSED, text); /* in the middle of the change */
    producer_ask_anew(batch->producer);
}

static void batch_refused(
    struct producer_batch *batch, enum ks_status status, uint64_t expected, const char *text)
{
    batch->shard->must_settle = true;
    if (leaves_outcome_open(status))
        batch->is_maybe_stored = true;
    if (status == KS_ROUTING_CHANGED)
        producer_ask_anew(batch->producer);
    else if (status == KS_SHARD_CLOSED)
        batch_shard_closed(batch, text);
    else if (status == KS_PRODUCER_GAP)
        batch_gap(batch, expected, text);
    else if (status == KS_PRODUCER_UNKNOWN)
        batch_unknown(batch, text);
    else if (status == KS_PRODUCER_MISMATCH)
        producer_die(batch->producer, status,
            "another producer writes under the same id: its batch is stored, this one is not");
    else if (ks_status_info(status)->retryable)
        shard_back_off(batch->shard, status, text);
    else
        batch_give_up(batch, status, text);
}

static void shard_succeeded(struct producer_shard *shard)
{
    struct kstream_producer *p = shard->producer;
    shard->backoff_ms = 0;
    shard->not_before_ns = 0;
    shard->trouble_since_ns = 0;
    shard->gives_up = false;
    p->trouble_since_ns = 0;
    p->setup_backoff_ms = 0;
    p->trouble.text[0] = '\0';
}

void producer_batch_judge(struct producer_batch *batch, const struct ks_put_result *result)
{
    if (result->status == KS_OK) {
        shard_succeeded(batch->shard);
        producer_batch_succeed(batch, result);
        return;
    }
    char text[KS_ERROR_TEXT_BYTES];
    size_t bytes = KS_MIN(result->error_text.bytes, sizeof text - 1);
    if (bytes > 0)
        memcpy(text, result->error_text.data, bytes);
    text[bytes] = '\0';
    batch_refused(batch, result->status, result->expected_producer_sequence, text);
}

/* A broker that says it has changed its routing must bring a new one. */
static void routing_changed(struct kstream_producer *p, const struct client_broker_error *error)
{
    struct ks_error why = KS_ERROR_INIT;
    if (!error->routing || error->routing->routing_epoch == p->routing.epoch ||
        producer_adopt_routing(p, error->routing, &why) != KS_OK)
        producer_ask_anew(p);
}

/* Whether it is about one of the records: with several parts nobody knows which. */
static bool is_about_a_part(enum ks_status status)
{
    return !ks_status_info(status)->retryable && status != KS_SHARD_CLOSED;
}

void producer_request_refused(
    struct producer_request *request, const struct client_broker_error *error, const char *text)
{
    struct kstream_producer *p = request->producer;
    if (error->status == KS_ROUTING_CHANGED)
        routing_changed(p, error);
    bool is_for_one = request->count > 1 && is_about_a_part(error->status);
    for (uint32_t i = 0; i < request->count; i++) {
        struct producer_batch *batch = request->batches[i];
        batch->shard->must_settle = true;
        if (is_for_one)
            batch->is_alone = true; /* again, each by itself */
        else if (error->status != KS_ROUTING_CHANGED)
            batch_refused(batch, error->status, error->expected_producer_sequence, text);
    }
}
