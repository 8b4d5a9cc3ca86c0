#include "daemon/park.h"

#include "base/alloc.h"
#include "daemon/loop.h"

/* Where the calls of one loop wait for one log: there while it is armed or somebody waits. */
struct ks_park_spot {
    struct ks_log_watch watch;
    struct ks_parking *parking;
    struct ks_log *log; /* referenced */
    struct ks_list parks;
    uint32_t count;   /* of parks, those that are being resumed included */
    bool is_armed;    /* the watch is out: with the log, or as mail on its way back */
    bool is_resuming; /* its calls are being looked at: not to be freed */
};

void ks_parking_init(struct ks_parking *parking, struct ks_loop *loop)
{
    *parking = (struct ks_parking){.loop = loop};
}

void ks_parking_fini(struct ks_parking *parking)
{
    KS_ASSERT(parking->count == 0 && parking->spots.count == 0);
    ks_u64_map_fini(&parking->spots);
}

static void spot_free(struct ks_park_spot *spot)
{
    ks_u64_map_remove(&spot->parking->spots, ks_log_id(spot->log));
    ks_log_unref(spot->log);
    ks_free(spot);
}

/* After somebody left. A watch that is on its way back frees the spot when it comes. */
static void spot_leave(struct ks_park_spot *spot)
{
    if (spot->is_resuming || spot->count > 0)
        return;
    if (spot->is_armed && !ks_log_watch_disarm(spot->log, &spot->watch))
        return;
    spot_free(spot);
}

static void park_remove(struct ks_park *park)
{
    struct ks_park_spot *spot = park->spot;
    ks_list_remove(&park->link);
    event_del(&park->timer);
    park->spot = NULL;
    spot->count--;
    spot->parking->count--;
}

static void spot_resume(struct ks_park_spot *spot, enum ks_park_end why)
{
    struct ks_list woken; /* who parks here again waits for the next news */
    ks_list_init(&woken);
    ks_list_splice(&woken, &spot->parks);
    spot->is_resuming = true;
    while (!ks_list_is_empty(&woken)) {
        struct ks_park *park = KS_CONTAINER_OF(woken.next, struct ks_park, link);
        park_remove(park);
        park->resume(park, why);
    }
    spot->is_resuming = false;
    spot_leave(spot);
}

static void spot_woken(struct ks_mail *mail)
{
    struct ks_park_spot *spot = KS_CONTAINER_OF(mail, struct ks_park_spot, watch.mail);
    spot->is_armed = false;
    spot_resume(spot, KS_PARK_NEWS);
}

static void park_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct ks_park *park = arg;
    struct ks_park_spot *spot = park->spot;
    (void)fd, (void)what;
    park_remove(park);
    spot_leave(spot);
    park->resume(park, KS_PARK_TIMEOUT);
}

static struct ks_park_spot *spot_get(struct ks_parking *parking, struct ks_log *log)
{
    struct ks_park_spot *spot = ks_u64_map_get(&parking->spots, ks_log_id(log));
    if (spot)
        return spot;
    if (!ks_u64_map_reserve(&parking->spots, 1))
        return NULL;
    spot = ks_zalloc(sizeof(*spot));
    if (!spot)
        return NULL;
    spot->watch.mail.deliver = spot_woken;
    spot->watch.home = &parking->loop->mailbox;
    spot->parking = parking;
    spot->log = ks_log_ref(log);
    ks_list_init(&spot->parks);
    ks_u64_map_put(&parking->spots, ks_log_id(log), spot);
    return spot;
}

enum ks_status ks_park_begin(
    struct ks_parking *parking, struct ks_park *park, struct ks_log *log, uint64_t wait_ms)
{
    struct timeval timeout = {
        .tv_sec = (time_t)(wait_ms / 1000), .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};
    struct ks_park_spot *spot = spot_get(parking, log);
    if (!spot)
        return KS_NO_MEMORY;
    event_assign(&park->timer, parking->loop->base, -1, 0, park_timeout, park);
    if (event_add(&park->timer, &timeout) < 0) {
        spot_leave(spot);
        return KS_NO_MEMORY;
    }
    park->spot = spot;
    ks_list_push(&spot->parks, &park->link);
    spot->count++;
    parking->count++;
    if (!spot->is_armed)
        ks_log_watch_arm(log, &spot->watch);
    spot->is_armed = true;
    return KS_OK;
}

void ks_park_cancel(struct ks_park *park)
{
    struct ks_park_spot *spot = park->spot;
    if (!spot)
        return;
    park_remove(park);
    spot_leave(spot);
}

void ks_parking_stop(struct ks_parking *parking)
{
    struct ks_list all; /* taken out first: what resumes changes the table */
    ks_list_init(&all);
    KS_U64_MAP_FOR_EACH(slot, &parking->spots)
    {
        struct ks_park_spot *spot = slot->value;
        ks_list_splice(&all, &spot->parks);
    }
    while (!ks_list_is_empty(&all)) {
        struct ks_park *park = KS_CONTAINER_OF(all.next, struct ks_park, link);
        struct ks_park_spot *spot = park->spot;
        park_remove(park);
        spot_leave(spot);
        park->resume(park, KS_PARK_STOP);
    }
}
