/*
 * One record in flight: how long until the durable acknowledgement, against what the machine needs
 * for the bare write and for a question and answer over loopback.
 *
 *     ack_latency ENDPOINT STREAM FILE [ROUNDS] [SAMPLES]
 *
 * Each round measures SAMPLES bare 4 KiB writes (O_DIRECT, RWF_DSYNC, into the pre-zeroed FILE),
 * SAMPLES ping-pongs with a process that does nothing else, and SAMPLES puts of 1 KiB, so that all
 * meet the machine in the same mood. Prints one line of JSON: medians over the rounds, in
 * microseconds.
 */
#include "client/kstream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    BLOCK_BYTES = 4096,
    FILE_BLOCKS = 4096,
    RECORD_BYTES = 1024,
    ANSWER_BYTES = 105,
    ROUNDS_MAX = 101
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, size_t count, double q)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return values[(size_t)(q * (double)(count - 1))];
}

static void die(const char *what)
{
    fprintf(stderr, "ack_latency: %s\n", what);
    exit(1);
}

/* Written once, so that later writes convert no extents: what the journal's files are as well. */
static int open_zeroed(const char *path, char *block)
{
    int fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    if (fd < 0)
        die("cannot open the file for bare writes (O_DIRECT)");
    for (off_t i = 0; i < FILE_BLOCKS; i++)
        if (pwrite(fd, block, BLOCK_BYTES, i * BLOCK_BYTES) != BLOCK_BYTES)
            die("cannot write the file for bare writes");
    if (fsync(fd) != 0)
        die("cannot sync the file for bare writes");
    return fd;
}

static void measure_disk(int fd, char *block, double *samples, size_t count)
{
    static off_t next;
    for (size_t i = 0; i < count; i++, next = (next + 1) % FILE_BLOCKS) {
        struct iovec iov = {block, BLOCK_BYTES};
        double began = now_us();
        if (pwritev2(fd, &iov, 1, next * BLOCK_BYTES, RWF_DSYNC) != BLOCK_BYTES)
            die("a bare write failed");
        samples[i] = now_us() - began;
    }
}

/* The peer of the ping-pongs: answers each record with as many bytes as a put's answer has. */
static void echo_for_ever(int listener)
{
    static char data[RECORD_BYTES];
    int fd = accept(listener, NULL, NULL);
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (recv(fd, data, sizeof data, MSG_WAITALL) == (ssize_t)sizeof data)
        if (send(fd, data, ANSWER_BYTES, MSG_NOSIGNAL) != ANSWER_BYTES)
            break;
    _exit(0);
}

static int open_ping(pid_t *out_peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || fd < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 ||
        listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        die("cannot listen for the ping-pongs");
    *out_peer = fork();
    if (*out_peer == 0) {
        close(fd); /* or the parent's close would not end the child */
        echo_for_ever(listener);
    }
    if (*out_peer < 0 || connect(fd, (struct sockaddr *)&address, length) != 0)
        die("cannot connect for the ping-pongs");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    close(listener);
    return fd;
}

static void measure_ping(int fd, double *samples, size_t count)
{
    static char data[RECORD_BYTES];
    for (size_t i = 0; i < count; i++) {
        double began = now_us();
        if (send(fd, data, sizeof data, MSG_NOSIGNAL) != (ssize_t)sizeof data ||
            recv(fd, data, ANSWER_BYTES, MSG_WAITALL) != ANSWER_BYTES)
            die("a ping-pong failed");
        samples[i] = now_us() - began;
    }
}

static void measure_puts(
    struct kstream_client *client, const char *stream, double *samples, size_t count)
{
    static const char data[RECORD_BYTES];
    struct kstream_error err = KSTREAM_ERROR_INIT;
    for (size_t i = 0; i < count; i++) {
        struct kstream_put_result result;
        double began = now_us();
        if (kstream_put_record(client, stream, "key", 3, data, sizeof data, NULL, &result, &err))
            die(err.text);
        samples[i] = now_us() - began;
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: ack_latency ENDPOINT STREAM FILE [ROUNDS] [SAMPLES]\n");
        return 2;
    }
    size_t rounds = argc > 4 ? strtoul(argv[4], NULL, 10) : 5;
    size_t count = argc > 5 ? strtoul(argv[5], NULL, 10) : 500;
    if (rounds < 1 || rounds > ROUNDS_MAX || count < 10)
        die("1 to 101 rounds of at least 10 samples");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_config *config = kstream_config_new();
    struct kstream_client *client = NULL;
    if (!config || kstream_config_set(config, "endpoint", argv[1], &err) ||
        kstream_connect(config, 5000, &client, &err))
        die(err.text);
    double *samples = calloc(count, sizeof *samples);
    char *block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
    if (!samples || !block)
        die("out of memory");
    memset(block, 0, BLOCK_BYTES);
    int fd = open_zeroed(argv[3], block);
    pid_t peer;
    int ping_fd = open_ping(&peer);
    measure_puts(client, argv[2], samples, 50); /* warm */
    double disk[ROUNDS_MAX], ping[ROUNDS_MAX], put[ROUNDS_MAX], put_p99[ROUNDS_MAX];
    double ratio[ROUNDS_MAX], ratio_with_ping[ROUNDS_MAX];
    for (size_t i = 0; i < rounds; i++) {
        measure_disk(fd, block, samples, count);
        disk[i] = quantile(samples, count, 0.5);
        measure_ping(ping_fd, samples, count);
        ping[i] = quantile(samples, count, 0.5);
        measure_puts(client, argv[2], samples, count);
        put[i] = quantile(samples, count, 0.5);
        put_p99[i] = quantile(samples, count, 0.99);
        ratio[i] = put[i] / disk[i];
        ratio_with_ping[i] = put[i] / (disk[i] + ping[i]);
    }
    printf("{\"rounds\": %zu, \"samples\": %zu, \"bare_write_p50_us\": %.0f, "
           "\"ping_pong_p50_us\": %.0f, \"put_p50_us\": %.0f, \"put_p99_us\": %.0f, "
           "\"ratio_p50\": %.2f, \"ratio_to_write_and_ping_p50\": %.2f}\n",
        rounds, count, quantile(disk, rounds, 0.5), quantile(ping, rounds, 0.5),
        quantile(put, rounds, 0.5), quantile(put_p99, rounds, 0.5), quantile(ratio, rounds, 0.5),
        quantile(ratio_with_ping, rounds, 0.5));
    close(ping_fd);
    (void)waitpid(peer, NULL, 0);
    kstream_close(client);
    close(fd);
    free(block);
    free(samples);
    return 0;
}
