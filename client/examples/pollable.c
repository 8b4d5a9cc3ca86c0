/*
 * A program with an event loop of its own, here plain epoll: puts each line of standard input into
 * a stream, and prints every record of the stream as it arrives. One thread, and nothing ever waits
 * but epoll_wait. Ends when the input has ended and each of its lines has been printed.
 *
 *     cc pollable.c $(pkg-config --cflags --libs kstream) -o pollable
 *     seq 1 1000 | ./pollable clicks ENDPOINT
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <kstream/kstream.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

struct program {
    struct kstream_client *client;
    struct kstream_producer *producer;
    struct kstream_reader *reader;
    struct kstream_error err;
    char input[65536]; /* read and not yet put */
    size_t input_bytes;
    int input_ended;
    unsigned long put;
    unsigned long printed;
    unsigned long failed;
};

static void on_ack(const struct kstream_ack *ack, void *arg)
{
    struct program *program = (struct program *)arg;
    if (ack->status == KSTREAM_OK)
        return;
    program->failed++;
    fprintf(stderr, "pollable: %s\n", ack->text);
}

/* Puts the lines of the input. KSTREAM_FULL: not now, the rest stays. */
static enum kstream_status put_lines(struct program *program)
{
    enum kstream_status st = KSTREAM_OK;
    size_t at = 0;
    while (st == KSTREAM_OK && at < program->input_bytes) {
        const char *line = program->input + at;
        size_t rest = program->input_bytes - at;
        const char *end = (const char *)memchr(line, '\n', rest);
        size_t bytes = end ? (size_t)(end - line) : rest;
        /* The rest of a line is still to come, unless nothing comes or nothing more fits. */
        if (!end && !program->input_ended && rest < sizeof program->input)
            break;
        st = kstream_producer_put(
            program->producer, "key", 3, line, bytes, on_ack, program, &program->err);
        if (st == KSTREAM_OK) {
            program->put++;
            at += bytes + (end != NULL);
        }
    }
    program->input_bytes -= at;
    memmove(program->input, program->input + at, program->input_bytes);
    return st;
}

static void read_input(struct program *program)
{
    size_t room = sizeof program->input - program->input_bytes;
    ssize_t got = room ? read(STDIN_FILENO, program->input + program->input_bytes, room) : -1;
    if (got > 0)
        program->input_bytes += (size_t)got;
    if (got == 0 || (got < 0 && room && errno != EAGAIN && errno != EINTR))
        program->input_ended = 1;
}

/* What the reader has read ahead. */
static enum kstream_status print_records(struct program *program)
{
    struct kstream_batch *batch = NULL;
    enum kstream_status st;
    while ((st = kstream_reader_take(program->reader, &batch, &program->err)) == KSTREAM_OK) {
        for (size_t i = 0; i < kstream_batch_count(batch); i++) {
            const struct kstream_record *record = kstream_batch_record(batch, i);
            if (record->lost_records > 0)
                continue;
            fwrite(record->data, 1, record->data_bytes, stdout);
            putchar('\n');
            program->printed++;
        }
        kstream_batch_free(batch);
    }
    fflush(stdout);
    return st == KSTREAM_WOULD_BLOCK || st == KSTREAM_UNAVAILABLE ? KSTREAM_OK : st;
}

/* Whether the program has everything it came for. */
static int is_done(const struct program *program)
{
    return program->input_ended && program->input_bytes == 0 &&
           program->printed + program->failed >= program->put;
}

/* Standard input is waited for while there is room for it. A file is always ready, and cannot be
 * waited for. */
static void watch_input(int set, int wants, int *is_watched)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = STDIN_FILENO}};
    if (wants == *is_watched)
        return;
    epoll_ctl(set, wants ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, STDIN_FILENO, &event);
    *is_watched = wants;
}

static enum kstream_status loop(struct program *program)
{
    int set = epoll_create1(0);
    int fd = kstream_fd(program->client, &program->err);
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    enum kstream_status st = KSTREAM_OK;
    int is_watched = 0;
    struct stat about;
    if (set < 0 || fd < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 ||
        fstat(STDIN_FILENO, &about) < 0)
        return KSTREAM_IO;
    while (st == KSTREAM_OK && !is_done(program)) {
        if (!program->input_ended)
            read_input(program);
        st = put_lines(program);
        int wants_input = st == KSTREAM_OK && !program->input_ended;
        if (st == KSTREAM_FULL)
            st = KSTREAM_OK; /* the rest of the input waits */
        if (st == KSTREAM_OK)
            st = print_records(program);
        if (!S_ISREG(about.st_mode))
            watch_input(set, wants_input, &is_watched);
        struct epoll_event events[2];
        if (st == KSTREAM_OK && !is_done(program) &&
            epoll_wait(set, events, 2, S_ISREG(about.st_mode) && wants_input ? 0 : -1) >= 0)
            kstream_process(program->client);
    }
    close(set);
    return st;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct kstream_producer_options producer_options = KSTREAM_PRODUCER_OPTIONS_INIT;
    if (argc < 3) {
        fprintf(stderr, "usage: pollable STREAM ENDPOINT\n");
        return 2;
    }
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    /* The producer opens within the loop. The reader is opened now: what it reads begins here. */
    producer_options.open_in_background = 1;
    struct kstream_config *config = kstream_config_new();
    enum kstream_status st = config ? KSTREAM_OK : KSTREAM_NO_MEMORY;
    if (config)
        st = kstream_config_set(config, "endpoint", argv[2], &program.err);
    if (st == KSTREAM_OK)
        st = kstream_connect(config, 5000, &program.client, &program.err);
    else
        kstream_config_free(config);
    if (st == KSTREAM_OK)
        st = kstream_reader_open(program.client, argv[1], NULL, kstream_from_latest(), NULL,
            &program.reader, &program.err);
    if (st == KSTREAM_OK)
        st = kstream_producer_open(
            program.client, argv[1], &producer_options, &program.producer, &program.err);
    if (st == KSTREAM_OK)
        st = loop(&program);
    if (st != KSTREAM_OK)
        fprintf(stderr, "pollable: %s\n", program.err.text);
    kstream_producer_close(program.producer, 1000, NULL, NULL);
    kstream_reader_close(program.reader);
    kstream_close(program.client);
    return kstream_status_exit_code(st);
}
