#include "daemon/history.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "daemon/history_format.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define WRITE_EVERY_MS 5000u
#define FILES_OF_LIMIT 16u
#define FILES_MAX 64u
#define MINUTES_A_DAY 1440u
#define PATH_BYTES 40
#define STACK_BYTES (512u * 1024)

struct history_file {
    uint64_t id;
    uint64_t bytes; /* whole blocks */
    uint64_t minute_least;
    uint64_t minute_greatest;
};

struct ks_history {
    struct ks_history_options options;
    struct ks_mutex mu;      /* KS_RANK_HISTORY: held while files are read or written */
    struct ks_cond loaded;   /* is_loaded */
    struct ks_mutex wake_mu; /* KS_RANK_WAKE */
    struct ks_cond wake;
    bool is_due;                          /* [wake_mu] */
    bool is_stopping;                     /* [wake_mu] */
    struct history_file files[FILES_MAX]; /* [mu] by id */
    uint32_t file_count;                  /* [mu] */
    uint64_t next_id;                     /* [mu] */
    struct ks_file *active;               /* [thread] the last of files, open for writing */
    /* [mu] The last block, which is written again while its minute goes on. 0: there is none. */
    uint64_t block_minute;
    uint64_t block_offset;
    bool is_loaded;           /* [mu] */
    bool is_failing;          /* [thread] the last write failed: told once */
    uint64_t told_minute;     /* [main] */
    uint64_t told_mono_ms;    /* [main] */
    uint64_t finished_minute; /* [thread] the newest one that is whole on disk */
    pthread_t thread;
};

static void path_of(uint64_t id, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, KS_HISTORY_DIR "/%016" PRIx64 ".hist", id);
}

static void tell_failure(struct ks_history *history, const struct ks_error *error)
{
    if (!history->is_failing)
        ks_emit(history->options.events, KS_LEVEL_WARNING, "history.not_written", "why=\"%s\"",
            error->text);
    history->is_failing = true;
}

/* ---- reading ---- */

/* mu held. The whole file, at most its known bytes. Empty when it is gone. */
static enum ks_status file_read(struct ks_history *history, uint64_t id, uint64_t bytes_max,
    struct ks_buf *out, struct ks_error *err)
{
    char path[PATH_BYTES];
    uint64_t bytes = 0;
    size_t got = 0;
    KS_CLEANUP(ks_file_closep) struct ks_file *file = NULL;
    path_of(id, path);
    enum ks_status st = ks_io_open(history->options.io, path, KS_OPEN_READ, &file, err);
    if (st == KS_NOT_FOUND)
        return KS_OK;
    if (!st)
        st = ks_file_size(file, &bytes, err);
    bytes = ks_min_u64(bytes, bytes_max);
    if (!st && !ks_buf_reserve(out, (size_t)bytes))
        st = ks_fail(err, KS_NO_MEMORY, 0, "no memory for '%s'", path);
    if (!st && bytes > 0)
        st = ks_file_read(file, out->data, (size_t)bytes, 0, &got, err);
    out->bytes = st ? 0 : got;
    return st;
}

static void file_note(struct history_file *file, const struct ks_history_block *block)
{
    bool is_first = file->bytes == 0;
    file->minute_least = is_first ? block->minute : ks_min_u64(file->minute_least, block->minute);
    file->minute_greatest =
        is_first ? block->minute : ks_max_u64(file->minute_greatest, block->minute);
    file->bytes += block->bytes;
}

static void rows_tell(const struct ks_history_block *block,
    void (*each)(void *arg, const struct ks_minute_row *row), void *arg)
{
    struct ks_cursor cursor = ks_cursor_over(block->payload.data, block->payload.bytes);
    struct ks_minute_row row = {.minute = block->minute};
    while (ks_history_row_read(&cursor, &row))
        each(arg, &row);
}

/* mu held. is_live: of these the memory knows more than the file. */
static enum ks_status file_tell(struct ks_history *history, const struct history_file *file,
    const struct ks_history_range *range, uint64_t live_offset,
    void (*each)(void *arg, const struct ks_minute_row *row), void *arg, struct ks_error *err)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf data;
    ks_buf_init(&data, SIZE_MAX);
    enum ks_status st = file_read(history, file->id, file->bytes, &data, err);
    struct ks_history_block block;
    for (size_t at = 0; !st && at < data.bytes; at += block.bytes) {
        if (!ks_history_block_read(ks_view_of(data.data + at, data.bytes - at), &block))
            break; /* damaged: what follows cannot be found */
        if (block.minute >= range->minute_first && block.minute < range->minute_end &&
            at != live_offset)
            rows_tell(&block, each, arg);
    }
    return st;
}

enum ks_status ks_history_each(struct ks_history *history, const struct ks_history_range *range,
    void (*each)(void *arg, const struct ks_minute_row *row), void *arg, struct ks_error *err)
{
    KS_LOCK_SCOPE(&history->mu);
    while (!history->is_loaded)
        ks_cond_wait(&history->loaded, &history->mu);
    uint64_t now = atomic_load_explicit(&history->options.minutes->minute, memory_order_relaxed);
    bool is_block_live = now - history->block_minute <= 1;
    enum ks_status st = KS_OK;
    for (uint32_t i = 0; i < history->file_count && !st; i++) {
        const struct history_file *file = &history->files[i];
        bool is_last = i + 1 == history->file_count;
        if (file->minute_greatest >= range->minute_first && file->minute_least < range->minute_end)
            st = file_tell(history, file, range,
                is_last && is_block_live ? history->block_offset : UINT64_MAX, each, arg, err);
    }
    for (uint64_t minute = now - 1; minute <= now; minute++)
        if (minute >= (history->block_minute > now ? 0 : history->block_minute) &&
            minute >= range->minute_first && minute < range->minute_end)
            ks_minutes_collect(history->options.minutes, minute, each, arg);
    return st;
}

/* ---- what is there at the start ---- */

static void note_name(void *arg, const char *name)
{
    struct ks_history *history = arg;
    uint64_t id = 0;
    int end = 0;
    if (sscanf(name, "%16" SCNx64 ".hist%n", &id, &end) != 1 || name[end] || end == 0)
        return;
    history->next_id = ks_max_u64(history->next_id, id + 1);
    if (history->file_count == FILES_MAX)
        return; /* more than we ever make */
    uint32_t at = history->file_count++;
    while (at > 0 && history->files[at - 1].id > id) {
        history->files[at] = history->files[at - 1];
        at--;
    }
    history->files[at] = (struct history_file){.id = id};
}

/* mu held. */
static void file_load(struct ks_history *history, struct history_file *file)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf data;
    struct ks_history_block block;
    struct ks_error error = KS_ERROR_INIT;
    ks_buf_init(&data, SIZE_MAX);
    if (file_read(history, file->id, UINT64_MAX, &data, &error))
        tell_failure(history, &error);
    while (file->bytes < data.bytes &&
           ks_history_block_read(
               ks_view_of(data.data + file->bytes, data.bytes - file->bytes), &block))
        file_note(file, &block);
    if (file->bytes < data.bytes)
        ks_emit(history->options.events, KS_LEVEL_NOTICE, "history.cut",
            "file=%016llx whole_bytes=%llu bytes=%zu", (unsigned long long)file->id,
            (unsigned long long)file->bytes, data.bytes);
}

/* mu held. */
static void load(struct ks_history *history)
{
    struct ks_error error = KS_ERROR_INIT;
    struct ks_io *io = history->options.io;
    enum ks_status st = ks_io_make_dir(io, KS_HISTORY_DIR, &error);
    if (!st)
        st = ks_io_list(io, KS_HISTORY_DIR, note_name, history, &error);
    if (st)
        tell_failure(history, &error);
    for (uint32_t i = 0; i < history->file_count; i++)
        file_load(history, &history->files[i]);
}

/* ---- writing ---- */

/* mu held. */
static void remove_oldest(struct ks_history *history)
{
    char path[PATH_BYTES];
    path_of(history->files[0].id, path);
    KS_IGNORE(ks_io_unlink(history->options.io, path, NULL), "what stays is met at the next start");
    history->file_count--;
    memmove(
        &history->files[0], &history->files[1], history->file_count * sizeof(history->files[0]));
}

/* mu held. The last file always stays. */
static void trim(struct ks_history *history, uint64_t minute)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < history->file_count; i++)
        total += history->files[i].bytes;
    while (history->file_count > 1 &&
           (total > history->options.bytes_max || history->file_count > FILES_MAX - 2 ||
               history->files[0].minute_greatest + KS_HISTORY_DAYS * MINUTES_A_DAY < minute)) {
        total -= history->files[0].bytes;
        remove_oldest(history);
    }
}

/* mu held. A file for the next block: the last one if it may take more. */
static enum ks_status active_open(struct ks_history *history, uint64_t minute, struct ks_error *err)
{
    char path[PATH_BYTES];
    struct history_file *last =
        history->file_count > 0 ? &history->files[history->file_count - 1] : NULL;
    bool is_usable =
        last && last->bytes < history->options.bytes_max / FILES_OF_LIMIT &&
        (last->bytes == 0 || last->minute_greatest / MINUTES_A_DAY == minute / MINUTES_A_DAY);
    if (history->active && is_usable)
        return KS_OK;
    ks_file_close(KS_TAKE(history->active));
    if (!is_usable) {
        trim(history, minute);
        last = &history->files[history->file_count++];
        *last = (struct history_file){.id = history->next_id++};
    }
    path_of(last->id, path);
    enum ks_status st = ks_io_open(
        history->options.io, path, KS_OPEN_WRITE | KS_OPEN_CREATE, &history->active, err);
    /* What a kill has torn must not stand behind what is written now. */
    if (!st)
        st = ks_file_truncate(history->active, last->bytes, err);
    if (st)
        ks_file_close(KS_TAKE(history->active));
    return st;
}

struct gathering {
    struct ks_buf *buf;
    bool has_rows;
    bool is_full;
};

static void gather_row(void *arg, const struct ks_minute_row *row)
{
    struct gathering *gathering = arg;
    if (ks_history_block_add(gathering->buf, row))
        gathering->has_rows = true;
    else
        gathering->is_full = true;
}

/* mu held. Puts the block where the last one of its minute stands, or behind all. */
static enum ks_status block_write(
    struct ks_history *history, uint64_t minute, const struct ks_buf *block, struct ks_error *err)
{
    bool is_again = history->block_minute == minute && history->active;
    enum ks_status st = is_again ? KS_OK : active_open(history, minute, err);
    if (st)
        return st;
    struct history_file *file = &history->files[history->file_count - 1];
    uint64_t offset = is_again ? history->block_offset : file->bytes;
    st = ks_file_write_one(history->active, block->data, block->bytes, offset, KS_WRITE_PLAIN, err);
    if (st) {
        ks_file_close(KS_TAKE(history->active)); /* opened and cut anew the next time */
        file->bytes = offset;
        history->block_minute = 0;
        return st;
    }
    /* Nothing of a longer one before may stand behind it. */
    if (is_again && file->bytes > offset + block->bytes)
        KS_IGNORE(ks_file_truncate(history->active, offset + block->bytes, NULL),
            "the end is found by its checksum then");
    file->bytes = offset;
    file_note(file, &(struct ks_history_block){.minute = minute, .bytes = block->bytes});
    history->block_minute = minute;
    history->block_offset = offset;
    return KS_OK;
}

static void minute_write(struct ks_history *history, uint64_t minute)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf block;
    struct ks_error error = KS_ERROR_INIT;
    struct gathering gathering = {.buf = &block};
    ks_buf_init(&block, KS_HISTORY_BLOCK_BYTES_MAX);
    KS_LOCK_SCOPE(&history->mu);
    if (!ks_history_block_begin(&block))
        return;
    ks_minutes_collect(history->options.minutes, minute, gather_row, &gathering);
    if (!gathering.has_rows)
        return;
    ks_history_block_end(&block, minute, history->options.run_id);
    if (block_write(history, minute, &block, &error))
        tell_failure(history, &error);
    else
        history->is_failing = false;
}

/* The minute before is over: whole, and safe from a power cut. */
static void write_due(struct ks_history *history)
{
    struct ks_error error = KS_ERROR_INIT;
    struct ks_minutes *minutes = history->options.minutes;
    uint64_t now = atomic_load_explicit(&minutes->minute, memory_order_relaxed);
    atomic_store_explicit(&minutes->has_news, false, memory_order_relaxed);
    if (history->finished_minute != now - 1) {
        minute_write(history, now - 1);
        history->finished_minute = now - 1;
        if (history->active && ks_file_sync(history->active, &error)) {
            tell_failure(history, &error);
            ks_file_close(KS_TAKE(history->active));
        }
    }
    minute_write(history, now);
}

/* False: it is to stop. */
static bool wait_until_due(struct ks_history *history)
{
    KS_LOCK_SCOPE(&history->wake_mu);
    while (!history->is_due && !history->is_stopping)
        ks_cond_wait(&history->wake, &history->wake_mu);
    history->is_due = false;
    return !history->is_stopping;
}

static void *history_run(void *arg)
{
    struct ks_history *history = arg;
    {
        KS_LOCK_SCOPE(&history->mu);
        load(history);
        history->is_loaded = true;
        ks_cond_broadcast(&history->loaded);
    }
    while (wait_until_due(history))
        write_due(history);
    write_due(history);
    ks_file_close(KS_TAKE(history->active));
    return NULL;
}

void ks_history_tick(struct ks_history *history, uint64_t unix_ms)
{
    struct ks_minutes *minutes = history->options.minutes;
    uint64_t now_ms = ks_clock_mono_ns(&ks_clock_system) / 1000000;
    ks_minutes_set(minutes, unix_ms / 60000);
    if (!atomic_load_explicit(&minutes->has_news, memory_order_relaxed))
        return;
    uint64_t minute = atomic_load_explicit(&minutes->minute, memory_order_relaxed);
    if (minute == history->told_minute && now_ms - history->told_mono_ms < WRITE_EVERY_MS)
        return;
    history->told_minute = minute;
    history->told_mono_ms = now_ms;
    KS_LOCK_SCOPE(&history->wake_mu);
    history->is_due = true;
    ks_cond_signal(&history->wake);
}

/* ---- life ---- */

static void history_free(struct ks_history *history)
{
    ks_cond_fini(&history->wake);
    ks_mutex_fini(&history->wake_mu);
    ks_cond_fini(&history->loaded);
    ks_mutex_fini(&history->mu);
    ks_free(history);
}

enum ks_status ks_history_open(
    const struct ks_history_options *options, struct ks_history **out_history, struct ks_error *err)
{
    struct ks_history *history = ks_zalloc(sizeof(*history));
    if (!history)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot open the history");
    history->options = *options;
    ks_mutex_init(&history->mu, KS_RANK_HISTORY);
    ks_cond_init(&history->loaded);
    ks_mutex_init(&history->wake_mu, KS_RANK_WAKE);
    ks_cond_init(&history->wake);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int rc = pthread_create(&history->thread, &attributes, history_run, history);
    pthread_attr_destroy(&attributes);
    if (rc) {
        history_free(history);
        return ks_fail(err, KS_NO_MEMORY, rc, "cannot start the thread of the history");
    }
    pthread_setname_np(history->thread, "history");
    *out_history = history;
    return KS_OK;
}

void ks_history_close(struct ks_history *history)
{
    if (!history)
        return;
    {
        KS_LOCK_SCOPE(&history->wake_mu);
        history->is_stopping = true;
        ks_cond_signal(&history->wake);
    }
    pthread_join(history->thread, NULL);
    history_free(history);
}
