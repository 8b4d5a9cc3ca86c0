/*
 * Puts the lines of a file into a stream, each stored exactly once, although this program may be
 * killed at any moment and started again: the producer takes up its old id and learns what is
 * stored under it; a record begins with the number of its line, so the last record of each shard
 * says how far its keys had come.
 *
 *     cc resume.c $(pkg-config --cflags --libs kstream) -o resume
 *     ./resume clicks ENDPOINT PRODUCER_ID FILE      the same command after each kill
 *
 * The first word of a line is its key. A producer id is any number but 0, of this one job.
 */
#define _POSIX_C_SOURCE 200809L
#include <kstream/kstream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
    const char *stream;
    struct kstream_client *client;
    struct kstream_producer *producer;
    struct kstream_error err;
    const struct kstream_resumed_shard *shards; /* that have something of an earlier life */
    size_t shard_count;
    unsigned long long *stored; /* number of the last line in each */
    unsigned long long left_out;
};

/* The number at the start of the last record that the shard has of this producer. */
static enum kstream_status last_line(
    struct job *job, const struct kstream_resumed_shard *shard, unsigned long long *out_line)
{
    struct kstream_reader *reader = NULL;
    struct kstream_batch *batch = NULL;
    enum kstream_status st = kstream_reader_open(job->client, job->stream, shard->shard_id,
        kstream_from_sequence_number(shard->last_sequence_number), NULL, &reader, &job->err);
    if (st == KSTREAM_OK)
        st = kstream_reader_next(reader, 10000, &batch, &job->err);
    if (st == KSTREAM_OK) {
        const struct kstream_record *record = kstream_batch_record(batch, 0);
        char text[32] = "";
        if (record->lost_records == 0 && record->data_bytes > 0)
            memcpy(text, record->data,
                record->data_bytes < sizeof text ? record->data_bytes : sizeof text - 1);
        *out_line = strtoull(text, NULL, 10);
        if (*out_line == 0)
            st = KSTREAM_CORRUPT; /* not one of ours, or damaged */
    }
    kstream_batch_free(batch);
    kstream_reader_close(reader);
    return st;
}

static enum kstream_status find_place(struct job *job)
{
    enum kstream_status st = KSTREAM_OK;
    job->shards = kstream_producer_resumed(job->producer, &job->shard_count);
    job->stored = calloc(job->shard_count + 1, sizeof *job->stored);
    if (!job->stored)
        st = KSTREAM_NO_MEMORY;
    for (size_t i = 0; i < job->shard_count && st == KSTREAM_OK; i++)
        st = last_line(job, &job->shards[i], &job->stored[i]);
    return st;
}

/* Whether a line of that key is stored: what one shard has of its keys is a beginning of the file,
 * and the parents of a split have theirs as well. */
static int is_stored(struct job *job, unsigned long long number, const char *key, size_t key_bytes)
{
    for (size_t i = 0; i < job->shard_count; i++)
        if (number <= job->stored[i] &&
            kstream_producer_resumed_holds(job->producer, &job->shards[i], key, key_bytes))
            return 1;
    return 0;
}

static enum kstream_status put_line(
    struct job *job, unsigned long long number, const char *line, size_t bytes)
{
    size_t key_bytes = strcspn(line, " \t\n");
    const char *key = key_bytes > 0 ? line : "-";
    char *record = malloc(bytes + 32);
    enum kstream_status st = record ? KSTREAM_OK : KSTREAM_NO_MEMORY;
    key_bytes = key_bytes > 0 ? key_bytes : 1;
    if (record && is_stored(job, number, key, key_bytes)) {
        job->left_out++;
    } else if (record) {
        size_t used = (size_t)snprintf(record, 32, "%llu ", number);
        memcpy(record + used, line, bytes);
        while ((st = kstream_producer_put(job->producer, key, key_bytes, record, used + bytes, NULL,
                    NULL, &job->err)) == KSTREAM_FULL)
            kstream_producer_poll(job->producer, 1000);
    }
    free(record);
    return st;
}

static enum kstream_status put_file(struct job *job, FILE *file)
{
    enum kstream_status st = KSTREAM_OK;
    unsigned long long number = 0;
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes;
    while (st == KSTREAM_OK && (bytes = getline(&line, &room, file)) > 0)
        st = put_line(job, ++number, line, (size_t)bytes - (line[bytes - 1] == '\n'));
    free(line);
    return st == KSTREAM_OK ? kstream_producer_flush(job->producer, 60000, &job->err) : st;
}

/* From the open to the end of the file. */
static enum kstream_status run(struct job *job, uint64_t producer_id, const char *path)
{
    struct kstream_producer_options options = KSTREAM_PRODUCER_OPTIONS_INIT;
    options.producer_id = producer_id;
    options.resume = 1;
    FILE *file = fopen(path, "r");
    enum kstream_status st = file ? KSTREAM_OK : KSTREAM_IO;
    if (st == KSTREAM_OK)
        st = kstream_producer_open(job->client, job->stream, &options, &job->producer, &job->err);
    if (st == KSTREAM_OK)
        st = find_place(job);
    if (st == KSTREAM_OK)
        st = put_file(job, file);
    kstream_producer_close(job->producer, 0, NULL, NULL);
    free(job->stored);
    job->producer = NULL;
    job->stored = NULL;
    if (file)
        fclose(file);
    return st;
}

int main(int argc, char **argv)
{
    struct job job = {.err = KSTREAM_ERROR_INIT};
    struct kstream_config *config = kstream_config_new();
    if (argc < 5 || !config || kstream_config_set(config, "endpoint", argv[2], &job.err)) {
        fprintf(stderr, "usage: resume STREAM ENDPOINT PRODUCER_ID FILE\n");
        kstream_config_free(config);
        return 2;
    }
    job.stream = argv[1];
    enum kstream_status st = kstream_connect(config, 5000, &job.client, &job.err);
    /* The life before may still be writing when this one begins: then one of the two is refused,
     * nothing is stored twice, and this one looks again. */
    do {
        job.left_out = 0;
        if (st == KSTREAM_OK || st == KSTREAM_PRODUCER_MISMATCH)
            st = run(&job, strtoull(argv[3], NULL, 10), argv[4]);
    } while (st == KSTREAM_PRODUCER_MISMATCH);
    if (st != KSTREAM_OK)
        fprintf(stderr, "resume: %s: %s\n", kstream_strerror(st), job.err.text);
    else
        fprintf(stderr, "%llu lines were stored already\n", job.left_out);
    kstream_close(job.client);
    return kstream_status_exit_code(st);
}
