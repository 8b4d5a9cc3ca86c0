/*
 * put: every line of a file or of standard input becomes a record. The library's producer batches,
 * repeats after a lost connection without storing twice, and tells what became of each line; here
 * lines are read, keys chosen, failures listed, progress shown.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "proto/limits.h"
#include "tools/ctl_dry_run.h"
#include "tools/ctl_lines.h"
#include "tools/ctl_progress.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_DEFAULT 500u /* as PutRecords has it */
/* Lines under way at a time, in batches: enough to keep the broker busy while answers travel, few
 * enough that the time from put to acknowledgement is the broker's and not a queue's in here. */
#define BATCHES_UNDER_WAY 8u
#define PRODUCER_BYTES_MAX (32u << 20)
#define LINGER_MS 1u
#define WAIT_MS 100u
#define FAILURES_LISTED_MAX 20u
#define RETRY_SECONDS_DEFAULT 60u
#define RETRY_SECONDS_MAX 86400u

struct put;

/* A line under way. */
struct put_slot {
    struct put *put;
    struct put_slot *next_free;
    uint64_t line;
    uint64_t input_bytes;
};

struct put {
    struct ctl *ctl;
    int fd;
    bool is_own_fd;
    struct ctl_lines lines;
    struct kstream_producer *producer;
    const char *fixed_key;
    bool has_key_field;
    bool has_data_field;
    struct ctl_field key_field;
    struct ctl_field data_field;
    struct put_slot *slots;
    struct put_slot *free_slots;
    uint64_t under_way;
    uint64_t input_bytes; /* of the lines answered */
    bool is_dry;          /* nothing is stored, and there is no producer */
    uint64_t dry_records; /* that would be */
    uint64_t dry_bytes;
    size_t record_bytes_max;
    uint64_t failed;
    uint64_t unknown;          /* of the failed ones: may be stored all the same */
    json_t *failures;          /* the first ones */
    enum kstream_status fatal; /* why reading on makes no sense; KSTREAM_OK: it does */
    char fatal_text[200];
    uint64_t started_ns;
    uint64_t answered_ns; /* when the last answer came, or waiting began */
    uint64_t gap_max_ns;  /* the longest time without any answer */
    uint32_t batch_records;
    struct ctl_progress progress;
};

static uint64_t now_ns(void)
{
    return ks_clock_mono_ns(&ks_clock_system);
}

static void put_fini(struct put *put)
{
    /* Closing gives every record its callback, which uses the slots: first of all. */
    if (put->producer)
        KS_IGNORE(kstream_producer_close(put->producer, 0, NULL, NULL),
            "what is left after an error is reported already");
    ctl_lines_fini(&put->lines);
    if (put->is_own_fd)
        close(put->fd);
    ks_free(put->slots);
    json_decref(put->failures);
}

/* ---- answers ---- */

/* Whether the next line may do better. */
static bool is_about_the_record(enum kstream_status status)
{
    return status == KSTREAM_VALIDATION || status == KSTREAM_TOO_LARGE || status == KSTREAM_INVALID;
}

/* A full disk says the same of every line. */
static bool is_said_already(
    const struct put *put, uint64_t line, enum kstream_status status, const char *text)
{
    size_t count = json_array_size(put->failures);
    json_t *last = count > 0 ? json_array_get(put->failures, count - 1) : NULL;
    const char *said = json_string_value(json_object_get(last, "message"));
    if (is_about_the_record(status) || !said || strcmp(said, text) != 0)
        return false;
    json_int_t first = json_integer_value(json_object_get(last, "line"));
    json_int_t to = json_integer_value(json_object_get(last, "to_line"));
    json_int_t lines = json_integer_value(json_object_get(last, "lines"));
    return ctl_json_add(last, "line", json_integer(KS_MIN(first, (json_int_t)line))) &&
           ctl_json_add(
               last, "to_line", json_integer(KS_MAX(KS_MAX(first, to), (json_int_t)line))) &&
           ctl_json_add(last, "lines", json_integer(KS_MAX(lines, 1) + 1));
}

static void note_failure(
    struct put *put, uint64_t line, enum kstream_status status, const char *text)
{
    put->failed++;
    if (!is_said_already(put, line, status, text) &&
        json_array_size(put->failures) < FAILURES_LISTED_MAX) {
        const char *code = kstream_status_exception(status);
        KS_IGNORE(json_array_append_new(
                      put->failures, json_pack("{s:I, s:s, s:s}", "line", (json_int_t)line, "code",
                                         code, "message", text)),
            "the count is right all the same");
    }
    if (!is_about_the_record(status) && !put->fatal) {
        put->fatal = status;
        snprintf(put->fatal_text, sizeof put->fatal_text, "%s", text);
    }
}

static void on_ack(const struct kstream_ack *ack, void *arg)
{
    struct put_slot *slot = arg;
    struct put *put = slot->put;
    uint64_t now = now_ns();
    put->gap_max_ns = ks_max_u64(put->gap_max_ns, now - put->answered_ns);
    put->answered_ns = now;
    put->input_bytes += slot->input_bytes;
    KS_ASSERT(put->under_way > 0);
    put->under_way--;
    if (ack->status) {
        put->unknown += ack->outcome_unknown != 0;
        note_failure(put, slot->line, ack->status, ack->text);
    }
    slot->next_free = put->free_slots;
    put->free_slots = slot;
}

/* ---- lines ---- */

/* Key and data of a line. number_text has room for the key made of the line's number. */
static bool split_line(const struct put *put, struct ks_view line, char number_text[24],
    struct ks_view *out_key, struct ks_view *out_data)
{
    struct ks_view ignored;
    *out_data = line;
    if (put->has_data_field && !ctl_field_find(&put->data_field, line, &ignored, out_data))
        return false;
    if (put->fixed_key) {
        *out_key = ks_view_of_text(put->fixed_key);
        return true;
    }
    if (put->has_key_field)
        return ctl_field_find(&put->key_field, line, out_key, &ignored) && out_key->bytes > 0;
    int length = snprintf(number_text, 24, "%llu", (unsigned long long)put->lines.number);
    *out_key = ks_view_of(number_text, (size_t)length);
    return true;
}

/* What the producer and the broker would say of the record. */
static void check_record(struct put *put, struct ks_view key, struct ks_view data)
{
    bool is_key = key.bytes > 0 && ks_view_is_utf8(key) &&
                  ks_view_utf8_characters(key) <= KS_PARTITION_KEY_CHARACTERS_MAX;
    if (!is_key) {
        note_failure(put, put->lines.number, KSTREAM_VALIDATION,
            "a partition key is UTF-8 of 1 to 256 characters");
    } else if (key.bytes + data.bytes > put->record_bytes_max) {
        note_failure(
            put, put->lines.number, KSTREAM_TOO_LARGE, "the record is too large for the stream");
    } else {
        put->dry_records++;
        put->dry_bytes += key.bytes + data.bytes;
    }
}

static void put_line(struct put *put, struct ks_view line)
{
    char number_text[24];
    struct ks_view key;
    struct ks_view data;
    if (!split_line(put, line, number_text, &key, &data)) {
        put->input_bytes += line.bytes + 1;
        note_failure(put, put->lines.number, KSTREAM_VALIDATION, "the line lacks the field");
        return;
    }
    if (put->is_dry) {
        put->input_bytes += line.bytes + 1;
        check_record(put, key, data);
        return;
    }
    struct put_slot *slot = put->free_slots;
    KS_ASSERT(slot);
    put->free_slots = slot->next_free;
    slot->line = put->lines.number;
    slot->input_bytes = line.bytes + 1;
    if (put->under_way++ == 0)
        put->answered_ns = now_ns();
    struct kstream_error err = KSTREAM_ERROR_INIT;
    enum kstream_status st;
    while ((st = kstream_producer_put(put->producer, (const char *)key.data, key.bytes, data.data,
                data.bytes, on_ack, slot, &err)) == KSTREAM_FULL)
        kstream_producer_poll(put->producer, WAIT_MS);
    if (st) {
        put->input_bytes += slot->input_bytes;
        put->under_way--;
        slot->next_free = put->free_slots;
        put->free_slots = slot;
        note_failure(put, put->lines.number, st, err.text);
    }
}

/* Takes lines while there are slots. Returns what it stopped at; CTL_LINE_OK: no slot is free. */
static enum ctl_line put_lines(struct put *put)
{
    while ((put->free_slots || put->is_dry) && !put->fatal) {
        struct ks_view line;
        enum ctl_line what = ctl_lines_next(&put->lines, &line);
        if (what == CTL_LINE_OK)
            put_line(put, line);
        else if (what == CTL_LINE_TOO_LONG)
            note_failure(
                put, put->lines.number, KSTREAM_TOO_LARGE, "the line is too long for a record");
        else
            return what;
    }
    return CTL_LINE_OK;
}

/* ---- the loop ---- */

/* The producer's, or what they would be. */
static void put_stats(const struct put *put, struct kstream_producer_stats *stats)
{
    if (!put->is_dry) {
        kstream_producer_stats(put->producer, stats);
        return;
    }
    stats->is_connected = 1;
    stats->records_durable = put->dry_records;
    stats->bytes_durable = put->dry_bytes;
}

static void show_progress(struct put *put)
{
    struct kstream_producer_stats stats = KSTREAM_PRODUCER_STATS_INIT;
    put_stats(put, &stats);
    struct ctl_progress_state state = {
        .records = stats.records_durable,
        .bytes = stats.bytes_durable,
        .failed = put->failed,
        .input_bytes = put->input_bytes,
        .trouble = stats.is_connected ? "" : kstream_producer_trouble(put->producer),
    };
    ctl_progress_show(&put->progress, &state, now_ns());
}

/* Waits for the input or for the broker, whichever has something first. */
static bool wait_for_input(struct put *put)
{
    struct pollfd fds[2] = {{.fd = put->fd, .events = POLLIN}, {.fd = -1}};
    uint32_t wait_ms =
        put->is_dry ? WAIT_MS : kstream_producer_wants(put->producer, &fds[1].fd, &fds[1].events);
    int got = poll(fds, 2, (int)KS_MIN(wait_ms, WAIT_MS));
    if (!put->is_dry)
        kstream_producer_poll(put->producer, 0);
    return got > 0 && fds[0].revents != 0;
}

static enum kstream_status put_input(struct put *put, struct kstream_error *err)
{
    for (;;) {
        enum ctl_line what = put_lines(put);
        show_progress(put);
        if (what == CTL_LINE_END || put->fatal || ctl_is_interrupted())
            return KSTREAM_OK;
        if (what == CTL_LINE_OK) {
            kstream_producer_poll(put->producer, WAIT_MS);
            continue;
        }
        struct ks_error inner = KS_ERROR_INIT;
        if (wait_for_input(put) && ctl_lines_fill(&put->lines, &inner))
            return ctl_fail_from(err, inner.status, &inner);
    }
}

/* Until every line has its answer; after a second SIGINT the process is gone anyway. */
static void put_rest(struct put *put)
{
    enum kstream_status st;
    do {
        st = kstream_producer_flush(put->producer, WAIT_MS, NULL);
        show_progress(put);
    } while (st == KSTREAM_TIMEOUT && put->under_way > 0);
}

/* ---- begin and end ---- */

static enum kstream_status put_open_input(struct put *put, struct kstream_error *err)
{
    const char *path = ctl_text(put->ctl, CTL_FILE);
    put->fd = STDIN_FILENO;
    if (path && strcmp(path, "-") != 0) {
        put->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (put->fd < 0)
            return ctl_fail(err, KSTREAM_USAGE, "cannot open '%.120s': %s", path, strerror(errno));
        put->is_own_fd = true;
    }
    struct stat about;
    if (fstat(put->fd, &about) == 0 && S_ISDIR(about.st_mode))
        return ctl_fail(err, KSTREAM_USAGE, "'%.120s' is a directory", path);
    return KSTREAM_OK;
}

/* 0: not a file of known length. */
static uint64_t input_size(int fd)
{
    struct stat about;
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) || at < 0 || at >= about.st_size)
        return 0;
    return (uint64_t)(about.st_size - at);
}

static enum kstream_status put_take_options(struct put *put, struct kstream_error *err)
{
    struct ctl *ctl = put->ctl;
    struct ks_error inner = KS_ERROR_INIT;
    put->fixed_key = ctl_text(ctl, CTL_KEY);
    put->has_key_field = ctl_has(ctl, CTL_KEY_FIELD);
    put->has_data_field = ctl_has(ctl, CTL_DATA_FIELD);
    if (put->fixed_key && put->has_key_field)
        return ctl_fail(err, KSTREAM_USAGE, "'--key' and '--key-field' exclude each other");
    enum ks_status st = KS_OK;
    if (put->has_key_field)
        st = ctl_field_from_text(ctl_text(ctl, CTL_KEY_FIELD), &put->key_field, &inner);
    if (!st && put->has_data_field) {
        st = ctl_field_from_text(ctl_text(ctl, CTL_DATA_FIELD), &put->data_field, &inner);
        /* One separator for the line: what the key has counts for the data as well. */
        if (put->data_field.separator_bytes == 0 && put->key_field.separator_bytes > 0) {
            uint32_t number = put->data_field.number;
            put->data_field = put->key_field;
            put->data_field.number = number;
        }
    }
    return ctl_fail_from(err, st, &inner);
}

/* Only looks whether the stream is there. */
static enum kstream_status put_open_dry(struct put *put, struct kstream_error *err)
{
    struct kstream_stream *about = NULL;
    enum kstream_status st =
        kstream_describe_stream_summary(put->ctl->client, put->ctl->stream, NULL, &about, err);
    if (st)
        return ctl_would_not(put->ctl, st);
    put->record_bytes_max =
        about->max_record_size_kib ? (size_t)about->max_record_size_kib << 10 : 1u << 20;
    kstream_stream_free(about);
    put->failures = json_array();
    return put->failures ? KSTREAM_OK : ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

static enum kstream_status put_open_producer(struct put *put, struct kstream_error *err)
{
    uint64_t batch = 0;
    uint64_t retry_seconds = 0;
    struct ctl *ctl = put->ctl;
    enum kstream_status st = ctl_number(
        ctl, CTL_BATCH, (struct ctl_range){1, KS_PUT_RECORDS_MAX, BATCH_DEFAULT}, &batch, err);
    if (!st)
        st = ctl_number(ctl, CTL_RETRY,
            (struct ctl_range){0, RETRY_SECONDS_MAX, RETRY_SECONDS_DEFAULT}, &retry_seconds, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (st)
        return st;
    put->batch_records = (uint32_t)batch;
    put->is_dry = ctl_is_dry_run(ctl);
    if (put->is_dry)
        return put_open_dry(put, err);
    size_t slot_count = (size_t)batch * BATCHES_UNDER_WAY;
    put->slots = ks_calloc(slot_count, sizeof *put->slots);
    put->failures = json_array();
    if (!put->slots || !put->failures)
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < slot_count; i++) {
        put->slots[i].put = put;
        put->slots[i].next_free = put->free_slots;
        put->free_slots = &put->slots[i];
    }
    struct kstream_producer_options options = KSTREAM_PRODUCER_OPTIONS_INIT;
    options.memory_bytes_max = PRODUCER_BYTES_MAX;
    options.batch_records_max = (uint32_t)batch;
    options.linger_ms = LINGER_MS;
    options.retry_time_max_ms = (uint32_t)retry_seconds * 1000;
    if (ctl->timeout_ms)
        options.request_timeout_ms = ctl->timeout_ms;
    return kstream_producer_open(ctl->client, ctl->stream, &options, &put->producer, err);
}

/* A quotient, which is the double next to the three decimals; a product would need 17 digits. */
static double round_to_thousandths(double value)
{
    return (double)(long long)(value * 1000 + 0.5) / 1000;
}

/* What happened, as the result. False: out of memory. */
static bool put_summarize(struct put *put, const struct kstream_producer_stats *stats)
{
    double seconds = (double)(now_ns() - put->started_ns) / 1e9;
    double rate = seconds > 0 ? 1 / seconds : 0;
    json_t *result = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:I, s:I}", "stream",
        put->ctl->stream_name, "records", (json_int_t)stats->records_durable, "bytes",
        (json_int_t)stats->bytes_durable, "failed", (json_int_t)put->failed, "maybe_stored",
        (json_int_t)put->unknown, "seconds", round_to_thousandths(seconds), "records_per_second",
        (json_int_t)((double)stats->records_durable * rate), "bytes_per_second",
        (json_int_t)((double)stats->bytes_durable * rate));
    if (!result)
        return false;
    put->ctl->result = result;
    json_t *more = json_pack("{s:f, s:f, s:f, s:f, s:I, s:I, s:I}", "ack_p50_ms",
        round_to_thousandths((double)stats->latency_p50_ns / 1e6), "ack_p99_ms",
        round_to_thousandths((double)stats->latency_p99_ns / 1e6), "ack_max_ms",
        round_to_thousandths((double)stats->latency_max_ns / 1e6), "longest_wait_ms",
        round_to_thousandths((double)put->gap_max_ns / 1e6), "retries", (json_int_t)stats->retries,
        "reconnects", (json_int_t)stats->reconnects, "repeated",
        (json_int_t)stats->records_repeated);
    bool is_fine = more && json_object_update(result, more) == 0;
    json_decref(more);
    if (is_fine && json_array_size(put->failures) > 0)
        is_fine = ctl_json_add(result, "failures", json_incref(put->failures));
    return is_fine;
}

/* What a dry run has found. */
static enum kstream_status put_finish_dry(struct put *put, struct kstream_error *err)
{
    enum kstream_status st = ctl_would(put->ctl, err, "store %llu records in stream '%s'",
        (unsigned long long)put->dry_records, put->ctl->stream_name);
    if (st)
        return st;
    json_t *result = put->ctl->result;
    if (!ctl_json_add(result, "records", json_integer((json_int_t)put->dry_records)) ||
        !ctl_json_add(result, "bytes", json_integer((json_int_t)put->dry_bytes)) ||
        !ctl_json_add(result, "failed", json_integer((json_int_t)put->failed)) ||
        (put->failed > 0 && !ctl_json_add(result, "failures", json_incref(put->failures))))
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    if (put->failed == 0)
        return KSTREAM_OK;
    return ctl_would_not(put->ctl, ctl_fail(err, KSTREAM_PARTIAL, "%llu lines would be refused",
                                       (unsigned long long)put->failed));
}

static enum kstream_status put_finish(struct put *put, struct kstream_error *err)
{
    struct kstream_producer_stats stats = KSTREAM_PRODUCER_STATS_INIT;
    if (!put->is_dry)
        put_rest(put);
    put_stats(put, &stats);
    ctl_progress_end(&put->progress);
    if (put->is_dry)
        return put_finish_dry(put, err);
    if (!put->ctl->is_quiet && !put_summarize(put, &stats))
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    unsigned long long durable = stats.records_durable;
    unsigned long long failed = put->failed;
    if (put->fatal)
        return ctl_fail(err, put->fatal, "%s (%llu record%s durable, %llu %s not)", put->fatal_text,
            durable, durable == 1 ? " is" : "s are", failed, failed == 1 ? "is" : "are");
    if (put->failed > 0)
        return ctl_fail(
            err, KSTREAM_PARTIAL, "%llu of %llu lines were not stored", failed, durable + failed);
    return KSTREAM_OK;
}

enum kstream_status ctl_run_put(struct ctl *ctl, struct kstream_error *err)
{
    KS_CLEANUP(put_fini) struct put put = {.ctl = ctl, .fd = -1};
    ctl_lines_init(&put.lines, -1, KS_RECORD_BYTES_MAX + KS_PARTITION_KEY_BYTES_MAX);
    enum kstream_status st = put_take_options(&put, err);
    if (!st)
        st = put_open_input(&put, err);
    if (!st)
        st = put_open_producer(&put, err);
    if (st)
        return st;
    put.lines.fd = put.fd;
    put.started_ns = now_ns();
    put.answered_ns = put.started_ns;
    ctl_progress_init(&put.progress, ctl->progress, stderr, input_size(put.fd), put.started_ns);
    ctl_interrupt_catch();
    st = put_input(&put, err);
    /* Input that cannot be read any more: the lines before are stored and counted all the same. */
    struct kstream_error finish_err = KSTREAM_ERROR_INIT;
    enum kstream_status finish_st = put_finish(&put, st ? &finish_err : err);
    return st ? st : finish_st;
}
