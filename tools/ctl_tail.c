/*
 * tail: the records of all shards of a stream. A shard is read once its parents have been read to
 * their ends, so that the records of a key stay in order through a reshard.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "proto/limits.h"
#include "proto/sequence.h"
#include "tools/ctl.h"
#include "tools/ctl_record_print.h"
#include "tools/ctl_time.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 1000u
#define AWAY_PAUSE_MS 100
#define RETRY_SECONDS_DEFAULT 60u
#define RETRY_SECONDS_MAX 86400u
/* A number with so many digits is no time. */
#define SEQUENCE_DIGITS_MIN 20u
#define OUT_BUFFER_BYTES (1u << 20)

enum tail_shard_state { TAIL_WAITING, TAIL_READING, TAIL_DONE };

struct tail_shard {
    uint32_t index;
    uint32_t parents[2];
    size_t parent_count;
    bool is_closed;
    bool is_child; /* found after the start: read from its beginning */
    enum tail_shard_state state;
    struct kstream_reader *reader; /* while reading */
    char shard_id[KSTREAM_SHARD_ID_BYTES];
};

struct tail {
    struct ctl *ctl;
    struct kstream_position from;
    bool has_only_shard;
    uint32_t only_shard;
    bool is_following;
    bool has_started;
    uint64_t count_max;
    const char *key; /* NULL: all */
    uint64_t retry_ms;
    struct tail_shard *shards;
    size_t shard_count;
    struct kstream_reader **readers; /* those that read now */
    size_t *reader_shards;           /* the shard of each */
    size_t reader_count;
    uint64_t printed;
    uint64_t lost;
    uint64_t away_since_ms; /* 0: the broker is there */
    struct ctl_record_printer printer;
};

static void tail_fini(struct tail *tail)
{
    for (size_t i = 0; i < tail->shard_count; i++)
        kstream_reader_close(tail->shards[i].reader);
    ks_free(tail->shards);
    ks_free(tail->readers);
    ks_free(tail->reader_shards);
    ctl_record_printer_fini(&tail->printer);
}

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

static uint64_t now_ms(void)
{
    return ks_clock_mono_ns(&ks_clock_system) / 1000000;
}

/* ---- options ---- */

static bool is_sequence_number(const char *text)
{
    size_t digits = 0;
    while (isdigit((unsigned char)text[digits]))
        digits++;
    return digits >= SEQUENCE_DIGITS_MIN && text[digits] == '\0';
}

/* A sequence number belongs to one shard: only that one is read. */
static enum kstream_status take_sequence(
    struct tail *tail, const char *text, struct kstream_error *err)
{
    struct ks_sequence_number number;
    if (ks_sequence_from_text(ks_view_of_text(text), &number))
        return ctl_fail(err, KSTREAM_USAGE, "'%.60s' is not a sequence number", text);
    if (tail->has_only_shard && tail->only_shard != number.shard_index)
        return ctl_fail(
            err, KSTREAM_USAGE, "the sequence number is of shard %u", number.shard_index);
    tail->has_only_shard = true;
    tail->only_shard = number.shard_index;
    tail->from = kstream_from_sequence_number(text);
    return KSTREAM_OK;
}

static enum kstream_status take_from(struct tail *tail, struct kstream_error *err)
{
    const struct ctl *ctl = tail->ctl;
    const char *text = ctl_text(ctl, CTL_FROM);
    if (text && ctl_has(ctl, CTL_SINCE))
        return ctl_fail(err, KSTREAM_USAGE, "'--from' and '--since' exclude each other");
    if (!text)
        text = ctl_text(ctl, CTL_SINCE);
    if (!text)
        text = tail->is_following ? "latest" : "trim-horizon";
    if (strcasecmp(text, "latest") == 0) {
        tail->from = kstream_from_latest();
        return KSTREAM_OK;
    }
    if (strcasecmp(text, "trim-horizon") == 0 || strcasecmp(text, "trim_horizon") == 0) {
        tail->from = kstream_from_trim_horizon();
        return KSTREAM_OK;
    }
    if (is_sequence_number(text))
        return take_sequence(tail, text, err);
    struct ks_error inner = KS_ERROR_INIT;
    uint64_t unix_ms = 0;
    enum ks_status st =
        ctl_time_from_text(text, ks_clock_unix_ms(&ks_clock_system), &unix_ms, &inner);
    tail->from = kstream_from_time_ms(unix_ms);
    return ctl_fail_from(err, st, &inner);
}

static enum kstream_status take_options(struct tail *tail, struct kstream_error *err)
{
    struct ctl *ctl = tail->ctl;
    tail->is_following = !ctl_has(ctl, CTL_NO_FOLLOW);
    if (!tail->is_following && ctl_has(ctl, CTL_FOLLOW))
        return ctl_fail(err, KSTREAM_USAGE, "'--follow' and '--no-follow' exclude each other");
    const char *shard = ctl_text(ctl, CTL_SHARD);
    if (shard && ks_shard_id_from_text(ks_view_of_text(shard), &tail->only_shard))
        return ctl_fail(err, KSTREAM_USAGE, "'--shard %.60s' is not a shard", shard);
    tail->has_only_shard = shard != NULL;
    uint64_t retry_seconds = 0;
    enum kstream_status st = ctl_number(
        ctl, CTL_COUNT, (struct ctl_range){1, UINT64_MAX, UINT64_MAX}, &tail->count_max, err);
    if (!st)
        st = ctl_number(ctl, CTL_RETRY,
            (struct ctl_range){0, RETRY_SECONDS_MAX, RETRY_SECONDS_DEFAULT}, &retry_seconds, err);
    tail->retry_ms = retry_seconds * 1000;
    if (!st)
        st = take_from(tail, err);
    tail->key = ctl_text(ctl, CTL_KEY);
    return st ? st : ctl_record_printer_init(&tail->printer, ctl, err);
}

/* ---- shards ---- */

static struct tail_shard *shard_find(struct tail *tail, uint32_t index)
{
    for (size_t i = 0; i < tail->shard_count; i++)
        if (tail->shards[i].index == index)
            return &tail->shards[i];
    return NULL;
}

static void add_parent(struct tail_shard *shard, const char *shard_id)
{
    uint32_t index = 0;
    if (shard_id && !ks_shard_id_from_text(ks_view_of_text(shard_id), &index))
        shard->parents[shard->parent_count++] = index;
}

/* Called for each shard of the stream; those that are known already are left alone. */
static bool add_shard(const struct kstream_shard *found, void *arg)
{
    struct tail *tail = arg;
    uint32_t index = 0;
    if (ks_shard_id_from_text(ks_view_of_text(found->shard_id), &index))
        return true;
    bool is_wanted = !tail->has_only_shard || tail->only_shard == index;
    if (!is_wanted || shard_find(tail, index))
        return true;
    struct tail_shard *shards =
        ks_realloc(tail->shards, (tail->shard_count + 1) * sizeof *tail->shards);
    if (!shards)
        return false;
    tail->shards = shards;
    struct tail_shard *shard = &shards[tail->shard_count++];
    *shard = (struct tail_shard){.index = index, .is_child = tail->has_started};
    shard->is_closed = found->ending_sequence_number != NULL;
    snprintf(shard->shard_id, sizeof shard->shard_id, "%s", found->shard_id);
    add_parent(shard, found->parent_shard_id);
    add_parent(shard, found->adjacent_parent_shard_id);
    /* From the end of a closed shard nothing comes any more. */
    if (!tail->has_started && shard->is_closed && tail->from.type == KSTREAM_LATEST)
        shard->state = TAIL_DONE;
    return true;
}

static bool is_ready(struct tail *tail, const struct tail_shard *shard)
{
    if (shard->state != TAIL_WAITING)
        return false;
    for (size_t i = 0; i < shard->parent_count; i++) {
        const struct tail_shard *parent = shard_find(tail, shard->parents[i]);
        if (parent && parent->state != TAIL_DONE)
            return false;
    }
    return true;
}

/* Opens what may be read now and lists the readers anew. */
static enum kstream_status open_ready(struct tail *tail, struct kstream_error *err)
{
    ks_free(tail->readers);
    ks_free(tail->reader_shards);
    tail->reader_count = 0;
    // NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers is meant
    tail->readers = ks_calloc(tail->shard_count + 1, sizeof *tail->readers);
    tail->reader_shards = ks_calloc(tail->shard_count + 1, sizeof *tail->reader_shards);
    if (!tail->readers || !tail->reader_shards)
        return fail_memory(err);
    struct kstream_reader_options options = KSTREAM_READER_OPTIONS_INIT;
    options.retry_time_max_ms = (uint32_t)tail->retry_ms;
    for (size_t i = 0; i < tail->shard_count; i++) {
        struct tail_shard *shard = &tail->shards[i];
        if (is_ready(tail, shard)) {
            struct kstream_position from =
                shard->is_child ? kstream_from_trim_horizon() : tail->from;
            enum kstream_status st = kstream_reader_open(tail->ctl->client, tail->ctl->stream,
                shard->shard_id, from, &options, &shard->reader, err);
            if (st)
                return st;
            shard->state = TAIL_READING;
        }
        if (shard->state == TAIL_READING) {
            tail->reader_shards[tail->reader_count] = i;
            tail->readers[tail->reader_count++] = shard->reader;
        }
    }
    return KSTREAM_OK;
}

static enum kstream_status find_shards(struct tail *tail, struct kstream_error *err)
{
    enum kstream_status st = ctl_each_shard(tail->ctl, add_shard, tail, err);
    tail->has_started = true;
    if (!st && tail->has_only_shard && tail->shard_count == 0)
        st = ctl_fail(err, KSTREAM_NOT_FOUND, "stream '%.128s' has no shard %u", tail->ctl->stream,
            tail->only_shard);
    return st ? st : open_ready(tail, err);
}

/* A shard is read to its end: its children, if it has any, may begin. */
static enum kstream_status shard_done(
    struct tail *tail, size_t which, bool is_closed, struct kstream_error *err)
{
    struct tail_shard *shard = &tail->shards[tail->reader_shards[which]];
    kstream_reader_close(shard->reader);
    shard->reader = NULL;
    shard->state = TAIL_DONE;
    return is_closed ? find_shards(tail, err) : open_ready(tail, err);
}

/* ---- printing ---- */

static enum kstream_status fail_output(struct kstream_error *err)
{
    int errnum = errno;
    KS_IGNORE(ctl_fail(err, KSTREAM_IO, "cannot write the records: %s", strerror(errnum)),
        "returned below");
    err->system_error = errnum;
    return KSTREAM_IO;
}

/* Whether --key asks for it. */
static bool is_wanted(const struct tail *tail, const struct kstream_record *record)
{
    struct ks_view key = ks_view_of(record->key, record->key_bytes);
    return !tail->key || ks_view_equal(key, ks_view_of_text(tail->key));
}

static enum kstream_status print_batch(
    struct tail *tail, const struct kstream_batch *batch, struct kstream_error *err)
{
    errno = 0;
    for (size_t i = 0; i < kstream_batch_count(batch) && tail->printed < tail->count_max; i++) {
        const struct kstream_record *record = kstream_batch_record(batch, i);
        if (record->lost_records) {
            char sequence[KSTREAM_SEQUENCE_BYTES];
            kstream_batch_sequence_number(batch, i, sequence);
            fprintf(stderr, "kstreamctl: tail: %llu damaged record%s left out from %s %s on\n",
                (unsigned long long)record->lost_records, record->lost_records == 1 ? "" : "s",
                kstream_batch_shard_id(batch), sequence);
            tail->lost += record->lost_records;
            continue;
        }
        if (!is_wanted(tail, record))
            continue;
        enum kstream_status st = ctl_record_print(&tail->printer, batch, i, err);
        if (!st && ferror(stdout))
            st = fail_output(err);
        if (st)
            return st;
        tail->printed++;
    }
    return fflush(stdout) == 0 ? KSTREAM_OK : fail_output(err);
}

/* ---- the loop ---- */

/* Whether the reader of our output is gone: nobody would notice before the next record. */
static bool is_output_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = 0};
    return poll(&out, 1, 0) > 0 && (out.revents & POLLERR);
}

/* The broker is away. Tries again for a while; returns the error when that is over. */
static enum kstream_status wait_for_broker(
    struct tail *tail, enum kstream_status st, const struct kstream_error *err)
{
    uint64_t now = now_ms();
    if (tail->away_since_ms == 0) {
        tail->away_since_ms = now;
        if (tail->retry_ms > 0)
            fprintf(stderr, "kstreamctl: tail: %s; trying again for %llu s\n", err->text,
                (unsigned long long)tail->retry_ms / 1000);
    }
    if (now - tail->away_since_ms >= tail->retry_ms)
        return st;
    KS_IGNORE(poll(NULL, 0, AWAY_PAUSE_MS), "a pause");
    return KSTREAM_OK;
}

static enum kstream_status take_batch(
    struct tail *tail, size_t which, struct kstream_batch *batch, struct kstream_error *err)
{
    if (tail->away_since_ms)
        fprintf(stderr, "kstreamctl: tail: the broker is back\n");
    tail->away_since_ms = 0;
    enum kstream_status st = print_batch(tail, batch, err);
    /* "What is there now" ends where the broker has nothing newer, even if more arrives later. */
    bool is_at_end = kstream_batch_millis_behind_latest(batch) == 0;
    kstream_batch_free(batch);
    if (!st && !tail->is_following && is_at_end)
        st = shard_done(tail, which, false, err);
    return st;
}

static enum kstream_status tail_loop(struct tail *tail, struct kstream_error *err)
{
    uint32_t wait_ms = tail->is_following ? WAIT_MS : 0;
    enum kstream_status st = KSTREAM_OK;
    while (!st && tail->reader_count > 0 && tail->printed < tail->count_max) {
        size_t which = 0;
        struct kstream_batch *batch = NULL;
        st = kstream_reader_next_any(
            tail->readers, tail->reader_count, wait_ms, &which, &batch, err);
        if (!st) {
            st = take_batch(tail, which, batch, err);
        } else if (st == KSTREAM_TIMEOUT) {
            if (!tail->is_following || is_output_gone())
                return KSTREAM_OK;
            tail->away_since_ms = 0;
            st = KSTREAM_OK;
        } else if (st == KSTREAM_END) {
            st = shard_done(tail, which, true, err);
        } else if (st == KSTREAM_UNAVAILABLE || st == KSTREAM_STOPPING) {
            st = wait_for_broker(tail, st, err);
        }
    }
    return st;
}

enum kstream_status ctl_run_tail(struct ctl *ctl, struct kstream_error *err)
{
    KS_CLEANUP(tail_fini) struct tail tail = {.ctl = ctl};
    enum kstream_status st = take_options(&tail, err);
    if (!st)
        st = ctl_connect(ctl, err);
    if (!st)
        st = find_shards(&tail, err);
    if (st)
        return st;
    static char out_buffer[OUT_BUFFER_BYTES];
    setvbuf(stdout, out_buffer, _IOFBF, sizeof out_buffer);
    st = tail_loop(&tail, err);
    if (!st && tail.lost > 0)
        st = ctl_fail(err, KSTREAM_PARTIAL, "%llu record%s damaged in the broker's storage",
            (unsigned long long)tail.lost, tail.lost == 1 ? " is" : "s are");
    if (!st && tail.printer.not_decoded > 0)
        st = ctl_fail(err, KSTREAM_PARTIAL, "%llu records are no gzip, and are shown as they are",
            (unsigned long long)tail.printer.not_decoded);
    return st;
}
