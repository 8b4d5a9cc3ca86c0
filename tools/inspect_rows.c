#include "tools/inspect_rows.h"

#include "base/alloc.h"
#include "storage/kv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAP_BYTES (64ull << 30) /* address space, not memory */
#define ROW_BYTES_MAX (64u << 20)
#define KEY_BYTES_MAX 511u /* LMDB's */

/* What travels through the pipe: this, then key and value (or the text of an error as value). */
enum frame_kind { FRAME_ROW, FRAME_TABLE_END, FRAME_ERROR };
struct frame {
    uint32_t kind;
    uint32_t table;
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint64_t number; /* table end: rows it says it has; error: status */
};

/* ---- the child ---- */

struct sender {
    FILE *to;
    unsigned table;
};

static enum ks_status send_row(
    void *arg, struct ks_view key, struct ks_view value, struct ks_error *err)
{
    struct sender *sender = arg;
    if (key.bytes > KEY_BYTES_MAX || value.bytes > ROW_BYTES_MAX)
        return ks_fail(
            err, KS_CORRUPT, 0, "a row of table %u has an impossible size", sender->table);
    struct frame frame = {.kind = FRAME_ROW,
        .table = sender->table,
        .key_bytes = (uint32_t)key.bytes,
        .value_bytes = (uint32_t)value.bytes};
    if (fwrite(&frame, sizeof frame, 1, sender->to) != 1 ||
        fwrite(key.data, 1, key.bytes, sender->to) != key.bytes ||
        fwrite(value.data, 1, value.bytes, sender->to) != value.bytes)
        return ks_fail(err, KS_IO, errno, "cannot hand rows on");
    return KS_OK;
}

static enum ks_status send_table(struct sender *sender, struct ks_kv *kv, struct ks_error *err)
{
    KS_CLEANUP(ks_kv_abortp) struct ks_kv_txn *txn = NULL;
    uint64_t rows = 0;
    enum ks_status st = ks_kv_begin(kv, false, &txn, err);
    if (!st)
        st = ks_kv_count(txn, sender->table, &rows, err);
    if (!st)
        st = ks_kv_scan(txn, sender->table, send_row, sender, err);
    if (st)
        return st;
    struct frame frame = {.kind = FRAME_TABLE_END, .table = sender->table, .number = rows};
    return fwrite(&frame, sizeof frame, 1, sender->to) == 1
               ? KS_OK
               : ks_fail(err, KS_IO, errno, "cannot hand rows on");
}

KS_NORETURN static void child_run(const struct inspect_rows_options *options, int to)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGABRT, SIG_DFL);
    struct ks_error error = KS_ERROR_INIT;
    struct sender sender = {.to = fdopen(to, "wb")};
    if (!sender.to)
        _exit(2);
    const struct ks_kv_options kv_options = {.path = options->path,
        .table_names = options->table_names,
        .table_count = options->table_count,
        .map_bytes_max = MAP_BYTES,
        .is_unlocked = true};
    struct ks_kv *kv = NULL;
    enum ks_status st = ks_kv_lmdb_open_read_only(&kv_options, &kv, &error);
    /* A table that cannot be read does not hide the others. */
    for (; sender.table < options->table_count && kv; sender.table++) {
        struct ks_error of_table = KS_ERROR_INIT;
        enum ks_status table_st = send_table(&sender, kv, &of_table);
        /* What was read must arrive, even if the next table kills this process. */
        fflush(sender.to);
        if (table_st && !st) {
            st = table_st;
            error = of_table;
        }
    }
    /* Whatever else LMDB calls it, it is not the disk that failed. */
    bool is_of_disk = st == KS_IO && error.errnum != 0;
    bool is_missing = st == KS_NOT_FOUND && !kv;
    if (st && !is_of_disk && !is_missing && st != KS_NO_MEMORY)
        st = KS_CORRUPT;
    if (st) {
        struct frame frame = {.kind = FRAME_ERROR,
            .value_bytes = (uint32_t)strlen(error.text),
            .number = (uint64_t)st};
        KS_IGNORE(fwrite(&frame, sizeof frame, 1, sender.to), "the exit code says it too");
        KS_IGNORE(fwrite(error.text, 1, frame.value_bytes, sender.to), "as above");
    }
    _exit(fflush(sender.to) == 0 && !st ? 0 : 2);
}

/* ---- the parent ---- */

struct receiver {
    const struct inspect_rows_options *options;
    FILE *from;
    void (*each)(void *arg, unsigned table, struct ks_view key, struct ks_view value);
    void *arg;
    uint64_t rows;     /* of the table so far */
    unsigned table;    /* expected */
    size_t last_bytes; /* of the key before; SIZE_MAX: none */
    uint8_t last[KEY_BYTES_MAX];
    struct ks_buf bytes;
    enum ks_status status; /* the first thing that was wrong */
    struct ks_error error;
};

static void blame(struct receiver *r, enum ks_status status, const char *text)
{
    if (!r->status)
        r->status = ks_fail(&r->error, status, 0, "%s", text);
}

static bool key_is_behind(const struct receiver *r, struct ks_view key)
{
    if (r->last_bytes == SIZE_MAX)
        return true;
    int order = memcmp(r->last, key.data, KS_MIN(r->last_bytes, key.bytes));
    return order < 0 || (order == 0 && r->last_bytes < key.bytes);
}

static void begin_table(struct receiver *r, unsigned table)
{
    r->table = table;
    r->rows = 0;
    r->last_bytes = SIZE_MAX;
}

static void receive_row(struct receiver *r, const struct frame *frame)
{
    if (frame->table != r->table) /* the one before could not be read to its end */
        begin_table(r, frame->table);
    struct ks_view key = ks_view_of(r->bytes.data, frame->key_bytes);
    struct ks_view value = ks_view_of(r->bytes.data + frame->key_bytes, frame->value_bytes);
    if (!key_is_behind(r, key)) {
        blame(r, KS_CORRUPT, "the keys of a table are not in order");
        return; /* whatever page this is, it has been seen or is another table's */
    }
    memcpy(r->last, key.data, key.bytes);
    r->last_bytes = key.bytes;
    r->rows++;
    r->each(r->arg, frame->table, key, value);
}

static void receive_table_end(struct receiver *r, const struct frame *frame)
{
    char text[160];
    if (frame->table != r->table)
        begin_table(r, frame->table);
    if (r->rows != frame->number) {
        snprintf(text, sizeof text, "table '%s' says that it has %llu rows, %llu can be found",
            r->options->table_names[frame->table], (unsigned long long)frame->number,
            (unsigned long long)r->rows);
        blame(r, KS_CORRUPT, text);
    }
    begin_table(r, frame->table + 1);
}

/* False: the pipe is at its end. */
static bool receive_frame(struct receiver *r)
{
    struct frame frame;
    if (fread(&frame, sizeof frame, 1, r->from) != 1)
        return false;
    KS_ASSERT(frame.key_bytes <= sizeof r->last && frame.value_bytes <= ROW_BYTES_MAX);
    size_t bytes = (size_t)frame.key_bytes + frame.value_bytes;
    r->bytes.bytes = 0;
    if (!ks_buf_reserve(&r->bytes, bytes + 1)) {
        blame(r, KS_NO_MEMORY, "no memory for a row");
        return false;
    }
    if (fread(r->bytes.data, 1, bytes, r->from) != bytes)
        return false;
    r->bytes.data[bytes] = '\0';
    if (frame.kind == FRAME_ROW) {
        receive_row(r, &frame);
    } else if (frame.kind == FRAME_TABLE_END) {
        receive_table_end(r, &frame);
    } else {
        blame(r, (enum ks_status)frame.number, (const char *)r->bytes.data);
    }
    return true;
}

static void judge_end(struct receiver *r, int wait_status)
{
    char text[160];
    if (WIFSIGNALED(wait_status)) {
        snprintf(text, sizeof text, "reading it kills the reader (signal %d) in table '%s'",
            WTERMSIG(wait_status),
            r->options->table_names[KS_MIN(r->table, r->options->table_count - 1)]);
        blame(r, KS_CORRUPT, text);
    } else if (WEXITSTATUS(wait_status) != 0) {
        blame(r, KS_CORRUPT, "reading it ended the reader");
    }
}

enum ks_status inspect_rows_read(const struct inspect_rows_options *options,
    void (*each)(void *arg, unsigned table, struct ks_view key, struct ks_view value), void *arg,
    struct ks_error *err)
{
    int ends[2];
    if (pipe(ends) < 0)
        return ks_fail(err, KS_IO, errno, "cannot read '%s'", options->path);
    fflush(NULL); /* nothing of ours may be printed twice */
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        child_run(options, ends[1]);
    }
    close(ends[1]);
    struct receiver r = {.options = options,
        .each = each,
        .arg = arg,
        .last_bytes = SIZE_MAX,
        .error = KS_ERROR_INIT};
    if (child < 0) {
        close(ends[0]);
        return ks_fail(err, KS_IO, errno, "cannot read '%s'", options->path);
    }
    ks_buf_init(&r.bytes, ROW_BYTES_MAX + sizeof r.last + 1);
    r.from = fdopen(ends[0], "rb");
    if (!r.from)
        blame(&r, KS_NO_MEMORY, "no memory for a pipe");
    while (r.from && receive_frame(&r))
        ;
    ks_buf_fini(&r.bytes);
    if (r.from)
        fclose(r.from); /* a child that still writes ends */
    else
        close(ends[0]);
    int wait_status = 0;
    while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR)
        ;
    judge_end(&r, wait_status);
    if (r.status && err)
        *err = r.error;
    return r.status;
}
