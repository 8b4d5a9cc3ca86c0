/*
 * What a record costs the client: produces to, or consumes from, client_sink and prints the CPU
 * time per record of this process as JSON, user and system apart.
 *
 *     client_cost produce|consume ENDPOINT RECORDS RECORD_BYTES KEYS
 */
#include "base/defs.h"
#include "client/kstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>

struct run {
    struct kstream_client *client;
    unsigned long records;
    unsigned long record_bytes;
    unsigned long keys;
    unsigned long acknowledged;
};

static void on_ack(const struct kstream_ack *ack, void *arg)
{
    struct run *run = arg;
    run->acknowledged += ack->status == KSTREAM_OK;
}

__attribute__((noinline)) static void measured_produce(struct run *run)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_producer *producer = NULL;
    char *data = calloc(1, run->record_bytes + 1);
    if (kstream_producer_open(run->client, "bench", NULL, &producer, &err) || !data) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    for (unsigned long i = 0; i < run->records; i++) {
        char key[24] = "user-00000000";
        unsigned long number = i % run->keys;
        for (int digit = 12; digit > 4; digit--, number /= 10)
            key[digit] = (char)('0' + number % 10);
        while (kstream_producer_put(
                   producer, key, 13, data, run->record_bytes, on_ack, run, &err) == KSTREAM_FULL)
            kstream_producer_poll(producer, 1000);
    }
    if (kstream_producer_flush(producer, 60000, &err))
        fprintf(stderr, "%s\n", err.text);
    KS_IGNORE(kstream_producer_close(producer, 0, NULL, NULL), "flushed");
    free(data);
}

__attribute__((noinline)) static void measured_consume(struct run *run)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_reader *reader = NULL;
    if (kstream_reader_open(run->client, "bench", "shardId-000000000000",
            kstream_from_trim_horizon(), NULL, &reader, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    while (run->acknowledged < run->records) {
        struct kstream_batch *batch = NULL;
        if (kstream_reader_next(reader, 10000, &batch, &err)) {
            fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
        for (size_t i = 0; i < kstream_batch_count(batch); i++)
            run->acknowledged += kstream_batch_record(batch, i)->lost_records == 0;
        kstream_batch_free(batch);
    }
    kstream_reader_close(reader);
}

static double ns_per_record(const struct timeval *time, const struct run *run)
{
    return ((double)time->tv_sec * 1e9 + (double)time->tv_usec * 1e3) / (double)run->acknowledged;
}

int main(int argc, char **argv)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_config *config = kstream_config_new();
    if (argc < 6 || !config || kstream_config_set(config, "endpoint", argv[2], &err))
        return 2;
    struct run run = {.records = strtoul(argv[3], NULL, 10),
        .record_bytes = strtoul(argv[4], NULL, 10),
        .keys = strtoul(argv[5], NULL, 10)};
    if (kstream_connect(config, 5000, &run.client, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    struct rusage before;
    struct rusage after;
    getrusage(RUSAGE_SELF, &before);
    if (strcmp(argv[1], "produce") == 0)
        measured_produce(&run);
    else
        measured_consume(&run);
    getrusage(RUSAGE_SELF, &after);
    struct timeval user;
    struct timeval system;
    timersub(&after.ru_utime, &before.ru_utime, &user);
    timersub(&after.ru_stime, &before.ru_stime, &system);
    printf(
        "{\"acknowledged\": %lu, \"user_ns_per_record\": %.0f, \"system_ns_per_record\": %.0f}\n",
        run.acknowledged, ns_per_record(&user, &run), ns_per_record(&system, &run));
    kstream_close(run.client);
    return 0;
}
