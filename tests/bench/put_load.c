/*
 * Clients that put, without a library in between: what a broker's fairness is measured with.
 *
 *     put_load HOST PORT STREAM SECONDS CLIENTS WINDOW [BYTES]
 *
 * CLIENTS connections on one thread, each with WINDOW puts of one record of BYTES (1024)
 * unanswered. WINDOW 0: greedy ones, which write as long as the socket takes anything, whatever
 * credit the broker grants. Prints one line of JSON: acknowledged and refused puts, and latencies
 * in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    OP_PUT_RECORD = 26,
    OP_ERROR = 3,
    KEYS = 997,
    IN_BYTES = 1 << 18,
    OUT_FRAMES = 64,
    SENT_MAX = 1 << 16,
    LATENCIES_MAX = 4000000
};

struct client {
    int fd;
    uint64_t next_id;
    uint64_t sent;     /* frames wholly handed to the socket */
    uint64_t answered; /* in any order: only counted */
    uint8_t *out;      /* OUT_FRAMES frames */
    size_t out_bytes;
    size_t out_at;
    uint8_t *in;
    size_t in_bytes;
    double *sent_us; /* by request id, SENT_MAX of them */
};

static struct {
    const char *stream;
    size_t record_bytes;
    uint64_t window;
    double until_us;
    uint64_t acknowledged, refused;
    float *latencies;
    size_t latency_count;
} load;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what)
{
    fprintf(stderr, "put_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint8_t *put_varint(uint8_t *to, uint64_t value)
{
    while (value > 127) {
        *to++ = (uint8_t)(value | 128);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

static uint8_t *put_bytes(uint8_t *to, unsigned field, const void *data, size_t bytes)
{
    to = put_varint(to, field << 3 | 2);
    to = put_varint(to, bytes);
    memcpy(to, data, bytes);
    return to + bytes;
}

/* One PutRecord request; returns its length. */
static size_t frame_make(uint8_t *frame, uint64_t request_id)
{
    static uint8_t data[1 << 20];
    static uint8_t message[(1 << 20) + 1024];
    char key[16];
    int key_bytes = snprintf(key, sizeof key, "k%" PRIu64, request_id * 7919 % KEYS);
    uint8_t *end = put_bytes(message, 1, load.stream, strlen(load.stream));
    end = put_bytes(end, 2, data, load.record_bytes);
    end = put_bytes(end, 3, key, (size_t)key_bytes);
    uint8_t *body = frame + 4;
    uint8_t *at = put_varint(put_varint(body, 1 << 3), request_id);
    at = put_bytes(at, OP_PUT_RECORD, message, (size_t)(end - message));
    uint32_t bytes = htonl((uint32_t)(at - body));
    memcpy(frame, &bytes, 4);
    return (size_t)(at - frame);
}

static bool client_may_send(const struct client *client)
{
    uint64_t limit = load.window ? load.window : SENT_MAX;
    return client->next_id - 1 - client->answered < limit && now_us() < load.until_us;
}

/* Fills the buffer, writes until the socket is full or nothing may be sent. True: it waits for the
 * socket. */
static bool client_write(struct client *client)
{
    for (;;) {
        if (client->out_at == client->out_bytes) {
            client->out_at = client->out_bytes = 0;
            for (int i = 0; i < OUT_FRAMES && client_may_send(client); i++) {
                client->sent_us[client->next_id % SENT_MAX] = now_us();
                client->out_bytes += frame_make(client->out + client->out_bytes, client->next_id++);
            }
            if (client->out_bytes == 0)
                return false;
        }
        ssize_t n = send(client->fd, client->out + client->out_at,
            client->out_bytes - client->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0)
            die("send");
        client->out_at += (size_t)n;
    }
}

static uint64_t take_varint(const uint8_t **at)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
}

/* request_id, put credit, then the result, whose field says which it is. */
static void take_answer(struct client *client, const uint8_t *body)
{
    body++;
    uint64_t id = take_varint(&body);
    body++;
    (void)take_varint(&body);
    uint64_t field = take_varint(&body) >> 3;
    client->answered++;
    if (field != OP_PUT_RECORD) {
        load.refused++;
        return;
    }
    load.acknowledged++;
    if (load.latency_count < LATENCIES_MAX)
        load.latencies[load.latency_count++] = (float)(now_us() - client->sent_us[id % SENT_MAX]);
}

static void client_read(struct client *client)
{
    ssize_t n = recv(client->fd, client->in + client->in_bytes, IN_BYTES - client->in_bytes, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("the broker closed a connection");
    client->in_bytes += (size_t)n;
    size_t at = 0;
    while (client->in_bytes - at >= 4) {
        uint32_t bytes;
        memcpy(&bytes, client->in + at, 4);
        bytes = ntohl(bytes);
        if (client->in_bytes - at - 4 < bytes)
            break;
        take_answer(client, client->in + at + 4);
        at += 4 + bytes;
    }
    memmove(client->in, client->in + at, client->in_bytes - at);
    client->in_bytes -= at;
}

static void client_open(struct client *client, const char *host, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    inet_pton(AF_INET, host, &address.sin_addr);
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0 || connect(client->fd, (void *)&address, sizeof address) != 0)
        die("connect");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    client->next_id = 1;
    client->out = malloc(OUT_FRAMES * (load.record_bytes + 1024));
    client->in = malloc(IN_BYTES);
    client->sent_us = calloc(SENT_MAX, sizeof *client->sent_us);
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

static float quantile(double q)
{
    return load.latency_count ? load.latencies[(size_t)((double)(load.latency_count - 1) * q)] : 0;
}

static void run(struct client *clients, int count)
{
    int epoll = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {
            .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = (uint32_t)i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event);
    }
    double grace_us = load.until_us + 10e6;
    for (bool is_owed = true; is_owed && now_us() < grace_us;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, 100);
        for (int i = 0; i < n; i++) {
            struct client *client = &clients[events[i].data.u32];
            size_t before;
            do {
                before = client->answered;
                if (events[i].events & EPOLLIN)
                    client_read(client);
                client_write(client);
            } while (client->answered != before);
        }
        is_owed = now_us() < load.until_us;
        for (int i = 0; i < count && load.window; i++)
            is_owed |= clients[i].answered < clients[i].next_id - 1;
    }
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(stderr, "usage: put_load HOST PORT STREAM SECONDS CLIENTS WINDOW [BYTES]\n");
        return 2;
    }
    load.stream = argv[3];
    double seconds = atof(argv[4]);
    int count = atoi(argv[5]);
    load.window = strtoull(argv[6], NULL, 10);
    load.record_bytes = argc > 7 ? strtoull(argv[7], NULL, 10) : 1024;
    load.latencies = malloc(LATENCIES_MAX * sizeof *load.latencies);
    struct client *clients = calloc((size_t)count, sizeof *clients);
    for (int i = 0; i < count; i++)
        client_open(&clients[i], argv[1], (uint16_t)atoi(argv[2]));
    double begun_us = now_us();
    load.until_us = begun_us + seconds * 1e6;
    for (int i = 0; i < count; i++)
        client_write(&clients[i]);
    run(clients, count);
    qsort(load.latencies, load.latency_count, sizeof *load.latencies, compare);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    printf("{\"acknowledged\": %" PRIu64 ", \"refused\": %" PRIu64
           ", \"per_second\": %.0f, \"p50_us\": %.0f, \"p99_us\": %.0f, \"cpu_us\": %.2f}\n",
        load.acknowledged, load.refused, (double)load.acknowledged / seconds, quantile(0.5),
        quantile(0.99), cpu_us / (double)(load.acknowledged + 1));
    return 0;
}
