/* The registry's inside, for registry*.c only. */
#ifndef KS_STORAGE_REGISTRY_PRIV_H
#define KS_STORAGE_REGISTRY_PRIV_H

#include "base/bytes.h"
#include "base/mutex.h"
#include "storage/account.h"
#include "storage/catalog.h"
#include "storage/log_priv.h"
#include "storage/registry.h"
#include "storage/u64_map.h"

struct ks_kv_txn;

/* A stream as the tables know it, from its CREATING to the end of its DELETING. */
struct ks_registry_entry {
    struct ks_stream *stream; /* [registry's mutex] the newest snapshot, referenced */
    struct ks_list turns;     /* [registry's mutex] ks_turn.link; the first has its turn */
};

/*
 * Changes of one stream happen one at a time: each takes a turn, works from the newest snapshot,
 * which nobody else replaces meanwhile, and gives the turn on. Memory of whoever changes, until it
 * has given the turn on or cancel has run.
 */
enum ks_turn_wants {
    KS_TURN_WANTS_ACTIVE,
    KS_TURN_WANTS_KEPT, /* deleted, but restorable */
    KS_TURN_WANTS_EITHER,
};
struct ks_turn {
    struct ks_list link;
    uint64_t stream_number;
    /* Users see it as UPDATING or DELETING: beside one of these another is refused, not queued. No
     * more from its last snapshot on. */
    bool is_announced;
    enum ks_turn_wants wants; /* announced ones: of the stream's status */
    /* Without locks, on the thread that takes the turn or that gives it on. stream: referenced for
     * the callee. */
    void (*start)(struct ks_turn *turn, struct ks_stream *stream);
    /* Instead of start: the stream is gone (KS_NOT_FOUND). */
    void (*cancel)(struct ks_turn *turn, enum ks_status status);
};

struct ks_registry_tombstone {
    uint64_t log_id;
    uint64_t lsn;  /* no block above it mentions the log */
    bool is_going; /* a change that removes it is under way */
};

struct ks_registry {
    struct ks_engine *engine;
    struct ks_mutex mu;                 /* KS_RANK_REGISTRY; guards all below */
    struct ks_registry_entry **by_name; /* sorted */
    size_t count;
    size_t capacity;
    bool is_loading;             /* by_name is not sorted yet */
    struct ks_u64_map by_number; /* entries */
    struct ks_u64_map by_id; /* entries, by ks_registry_id_hash of the stream id: ids are made so
                                that it is unique */
    struct ks_u64_map logs;  /* each referenced once */
    struct ks_registry_tombstone *tombstones;
    size_t tombstone_count;
    size_t tombstone_capacity;
    bool is_trimming;     /* a change that removes tombstones is under way */
    size_t logs_expected; /* room in logs and tombstones promised to changes under way */
    size_t tombstones_expected;
    uint64_t log_id_high; /* given out; the durable row may be behind until the change is */
    uint64_t stream_number_high;
    uint32_t open_shards;     /* of all streams; what a reshard under way will add is counted too */
    uint32_t on_demand_count; /* streams */
    uint32_t kept_shards;     /* the closed ones too: what they cost is memory */
    struct ks_account account;
};

uint64_t ks_registry_id_hash(const char *stream_id);
/* mu held, or before threads exist. Puts a new entry into all tables; takes the snapshot's
 * reference. False: no memory. */
bool ks_registry_insert(struct ks_registry *registry, struct ks_stream *stream) KS_MUST_USE;
bool ks_registry_has_name(const struct ks_registry *registry, const char *name); /* mu held */
/* Ends loading: sorts by_name. Returns a stream whose name is there twice, or NULL. */
const struct ks_stream *ks_registry_sort(struct ks_registry *registry);
/* mu held. Out of the tables; the snapshot's reference goes to the caller, the turns to out_turns:
 * for ks_registry_cancel_turns. */
struct ks_stream *ks_registry_remove(
    struct ks_registry *registry, uint64_t number, struct ks_list *out_turns);
/* mu held. Publishes a newer snapshot of a known stream (references it); returns the old one with
 * its reference. */
struct ks_stream *ks_registry_publish(struct ks_registry *registry, struct ks_stream *stream);
/* References to the newest snapshots of all streams on demand; *out_streams is to be freed. KS_OK
 * with none: there are none. */
enum ks_status ks_registry_list_on_demand(
    struct ks_registry *registry, struct ks_stream ***out_streams, size_t *out_count) KS_MUST_USE;
bool ks_registry_reserve_tombstones(struct ks_registry *registry, size_t more) KS_MUST_USE;

/* Errors: KS_NOT_FOUND; KS_IN_USE (CREATING; or announced, and its status does not fit or is about
 * to change). KS_OK: start or cancel runs once, maybe before this returns. */
enum ks_status ks_registry_take_turn(
    struct ks_registry *registry, struct ks_turn *turn) KS_MUST_USE;
/* At the start: the stream was found in the middle of this change. */
void ks_registry_adopt_turn(struct ks_registry *registry, struct ks_turn *turn);
/* The next one starts, on this thread. Nothing to do if the stream has gone. */
void ks_registry_give_turn_on(struct ks_registry *registry, struct ks_turn *turn);
/* Of a stream that has been removed by own, whose turn it is; no locks held. */
void ks_registry_cancel_turns(struct ks_list *turns, const struct ks_turn *own);

/* A snapshot with room for shard_count shards, one reference; NULL: no memory. */
struct ks_stream *ks_stream_new(uint32_t shard_count);
/* The same stream, to be changed and published; behind its shards more_shards zeroed ones. NULL: no
 * memory. */
struct ks_stream *ks_stream_copy(const struct ks_stream *from, uint32_t more_shards);
/* Sorts the open shards by hash range. False: they do not tile (load: damage). */
bool ks_stream_route_init(struct ks_stream *stream) KS_MUST_USE;

/* Errors: KS_POISONED, KS_STOPPING. */
enum ks_status ks_registry_require_running(
    struct ks_engine *engine, struct ks_error *err) KS_MUST_USE;
/* At the start. */
enum ks_status ks_account_load(
    struct ks_registry *registry, struct ks_kv_txn *txn, struct ks_error *err) KS_MUST_USE;
/* The retention of the snapshot counts for its logs from now on. */
void ks_stream_apply_retention(const struct ks_stream *stream);

/*
 * A change of a stream's row that makes and removes no log (registry_row.c), from the call to the
 * completion.
 */
struct ks_row_work {
    struct ks_change change;
    struct ks_turn turn;
    struct ks_engine *engine;
    struct ks_admin *admin;
    /* Makes during and after, which are copies, out of before. */
    enum ks_status (*prepare)(struct ks_row_work *work, struct ks_error *err);
    struct ks_retention_spec retention; /* for it, as all below */
    uint64_t keep_ms;
    enum ks_stream_mode mode;
    struct ks_setting_change *setting; /* borrowed until the completion */
    struct ks_stream *before;          /* published again if the commit is refused */
    struct ks_stream *during;          /* what is seen meanwhile */
    struct ks_stream *after;
};
/* wanted is copied: its engine, admin, prepare with what that needs, and turn (which stream, what
 * status it must have, whether users see the change). Errors as of ks_stream_set_retention. */
enum ks_status ks_row_change(const struct ks_row_work *wanted, struct ks_error *err) KS_MUST_USE;

/* ---- rows, and what changes have in common (registry_rows.c) ---- */

/* The stream as its snapshot says. */
enum ks_status ks_stream_row_put(
    const struct ks_stream *stream, struct ks_kv_txn *txn, struct ks_error *err) KS_MUST_USE;
enum ks_status ks_shard_row_put(const struct ks_stream *stream, const struct ks_shard *shard,
    enum ks_shard_row_status status, struct ks_kv_txn *txn, struct ks_error *err) KS_MUST_USE;
/* "high.log" and "high.stream" as given out now: never below what the change uses. */
enum ks_status ks_registry_high_put(
    struct ks_registry *registry, struct ks_kv_txn *txn, struct ks_error *err) KS_MUST_USE;
/* The log of a shard of stream, whose other members are set. */
enum ks_status ks_shard_make_log(struct ks_engine *engine, const struct ks_stream *stream,
    struct ks_shard *shard, uint64_t log_id, struct ks_error *err) KS_MUST_USE;

/* A log's end in the catalog: its rows go, its files retire, a tombstone is set up in *tombstone.
 * KS_WOULD_BLOCK: appends are still on their way. */
enum ks_status ks_shard_rows_remove(struct ks_engine *engine, uint64_t stream_number,
    const struct ks_shard *shard, struct ks_registry_tombstone *tombstone, struct ks_kv_txn *txn,
    struct ks_error *err) KS_MUST_USE;
/* When that is durable. mu held: the tombstone counts (room was promised in tombstones_expected),
 * the table of logs forgets the log. Then, without mu: its files leave it. */
void ks_registry_bury_log(
    struct ks_registry *registry, const struct ks_registry_tombstone *tombstone);
void ks_log_bury(struct ks_log *log); /* drops the reference of the table of logs */
/* When that was refused after all: the log is what it was. */
void ks_log_revive(struct ks_log *log, enum ks_log_state state);

#endif
