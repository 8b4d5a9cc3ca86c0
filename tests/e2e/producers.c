/*
 * Producers for the bad days: each in a thread of its own with a client of its own, putting until
 * standard input ends, and one reader of the whole stream beside them. What was acknowledged and
 * what was read goes to files, for the test to compare. Uses the public header only.
 *
 *     producers ENDPOINT STREAM FOLDER PRODUCERS RECORDS_MAX MEMORY_BYTES CLOSE_MS
 *
 * A record is "PRODUCER KEY NUMBER"; FOLDER/acks-P has a line "NUMBER KEY SHARD ORDINAL STATUS
 * UNKNOWN" for each, FOLDER/read a line "SHARD ORDINAL DATA". Prints one line per producer: taken,
 * full, failed, left, the milliseconds that close took.
 */
#include <kstream/kstream.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PRODUCERS_MAX 16
#define KEYS 10
#define PER_TURN 10
#define RETRY_MS 60000

struct plan {
    const char *endpoint;
    const char *stream;
    const char *folder;
    long producers;
    long records_max;
    unsigned long memory_bytes;
    uint32_t close_ms;
};

static struct plan plan;
static atomic_bool is_over;    /* standard input has ended */
static atomic_bool have_ended; /* all producers */
static atomic_long acknowledged;
static atomic_long was_full; /* puts that found no room */
static atomic_bool has_failed;

struct sent {
    struct one *one;
    long number;
    int acks;
};

struct one {
    pthread_t thread;
    long index;
    FILE *log;
    struct sent *sent;
    long taken;
    long full;
    long failed;
    unsigned long long left;
    long close_ms;
};

static void fail(const char *what, const struct kstream_error *err)
{
    fprintf(stderr, "producers: %s: %s\n", what, err ? err->text : "");
    atomic_store(&has_failed, true);
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct kstream_client *connect_to_broker(void)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_config *config = kstream_config_new();
    struct kstream_client *client = NULL;
    if (kstream_config_set(config, "endpoint", plan.endpoint, &err) ||
        kstream_connect(config, 10000, &client, &err))
        fail("connect", &err);
    return client;
}

static void on_ack(const struct kstream_ack *ack, void *arg)
{
    struct sent *sent = arg;
    struct one *one = sent->one;
    if (++sent->acks != 1)
        fail("a record is acknowledged twice", NULL);
    fprintf(one->log, "%ld %ld %u %llu %d %d\n", sent->number, sent->number % KEYS,
        ack->shard_index, (unsigned long long)ack->ordinal, (int)ack->status, ack->outcome_unknown);
    one->failed += ack->status != KSTREAM_OK;
    atomic_fetch_add(&acknowledged, ack->status == KSTREAM_OK);
}

/* False: no room, or an error that was told. */
static bool put_one(struct one *one, struct kstream_producer *producer)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct sent *sent = &one->sent[one->taken];
    char key[32];
    char data[64];
    *sent = (struct sent){.one = one, .number = one->taken};
    int key_bytes = snprintf(key, sizeof key, "p%ld-k%ld", one->index, one->taken % KEYS);
    int data_bytes =
        snprintf(data, sizeof data, "%ld %ld %ld", one->index, one->taken % KEYS, one->taken);
    enum kstream_status st = kstream_producer_put(
        producer, key, (size_t)key_bytes, data, (size_t)data_bytes, on_ack, sent, &err);
    one->full += st == KSTREAM_FULL;
    atomic_fetch_add(&was_full, st == KSTREAM_FULL);
    one->taken += st == KSTREAM_OK;
    if (st != KSTREAM_OK && st != KSTREAM_FULL)
        fail("put", &err);
    return st == KSTREAM_OK;
}

static void check_memory(struct one *one, const struct kstream_producer *producer)
{
    struct kstream_producer_stats stats = KSTREAM_PRODUCER_STATS_INIT;
    kstream_producer_stats(producer, &stats);
    if (stats.memory_bytes > plan.memory_bytes)
        fail("more memory than allowed", NULL);
    if (stats.records_taken != (uint64_t)one->taken)
        fail("the records taken are miscounted", NULL);
}

static void *produce(void *arg)
{
    struct one *one = arg;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_client *client = connect_to_broker();
    struct kstream_producer *producer = NULL;
    struct kstream_producer_options options = KSTREAM_PRODUCER_OPTIONS_INIT;
    options.memory_bytes_max = plan.memory_bytes;
    options.linger_ms = 2;
    options.retry_time_max_ms = RETRY_MS;
    if (!client || kstream_producer_open(client, plan.stream, &options, &producer, &err)) {
        fail("open", &err);
        return NULL;
    }
    while (!atomic_load(&is_over) && !atomic_load(&has_failed)) {
        int count = 0;
        while (count < PER_TURN && one->taken < plan.records_max && put_one(one, producer))
            count++;
        kstream_producer_poll(producer, 5);
        check_memory(one, producer);
    }
    long began = now_ms();
    uint64_t left = 0;
    kstream_producer_close(producer, plan.close_ms, &left, &err);
    one->left = left;
    one->close_ms = now_ms() - began;
    kstream_close(client);
    for (long i = 0; i < one->taken; i++)
        if (one->sent[i].acks != 1)
            fail("a record that was taken has no acknowledgement", NULL);
    return NULL;
}

static void write_batch(FILE *out, const struct kstream_batch *batch, long *count)
{
    for (size_t i = 0; i < kstream_batch_count(batch); i++, ++*count) {
        const struct kstream_record *record = kstream_batch_record(batch, i);
        if (record->lost_records)
            fail("damaged records", NULL);
        fprintf(out, "%s %llu %.*s\n", kstream_batch_shard_id(batch),
            (unsigned long long)record->ordinal, (int)record->data_bytes,
            (const char *)record->data);
    }
}

/* Reads the stream until the producers have ended and as much as they know to be stored is read, or
 * for twice their time to close nothing more comes. */
static void *consume(void *arg)
{
    FILE *out = arg;
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_client *client = connect_to_broker();
    struct kstream_reader *reader = NULL;
    long count = 0;
    if (!client || kstream_reader_open(client, plan.stream, NULL, kstream_from_trim_horizon(), NULL,
                       &reader, &err)) {
        fail("open reader", &err);
        return NULL;
    }
    long progress_ms = now_ms();
    while (!atomic_load(&has_failed) &&
           (!atomic_load(&have_ended) || (count < atomic_load(&acknowledged) &&
                                             now_ms() - progress_ms < 2 * (long)plan.close_ms))) {
        struct kstream_batch *batch = NULL;
        enum kstream_status st = kstream_reader_next(reader, 50, &batch, &err);
        if (st == KSTREAM_OK || !atomic_load(&have_ended))
            progress_ms = now_ms();
        if (st == KSTREAM_OK)
            write_batch(out, batch, &count);
        else if (st != KSTREAM_TIMEOUT && st != KSTREAM_UNAVAILABLE)
            fail("read", &err);
        kstream_batch_free(batch);
    }
    kstream_reader_close(reader);
    kstream_close(client);
    return NULL;
}

static FILE *open_log(const char *name, long index)
{
    char path[4096];
    snprintf(path, sizeof path, index < 0 ? "%s/%s" : "%s/%s-%ld", plan.folder, name, index);
    return fopen(path, "w");
}

/* Says how far it has come whenever the test asks with a line, until standard input ends. */
static void answer_questions(void)
{
    char line[64];
    while (!atomic_load(&has_failed)) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(&input, 1, 100) <= 0)
            continue;
        if (read(STDIN_FILENO, line, sizeof line) <= 0)
            break;
        printf("%ld %ld\n", atomic_load(&acknowledged), atomic_load(&was_full));
        fflush(stdout);
    }
    atomic_store(&is_over, true);
}

int main(int argc, char **argv)
{
    static struct one ones[PRODUCERS_MAX];
    if (argc < 8)
        return 2;
    plan = (struct plan){.endpoint = argv[1],
        .stream = argv[2],
        .folder = argv[3],
        .producers = strtol(argv[4], NULL, 10),
        .records_max = strtol(argv[5], NULL, 10),
        .memory_bytes = strtoul(argv[6], NULL, 10),
        .close_ms = (uint32_t)strtoul(argv[7], NULL, 10)};
    if (plan.producers < 1 || plan.producers > PRODUCERS_MAX)
        return 2;
    FILE *read_log = open_log("read", -1);
    pthread_t reader;
    for (long i = 0; i < plan.producers; i++) {
        ones[i] = (struct one){.index = i, .log = open_log("acks", i)};
        ones[i].sent = calloc((size_t)plan.records_max, sizeof *ones[i].sent);
        if (!ones[i].log || !ones[i].sent ||
            pthread_create(&ones[i].thread, NULL, produce, &ones[i]))
            return 1;
    }
    if (!read_log || pthread_create(&reader, NULL, consume, read_log))
        return 1;
    answer_questions();
    for (long i = 0; i < plan.producers; i++) {
        pthread_join(ones[i].thread, NULL);
        fclose(ones[i].log);
        free(ones[i].sent);
        printf("taken=%ld full=%ld failed=%ld left=%llu close_ms=%ld\n", ones[i].taken,
            ones[i].full, ones[i].failed, ones[i].left, ones[i].close_ms);
    }
    atomic_store(&have_ended, true);
    pthread_join(reader, NULL);
    fclose(read_log);
    return atomic_load(&has_failed) ? 1 : 0;
}
