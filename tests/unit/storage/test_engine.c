/* The engine with its threads, on a real disk and LMDB: appends from several threads, a clean stop,
 * the same records. */
#include "base/alloc.h"
#include "base/map_copy.h"
#include "storage/engine_priv.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/temp_dir.h"

#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#define PRODUCERS 4
#define APPENDS 100

static struct ks_io *io;
static struct ks_kv *catalog;
static struct ks_engine *engine;
static struct ks_error error;

static enum ks_status no_index(
    void *arg, bool erase_first, struct ks_kv **out_kv, struct ks_error *err)
{
    (void)arg;
    (void)erase_first;
    (void)err;
    *out_kv = NULL;
    return KS_OK;
}

static void open_engine(void)
{
    ks_map_guard_install();
    KS_IGNORE(mkdir(temp_path("data"), 0700), "the second open finds it");
    ck_assert_int_eq(ks_io_posix_open(temp_path("data"), &io, &error), KS_OK);
    struct ks_kv_options kv = {.path = temp_path("data/catalog"),
        .table_names = ks_catalog_table_names,
        .table_count = KS_TABLE_COUNT,
        .map_bytes_max = 1 << 26};
    ck_assert_int_eq(ks_kv_lmdb_open(&kv, &catalog, &error), KS_OK);
    struct ks_engine_options options = {.io = io,
        .catalog = catalog,
        .open_index = no_index,
        .clock = &ks_clock_system,
        .events = &ks_events_ignore};
    ks_engine_limits_small(&options.limits);
    enum ks_status st = ks_engine_open(&options, &engine, &error);
    ck_assert_msg(st == KS_OK, "%s", error.text);
    ck_assert_int_eq(ks_engine_start(engine, &error), KS_OK);
}

static void close_engine(void)
{
    enum ks_status st = ks_engine_stop(engine, 30000, &error);
    ck_assert_msg(st == KS_OK, "%s", error.text);
    ks_engine_destroy(engine);
    ks_kv_close(catalog);
    ks_io_posix_close(io);
}

static bool is_created;

static void admin_deliver(struct ks_mail *mail)
{
    struct ks_admin *admin = KS_CONTAINER_OF(mail, struct ks_admin, mail);
    is_created = admin->status == KS_OK;
    ks_stream_unref(admin->stream);
}

static void pause_shortly(void)
{
    struct timespec pause = {.tv_nsec = 200000};
    nanosleep(&pause, NULL);
}

static void create_stream(void)
{
    struct ks_mailbox box;
    ck_assert_int_eq(ks_mailbox_init(&box, true, NULL), KS_OK);
    struct ks_admin admin = {.mail = {.deliver = admin_deliver}, .home = &box};
    struct ks_stream_spec spec = {
        .name = "s", .shard_count = 2, .retention_hours = 24, .record_bytes_max = 1 << 20};
    ck_assert_int_eq(ks_stream_create(engine, &spec, &admin, &error), KS_OK);
    while (ks_mailbox_deliver(&box) == 0)
        pause_shortly();
    ck_assert(is_created);
    ks_mailbox_fini(&box);
}

struct producer {
    struct ks_log *log;
    uint64_t id;
    struct ks_append append;
    bool is_delivered;
    uint64_t last_sequence;
};

static void append_deliver(struct ks_mail *mail)
{
    struct ks_append *append = KS_CONTAINER_OF(mail, struct ks_append, mail);
    ((struct producer *)KS_CONTAINER_OF(append, struct producer, append))->is_delivered = true;
}

/* Appends one after the other; each is visible to its own reader once it is answered. */
static void *produce(void *arg)
{
    struct producer *p = arg;
    struct ks_mailbox box;
    KS_ASSERT(ks_mailbox_init(&box, true, NULL) == KS_OK);
    for (uint64_t i = 1; i <= APPENDS; i++) {
        uint8_t bytes[2048];
        uint8_t data[1000] = {0};
        struct ks_record record = {
            .key = ks_view_of_text("k"), .data = ks_view_of(data, sizeof data)};
        uint32_t crc = ks_body_crc_extend(0, ks_record_encode(&record, bytes));
        p->append = (struct ks_append){.mail = {.deliver = append_deliver},
            .home = &box,
            .records = ks_view_of(bytes, ks_record_encoded_bytes(1, sizeof data, false)),
            .record_count = 1,
            .body_crc = crc,
            .producer_id = p->id,
            .producer_sequence = i,
            .is_producer_first = i == 1};
        p->is_delivered = false;
        while (ks_log_append(p->log, &p->append, NULL) == KS_THROTTLED)
            pause_shortly();
        while (!p->is_delivered) {
            if (ks_mailbox_deliver(&box) == 0)
                pause_shortly();
        }
        KS_ASSERT(p->append.status == KS_OK && !p->append.is_duplicate);
        KS_ASSERT(p->append.first_sequence > p->last_sequence);
        p->last_sequence = p->append.first_sequence;
        struct ks_log_bounds bounds;
        ks_log_bounds(p->log, &bounds);
        KS_ASSERT(bounds.last_sequence >= p->last_sequence);
    }
    ks_mailbox_fini(&box);
    return NULL;
}

START_TEST(threads_append_and_a_clean_stop_keeps_all)
{
    open_engine();
    create_stream();
    struct ks_stream *stream;
    ck_assert_int_eq(ks_registry_find(engine, "s", &stream), KS_OK);
    static struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    for (uint64_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.log = stream->shards[i % 2].log, .id = i + 1};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    ks_stream_unref(stream);
    close_engine();
    open_engine();
    ck_assert(ks_engine_recovery(engine)->was_clean);
    ck_assert_int_eq(ks_registry_find(engine, "s", &stream), KS_OK);
    for (uint32_t i = 0; i < 2; i++) {
        struct ks_log_bounds bounds;
        ks_log_bounds(stream->shards[i].log, &bounds);
        ck_assert_uint_eq(bounds.last_sequence, PRODUCERS / 2 * APPENDS);
        struct ks_producer_state state;
        ck_assert_int_eq(
            ks_log_producer_state(stream->shards[i].log, i + 1, &state, &error), KS_OK);
        ck_assert_uint_eq(state.sequence, APPENDS);
    }
    ks_stream_unref(stream);
    close_engine();
}
END_TEST

KS_SUITE("storage/engine")
{
    KS_TEST(threads_append_and_a_clean_stop_keeps_all);
}
