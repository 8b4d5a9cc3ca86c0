/*
 * Prints the records of all shards of a stream from the oldest on and follows.
 *
 *     cc tail.c $(pkg-config --cflags --libs kstream) -o tail
 *     ./tail clicks [ENDPOINT]
 */
#include "client/kstream.h" /* an installed program says <kstream/kstream.h> */

#include <stdio.h>
#include <stdlib.h>

static void print_batch(const struct kstream_batch *batch)
{
    for (size_t i = 0; i < kstream_batch_count(batch); i++) {
        const struct kstream_record *record = kstream_batch_record(batch, i);
        if (record->lost_records > 0) {
            fprintf(stderr, "%s: %llu records from %llu on are damaged\n",
                kstream_batch_shard_id(batch), (unsigned long long)record->lost_records,
                (unsigned long long)record->ordinal);
            continue;
        }
        fwrite(record->data, 1, record->data_bytes, stdout);
        putchar('\n');
    }
    fflush(stdout);
}

static enum kstream_status follow(
    struct kstream_reader **readers, size_t count, struct kstream_error *err)
{
    while (count > 0) {
        size_t which = 0;
        struct kstream_batch *batch = NULL;
        enum kstream_status st =
            kstream_reader_next_any(readers, count, 10000, &which, &batch, err);
        if (st == KSTREAM_OK) {
            print_batch(batch);
            kstream_batch_free(batch);
        } else if (st == KSTREAM_END) {
            kstream_reader_close(readers[which]);
            readers[which] = readers[--count];
            readers[count] = NULL;
        } else if (st != KSTREAM_TIMEOUT && st != KSTREAM_UNAVAILABLE) {
            return st;
        }
    }
    return KSTREAM_OK;
}

static enum kstream_status tail(
    struct kstream_client *client, const char *stream, struct kstream_error *err)
{
    struct kstream_stream *about = NULL;
    enum kstream_status st = kstream_describe_stream(client, stream, NULL, &about, err);
    if (st != KSTREAM_OK)
        return st;
    size_t count = about->shard_count;
    struct kstream_reader **readers = calloc(count + 1, sizeof *readers);
    if (!readers)
        st = KSTREAM_NO_MEMORY;
    for (size_t i = 0; i < count && st == KSTREAM_OK; i++)
        st = kstream_reader_open(client, stream, about->shards[i].shard_id,
            kstream_from_trim_horizon(), NULL, &readers[i], err);
    kstream_stream_free(about);
    if (st == KSTREAM_OK)
        st = follow(readers, count, err);
    for (size_t i = 0; readers && i < count; i++)
        kstream_reader_close(readers[i]);
    free(readers);
    return st;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: tail STREAM [ENDPOINT]\n");
        return 2;
    }
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_config *config = kstream_config_new();
    if (!config || (argc > 2 && kstream_config_set(config, "endpoint", argv[2], &err))) {
        fprintf(stderr, "tail: %s\n", err.text);
        kstream_config_free(config);
        return 2;
    }
    struct kstream_client *client = NULL;
    enum kstream_status st = kstream_connect(config, 5000, &client, &err);
    if (st == KSTREAM_OK)
        st = tail(client, argv[1], &err);
    if (st != KSTREAM_OK)
        fprintf(stderr, "tail: %s\n", err.text);
    kstream_close(client);
    return kstream_status_exit_code(st);
}
