/*
 * A broker that stores nothing and costs as little as possible: what is left of a run's CPU time is
 * the client's. Stream "bench" with as many shards as told. Puts are acknowledged, reads get the
 * same stored batch again and again.
 *
 *     client_sink SHARDS RECORD_BYTES      prints its endpoint, serves one process after another
 */
#include "base/alloc.h"
#include "base/prng.h"
#include "proto/api.pb-c.h"
#include "proto/batch.h"
#include "proto/get_records.h"
#include "proto/hash_range.h"
#include "proto/put_records.h"
#include "proto/sequence.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define IN_BYTES (KS_FRAME_BYTES_MAX + (1u << 20))
#define STREAM_ID "benchStreamBench0000-001"
#define CREATED_UNIX_S 1790000000u
#define STORED_BYTES (1u << 20)

struct sink {
    uint32_t shard_count;
    struct ks_buf stored; /* one batch of about STORED_BYTES */
    uint32_t stored_records;
    uint64_t *next; /* per shard */
    struct ks_put_request *put;
    struct ks_put_response *result;
    struct ks_buf out;
};

static void store_batch(struct sink *sink, size_t record_bytes)
{
    struct ks_buf records;
    ks_buf_init(&records, KS_BATCH_RECORDS_BYTES_MAX);
    char *data = calloc(1, record_bytes + 1);
    KS_ASSERT(data);
    uint32_t body_crc = 0;
    while (records.bytes < STORED_BYTES) {
        char key[24];
        int key_bytes = snprintf(key, sizeof key, "user-%u", sink->stored_records % 1000);
        struct ks_record record = {
            .key = ks_view_of(key, (size_t)key_bytes), .data = ks_view_of(data, record_bytes)};
        size_t bytes = ks_record_encoded_bytes(record.key.bytes, record.data.bytes, false);
        KS_ASSERT(ks_buf_reserve(&records, bytes));
        body_crc =
            ks_body_crc_extend(body_crc, ks_record_encode(&record, records.data + records.bytes));
        records.bytes += bytes;
        sink->stored_records++;
    }
    struct ks_batch_header header = {.log_id = 1,
        .first_sequence = 1,
        .arrival_unix_ms = CREATED_UNIX_S * 1000ull,
        .record_count = sink->stored_records,
        .records_bytes = (uint32_t)records.bytes,
        .body_crc = body_crc,
        .kind = KS_BATCH_DATA};
    uint8_t prefix[KS_BATCH_PREFIX_BYTES_MAX];
    size_t prefix_bytes = ks_batch_encode_prefix(&header, prefix);
    ks_buf_init(&sink->stored, KS_BATCH_STORED_BYTES_MAX);
    KS_ASSERT(ks_buf_append(&sink->stored, prefix, prefix_bytes));
    KS_ASSERT(ks_buf_append(&sink->stored, records.data, records.bytes));
    ks_buf_fini(&records);
    free(data);
}

static void answer(struct sink *sink, uint64_t request_id, uint32_t op, ProtobufCMessage *message)
{
    struct ks_response_head head = {
        .request_id = request_id, .put_credit_bytes = 16u << 20, .op = op};
    KS_ASSERT(ks_response_append(&sink->out, &head, message) == KS_OK);
}

static void do_routing(struct sink *sink, uint64_t request_id)
{
    Kstream__DescribeRoutingResponse routing = KSTREAM__DESCRIBE_ROUTING_RESPONSE__INIT;
    Kstream__RoutingShard *shards = calloc(sink->shard_count, sizeof *shards);
    Kstream__RoutingShard **list = calloc(sink->shard_count, sizeof *list);
    uint8_t *keys = calloc(sink->shard_count, 32);
    KS_ASSERT(shards && list && keys);
    for (uint32_t i = 0; i < sink->shard_count; i++) {
        struct ks_hash_range range = ks_hash_range_initial(sink->shard_count, i);
        kstream__routing_shard__init(&shards[i]);
        ks_u128_store_be(keys + 32 * i, range.first);
        ks_u128_store_be(keys + 32 * i + 16, range.last);
        shards[i].shard_index = i;
        shards[i].log_id = i + 1;
        shards[i].created_unix_s = CREATED_UNIX_S;
        shards[i].first_hash_key = (ProtobufCBinaryData){.len = 16, .data = keys + 32 * i};
        shards[i].last_hash_key = (ProtobufCBinaryData){.len = 16, .data = keys + 32 * i + 16};
        list[i] = &shards[i];
    }
    routing.stream_name = (char *)(uintptr_t) "bench";
    routing.stream_id = (char *)(uintptr_t)STREAM_ID;
    routing.stream_status = (char *)(uintptr_t) "ACTIVE";
    routing.routing_epoch = 1;
    routing.record_bytes_max = KS_RECORD_BYTES_DEFAULT;
    routing.n_shards = sink->shard_count;
    routing.shards = list;
    answer(sink, request_id, KS_OP_DESCRIBE_ROUTING, &routing.base);
    free(shards);
    free(list);
    free(keys);
}

static void do_put(struct sink *sink, const struct ks_request_view *view)
{
    struct ks_put_response *result = sink->result;
    KS_ASSERT(ks_put_request_decode(view->message, sink->put, NULL) == KS_OK);
    result->failed_record_count = 0;
    result->record_count = 0;
    result->part_count = sink->put->part_count;
    for (uint32_t i = 0; i < sink->put->part_count; i++) {
        const struct ks_put_part *part = &sink->put->parts[i];
        result->parts[i] = (struct ks_put_result){.first_sequence = sink->next[part->shard_index],
            .arrival_unix_ms = CREATED_UNIX_S * 1000ull,
            .created_unix_s = CREATED_UNIX_S,
            .shard_index = part->shard_index,
            .record_count = part->record_count};
        sink->next[part->shard_index] += part->record_count;
    }
    struct ks_response_head head = {
        .request_id = view->request_id, .put_credit_bytes = 16u << 20, .op = KS_OP_PUT_RECORDS};
    KS_ASSERT(ks_put_response_append(&sink->out, &head, result) == KS_OK);
}

static void do_get(struct sink *sink, uint64_t request_id)
{
    Kstream__GetRecordsResponse response = KSTREAM__GET_RECORDS_RESPONSE__INIT;
    response.next_shard_iterator = (char *)(uintptr_t) "again";
    response.has_millis_behind_latest = true;
    response.millis_behind_latest = 1;
    response.created_unix_s = CREATED_UNIX_S;
    response.take_records = sink->stored_records;
    KS_ASSERT(ks_get_response_append_prefix(
                  &sink->out, request_id, 16u << 20, &response, sink->stored.bytes) == KS_OK);
    KS_ASSERT(ks_buf_append(&sink->out, sink->stored.data, sink->stored.bytes));
}

static void do_request(struct sink *sink, struct ks_view body)
{
    struct ks_request_view view;
    KS_ASSERT(ks_request_peek(body, &view, NULL) == KS_OK);
    if (view.op == KS_OP_PUT_RECORDS) {
        do_put(sink, &view);
    } else if (view.op == KS_OP_DESCRIBE_ROUTING) {
        do_routing(sink, view.request_id);
    } else if (view.op == KS_OP_GET_RECORDS) {
        do_get(sink, view.request_id);
    } else if (view.op == KS_OP_GET_SHARD_ITERATOR) {
        Kstream__GetShardIteratorResponse response = KSTREAM__GET_SHARD_ITERATOR_RESPONSE__INIT;
        response.shard_iterator = (char *)(uintptr_t) "again";
        answer(sink, view.request_id, KS_OP_GET_SHARD_ITERATOR, &response.base);
    } else {
        Kstream__PingResponse response = KSTREAM__PING_RESPONSE__INIT;
        response.version = response.region = response.account_id = (char *)(uintptr_t) "sink";
        response.frame_bytes_max = KS_FRAME_BYTES_MAX;
        answer(sink, view.request_id, KS_OP_PING, &response.base);
    }
}

/* What one connection has sent so far. */
struct peer {
    uint8_t *in;
    size_t in_bytes;
};

static bool serve(struct sink *sink, int fd, struct peer *peer)
{
    ssize_t n = recv(fd, peer->in + peer->in_bytes, IN_BYTES - peer->in_bytes, 0);
    if (n <= 0)
        return false;
    peer->in_bytes += (size_t)n;
    size_t at = 0;
    struct ks_frame frame;
    while (ks_frame_parse(ks_view_of(peer->in + at, peer->in_bytes - at), &frame, NULL) == KS_OK &&
           frame.is_complete) {
        do_request(sink, frame.body);
        at += frame.frame_bytes;
    }
    peer->in_bytes -= at;
    memmove(peer->in, peer->in + at, peer->in_bytes);
    for (size_t sent = 0; sent < sink->out.bytes;) {
        n = send(fd, sink->out.data + sent, sink->out.bytes - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    sink->out.bytes = 0;
    return true;
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    KS_ASSERT(bind(fd, (struct sockaddr *)&address, length) == 0);
    KS_ASSERT(listen(fd, CONNECTIONS_MAX) == 0);
    KS_ASSERT(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    printf("127.0.0.1:%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    struct sink sink = {.shard_count = (uint32_t)strtoul(argv[1], NULL, 10)};
    sink.next = calloc(sink.shard_count, sizeof *sink.next);
    sink.put = malloc(sizeof *sink.put);
    sink.result = malloc(sizeof *sink.result);
    KS_ASSERT(sink.shard_count > 0 && sink.next && sink.put && sink.result);
    for (uint32_t i = 0; i < sink.shard_count; i++)
        sink.next[i] = 1;
    ks_buf_init(&sink.out, 256u << 20);
    store_batch(&sink, strtoul(argv[2], NULL, 10));
    struct pollfd fds[CONNECTIONS_MAX + 2] = {
        {.fd = listen_anywhere(), .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    struct peer peers[CONNECTIONS_MAX + 2] = {{.in = NULL}};
    int count = 2;
    /* Ends with its standard input: nothing is left behind when the starter dies. */
    while (poll(fds, (nfds_t)count, -1) > 0 && !fds[1].revents) {
        if (fds[0].revents && count < CONNECTIONS_MAX + 2) {
            int on = 1;
            fds[count] = (struct pollfd){.fd = accept(fds[0].fd, NULL, NULL), .events = POLLIN};
            setsockopt(fds[count].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            peers[count] = (struct peer){.in = malloc(IN_BYTES)};
            KS_ASSERT(peers[count].in);
            count++;
        }
        for (int i = 2; i < count; i++)
            if (fds[i].revents && !serve(&sink, fds[i].fd, &peers[i])) {
                close(fds[i].fd);
                free(peers[i].in);
                fds[i] = fds[--count];
                peers[i--] = peers[count];
            }
    }
    return 0;
}
