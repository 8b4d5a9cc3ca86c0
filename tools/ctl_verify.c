/*
 * verify: sealed segments are read over again, by the broker that has them, shard by shard; or the
 * directory of a broker that does not run by kstream-inspect, which looks at everything.
 */
#include "base/clock.h"
#include "proto/limits.h"
#include "tools/ctl_native.h"
#include "tools/ctl_progress.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define INSPECT "kstream-inspect"

struct sums {
    uint64_t segments;
    uint64_t bytes;
    uint64_t records;
    uint64_t damaged_segments;
    uint64_t damaged_records;
    uint64_t unsealed_records;
};

struct verify {
    struct ctl *ctl;
    json_t *shards;
    struct sums total;
    struct ctl_progress progress;
};

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

static uint64_t now_ns(void)
{
    return ks_clock_mono_ns(&ks_clock_system);
}

/* ---- a shard ---- */

static void sums_add(struct sums *into, const struct sums *more)
{
    into->segments += more->segments;
    into->bytes += more->bytes;
    into->records += more->records;
    into->damaged_segments += more->damaged_segments;
    into->damaged_records += more->damaged_records;
    into->unsealed_records += more->unsealed_records;
}

/* False: out of memory. */
static bool take_part(struct sums *sums, json_t *damages, const Kstream__VerifyShardResponse *part)
{
    sums->segments += part->segments;
    sums->bytes += part->bytes;
    sums->records += part->records;
    sums->unsealed_records =
        part->unsealed_records; /* of the last part: behind all that is sealed */
    for (size_t i = 0; i < part->n_damages; i++) {
        const Kstream__VerifyDamage *damage = part->damages[i];
        char file[32];
        snprintf(file, sizeof file, "%016llx.seg", (unsigned long long)damage->file_id);
        sums->damaged_segments++;
        sums->damaged_records += damage->records;
        if (json_array_append_new(
                damages, json_pack("{s:s, s:I, s:I, s:I}", "file", file, "from_sequence",
                             (json_int_t)damage->from_sequence, "batches",
                             (json_int_t)damage->batches, "records", (json_int_t)damage->records)))
            return false;
    }
    return true;
}

static void show_progress(struct verify *verify, const struct sums *sums)
{
    const struct ctl_progress_state state = {.records = verify->total.records + sums->records,
        .bytes = verify->total.bytes + sums->bytes,
        .failed = verify->total.damaged_records + sums->damaged_records,
        .trouble = ""};
    ctl_progress_show(&verify->progress, &state, now_ns());
}

/* Part by part. */
static enum kstream_status ask_all(struct verify *verify, Kstream__VerifyShardRequest *request,
    struct sums *sums, json_t *damages, struct kstream_error *err)
{
    for (bool has_more = true; has_more;) {
        ProtobufCMessage *message = NULL;
        struct ks_arena arena;
        ks_arena_init(&arena, CTL_ANSWER_BYTES_MAX);
        enum kstream_status st =
            ctl_call(verify->ctl, KS_OP_VERIFY_SHARD, &request->base, &arena, &message, err);
        if (!st) {
            const Kstream__VerifyShardResponse *part = (const void *)message;
            has_more = part->has_next_sequence;
            request->has_after_sequence = has_more;
            request->after_sequence = part->next_sequence;
            if (!take_part(sums, damages, part))
                st = fail_memory(err);
        }
        ks_arena_fini(&arena);
        if (st)
            return st;
        show_progress(verify, sums);
        if (ctl_is_interrupted())
            return ctl_fail(err, KSTREAM_TIMEOUT, "interrupted");
    }
    return KSTREAM_OK;
}

static enum kstream_status verify_shard(
    struct verify *verify, const char *stream, const char *shard_id, struct kstream_error *err)
{
    Kstream__VerifyShardRequest request = KSTREAM__VERIFY_SHARD_REQUEST__INIT;
    struct sums sums = {.segments = 0};
    json_t *damages = json_array();
    request.stream_name = (char *)(uintptr_t)stream;
    request.shard_id = (char *)(uintptr_t)shard_id;
    enum kstream_status st =
        damages ? ask_all(verify, &request, &sums, damages, err) : fail_memory(err);
    if (!st && json_array_append_new(verify->shards,
                   json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:O}", "stream_name", stream,
                       "shard_id", shard_id, "segments", (json_int_t)sums.segments, "bytes",
                       (json_int_t)sums.bytes, "records", (json_int_t)sums.records,
                       "damaged_records", (json_int_t)sums.damaged_records, "unsealed_records",
                       (json_int_t)sums.unsealed_records, "damages", damages)))
        st = fail_memory(err);
    sums_add(&verify->total, &sums);
    json_decref(damages);
    return st;
}

/* ---- streams ---- */

static bool note_shard(const struct kstream_shard *shard, void *arg)
{
    return json_array_append_new(arg, json_string(shard->shard_id)) == 0;
}

static enum kstream_status verify_stream(
    struct verify *verify, const char *stream, struct kstream_error *err)
{
    struct ctl *ctl = verify->ctl;
    const char *shard = ctl_text(ctl, CTL_SHARD_ID);
    char shard_id[KS_SHARD_ID_TEXT_BYTES];
    if (shard) {
        ctl_shard_id_text(shard, shard_id);
        return verify_shard(verify, stream, shard_id, err);
    }
    json_t *ids = json_array();
    const char *named = ctl->stream;
    ctl->stream = stream;
    enum kstream_status st = ids ? ctl_each_shard(ctl, note_shard, ids, err) : fail_memory(err);
    ctl->stream = named;
    for (size_t i = 0; i < json_array_size(ids) && !st; i++)
        st = verify_shard(verify, stream, json_string_value(json_array_get(ids, i)), err);
    json_decref(ids);
    return st;
}

static enum kstream_status verify_all(struct verify *verify, struct kstream_error *err)
{
    char last[KS_STREAM_NAME_BYTES_MAX + 1] = "";
    enum kstream_status st = KSTREAM_OK;
    for (bool has_more = true; has_more && !st;) {
        struct kstream_list_streams_options options = KSTREAM_LIST_STREAMS_OPTIONS_INIT;
        struct kstream_stream_list *page = NULL;
        options.timeout_ms = verify->ctl->timeout_ms;
        options.exclusive_start_stream_name = last[0] ? last : NULL;
        st = kstream_list_streams(verify->ctl->client, &options, &page, err);
        if (st)
            return st;
        for (size_t i = 0; i < page->stream_count && !st; i++) {
            snprintf(last, sizeof last, "%s", page->streams[i].stream_name);
            st = verify_stream(verify, last, err);
            if (st == KSTREAM_NOT_FOUND) /* deleted meanwhile */
                st = KSTREAM_OK;
        }
        has_more = page->has_more && page->stream_count > 0;
        kstream_stream_list_free(page);
    }
    return st;
}

static enum kstream_status give(struct verify *verify, struct kstream_error *err)
{
    struct ctl *ctl = verify->ctl;
    const struct sums *total = &verify->total;
    ctl->list_member = "shards";
    ctl->result = json_pack("{s:O, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "shards", verify->shards,
        "total", "segments", (json_int_t)total->segments, "bytes", (json_int_t)total->bytes,
        "records", (json_int_t)total->records, "damaged_segments",
        (json_int_t)total->damaged_segments, "damaged_records", (json_int_t)total->damaged_records,
        "unsealed_records", (json_int_t)total->unsealed_records);
    if (!ctl->result)
        return fail_memory(err);
    if (total->damaged_segments == 0)
        return KSTREAM_OK;
    ctl->hint = "readers are told of each damaged record when they come to it; replace the disk";
    return ctl_fail(err, KSTREAM_PARTIAL, "%llu segments are damaged, with %llu records in them",
        (unsigned long long)total->damaged_segments, (unsigned long long)total->damaged_records);
}

static enum kstream_status verify_by_broker(struct ctl *ctl, struct kstream_error *err)
{
    struct verify verify = {.ctl = ctl, .shards = json_array()};
    if (ctl_has(ctl, CTL_SHARD_ID) && !ctl->stream)
        return ctl_fail(err, KSTREAM_USAGE, "'--shard-id' needs a stream");
    enum kstream_status st = verify.shards ? ctl_connect(ctl, err) : fail_memory(err);
    if (!st) {
        ctl_interrupt_catch();
        ctl_progress_init(&verify.progress, ctl->progress, stderr, 0, now_ns());
        st = ctl->stream ? verify_stream(&verify, ctl->stream_name, err) : verify_all(&verify, err);
        ctl_progress_end(&verify.progress);
    }
    if (!st)
        st = give(&verify, err);
    json_decref(verify.shards);
    return st;
}

/* ---- without a broker ---- */

/* Beside this program, or wherever PATH has it. */
static void find_inspect(char *path, size_t bytes)
{
    ssize_t n = readlink("/proc/self/exe", path, bytes - 1);
    path[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(path, '/');
    if (slash && (size_t)(slash + 1 - path) + sizeof INSPECT <= bytes) {
        strcpy(slash + 1, INSPECT);
        if (access(path, X_OK) == 0)
            return;
    }
    snprintf(path, bytes, "%s", INSPECT);
}

/* Its standard output, as JSON; NULL: it has said none. */
static json_t *run_inspect(const char *directory, int *out_status)
{
    char path[PATH_MAX];
    int ends[2];
    pid_t child = 0;
    posix_spawn_file_actions_t actions;
    find_inspect(path, sizeof path);
    if (pipe(ends))
        return NULL;
    char *words[] = {(char *)(uintptr_t) "kstream-inspect", (char *)(uintptr_t) "verify",
        (char *)(uintptr_t) "--quiet", (char *)(uintptr_t) "--output", (char *)(uintptr_t) "json",
        (char *)(uintptr_t)directory, NULL};
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    int rc = posix_spawnp(&child, path, &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    json_t *answer = rc == 0 && from ? json_loadf(from, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    while (rc == 0 && from && fgetc(from) != EOF)
        continue;
    if (from)
        fclose(from);
    *out_status = -1;
    if (rc == 0 && (waitpid(child, out_status, 0) != child || !WIFEXITED(*out_status)))
        *out_status = -1;
    return answer;
}

static enum kstream_status verify_directory(
    struct ctl *ctl, const char *directory, struct kstream_error *err)
{
    int status = -1;
    json_t *answer = run_inspect(directory, &status);
    int exit_code = status == -1 ? -1 : WEXITSTATUS(status);
    const char *text =
        json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
    if (answer && (exit_code == 0 || exit_code == 9)) {
        ctl->result = answer;
        ctl->list_member = "findings";
        return exit_code == 0 ? KSTREAM_OK
                              : ctl_fail(err, KSTREAM_PARTIAL, "'%.160s' has damage", directory);
    }
    char message[200];
    snprintf(message, sizeof message, "%.180s", text ? text : INSPECT " cannot be run");
    json_decref(answer);
    return ctl_fail(err,
        exit_code == 4   ? KSTREAM_NOT_FOUND
        : exit_code == 5 ? KSTREAM_IN_USE
                         : KSTREAM_IO,
        "%s", message);
}

enum kstream_status ctl_run_verify(struct ctl *ctl, struct kstream_error *err)
{
    const char *directory = ctl_text(ctl, CTL_DATA_DIR);
    return directory ? verify_directory(ctl, directory, err) : verify_by_broker(ctl, err);
}
