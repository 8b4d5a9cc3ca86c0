/* kstreamd: the order in which a broker starts and stops. */
#include "base/alloc.h"
#include "base/map_copy.h"
#include "daemon/acceptor.h"
#include "daemon/catalog_copy.h"
#include "daemon/config.h"
#include "daemon/datadir.h"
#include "daemon/descriptors.h"
#include "daemon/http.h"
#include "daemon/log.h"
#include "daemon/memory.h"
#include "daemon/metrics.h"
#include "daemon/native.h"
#include "daemon/notify.h"
#include "daemon/ops.h"
#include "daemon/reload.h"
#include "daemon/sockets.h"
#include "daemon/version.h"
#include "daemon/watchdog.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EXIT_POISONED 74 /* EX_IOERR */
#define POISON_GRACE_MS 500
#define TICK_MS 1000
#define LAST_WORDS_MS 1000
#define STOP_SPARE_MS 15000
#define PERCENT_UNKNOWN 101

enum daemon_state {
    STATE_STARTING,
    STATE_CHECKING,
    STATE_RECOVERING,
    STATE_READY,
    STATE_STOPPING,
    STATE_POISONED
};

struct daemon {
    const struct ks_config_sources *sources;
    struct ks_config config;  /* [const] as at the start */
    struct ks_config running; /* with what reloads changed; operations look through server */
    struct ks_config latest;  /* as the last good reading said */
    struct ks_logger logger;
    struct ks_datadir datadir;
    struct ks_catalog_copies copies;
    struct ks_server server;
    struct ks_timekeeper timekeeper;
    struct ks_memory memory;
    struct ks_metrics metrics;
    struct ks_acceptor acceptor;
    struct ks_http *http;
    struct ks_sockets sockets;
    struct ks_notify notify;
    struct ks_watchdog watchdog;
    struct ks_descriptors descriptors;
    unsigned loops_ready;
    int signal_fd;
    int poison_fd;          /* an eventfd: written once by the thread that met the failure */
    struct ks_error poison; /* before poison_fd is written */
    _Atomic int state;
    _Atomic unsigned progress_percent;
    bool is_engine_started;
};

static bool daemon_is_ready(void *arg, char *reason, size_t reason_bytes)
{
    struct daemon *daemon = arg;
    enum daemon_state state = (enum daemon_state)atomic_load(&daemon->state);
    switch (state) {
    case STATE_READY:
        return true;
    case STATE_STARTING:
        snprintf(reason, reason_bytes, "starting");
        break;
    case STATE_CHECKING:
        snprintf(reason, reason_bytes, "checking the catalog after an unclean stop");
        break;
    case STATE_RECOVERING:
        snprintf(
            reason, reason_bytes, "recovering, %u %% done", atomic_load(&daemon->progress_percent));
        break;
    case STATE_STOPPING:
        snprintf(reason, reason_bytes, "stopping");
        break;
    case STATE_POISONED:
        snprintf(reason, reason_bytes, "stopped after a failed write");
        break;
    }
    return false;
}

static bool daemon_write_metrics(void *arg, struct ks_buf *to)
{
    struct daemon *daemon = arg;
    return ks_metrics_write(&daemon->metrics, atomic_load(&daemon->progress_percent), to);
}

static void daemon_on_progress(void *arg, unsigned percent)
{
    struct daemon *daemon = arg;
    atomic_store(&daemon->progress_percent, percent);
    ks_notify_progress(&daemon->notify, "recovering", percent);
}

static void daemon_on_check(void *arg)
{
    struct daemon *daemon = arg;
    ks_notify_progress(
        &daemon->notify, "checking the catalog after an unclean stop", PERCENT_UNKNOWN);
}

static void daemon_on_poison(void *arg, const struct ks_error *error)
{
    struct daemon *daemon = arg;
    daemon->poison = *error;
    atomic_store(&daemon->state, STATE_POISONED);
    KS_IGNORE(eventfd_write(daemon->poison_fd, 1), "an eventfd takes this write");
}

/* ---- start ---- */

static enum ks_status start_process(struct daemon *daemon, struct ks_error *err)
{
    sigset_t signals;
    ks_memory_init();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is then a failed write, which says which file */
    ks_map_guard_install();
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    daemon->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    daemon->poison_fd = eventfd(0, EFD_CLOEXEC);
    if (daemon->signal_fd < 0 || daemon->poison_fd < 0)
        return ks_fail(err, KS_INTERNAL, errno, "cannot watch signals");
    return KS_OK;
}

static enum ks_status start_sockets(struct daemon *daemon, struct ks_error *err)
{
    const struct ks_activation_words words = {.listen_pid = getenv("LISTEN_PID"),
        .listen_fds = getenv("LISTEN_FDS"),
        .listen_names = getenv("LISTEN_FDNAMES")};
    struct ks_activation activation;
    enum ks_status st = ks_activation_take(&words, &activation, err);
    if (!st)
        st = ks_sockets_open(
            &daemon->config, &activation, &daemon->logger.events, &daemon->sockets, err);
    daemon->server.addresses = &daemon->sockets.addresses;
    return st;
}

static enum ks_status start_http(struct daemon *daemon, struct ks_error *err)
{
    struct ks_sockets *sockets = &daemon->sockets;
    if (sockets->http_count == 0)
        return KS_OK;
    const struct ks_http_options http = {.fds = sockets->http,
        .fd_count = sockets->http_count,
        .connections_max = ks_descriptors_http(ks_descriptors_raise()),
        .events = &daemon->logger.events,
        .is_ready = daemon_is_ready,
        .write_metrics = daemon_write_metrics,
        .arg = daemon};
    sockets->http_count = 0; /* taken, also by a failure */
    return ks_http_start(&http, &daemon->http, err);
}

static enum ks_status start_clock(struct daemon *daemon, struct ks_error *err)
{
    const struct ks_timekeeper_options options = {.data_dir = daemon->datadir.path,
        .is_new_directory = daemon->datadir.run_id == 1,
        .boot_id = getenv("KSTREAM_BOOT_ID"),
        .config = &daemon->config,
        .events = &daemon->logger.events};
    return ks_timekeeper_open(&options, &daemon->timekeeper, err);
}

static void share_descriptors(struct daemon *daemon, struct ks_engine_limits *limits)
{
    const struct ks_descriptors_wish wish = {.flush_files = limits->flush_logs_max,
        .journal_files = (uint32_t)(limits->journal_bytes / limits->journal_file_bytes) + 2,
        .connections = daemon->config.limits_connections};
    ks_descriptors_share(&wish, &daemon->logger.events, &daemon->descriptors);
    limits->flush_logs_max = daemon->descriptors.flush_files_max;
}

static enum ks_status start_engine(struct daemon *daemon, struct ks_error *err)
{
    struct ks_engine_options options = {.io = daemon->datadir.io,
        .catalog = daemon->datadir.catalog,
        .open_index = ks_datadir_open_index,
        .open_index_arg = &daemon->datadir,
        .clock = &daemon->timekeeper.clock.clock,
        .events = &daemon->logger.events,
        .is_catalog_copy = daemon->datadir.is_catalog_copy,
        .accepts_older_catalog = daemon->config.storage_accept_older_catalog,
        .on_poison = daemon_on_poison,
        .on_poison_arg = daemon,
        .on_progress = daemon_on_progress,
        .on_progress_arg = daemon};
    struct ks_fs_info fs;
    ks_server_engine_limits(&daemon->config, &options.limits);
    enum ks_status st = daemon->datadir.io->ops->fs_info(daemon->datadir.io, &fs, err);
    if (st)
        return st;
    /* An eighth of a small file system, but never less than two files. */
    uint64_t journal_bytes = ks_min_u64(options.limits.journal_bytes, fs.total_bytes / 8);
    if (journal_bytes < 2 * options.limits.journal_file_bytes)
        options.limits.journal_file_bytes = ks_max_u64(
            journal_bytes / 2 & ~(uint64_t)0xfffff, options.limits.journal_first_file_bytes);
    options.limits.journal_bytes = ks_max_u64(journal_bytes, 2 * options.limits.journal_file_bytes);
    share_descriptors(daemon, &options.limits);
    st = ks_engine_open(&options, &daemon->server.engine, err);
    return st ? st : ks_datadir_catalog_adopted(&daemon->datadir, err);
}

static void log_recovery(struct daemon *daemon)
{
    const struct ks_recovery_stats *stats = ks_engine_recovery(daemon->server.engine);
    ks_emit(&daemon->logger.events, stats->damaged_blocks ? KS_LEVEL_ERROR : KS_LEVEL_INFO,
        "daemon.recovered",
        "was_clean=%d blocks=%llu batches=%llu torn_tails=%llu damaged_blocks=%llu "
        "damaged_batches=%llu "
        "quarantined_files=%llu",
        stats->was_clean, (unsigned long long)stats->blocks_accepted,
        (unsigned long long)stats->batches_replayed, (unsigned long long)stats->torn_tails,
        (unsigned long long)stats->damaged_blocks, (unsigned long long)stats->damaged_batches,
        (unsigned long long)stats->files_quarantined);
}

static unsigned core_count(void)
{
    cpu_set_t cores;
    return sched_getaffinity(0, sizeof(cores), &cores) == 0 ? (unsigned)CPU_COUNT(&cores) : 1;
}

static bool stream_is_gone(void *arg, uint64_t number)
{
    struct ks_server *server = arg;
    struct ks_stream *stream = NULL;
    if (ks_registry_find_number(server->engine, number, &stream))
        return true;
    ks_stream_unref(stream);
    return false;
}

static enum ks_status start_history(
    struct daemon *daemon, unsigned loop_count, struct ks_error *err)
{
    struct ks_server *server = &daemon->server;
    /* As many shards with enhanced monitoring as streams. */
    const struct ks_minutes_options minutes = {.clock = &ks_clock_system,
        .is_gone = stream_is_gone,
        .arg = server,
        .loop_count = loop_count,
        .slots_max = 2 * (uint32_t)daemon->config.metrics_streams};
    enum ks_status st = ks_minutes_create(&minutes, &server->minutes, err);
    if (st)
        return st;
    ks_minutes_set(server->minutes, ks_server_unix_ms(server) / 60000);
    const struct ks_history_options history = {.io = daemon->datadir.io,
        .events = &daemon->logger.events,
        .minutes = server->minutes,
        .run_id = server->run_id,
        .bytes_max = daemon->config.metrics_history_bytes};
    return ks_history_open(&history, &server->history, err);
}

static enum ks_status start_loops(struct daemon *daemon, struct ks_error *err)
{
    struct ks_server *server = &daemon->server;
    const struct ks_config *config = &daemon->config;
    /* What recovery has freed goes back: tables of zeros in it would be written, fresh ones are
     * not. */
    ks_memory_release();
    unsigned count = config->threads_loops ? (unsigned)config->threads_loops : core_count();
    server->loop_shared = (struct ks_loop_shared){.clock = &ks_clock_system,
        .events = &daemon->logger.events,
        .live = &server->live,
        .idle_timeout_ms = config->limits_idle_timeout,
        .connections_max = daemon->descriptors.connections_max,
        .server = server};
    ks_put_gate_init(&server->loop_shared.put_gate, &ks_clock_system);
    ks_server_apply(server, config);
    server->loops = ks_calloc(count, sizeof(server->loops[0]));
    if (!server->loops)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the loops");
    const struct ks_meter_options meter = {.clock = &ks_clock_system,
        .is_gone = stream_is_gone,
        .arg = server,
        .loop_count = count,
        .streams_max = (uint32_t)config->metrics_streams};
    server->limits = ks_limits_create(server->clock);
    if (!server->limits)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the limits");
    enum ks_status st = ks_meter_create(&meter, &server->meter, err);
    if (!st)
        st = start_history(daemon, count, err);
    if (!st)
        st = ks_heat_create(count, &server->heats, err);
    server->heat_count = st ? 0 : count;
    for (unsigned i = 0; i < count && !st; i++) {
        st = ks_loop_init(&server->loops[i], i, &server->loop_shared, err);
        if (!st)
            daemon->loops_ready++;
        server->loops[i].meter = &server->meter->loops[i];
        server->loops[i].minutes = &server->minutes->loops[i];
        server->loops[i].heat = &server->heats[i];
    }
    if (st)
        return st;
    server->loop_count = count;
    daemon->acceptor = (struct ks_acceptor){.loops = server->loops,
        .loop_count = count,
        .protocol = &ks_native_protocol,
        .spare_fd = -1};
    st = ks_acceptor_init(
        &daemon->acceptor, daemon->sockets.native, daemon->sockets.native_count, err);
    daemon->sockets.native_count = 0; /* taken, also by a failure */
    for (unsigned i = 0; i < count && !st; i++)
        st = ks_loop_start(&server->loops[i], err);
    return st;
}

static enum ks_status start_server(struct daemon *daemon, struct ks_error *err)
{
    struct ks_server *server = &daemon->server;
    server->config = &daemon->config;
    ks_mutex_init(&server->settings_mu, KS_RANK_SETTINGS);
    server->running = &daemon->running;
    server->latest = &daemon->latest;
    server->clock = &daemon->timekeeper.clock.clock;
    server->timekeeper = &daemon->timekeeper;
    server->events = &daemon->logger.events;
    server->run_id = daemon->datadir.run_id;
    server->started_mono_ns = ks_clock_mono_ns(&ks_clock_system);
    server->started_unix_ms = ks_server_unix_ms(server);
    server->copies = &daemon->copies;
    ks_catalog_copies_init(&daemon->copies, server, &daemon->datadir);
    enum ks_status st = ks_token_key_load(daemon->datadir.path, &server->token_key, err);
    if (!st)
        st = ks_readers_create((unsigned)daemon->config.threads_readers, &server->readers, err);
    if (!st)
        st = ks_engine_start(server->engine, err);
    daemon->is_engine_started = st == KS_OK;
    if (!st)
        st = start_loops(daemon, err);
    if (!st)
        st = ks_addresses_write(daemon->datadir.path, &daemon->sockets.addresses, err);
    if (st == KS_STORAGE_FULL) { /* no reason to leave everybody without their records */
        ks_emit(&daemon->logger.events, KS_LEVEL_WARNING, "daemon.no_addresses", "why=\"%s\"",
            err->text);
        st = KS_OK;
    }
    return st;
}

/* The lock first: nothing of a directory or socket that another broker uses may be touched. */
static enum ks_status daemon_start(struct daemon *daemon, struct ks_error *err)
{
    const struct ks_datadir_options options = {.path = daemon->config.storage_data_dir,
        .is_unsafe_fs_allowed = daemon->config.storage_unsafe_fs,
        .events = &daemon->logger.events};
    enum ks_status st = start_process(daemon, err);
    if (!st)
        st = ks_datadir_open(&options, &daemon->datadir, err);
    if (st)
        return st;
    ks_addresses_remove(daemon->datadir.path);
    atomic_store(&daemon->state, daemon->datadir.checker ? STATE_CHECKING : STATE_STARTING);
    st = start_sockets(daemon, err);
    if (!st) /* no thread before the catalog's checker is forked and the unix socket is made */
        st = ks_logger_start(&daemon->logger, err);
    if (!st)
        st = start_http(daemon, err);
    if (!st)
        st = ks_datadir_open_catalog(&daemon->datadir, daemon_on_check, daemon, err);
    if (!st)
        st = start_clock(daemon, err);
    atomic_store(&daemon->state, STATE_RECOVERING);
    if (!st)
        st = start_engine(daemon, err);
    if (st)
        return st;
    log_recovery(daemon);
    st = start_server(daemon, err);
    if (st)
        return st;
    ks_metrics_open(&daemon->metrics, &daemon->server, daemon->datadir.io);
    int recovering = STATE_RECOVERING; /* a poison may have come first */
    atomic_compare_exchange_strong(&daemon->state, &recovering, STATE_READY);
    return KS_OK;
}

/* ---- stop ---- */

static void stop_loops(struct daemon *daemon, uint64_t timeout_ms)
{
    struct ks_server *server = &daemon->server;
    uint64_t until = ks_clock_mono_ns(&ks_clock_system) / 1000000 + timeout_ms;
    for (unsigned i = 0; i < daemon->loops_ready; i++)
        if (server->loops[i].is_running)
            ks_loop_stop(&server->loops[i]);
    for (unsigned i = 0; i < daemon->loops_ready; i++) {
        struct ks_loop *loop = &server->loops[i];
        uint64_t now = ks_clock_mono_ns(&ks_clock_system) / 1000000;
        if (!loop->is_running || ks_loop_join(loop, until > now ? until - now : 0))
            continue;
        ks_emit(&daemon->logger.events, KS_LEVEL_WARNING, "daemon.cut_off",
            "loop=%u text=\"requests or unread answers were left\"", i);
        ks_loop_abort(loop);
        KS_IGNORE(ks_loop_join(loop, 60000), "an aborted loop ends at once");
    }
    if (daemon->loops_ready > 0)
        ks_acceptor_close(&daemon->acceptor);
}

/* Nothing more is promised; the next start recovers. No clean-up: what failed once must not be
 * touched again. */
KS_NORETURN static void daemon_die_poisoned(struct daemon *daemon)
{
    ks_emit(&daemon->logger.events, KS_LEVEL_ERROR, "daemon.poisoned",
        "why=\"%s\" text=\"nothing more is acknowledged; acknowledged records are safe on disk; "
        "start again when the "
        "disk is in order\"",
        daemon->poison.text);
    ks_notify_send(&daemon->notify, "STATUS=stopped after a failed write or sync: %s\nERRNO=%d",
        daemon->poison.text, daemon->poison.errnum ? daemon->poison.errnum : EIO);
    ks_addresses_remove(daemon->datadir.path);
    for (unsigned i = 0; i < daemon->loops_ready; i++)
        if (daemon->server.loops[i].is_running)
            ks_loop_stop(&daemon->server.loops[i]);
    for (unsigned i = 0; i < daemon->loops_ready; i++)
        KS_IGNORE(ks_loop_join(&daemon->server.loops[i], POISON_GRACE_MS),
            "answers that cannot leave are lost");
    ks_logger_flush(&daemon->logger);
    _exit(EXIT_POISONED);
}

static void check_poison(struct daemon *daemon)
{
    if (atomic_load(&daemon->state) == STATE_POISONED ||
        (daemon->server.engine && ks_engine_is_poisoned(daemon->server.engine)))
        daemon_die_poisoned(daemon);
}

/* Also after a start that failed half-way: every part may be missing. */
static bool daemon_stop(struct daemon *daemon, bool is_orderly)
{
    struct ks_server *server = &daemon->server;
    struct ks_error error = KS_ERROR_INIT;
    bool is_clean = is_orderly;
    int ready = STATE_READY;
    atomic_compare_exchange_strong(&daemon->state, &ready, STATE_STOPPING);
    /* Requests first, then flushing: each may take the whole time. */
    ks_notify_send(&daemon->notify,
        "STOPPING=1\nSTATUS=finishing requests and flushing\nEXTEND_TIMEOUT_USEC=%llu",
        (unsigned long long)(2 * daemon->running.storage_stop_timeout + STOP_SPARE_MS) * 1000);
    if (daemon->datadir.io)
        ks_addresses_remove(daemon->datadir.path);
    ks_metrics_close(&daemon->metrics);
    stop_loops(daemon, daemon->running.storage_stop_timeout);
    ks_readers_destroy(server->readers);
    ks_history_close(server->history);
    if (daemon->is_engine_started &&
        ks_engine_stop(server->engine, daemon->running.storage_stop_timeout, &error)) {
        check_poison(daemon);
        is_clean = false;
        ks_emit(&daemon->logger.events, KS_LEVEL_WARNING, "daemon.unclean_stop",
            "why=\"%s\" text=\"safe: the next start recovers\"", error.text);
    }
    for (unsigned i = 0; i < daemon->loops_ready; i++)
        ks_loop_fini(&server->loops[i]);
    ks_free(server->loops);
    ks_meter_destroy(server->meter);
    ks_limits_destroy(server->limits);
    ks_minutes_destroy(server->minutes);
    ks_heat_destroy(server->heats, server->heat_count);
    if (daemon->datadir.io && is_clean)
        ks_datadir_mark_clean(&daemon->datadir, &daemon->logger.events);
    if (server->engine)
        ks_engine_destroy(server->engine);
    ks_sockets_close(&daemon->sockets);
    ks_timekeeper_close(&daemon->timekeeper);
    ks_datadir_close(&daemon->datadir);
    ks_http_stop(daemon->http);
    ks_metrics_fini(&daemon->metrics);
    if (daemon->signal_fd >= 0)
        close(daemon->signal_fd);
    if (daemon->poison_fd >= 0)
        close(daemon->poison_fd);
    return is_clean;
}

static void notify_ready(struct daemon *daemon)
{
    const struct ks_addresses *addresses = &daemon->sockets.addresses;
    ks_notify_send(&daemon->notify, "READY=1\nSTATUS=serving at %s",
        addresses->native[0] ? addresses->native : addresses->unix_path);
}

static void daemon_reload(struct daemon *daemon)
{
    const struct ks_reload reload = {
        .sources = daemon->sources, .server = &daemon->server, .logger = &daemon->logger};
    ks_notify_send(&daemon->notify, "RELOADING=1\nMONOTONIC_USEC=%llu",
        (unsigned long long)(ks_clock_mono_ns(&ks_clock_system) / 1000));
    enum ks_status st = ks_reload_run(&reload);
    notify_ready(daemon);
    if (st)
        ks_notify_send(&daemon->notify, "STATUS=serving; the last reload failed, see the log");
}

static void memory_tick(struct daemon *daemon)
{
    struct ks_engine_stats stats;
    ks_engine_stats(daemon->server.engine, &stats);
    uint64_t progress = stats.appended_records + stats.reads_from_tail + stats.reads_from_maps +
                        stats.reads_by_copy;
    ks_memory_tick(&daemon->memory, progress, stats.tail_bytes > 0);
}

/* Until a signal or a poison. */
static void daemon_wait(struct daemon *daemon)
{
    struct pollfd fds[2] = {
        {.fd = daemon->signal_fd, .events = POLLIN}, {.fd = daemon->poison_fd, .events = POLLIN}};
    uint64_t ticked_ms = 0;
    for (;;) {
        struct signalfd_siginfo info;
        uint64_t now_ms = ks_clock_mono_ns(&ks_clock_system) / 1000000;
        ks_watchdog_tick(&daemon->watchdog, now_ms);
        if (now_ms - ticked_ms >= TICK_MS) {
            ks_timekeeper_tick(&daemon->timekeeper);
            memory_tick(daemon);
            ks_catalog_copies_tick(&daemon->copies);
            ks_logger_tick(&daemon->logger);
            ks_history_tick(daemon->server.history, ks_server_unix_ms(&daemon->server));
            ticked_ms = now_ms;
        }
        if (poll(fds, KS_COUNT_OF(fds), ks_watchdog_sleep_ms(&daemon->watchdog, now_ms, TICK_MS)) <
            0)
            continue;
        check_poison(daemon);
        if (!(fds[0].revents & POLLIN) ||
            read(daemon->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
            continue;
        if (info.ssi_signo == SIGHUP) {
            daemon_reload(daemon);
            continue;
        }
        ks_emit(
            &daemon->logger.events, KS_LEVEL_INFO, "daemon.stopping", "signal=%u", info.ssi_signo);
        return;
    }
}

static int daemon_run(struct daemon *daemon, bool is_print_addresses)
{
    daemon->running = daemon->latest = daemon->config;
    struct ks_error error = KS_ERROR_INIT;
    uint64_t begun_ns = ks_clock_mono_ns(&ks_clock_system);
    const struct ks_logger_options options = {
        .format = (enum ks_log_format)daemon->config.log_format,
        .level = (enum ks_level)daemon->config.log_level,
        .clock = &ks_clock_system,
        .fd = STDERR_FILENO,
        .journal_stream = getenv("JOURNAL_STREAM"),
        .journal_socket = daemon->config.log_journal_socket};
    ks_logger_init(&daemon->logger, &options);
    ks_metrics_init(&daemon->metrics, &daemon->logger);
    daemon->signal_fd = -1;
    daemon->poison_fd = -1;
    daemon->acceptor.spare_fd = -1;
    ks_notify_init(&daemon->notify, getenv("NOTIFY_SOCKET"));
    ks_notify_progress(&daemon->notify, "starting", PERCENT_UNKNOWN);
    enum ks_status st = daemon_start(daemon, &error);
    if (st) {
        if (daemon->poison_fd >= 0)
            check_poison(daemon);
        ks_emit(&daemon->logger.events, KS_LEVEL_ERROR, "daemon.cannot_start",
            "status=%s why=\"%s\"", ks_status_name(st), error.text);
        ks_notify_send(
            &daemon->notify, "STATUS=cannot start: %s\nERRNO=%d", error.text, error.errnum);
        KS_IGNORE(daemon_stop(daemon, false), "why it could not start is said");
        ks_logger_fini(&daemon->logger);
        char text[KS_ERROR_TEXT_BYTES + 16];
        int bytes = snprintf(text, sizeof(text), "kstreamd: %s\n", error.text);
        KS_IGNORE(ks_log_write(STDERR_FILENO, text, (size_t)bytes, LAST_WORDS_MS),
            "a reader that has stopped");
        return ks_status_info(st)->exit_code;
    }
    const struct ks_addresses *addresses = &daemon->sockets.addresses;
    ks_emit(&daemon->logger.events, KS_LEVEL_INFO, "daemon.ready",
        "native=%s http=%s unix=%s data_dir=%s start_ms=%llu pid=%d",
        addresses->native[0] ? addresses->native : "none",
        addresses->http[0] ? addresses->http : "none",
        addresses->unix_path[0] ? addresses->unix_path : "none", daemon->datadir.path,
        (unsigned long long)((ks_clock_mono_ns(&ks_clock_system) - begun_ns) / 1000000),
        (int)getpid());
    if (is_print_addresses) {
        char text[KS_ADDRESSES_TEXT_BYTES];
        ks_addresses_text(addresses, text, sizeof(text));
        fputs(text, stdout);
        fflush(stdout);
    }
    ks_watchdog_init(&daemon->watchdog, getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
    daemon->watchdog.notify = &daemon->notify;
    daemon->watchdog.server = &daemon->server;
    daemon->watchdog.events = &daemon->logger.events;
    notify_ready(daemon);
    daemon_wait(daemon);
    if (daemon_stop(daemon, true)) /* else it has said what was left for the next start */
        ks_emit(&daemon->logger.events, KS_LEVEL_INFO, "daemon.stopped", "text=\"in order\"");
    ks_logger_fini(&daemon->logger);
    return 0;
}

/* What --check-config names; what does not fit is not named. */
struct files_read {
    char text[4096];
    size_t bytes;
};

static void file_was_read(void *arg, const char *path)
{
    struct files_read *files = arg;
    size_t room = sizeof(files->text) - files->bytes;
    int n = snprintf(files->text + files->bytes, room, "read '%s'\n", path);
    if (n > 0 && (size_t)n < room)
        files->bytes += (size_t)n;
    else
        files->text[files->bytes] = '\0';
}

int main(int argc, char **argv)
{
    enum ks_config_action action = KS_ACTION_RUN;
    struct ks_error error = KS_ERROR_INIT;
    struct files_read files_read = {.bytes = 0};
    struct ks_config_sources sources = {.argc = argc,
        .argv = argv,
        .environment = environ,
        .default_path = KS_CONFIG_PATH,
        .on_file = file_was_read,
        .on_file_arg = &files_read};
    struct daemon *daemon = ks_zalloc(sizeof(*daemon));
    if (!daemon)
        return ks_status_info(KS_NO_MEMORY)->exit_code;
    int rc = 0;
    if (ks_config_load(&sources, &daemon->config, &action, &error)) {
        fprintf(stderr, "kstreamd: %s\nkstreamd --help shows all settings\n", error.text);
        ks_free(daemon);
        return ks_status_info(KS_USAGE)->exit_code;
    }
    sources.on_file = NULL; /* reloads have their own words */
    daemon->sources = &sources;
    switch (action) {
    case KS_ACTION_HELP:
        ks_config_print_help(stdout);
        break;
    case KS_ACTION_VERSION:
        printf("kstreamd %s\n", KS_VERSION);
        break;
    case KS_ACTION_PRINT_DEFAULT_CONFIG:
        ks_config_print_defaults(stdout);
        break;
    case KS_ACTION_CHECK_CONFIG:
        printf("the configuration is right\n%s",
            files_read.bytes > 0 ? files_read.text : "no file was read\n");
        break;
    case KS_ACTION_RUN:
    case KS_ACTION_PRINT_ADDRESSES:
        rc = daemon_run(daemon, action == KS_ACTION_PRINT_ADDRESSES);
        break;
    }
    ks_free(daemon);
    return rc;
}
