/*
 * Puts each line of standard input into a stream, the first word as its partition key.
 *
 *     cc put.c $(pkg-config --cflags --libs kstream) -o put
 *     seq 1 100000 | ./put clicks [ENDPOINT]
 */
#include "client/kstream.h" /* an installed program says <kstream/kstream.h> */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_ack(const struct kstream_ack *ack, void *arg)
{
    unsigned long *failed = arg;
    if (ack->status != KSTREAM_OK) {
        ++*failed;
        fprintf(stderr, "%s: %s\n", ack->shard_id, ack->text);
    }
}

static int put_lines(struct kstream_producer *producer, unsigned long *failed)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes;
    enum kstream_status st = KSTREAM_OK;
    while (st == KSTREAM_OK && (bytes = getline(&line, &room, stdin)) > 0) {
        size_t data_bytes = (size_t)bytes - (line[bytes - 1] == '\n');
        size_t key_bytes = strcspn(line, " \t\n");
        const char *key = key_bytes > 0 ? line : "-";
        /* The producer is full when the broker is slower than the input: wait for it. */
        while ((st = kstream_producer_put(producer, key, key_bytes > 0 ? key_bytes : 1, line,
                    data_bytes, on_ack, failed, &err)) == KSTREAM_FULL)
            kstream_producer_poll(producer, 1000);
    }
    free(line);
    if (st != KSTREAM_OK)
        fprintf(stderr, "put: %s\n", err.text);
    return st == KSTREAM_OK;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: put STREAM [ENDPOINT]\n");
        return 2;
    }
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_config *config = kstream_config_new();
    if (!config || (argc > 2 && kstream_config_set(config, "endpoint", argv[2], &err))) {
        fprintf(stderr, "put: %s\n", err.text);
        kstream_config_free(config);
        return 2;
    }
    struct kstream_client *client = NULL;
    struct kstream_producer *producer = NULL;
    enum kstream_status st = kstream_connect(config, 5000, &client, &err);
    if (st == KSTREAM_OK)
        st = kstream_producer_open(client, argv[1], NULL, &producer, &err);
    if (st != KSTREAM_OK) {
        fprintf(stderr, "put: %s\n", err.text);
        kstream_close(client);
        return kstream_status_exit_code(st);
    }
    unsigned long failed = 0;
    uint64_t left = 0;
    int is_fine = put_lines(producer, &failed);
    st = kstream_producer_flush(producer, 60000, &err);
    struct kstream_producer_stats stats = KSTREAM_PRODUCER_STATS_INIT;
    kstream_producer_stats(producer, &stats);
    fprintf(stderr, "%llu records durable, %lu failed, p50 %.2f ms, p99 %.2f ms\n",
        (unsigned long long)stats.records_durable, failed, (double)stats.latency_p50_ns / 1e6,
        (double)stats.latency_p99_ns / 1e6);
    if (kstream_producer_close(producer, 0, &left, NULL) != KSTREAM_OK)
        is_fine = 0;
    if (left > 0)
        fprintf(stderr, "put: %llu records without an answer\n", (unsigned long long)left);
    kstream_close(client);
    return st == KSTREAM_OK && is_fine && failed == 0 ? 0 : 1;
}
