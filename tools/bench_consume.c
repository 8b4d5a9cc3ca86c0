/*
 * consume: a thread per connection (up to a bound), each with the readers of its shards. Every
 * record is validated by the library and looked at here; ordinals must follow each other without a
 * gap. At the end of the stream a connection begins again, so that a run lasts as long as it shall.
 */
#include "base/alloc.h"
#include "base/mutex.h"
#include "tools/bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define THREADS_MAX 64u
#define BATCH_BYTES (1u << 20)
#define RETRY_MS 2000u
#define PAUSE_MS 20u

struct consume;

struct connection {
    struct consume *run;
    struct kstream_client *client;
    struct kstream_reader **readers;
    uint64_t *expected; /* the next ordinal of each; 0: not known yet */
    size_t reader_count;
    size_t first_shard; /* of the stream's, then every shard_step-th */
    uint64_t lap_records;
};

struct worker {
    struct consume *run;
    uint32_t index;
    pthread_t thread;
    bool is_started;
    struct bench_histogram latency; /* of the window */
    uint64_t touched; /* of every record something, so that reading it is not left out */
};

struct consume {
    const struct bench_options *options;
    char (*shard_ids)[KSTREAM_SHARD_ID_BYTES];
    size_t shard_count;
    struct connection *connections;
    struct worker *workers;
    uint32_t worker_count;
    _Atomic bool is_measuring;
    _Atomic bool is_ending;
    _Atomic uint64_t records;
    _Atomic uint64_t bytes;
    _Atomic uint64_t laps;
    struct ks_mutex mu; /* KS_RANK_WAKE */
    struct ks_cond failed;
    struct ks_error error; /* [mu] the first */
};

static void give_up(struct consume *run, const struct ks_error *error)
{
    KS_LOCK_SCOPE(&run->mu);
    if (!run->error.status)
        run->error = *error;
    atomic_store(&run->is_ending, true);
    ks_cond_signal(&run->failed);
}

/* ---- one connection ---- */

static void close_readers(struct connection *connection)
{
    for (size_t i = 0; i < connection->reader_count; i++)
        kstream_reader_close(connection->readers[i]);
    connection->reader_count = 0;
}

/* From the oldest record on. More connections than shards: several read the same one. */
static enum ks_status open_readers(struct connection *connection, struct ks_error *err)
{
    struct consume *run = connection->run;
    struct kstream_reader_options options = KSTREAM_READER_OPTIONS_INIT;
    options.max_bytes = BATCH_BYTES;
    options.retry_time_max_ms = RETRY_MS;
    close_readers(connection);
    connection->lap_records = 0;
    for (size_t i = connection->first_shard; i < run->shard_count; i += run->options->connections) {
        struct kstream_error error = KSTREAM_ERROR_INIT;
        enum kstream_status st = kstream_reader_open(connection->client, run->options->stream,
            run->shard_ids[i], kstream_from_trim_horizon(), &options,
            &connection->readers[connection->reader_count], &error);
        if (st)
            return bench_fail(err, st, &error);
        connection->expected[connection->reader_count++] = 0;
    }
    return KS_OK;
}

static enum ks_status open_connection(struct consume *run, uint32_t index, struct ks_error *err)
{
    struct connection *connection = &run->connections[index];
    connection->run = run;
    KS_ASSERT(run->shard_count > 0);
    connection->first_shard = index % run->shard_count;
    // NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers is meant
    connection->readers = ks_calloc(run->shard_count, sizeof *connection->readers);
    connection->expected = ks_calloc(run->shard_count, sizeof *connection->expected);
    if (!connection->readers || !connection->expected)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for so many connections");
    enum ks_status st = bench_connect(run->options, &connection->client, err);
    return st ? st : open_readers(connection, err);
}

static enum ks_status take_batch(struct worker *worker, struct connection *connection, size_t which,
    const struct kstream_batch *batch, struct ks_error *err)
{
    struct consume *run = worker->run;
    size_t count = kstream_batch_count(batch);
    uint64_t bytes = 0;
    uint64_t touched = 0;
    uint64_t expected = connection->expected[which];
    for (size_t i = 0; i < count; i++) {
        const struct kstream_record *record = kstream_batch_record(batch, i);
        if (record->lost_records > 0)
            return ks_fail(err, KS_CORRUPT, 0, "no result: %llu records are damaged",
                (unsigned long long)record->lost_records);
        if (expected != 0 && record->ordinal != expected)
            return ks_fail(err, KS_INTERNAL, 0, "no result: record %llu came where %llu should",
                (unsigned long long)record->ordinal, (unsigned long long)expected);
        expected = record->ordinal + 1;
        bytes += record->data_bytes;
        touched += (uint8_t)record->key[0];
        if (record->data_bytes > 0)
            touched += *(const uint8_t *)record->data;
    }
    connection->expected[which] = expected;
    connection->lap_records += count;
    worker->touched += touched;
    if (atomic_load_explicit(&run->is_measuring, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&run->records, count, memory_order_relaxed);
        atomic_fetch_add_explicit(&run->bytes, bytes, memory_order_relaxed);
    }
    return KS_OK;
}

/* Read to its end: once more from the start. */
static enum ks_status next_lap(struct connection *connection, struct ks_error *err)
{
    if (connection->lap_records == 0)
        return ks_fail(err, KS_NOT_FOUND, 0,
            "no result: stream '%.128s' has no records (kstream-bench produce makes some)",
            connection->run->options->stream);
    atomic_fetch_add(&connection->run->laps, 1);
    return open_readers(connection, err);
}

static enum ks_status read_some(
    struct worker *worker, struct connection *connection, struct ks_error *err)
{
    struct kstream_error error = KSTREAM_ERROR_INIT;
    struct kstream_batch *batch = NULL;
    size_t which = 0;
    uint64_t asked_ns = bench_now_ns();
    enum kstream_status st = kstream_reader_next_any(
        connection->readers, connection->reader_count, 0, &which, &batch, &error);
    if (st == KSTREAM_TIMEOUT)
        return next_lap(connection, err);
    if (st == KSTREAM_END) { /* of a closed shard: the others go on */
        kstream_reader_close(connection->readers[which]);
        connection->reader_count--;
        connection->readers[which] = connection->readers[connection->reader_count];
        connection->expected[which] = connection->expected[connection->reader_count];
        return connection->reader_count == 0 ? next_lap(connection, err) : KS_OK;
    }
    if (st)
        return ks_fail(err, (enum ks_status)st, 0, "no result: %.200s", error.text);
    enum ks_status result = take_batch(worker, connection, which, batch, err);
    kstream_batch_free(batch);
    if (atomic_load_explicit(&worker->run->is_measuring, memory_order_relaxed))
        bench_histogram_add(&worker->latency, bench_now_ns() - asked_ns);
    return result;
}

/* ---- threads ---- */

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct consume *run = worker->run;
    struct ks_error error = KS_ERROR_INIT;
    while (!atomic_load(&run->is_ending)) {
        for (uint32_t i = worker->index; i < run->options->connections; i += run->worker_count) {
            enum ks_status st = read_some(worker, &run->connections[i], &error);
            if (st) {
                error.status = st;
                give_up(run, &error);
                return NULL;
            }
        }
    }
    return NULL;
}

/* Sleeps; false: a worker has failed. */
static bool sleep_until(struct consume *run, uint64_t end_ns)
{
    KS_LOCK_SCOPE(&run->mu);
    for (;;) {
        uint64_t now_ns = bench_now_ns();
        if (run->error.status || now_ns >= end_ns)
            return !run->error.status;
        KS_IGNORE(ks_cond_wait_ms(&run->failed, &run->mu,
                      ks_min_u64((end_ns - now_ns) / 1000000u + 1, PAUSE_MS)),
            "a look, either way");
    }
}

static enum ks_status start_workers(struct consume *run, struct ks_error *err)
{
    run->worker_count = KS_MIN(run->options->connections, THREADS_MAX);
    run->workers = ks_calloc(run->worker_count, sizeof *run->workers);
    if (!run->workers)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for threads");
    for (uint32_t i = 0; i < run->worker_count; i++) {
        struct worker *worker = &run->workers[i];
        worker->run = run;
        worker->index = i;
        if (pthread_create(&worker->thread, NULL, work, worker) != 0)
            return ks_fail(err, KS_NO_MEMORY, 0, "cannot make a thread");
        worker->is_started = true;
    }
    return KS_OK;
}

static void join_workers(struct consume *run, struct bench_result *result)
{
    atomic_store(&run->is_ending, true);
    for (uint32_t i = 0; run->workers && i < run->worker_count; i++) {
        if (!run->workers[i].is_started)
            continue;
        pthread_join(run->workers[i].thread, NULL);
        bench_histogram_merge(&result->latency, &run->workers[i].latency);
    }
}

static enum ks_status measure(struct consume *run, struct bench_meter *meter,
    struct bench_result *result, struct ks_error *err)
{
    const struct bench_options *options = run->options;
    enum ks_status st = start_workers(run, err);
    if (!st && sleep_until(run, bench_now_ns() + (uint64_t)(options->warmup_seconds * 1e9))) {
        bench_meter_start(meter);
        atomic_store(&run->is_measuring, true);
        KS_IGNORE(sleep_until(run, bench_now_ns() + (uint64_t)(options->seconds * 1e9)),
            "the error is looked at below");
        atomic_store(&run->is_measuring, false);
        bench_meter_stop(meter, result);
    }
    join_workers(run, result);
    result->records = atomic_load(&run->records);
    result->bytes = atomic_load(&run->bytes);
    result->laps = atomic_load(&run->laps);
    if (!st && run->error.status) {
        st = run->error.status;
        if (err)
            *err = run->error;
    }
    if (!st && result->records == 0)
        st = ks_fail(err, KS_TIMEOUT, 0, "no result: nothing was read in that time");
    return st;
}

/* ---- setting up ---- */

static enum ks_status list_shards(
    struct consume *run, struct kstream_client *client, struct ks_error *err)
{
    struct kstream_error error = KSTREAM_ERROR_INIT;
    struct kstream_list_shards_options options = KSTREAM_LIST_SHARDS_OPTIONS_INIT;
    const char *stream = run->options->stream;
    char token[KSTREAM_ITERATOR_BYTES * 4] = "";
    do {
        struct kstream_shard_list *list = NULL;
        enum kstream_status st = kstream_list_shards(client, stream, &options, &list, &error);
        if (st)
            return bench_fail(err, st, &error);
        void *grown = ks_realloc(
            run->shard_ids, (run->shard_count + list->shard_count + 1) * sizeof *run->shard_ids);
        if (grown)
            run->shard_ids = grown;
        for (size_t i = 0; grown && i < list->shard_count; i++)
            snprintf(run->shard_ids[run->shard_count++], KSTREAM_SHARD_ID_BYTES, "%s",
                list->shards[i].shard_id);
        token[0] = '\0';
        if (list->next_token)
            snprintf(token, sizeof token, "%s", list->next_token);
        kstream_shard_list_free(list);
        if (!grown)
            return ks_fail(err, KS_NO_MEMORY, 0, "no memory for so many shards");
        options.next_token = token;
        stream = NULL;
    } while (token[0]);
    return KS_OK;
}

static enum ks_status set_up(
    struct consume *run, struct kstream_client *client, struct ks_error *err)
{
    enum ks_status st = list_shards(run, client, err);
    if (!st && run->shard_count == 0)
        st = ks_fail(err, KS_NOT_FOUND, 0, "the stream has no shards");
    if (st)
        return st;
    run->connections = ks_calloc(run->options->connections, sizeof *run->connections);
    if (!run->connections)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for so many connections");
    for (uint32_t i = 0; !st && i < run->options->connections; i++)
        st = open_connection(run, i, err);
    return st;
}

static void tear_down(struct consume *run)
{
    for (uint32_t i = 0; run->connections && i < run->options->connections; i++) {
        struct connection *connection = &run->connections[i];
        close_readers(connection);
        kstream_close(connection->client);
        ks_free(connection->readers);
        ks_free(connection->expected);
    }
    ks_free(run->connections);
    ks_free(run->workers);
    ks_free(run->shard_ids);
    ks_cond_fini(&run->failed);
    ks_mutex_fini(&run->mu);
}

enum ks_status bench_consume(
    const struct bench_options *options, struct bench_result *result, struct ks_error *err)
{
    struct consume run = {.options = options, .error = KS_ERROR_INIT};
    ks_mutex_init(&run.mu, KS_RANK_WAKE);
    ks_cond_init(&run.failed);
    struct kstream_client *client = NULL;
    struct bench_meter meter;
    enum ks_status st = bench_connect(options, &client, err);
    if (!st)
        st = bench_prepare_stream(options, client, &result->shards, err);
    if (!st)
        st = bench_meter_init(&meter, options, client, err);
    if (!st)
        st = set_up(&run, client, err);
    if (!st)
        st = measure(&run, &meter, result, err);
    tear_down(&run);
    kstream_close(client);
    return st;
}
