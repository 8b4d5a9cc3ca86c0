#include "daemon/loop.h"

#include "base/alloc.h"
#include "daemon/conn.h"
#include "daemon/server.h"

#include <stdio.h>
#include <string.h>

/* Small: nothing on a loop recurses or keeps large locals, and idle threads must stay cheap. */
#define LOOP_STACK_BYTES (512u * 1024)
#define HELD_LOOK_MS 10

static void loop_mail(evutil_socket_t fd, short what, void *arg)
{
    struct ks_loop *loop = arg;
    (void)fd, (void)what;
    ks_mailbox_deliver(&loop->mailbox);
}

static void loop_flush(evutil_socket_t fd, short what, void *arg)
{
    struct ks_loop *loop = arg;
    struct ks_list *node;
    (void)fd, (void)what;
    while ((node = ks_list_pop(&loop->dirty)))
        ks_conn_flush(KS_CONTAINER_OF(node, struct ks_conn, dirty_link));
}

static void loop_feed_starved(evutil_socket_t fd, short what, void *arg)
{
    struct ks_loop *loop = arg;
    (void)fd, (void)what;
    ks_conn_feed_starved(loop);
}

static void loop_turn(evutil_socket_t fd, short what, void *arg)
{
    struct ks_loop *loop = arg;
    (void)fd, (void)what;
    ks_conn_take_turns(loop);
}

static void loop_puts_ready(struct ks_put_lane *lane)
{
    ks_loop_next_turn(KS_CONTAINER_OF(lane, struct ks_loop, puts));
}

static void loop_arm_held(struct ks_put_lane *lane)
{
    static const struct timeval period = {.tv_usec = HELD_LOOK_MS * 1000};
    event_add(&KS_CONTAINER_OF(lane, struct ks_loop, puts)->held_timer, &period);
}

/* While puts are held nothing may be answered, so nobody else looks. */
static void loop_look_at_held(evutil_socket_t fd, short what, void *arg)
{
    struct ks_loop *loop = arg;
    (void)fd, (void)what;
    ks_server_look_at_pressure(loop->shared->server);
    if (ks_put_lane_look(&loop->puts))
        loop_arm_held(&loop->puts);
}

static const struct ks_put_lane_hooks put_hooks = {
    .on_ready = loop_puts_ready, .on_held = loop_arm_held};

static void loop_idle(evutil_socket_t fd, short what, void *arg)
{
    struct ks_loop *loop = arg;
    (void)fd, (void)what;
    ks_conn_sweep_idle(loop, loop->shared->idle_timeout_ms);
}

/* Four looks in the time, each at all connections. */
static void loop_arm_idle(struct ks_loop *loop)
{
    uint64_t ms = loop->shared->idle_timeout_ms / 4 + 1;
    struct timeval period = {
        .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    if (loop->shared->idle_timeout_ms > 0)
        event_add(&loop->idle_timer, &period);
}

static void loop_stop(struct ks_mail *mail)
{
    struct ks_loop *loop = KS_CONTAINER_OF(mail, struct ks_loop, stop_mail);
    loop->is_stopping = true;
    if (loop->on_stop)
        loop->on_stop(loop);
    ks_parking_stop(&loop->parking); /* long-polls are answered now */
    KS_LIST_FOR_EACH_SAFE(node, &loop->conns)
    ks_conn_drain(KS_CONTAINER_OF(node, struct ks_conn, link));
    ks_loop_check_end(loop);
}

static void loop_abort(struct ks_mail *mail)
{
    struct ks_loop *loop = KS_CONTAINER_OF(mail, struct ks_loop, abort_mail);
    KS_LIST_FOR_EACH_SAFE(node, &loop->conns)
    ks_conn_close(KS_CONTAINER_OF(node, struct ks_conn, link), "stop");
    event_base_loopbreak(loop->base);
}

static void loop_probed(struct ks_mail *mail)
{
    atomic_store(&KS_CONTAINER_OF(mail, struct ks_loop, probe_mail)->is_probed, false);
}

static enum ks_status loop_open(struct ks_loop *loop, struct ks_error *err)
{
    KS_CLEANUP(ks_freep) void *slab = ks_malloc(KS_SLAB_BYTES);
    struct event_config *config = event_config_new();
    if (config) {
        /* One thread owns the base; mail is the only way in, so libevent needs no locks. */
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        loop->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (!slab || !loop->base) {
        if (loop->base)
            event_base_free(loop->base);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make an event loop");
    }
    enum ks_status st = ks_md5_create(&loop->md5, err);
    if (!st)
        st = ks_mailbox_init(&loop->mailbox, true, err);
    if (st) {
        ks_md5_destroy(loop->md5);
        event_base_free(loop->base);
        return st;
    }
    ks_mutex_init(&loop->mu, KS_RANK_WAKE);
    ks_cond_init(&loop->ended);
    loop->slab = KS_TAKE(slab);
    return KS_OK;
}

enum ks_status ks_loop_init(
    struct ks_loop *loop, unsigned index, struct ks_loop_shared *shared, struct ks_error *err)
{
    memset(loop, 0, sizeof(*loop));
    loop->index = index;
    loop->shared = shared;
    ks_list_init(&loop->conns);
    ks_list_init(&loop->dirty);
    ks_list_init(&loop->starved);
    ks_list_init(&loop->held_puts);
    ks_list_init(&loop->turns);
    ks_parking_init(&loop->parking, loop);
    ks_put_lane_init(&loop->puts, &shared->put_gate, &put_hooks);
    loop->stop_mail.deliver = loop_stop;
    loop->abort_mail.deliver = loop_abort;
    loop->probe_mail.deliver = loop_probed;
    atomic_init(&loop->is_probed, false);
    enum ks_status st = loop_open(loop, err);
    if (st)
        return st;
    event_assign(&loop->mailbox_event, loop->base, loop->mailbox.event_fd, EV_READ | EV_PERSIST,
        loop_mail, loop);
    event_assign(&loop->flush_event, loop->base, -1, 0, loop_flush, loop);
    event_assign(&loop->starve_timer, loop->base, -1, 0, loop_feed_starved, loop);
    event_assign(&loop->turn_timer, loop->base, -1, 0, loop_turn, loop);
    event_assign(&loop->held_timer, loop->base, -1, 0, loop_look_at_held, loop);
    event_assign(&loop->idle_timer, loop->base, -1, EV_PERSIST, loop_idle, loop);
    loop_arm_idle(loop);
    if (event_add(&loop->mailbox_event, NULL) < 0) {
        ks_loop_fini(loop);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot watch a mailbox");
    }
    return KS_OK;
}

void ks_loop_fini(struct ks_loop *loop)
{
    KS_ASSERT(!loop->is_running);
    /* Late completions: their calls and connections are freed by them. */
    ks_mailbox_deliver(&loop->mailbox);
    ks_parking_fini(&loop->parking);
    event_del(&loop->mailbox_event);
    event_del(&loop->starve_timer);
    event_del(&loop->turn_timer);
    event_del(&loop->held_timer);
    event_del(&loop->idle_timer);
    event_base_free(loop->base);
    ks_mailbox_fini(&loop->mailbox);
    ks_md5_destroy(loop->md5);
    ks_cond_fini(&loop->ended);
    ks_mutex_fini(&loop->mu);
    ks_free(loop->slab);
}

static void *loop_run(void *arg)
{
    struct ks_loop *loop = arg;
    event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
    KS_LOCK_SCOPE(&loop->mu);
    loop->has_ended = true;
    ks_cond_signal(&loop->ended);
    return NULL;
}

enum ks_status ks_loop_start(struct ks_loop *loop, struct ks_error *err)
{
    pthread_attr_t attributes;
    char name[16];
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, LOOP_STACK_BYTES);
    int rc = pthread_create(&loop->thread, &attributes, loop_run, loop);
    pthread_attr_destroy(&attributes);
    if (rc)
        return ks_fail(err, KS_NO_MEMORY, rc, "cannot start a loop's thread");
    loop->is_running = true;
    snprintf(name, sizeof(name), "loop-%02u", loop->index);
    pthread_setname_np(loop->thread, name);
    return KS_OK;
}

void ks_loop_stop(struct ks_loop *loop)
{
    ks_mailbox_send(&loop->mailbox, &loop->stop_mail);
}

void ks_loop_abort(struct ks_loop *loop)
{
    ks_mailbox_send(&loop->mailbox, &loop->abort_mail);
}

bool ks_loop_probe(struct ks_loop *loop)
{
    if (atomic_exchange(&loop->is_probed, true))
        return false;
    ks_mailbox_send(&loop->mailbox, &loop->probe_mail);
    return true;
}

bool ks_loop_join(struct ks_loop *loop, uint64_t timeout_ms)
{
    if (!loop->is_running)
        return true;
    uint64_t until_ms = ks_clock_mono_ns(loop->shared->clock) / 1000000 + timeout_ms;
    ks_mutex_lock(&loop->mu);
    while (!loop->has_ended) {
        uint64_t now_ms = ks_clock_mono_ns(loop->shared->clock) / 1000000;
        if (now_ms >= until_ms || !ks_cond_wait_ms(&loop->ended, &loop->mu, until_ms - now_ms))
            break;
    }
    bool has_ended = loop->has_ended;
    ks_mutex_unlock(&loop->mu);
    if (!has_ended)
        return false;
    pthread_join(loop->thread, NULL);
    loop->is_running = false;
    return true;
}

void ks_loop_next_turn(struct ks_loop *loop)
{
    static const struct timeval next_turn = {0};
    if (!event_pending(&loop->turn_timer, EV_TIMEOUT, NULL))
        event_add(&loop->turn_timer, &next_turn);
}

void ks_loop_check_end(struct ks_loop *loop)
{
    if (loop->is_stopping && ks_list_is_empty(&loop->conns))
        event_base_loopbreak(loop->base);
}
