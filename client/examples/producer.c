/*
 * Puts each line of standard input into a stream, the first word as its partition key.
 *
 *     cc producer.c $(pkg-config --cflags --libs kstream) -o producer
 *     seq 1 100000 | ./producer clicks [ENDPOINT]
 */
#define _POSIX_C_SOURCE 200809L
#include <kstream/kstream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Runs once for each record, inside the calls of the producer. */
static void on_ack(const struct kstream_ack *ack, void *arg)
{
    unsigned long *failed = (unsigned long *)arg;
    if (ack->status != KSTREAM_OK) {
        ++*failed;
        fprintf(stderr, "%s: %s\n", ack->shard_id, ack->text);
    }
}

static enum kstream_status put_lines(
    struct kstream_producer *producer, unsigned long *failed, struct kstream_error *err)
{
    enum kstream_status st = KSTREAM_OK;
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes;
    while (st == KSTREAM_OK && (bytes = getline(&line, &room, stdin)) > 0) {
        size_t data_bytes = (size_t)bytes - (line[bytes - 1] == '\n');
        size_t key_bytes = strcspn(line, " \t\n");
        const char *key = key_bytes > 0 ? line : "-";
        /* The producer is full when the broker is slower than the input: wait for it. */
        while ((st = kstream_producer_put(producer, key, key_bytes > 0 ? key_bytes : 1, line,
                    data_bytes, on_ack, failed, err)) == KSTREAM_FULL)
            kstream_producer_poll(producer, 1000);
    }
    free(line);
    return st;
}

/* Connects to the endpoint, or to the default one. */
static enum kstream_status connect_to(
    const char *endpoint, struct kstream_client **client, struct kstream_error *err)
{
    struct kstream_config *config = kstream_config_new();
    enum kstream_status st = config ? KSTREAM_OK : KSTREAM_NO_MEMORY;
    if (config && endpoint)
        st = kstream_config_set(config, "endpoint", endpoint, err);
    if (st == KSTREAM_OK)
        return kstream_connect(config, 5000, client, err);
    kstream_config_free(config);
    return st;
}

int main(int argc, char **argv)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_client *client = NULL;
    struct kstream_producer *producer = NULL;
    unsigned long failed = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: producer STREAM [ENDPOINT]\n");
        return 2;
    }
    enum kstream_status st = connect_to(argv[2], &client, &err);
    if (st == KSTREAM_OK)
        st = kstream_producer_open(client, argv[1], NULL, &producer, &err);
    if (st == KSTREAM_OK)
        st = put_lines(producer, &failed, &err);
    if (st == KSTREAM_OK)
        st = kstream_producer_flush(producer, 60000, &err);
    if (st != KSTREAM_OK)
        fprintf(stderr, "producer: %s\n", err.text);
    if (producer) {
        struct kstream_producer_stats stats = KSTREAM_PRODUCER_STATS_INIT;
        kstream_producer_stats(producer, &stats);
        fprintf(stderr, "%llu records durable, %lu failed, p50 %.2f ms, p99 %.2f ms\n",
            (unsigned long long)stats.records_durable, failed, (double)stats.latency_p50_ns / 1e6,
            (double)stats.latency_p99_ns / 1e6);
    }
    /* Whatever is still unanswered after an error gets its callback here. */
    kstream_producer_close(producer, 0, NULL, NULL);
    kstream_close(client);
    return kstream_status_exit_code(st);
}
