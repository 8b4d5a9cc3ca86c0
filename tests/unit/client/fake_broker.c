#include "tests/unit/client/fake_broker.h"

#include "tests/unit/client/fake_broker_priv.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- answers ---- */

void fake_answer(struct fake_request *request, uint32_t op, const ProtobufCMessage *message)
{
    struct ks_response_head head = {.request_id = request->view.request_id,
        .put_credit_bytes = request->broker->put_credit_bytes,
        .op = op};
    ck_assert_int_eq(ks_response_append(&request->out, &head, message), KS_OK);
}

void fake_answer_error(struct fake_request *request, enum ks_status status, uint64_t expected,
    Kstream__DescribeRoutingResponse *routing)
{
    Kstream__Error error = KSTREAM__ERROR__INIT;
    char text[64];
    snprintf(text, sizeof text, "the fake broker says %s", ks_status_name(status));
    error.status = (uint32_t)status;
    error.message = text;
    error.has_expected_producer_sequence = expected > 0;
    error.expected_producer_sequence = expected;
    error.routing = routing;
    fake_answer(request, KS_OP_ERROR, &error.base);
}

ProtobufCMessage *fake_unpack(struct fake_request *request)
{
    const struct ks_operation *operation = ks_operation_by_number(request->view.op);
    ck_assert_ptr_nonnull(operation);
    ProtobufCMessage *message =
        ks_arena_unpack(&request->arena, operation->request, request->view.message);
    ck_assert_ptr_nonnull(message);
    return message;
}

/* ---- routing ---- */

Kstream__DescribeRoutingResponse *fake_routing(struct fake_request *request)
{
    struct fake_broker *broker = request->broker;
    Kstream__DescribeRoutingResponse *routing = ks_arena_zalloc(&request->arena, sizeof *routing);
    Kstream__RoutingShard *list = ks_arena_zalloc(&request->arena, FAKE_SHARDS_MAX * sizeof *list);
    kstream__describe_routing_response__init(routing);
    Kstream__RoutingShard **sorted =
        ks_arena_zalloc(&request->arena, FAKE_SHARDS_MAX * sizeof *sorted);
    routing->shards = sorted;
    /* Open ones by their first key: a new shard is put in its place. */
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        const struct fake_shard *shard = &broker->shards[i];
        if (!shard->is_open)
            continue;
        size_t at = routing->n_shards++;
        for (;
             at > 0 && broker->shards[sorted[at - 1]->shard_index].range.first > shard->range.first;
             at--)
            sorted[at] = sorted[at - 1];
        kstream__routing_shard__init(&list[i]);
        list[i].shard_index = i;
        list[i].log_id = i + 1;
        list[i].created_unix_s = FAKE_CREATED_UNIX_S;
        uint8_t *keys = ks_arena_alloc(&request->arena, 32);
        ks_u128_store_be(keys, shard->range.first);
        ks_u128_store_be(keys + 16, shard->range.last);
        list[i].first_hash_key = (ProtobufCBinaryData){.len = 16, .data = keys};
        list[i].last_hash_key = (ProtobufCBinaryData){.len = 16, .data = keys + 16};
        sorted[at] = &list[i];
    }
    routing->stream_name = ks_arena_strdup(&request->arena, "clicks");
    routing->stream_id = ks_arena_strdup(&request->arena, STREAM_ID);
    routing->stream_status = ks_arena_strdup(&request->arena, "ACTIVE");
    routing->ack = broker->ack ? ks_arena_strdup(&request->arena, broker->ack) : NULL;
    routing->routing_epoch = broker->epoch;
    routing->record_bytes_max = KS_RECORD_BYTES_DEFAULT;
    return routing;
}

static struct fake_shard *add_child(
    struct fake_broker *broker, struct ks_hash_range range, uint32_t parent, uint32_t other)
{
    struct fake_shard *child = &broker->shards[broker->shard_count++];
    *child = (struct fake_shard){
        .range = range, .is_open = true, .parents = {parent, other}, .has_parent = true};
    return child;
}

/* The last open shard becomes two. */
static void split(struct fake_broker *broker)
{
    uint32_t parent = broker->shard_count - 1;
    if (broker->shard_count + 2 > FAKE_SHARDS_MAX)
        return;
    struct ks_hash_range range = broker->shards[parent].range;
    ks_u128 middle = range.first + (range.last - range.first) / 2;
    broker->shards[parent].is_open = false;
    add_child(broker, (struct ks_hash_range){range.first, middle}, parent, parent);
    add_child(broker, (struct ks_hash_range){middle + 1, range.last}, parent, parent);
    broker->epoch++;
}

static bool merge_shards(struct fake_broker *broker, uint32_t i, uint32_t j)
{
    struct fake_shard *low = &broker->shards[i];
    struct fake_shard *high = &broker->shards[j];
    if (!low->is_open || !high->is_open || low->range.last + 1 != high->range.first ||
        high->range.first == 0 || broker->shard_count == FAKE_SHARDS_MAX)
        return false;
    low->is_open = false;
    high->is_open = false;
    add_child(broker, (struct ks_hash_range){low->range.first, high->range.last}, i, j);
    broker->epoch++;
    return true;
}

/* The last two open shards that lie side by side become one. */
static void merge(struct fake_broker *broker)
{
    for (uint32_t i = broker->shard_count; i-- > 0;)
        for (uint32_t j = 0; j < broker->shard_count; j++)
            if (merge_shards(broker, i, j))
                return;
}

/* ---- requests ---- */

static void do_ping(struct fake_request *request)
{
    Kstream__PingResponse response = KSTREAM__PING_RESPONSE__INIT;
    response.version = ks_arena_strdup(&request->arena, "0.0.0-fake");
    response.region = ks_arena_strdup(&request->arena, "us-east-1");
    response.account_id = ks_arena_strdup(&request->arena, "000000000000");
    response.server_unix_ms = FAKE_NOW_UNIX_MS;
    response.frame_bytes_max = KS_FRAME_BYTES_MAX;
    fake_answer(request, KS_OP_PING, &response.base);
}

static void do_request(struct fake_request *request)
{
    switch ((enum ks_op)request->view.op) {
    case KS_OP_PING:
        do_ping(request);
        return;
    case KS_OP_DESCRIBE_ROUTING:
        fake_answer(request, KS_OP_DESCRIBE_ROUTING, &fake_routing(request)->base);
        return;
    case KS_OP_PUT_RECORD:
        fake_put_record(request);
        return;
    case KS_OP_PUT_RECORDS: {
        const Kstream__PutRecordsRequest *message = (const void *)fake_unpack(request);
        if (message->n_shard_puts > 0)
            fake_put_routed(request, message);
        else
            fake_put_plain(request, message);
        return;
    }
    case KS_OP_GET_SHARD_ITERATOR:
        fake_get_iterator(request);
        return;
    case KS_OP_GET_RECORDS:
        fake_get_records(request);
        return;
    case KS_OP_RESUME_PRODUCER:
        fake_resume_producer(request);
        return;
    case KS_OP_LIST_SHARDS:
        fake_list_shards(request);
        return;
    case KS_OP_CONFIRM_CLOCK:
    case KS_OP_DESCRIBE_CONFIG:
    case KS_OP_CREATE_STREAM:
    case KS_OP_DELETE_STREAM:
    case KS_OP_DESCRIBE_STREAM:
    case KS_OP_DESCRIBE_STREAM_SUMMARY:
    case KS_OP_LIST_STREAMS:
    case KS_OP_SPLIT_SHARD:
    case KS_OP_MERGE_SHARDS:
    case KS_OP_UPDATE_SHARD_COUNT:
    case KS_OP_UPDATE_STREAM_MODE:
    case KS_OP_INCREASE_STREAM_RETENTION_PERIOD:
    case KS_OP_DECREASE_STREAM_RETENTION_PERIOD:
    case KS_OP_UPDATE_MAX_RECORD_SIZE:
    case KS_OP_UPDATE_STREAM_WARM_THROUGHPUT:
    case KS_OP_ADD_TAGS_TO_STREAM:
    case KS_OP_REMOVE_TAGS_FROM_STREAM:
    case KS_OP_LIST_TAGS_FOR_STREAM:
    case KS_OP_TAG_RESOURCE:
    case KS_OP_UNTAG_RESOURCE:
    case KS_OP_LIST_TAGS_FOR_RESOURCE:
    case KS_OP_ENABLE_ENHANCED_MONITORING:
    case KS_OP_DISABLE_ENHANCED_MONITORING:
    case KS_OP_DESCRIBE_LIMITS:
    case KS_OP_DESCRIBE_ACCOUNT_SETTINGS:
    case KS_OP_UPDATE_ACCOUNT_SETTINGS:
    case KS_OP_UPDATE_STREAM_LIMITS:
    case KS_OP_RESTORE_STREAM:
    case KS_OP_DESCRIBE_COMPACTOR:
    case KS_OP_COMPACT:
    case KS_OP_BACKUP_CATALOG:
    case KS_OP_DESCRIBE_HOST:
    case KS_OP_DESCRIBE_USAGE:
    case KS_OP_GET_METRICS:
    case KS_OP_DESCRIBE_HEAT:
    case KS_OP_DESCRIBE_LOAD:
    case KS_OP_VERIFY_SHARD:
        break;
    }
    fake_answer_error(request, KS_NOT_FOUND, 0, NULL);
}

static enum fake_fault random_fault(struct fake_broker *broker)
{
    static const enum fake_fault harmless[] = {FAKE_CLOSE_BEFORE, FAKE_CLOSE_AFTER,
        FAKE_HALF_ANSWER, FAKE_GARBAGE, FAKE_WRONG_ANSWER, FAKE_ERROR, FAKE_PART_ERROR, FAKE_SPLIT,
        FAKE_MERGE};
    if (!ks_prng_chance(&broker->prng, broker->misbehave_percent, 100))
        return FAKE_NONE;
    return harmless[ks_prng_below(&broker->prng, KS_COUNT_OF(harmless))];
}

static enum fake_fault choose_fault(struct fake_broker *broker, uint32_t op)
{
    ck_assert_uint_lt(op, OPS_MAX);
    uint32_t number = ++broker->requests[op];
    for (uint32_t i = 0; i < broker->plan_count; i++)
        if ((uint32_t)broker->plans[i].op == op && broker->plans[i].at == number)
            return broker->plans[i].fault;
    if (op == KS_OP_PUT_RECORDS && broker->misbehave_percent > 0)
        return random_fault(broker);
    return FAKE_NONE;
}

static bool send_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        bytes -= (size_t)n;
    }
    return true;
}

/* Sends what the fault makes of the answer. False: the connection ends. */
static bool request_finish(struct fake_request *request, int fd)
{
    static const uint8_t garbage[] = {0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff};
    switch (request->fault) {
    case FAKE_CLOSE_AFTER:
        return false;
    case FAKE_HALF_ANSWER:
        send_all(fd, request->out.data, request->out.bytes / 2);
        return false;
    case FAKE_GARBAGE:
        return send_all(fd, garbage, sizeof garbage);
    case FAKE_WRONG_ANSWER:
        request->out.bytes = 0;
        do_ping(request);
        return send_all(fd, request->out.data, request->out.bytes);
    case FAKE_SILENCE:
        return true;
    case FAKE_NONE:
    case FAKE_CLOSE_BEFORE:
    case FAKE_ERROR:
    case FAKE_PART_ERROR:
    case FAKE_SPLIT:
    case FAKE_MERGE:
    case FAKE_FORGET:
    case FAKE_LOSE_LAST:
    case FAKE_DAMAGE_RECORD:
    case FAKE_SHORT_PART:
    case FAKE_NOTHING_YET:
        break;
    }
    return send_all(fd, request->out.data, request->out.bytes);
}

static void lose_last(struct fake_shard *shard)
{
    if (shard->batch_count == 0)
        return;
    for (uint32_t lost = shard->batches[--shard->batch_count].count; lost > 0; lost--) {
        shard->count--;
        free(shard->records[shard->count].key);
        free(shard->records[shard->count].data);
    }
}

static void park(struct fake_connection *connection, struct ks_view body)
{
    ck_assert_uint_lt(connection->parked_count, PARKED_MAX);
    struct fake_parked *parked = &connection->parked[connection->parked_count++];
    parked->body = malloc(body.bytes);
    ck_assert_ptr_nonnull(parked->body);
    memcpy(parked->body, body.data, body.bytes);
    parked->bytes = body.bytes;
}

/* What the fault does to the broker before the request is looked at. */
static void misfortune(struct fake_broker *broker, enum fake_fault fault)
{
    if (fault == FAKE_SPLIT)
        split(broker);
    if (fault == FAKE_MERGE)
        merge(broker);
    for (uint32_t i = 0; fault == FAKE_FORGET && i < broker->shard_count; i++) {
        broker->shards[i].batch_count = 0;
        broker->shards[i].has_forgotten = true;
    }
    for (uint32_t i = 0; fault == FAKE_LOSE_LAST && i < broker->shard_count; i++)
        lose_last(&broker->shards[i]);
}

/* is_again: it has waited; faults are for the first time. False: the connection ends. */
static bool handle(struct fake_broker *broker, struct fake_connection *connection,
    struct ks_view body, bool is_again)
{
    struct fake_request request = {.broker = broker};
    ck_assert_int_eq(ks_request_peek(body, &request.view, NULL), KS_OK);
    request.fault = is_again ? FAKE_NONE : choose_fault(broker, request.view.op);
    if (request.fault == FAKE_CLOSE_BEFORE)
        return false;
    ks_arena_init(&request.arena, 64u << 20);
    ks_buf_init(&request.out, 64u << 20);
    misfortune(broker, request.fault);
    if (request.fault == FAKE_ERROR)
        fake_answer_error(&request, broker->error_status, 0, NULL);
    else
        do_request(&request);
    bool goes_on = true;
    if (request.must_wait)
        park(connection, body);
    else
        goes_on = request_finish(&request, connection->fd);
    ks_buf_fini(&request.out);
    ks_arena_fini(&request.arena);
    return goes_on;
}

/* ---- the thread ---- */

static void connection_close(struct fake_connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    ks_buf_fini(&connection->in);
    while (connection->parked_count > 0)
        free(connection->parked[--connection->parked_count].body);
}

/* Each parked request once more: it may have what it waits for now. */
static void connection_unpark(struct fake_broker *broker, struct fake_connection *connection)
{
    struct fake_parked again[PARKED_MAX];
    size_t count = connection->parked_count;
    memcpy(again, connection->parked, sizeof again);
    connection->parked_count = 0;
    for (size_t i = 0; i < count; i++) {
        KS_IGNORE(handle(broker, connection, ks_view_of(again[i].body, again[i].bytes), true),
            "the end is noticed when it is read");
        free(again[i].body);
    }
}

static bool connection_read(struct fake_broker *broker, struct fake_connection *connection)
{
    struct ks_buf *in = &connection->in;
    if (!ks_buf_reserve(in, 256u << 10))
        return false;
    ssize_t n = recv(connection->fd, in->data + in->bytes, 256u << 10, 0);
    if (n <= 0)
        return false;
    in->bytes += (size_t)n;
    for (;;) {
        struct ks_frame frame;
        ck_assert_int_eq(ks_frame_parse(ks_view_of(in->data, in->bytes), &frame, NULL), KS_OK);
        if (!frame.is_complete)
            return true;
        pthread_mutex_lock(&broker->mu);
        bool goes_on = handle(broker, connection, frame.body, false);
        pthread_mutex_unlock(&broker->mu);
        if (!goes_on)
            return false;
        in->bytes -= frame.frame_bytes;
        memmove(in->data, in->data + frame.frame_bytes, in->bytes);
    }
}

static void take_connection(struct fake_broker *broker, bool is_away)
{
    int fd = accept(broker->listener, NULL, NULL);
    for (size_t i = 0; fd >= 0 && !is_away && i < CONNECTIONS_MAX; i++)
        if (broker->connections[i].fd < 0) {
            broker->connections[i].fd = fd;
            broker->connections[i].parked_count = 0;
            ks_buf_init(&broker->connections[i].in, 64u << 20);
            return;
        }
    if (fd >= 0)
        close(fd);
}

static void *fake_broker_main(void *arg)
{
    struct fake_broker *broker = arg;
    for (;;) {
        struct pollfd fds[CONNECTIONS_MAX + 2] = {
            {.fd = broker->wake[0], .events = POLLIN}, {.fd = broker->listener, .events = POLLIN}};
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
            fds[i + 2] = (struct pollfd){.fd = broker->connections[i].fd, .events = POLLIN};
        poll(fds, CONNECTIONS_MAX + 2, -1);
        pthread_mutex_lock(&broker->mu);
        bool must_stop = broker->must_stop;
        bool is_away = broker->is_away;
        pthread_mutex_unlock(&broker->mu);
        char byte;
        if (fds[0].revents)
            KS_IGNORE(read(broker->wake[0], &byte, 1), "only wakes");
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
            struct fake_connection *connection = &broker->connections[i];
            if (connection->fd >= 0 &&
                (must_stop || is_away ||
                    (fds[i + 2].revents && !connection_read(broker, connection))))
                connection_close(connection);
        }
        if (must_stop)
            return NULL;
        pthread_mutex_lock(&broker->mu);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
            if (broker->connections[i].fd >= 0)
                connection_unpark(broker, &broker->connections[i]);
        pthread_mutex_unlock(&broker->mu);
        if (fds[1].revents)
            take_connection(broker, is_away);
    }
}

/* ---- what tests call ---- */

struct fake_broker *fake_broker_start(uint32_t shards)
{
    struct fake_broker *broker = calloc(1, sizeof *broker);
    ck_assert_ptr_nonnull(broker);
    pthread_mutex_init(&broker->mu, NULL);
    broker->epoch = 1;
    broker->shard_count = shards;
    broker->put_credit_bytes = 16u << 20;
    broker->error_status = KS_THROTTLED;
    for (uint32_t i = 0; i < shards; i++)
        broker->shards[i] =
            (struct fake_shard){.range = ks_hash_range_initial(shards, i), .is_open = true};
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        broker->connections[i].fd = -1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    broker->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(broker->listener, (struct sockaddr *)&address, length), 0);
    ck_assert_int_eq(listen(broker->listener, CONNECTIONS_MAX), 0);
    ck_assert_int_eq(getsockname(broker->listener, (struct sockaddr *)&address, &length), 0);
    snprintf(broker->endpoint, sizeof broker->endpoint, "127.0.0.1:%u", ntohs(address.sin_port));
    ck_assert_int_eq(pipe(broker->wake), 0);
    ck_assert_int_eq(pthread_create(&broker->thread, NULL, fake_broker_main, broker), 0);
    return broker;
}

static void fake_broker_wake(struct fake_broker *broker)
{
    ck_assert_int_eq(write(broker->wake[1], "w", 1), 1);
}

void fake_broker_stop(struct fake_broker *broker)
{
    pthread_mutex_lock(&broker->mu);
    broker->must_stop = true;
    pthread_mutex_unlock(&broker->mu);
    fake_broker_wake(broker);
    pthread_join(broker->thread, NULL);
    close(broker->listener);
    close(broker->wake[0]);
    close(broker->wake[1]);
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        struct fake_shard *shard = &broker->shards[i];
        for (size_t j = 0; j < shard->count; j++) {
            free(shard->records[j].key);
            free(shard->records[j].data);
        }
        free(shard->records);
        free(shard->batches);
    }
    pthread_mutex_destroy(&broker->mu);
    free(broker);
}

const char *fake_broker_endpoint(const struct fake_broker *broker)
{
    return broker->endpoint;
}

void fake_broker_plan(
    struct fake_broker *broker, enum ks_op op, uint32_t nth, enum fake_fault fault)
{
    pthread_mutex_lock(&broker->mu);
    ck_assert_uint_lt(broker->plan_count, PLANS_MAX);
    broker->plans[broker->plan_count++] =
        (struct fake_plan){.op = op, .at = broker->requests[op] + nth, .fault = fault};
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_error_status(struct fake_broker *broker, enum ks_status status)
{
    pthread_mutex_lock(&broker->mu);
    broker->error_status = status;
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_misbehave(struct fake_broker *broker, uint64_t seed, uint32_t percent)
{
    pthread_mutex_lock(&broker->mu);
    ks_prng_seed(&broker->prng, seed);
    broker->misbehave_percent = percent;
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_ack(struct fake_broker *broker, const char *ack)
{
    pthread_mutex_lock(&broker->mu);
    broker->ack = ack;
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_put_credit(struct fake_broker *broker, uint32_t bytes)
{
    pthread_mutex_lock(&broker->mu);
    broker->put_credit_bytes = bytes;
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_away(struct fake_broker *broker, bool is_away)
{
    pthread_mutex_lock(&broker->mu);
    broker->is_away = is_away;
    pthread_mutex_unlock(&broker->mu);
    fake_broker_wake(broker);
}

void fake_broker_append(
    struct fake_broker *broker, uint32_t shard, const char *key, const char *data)
{
    pthread_mutex_lock(&broker->mu);
    fake_shard_store(&broker->shards[shard], ks_view_of_text(key), ks_view_of_text(data));
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_long_poll(struct fake_broker *broker)
{
    pthread_mutex_lock(&broker->mu);
    broker->has_long_poll = true;
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_split(struct fake_broker *broker)
{
    pthread_mutex_lock(&broker->mu);
    split(broker);
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_merge(struct fake_broker *broker)
{
    pthread_mutex_lock(&broker->mu);
    merge(broker);
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_merge_shards(struct fake_broker *broker, uint32_t low, uint32_t high)
{
    pthread_mutex_lock(&broker->mu);
    ck_assert(merge_shards(broker, low, high));
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_expire(struct fake_broker *broker, uint32_t shard)
{
    pthread_mutex_lock(&broker->mu);
    broker->shards[shard].is_expired = true;
    pthread_mutex_unlock(&broker->mu);
}

void fake_broker_allow_mismatch(struct fake_broker *broker)
{
    pthread_mutex_lock(&broker->mu);
    broker->allows_mismatch = true;
    pthread_mutex_unlock(&broker->mu);
}

size_t fake_broker_put_bytes(struct fake_broker *broker)
{
    pthread_mutex_lock(&broker->mu);
    size_t bytes = broker->put_bytes;
    pthread_mutex_unlock(&broker->mu);
    return bytes;
}

uint32_t fake_broker_parts_max(struct fake_broker *broker)
{
    pthread_mutex_lock(&broker->mu);
    uint32_t parts = broker->parts_max;
    pthread_mutex_unlock(&broker->mu);
    return parts;
}

void fake_broker_close_shard(struct fake_broker *broker, uint32_t shard)
{
    pthread_mutex_lock(&broker->mu);
    broker->shards[shard].is_open = false;
    pthread_mutex_unlock(&broker->mu);
}

size_t fake_broker_count(struct fake_broker *broker, uint32_t shard)
{
    pthread_mutex_lock(&broker->mu);
    size_t count = broker->shards[shard].count;
    pthread_mutex_unlock(&broker->mu);
    return count;
}

uint32_t fake_broker_shards(struct fake_broker *broker)
{
    pthread_mutex_lock(&broker->mu);
    uint32_t count = broker->shard_count;
    pthread_mutex_unlock(&broker->mu);
    return count;
}

const char *fake_broker_data(struct fake_broker *broker, uint32_t shard, size_t index)
{
    pthread_mutex_lock(&broker->mu);
    const char *data =
        index < broker->shards[shard].count ? broker->shards[shard].records[index].data : "";
    pthread_mutex_unlock(&broker->mu);
    return data;
}

uint32_t fake_broker_requests(struct fake_broker *broker, enum ks_op op)
{
    pthread_mutex_lock(&broker->mu);
    uint32_t count = broker->requests[op];
    pthread_mutex_unlock(&broker->mu);
    return count;
}

struct kstream_client *fake_broker_connect(struct fake_broker *broker, const char *timeout_ms)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_config *config = kstream_config_new();
    struct kstream_client *client = NULL;
    ck_assert_ptr_nonnull(config);
    ck_assert_int_eq(
        kstream_config_set(config, "endpoint", fake_broker_endpoint(broker), &err), KSTREAM_OK);
    ck_assert_int_eq(
        kstream_config_set(config, "request_timeout_ms", timeout_ms, &err), KSTREAM_OK);
    ck_assert_int_eq(kstream_connect(config, 10000, &client, &err), KSTREAM_OK);
    return client;
}
