/*
 * Prints the records of a stream, all shards, each shard in its order and the children of a split
 * behind their parent. With a file it goes on where it stopped the last time.
 *
 *     cc tail.c $(pkg-config --cflags --libs kstream) -o tail
 *     ./tail clicks [ENDPOINT [FILE]]
 */
#define _POSIX_C_SOURCE 200809L
#include <kstream/kstream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* What was saved, to be freed; NULL: nothing. */
static char *load(const char *path)
{
    FILE *file = path ? fopen(path, "r") : NULL;
    char *text = NULL;
    size_t room = 0;
    if (file && getline(&text, &room, file) > 0)
        text[strcspn(text, "\n")] = '\0';
    if (file)
        fclose(file);
    return text;
}

/* Beside the old one and then in its place: a crash leaves one of the two, whole. */
static int save(const struct kstream_reader *reader, const char *path)
{
    char fresh[4096];
    char *text = NULL;
    if (kstream_reader_save(reader, &text, NULL) != KSTREAM_OK)
        return 0;
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "w");
    int is_fine = file && fprintf(file, "%s\n", text) > 0;
    if (file && fclose(file) != 0)
        is_fine = 0;
    kstream_text_free(text);
    return is_fine && rename(fresh, path) == 0;
}

static enum kstream_status follow(
    struct kstream_reader *reader, const char *path, struct kstream_error *err)
{
    for (;;) {
        struct kstream_batch *batch = NULL;
        enum kstream_status st = kstream_reader_next(reader, 10000, &batch, err);
        if (st == KSTREAM_OK) {
            print_batch(batch);
            kstream_batch_free(batch);
            /* Saved when it has been printed: a crash before this prints it again. */
            if (path && !save(reader, path))
                fprintf(stderr, "tail: cannot save the position in %s\n", path);
        } else if (st == KSTREAM_UNAVAILABLE) {
            fprintf(stderr, "tail: %s, trying again\n", err->text);
        } else if (st != KSTREAM_TIMEOUT) {
            return st;
        }
    }
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
    struct kstream_reader_options options = KSTREAM_READER_OPTIONS_INIT;
    struct kstream_client *client = NULL;
    struct kstream_reader *reader = NULL;
    if (argc < 2) {
        fprintf(stderr, "usage: tail STREAM [ENDPOINT [FILE]]\n");
        return 2;
    }
    const char *path = argc > 3 ? argv[3] : NULL;
    char *saved = load(path);
    options.saved = saved;
    enum kstream_status st = connect_to(argv[2], &client, &err);
    if (st == KSTREAM_OK)
        st = kstream_reader_open(
            client, argv[1], NULL, kstream_from_trim_horizon(), &options, &reader, &err);
    if (st == KSTREAM_OK)
        st = follow(reader, path, &err);
    if (st != KSTREAM_OK)
        fprintf(stderr, "tail: %s\n", err.text);
    kstream_reader_close(reader);
    kstream_close(client);
    free(saved);
    return kstream_status_exit_code(st);
}
