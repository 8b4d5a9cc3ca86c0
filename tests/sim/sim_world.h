/*
 * One simulated machine: a disk, a catalog, an index, a clock and the engine on top of them, driven
 * by one seed on one thread. A world lives through many crashes; after each the engine's answers
 * are held against the model.
 */
#ifndef KS_TESTS_SIM_WORLD_H
#define KS_TESTS_SIM_WORLD_H

#include "base/clock.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/prng.h"
#include "storage/catalog.h"
#include "storage/engine.h"
#include "storage/io_sim.h"
#include "storage/kv_model.h"
#include "storage/registry.h"
#include "tests/sim/sim_model.h"

#define SIM_STREAMS_MAX 4
#define SIM_SHARDS_MAX 3         /* of a new stream */
#define SIM_OPEN_MAX 4           /* of one that is resharded */
#define SIM_RESHARD_MAKES_MAX 12 /* shards, short-lived ones included */
#define SIM_SHARDS_KEPT 40       /* indexes a stream can use up */
#define SIM_KEYED 3
#define SIM_STEPS_MAX 12
#define SIM_READS_HELD 6
#define SIM_WATCHES 4
#define SIM_DATA_MAX 300 /* data bytes of a record; now and then SIM_DATA_BIG */
#define SIM_DATA_BIG 6000

enum sim_stream_state {
    SIM_STREAM_NONE,
    SIM_STREAM_CREATING, /* asked for, not answered */
    SIM_STREAM_THERE,    /* answered: must be there */
    SIM_STREAM_DELETING, /* asked for, not answered */
};

struct sim_stream;

/* A client of one key, which waits for each answer: its records must lie in order, whatever becomes
 * of the shards. */
struct sim_keyed {
    struct sim_stream *stream;
    ks_u128 hash;
    uint64_t count; /* records stored */
    uint32_t shard; /* where the last one is */
    uint64_t sequence;
    bool is_in_flight;
    uint64_t uid; /* of the batch in flight */
    uint32_t sent_to;
};

#define SIM_TAG_KEYS 60 /* more than a stream may have */
struct sim_settings {
    uint32_t record_bytes;
    uint32_t warm_mibps;
    uint32_t metrics;
    struct ks_stream_limits limits;
    uint8_t tags[SIM_TAG_KEYS]; /* value of the tag "k<place>"; 0: none */
};

struct sim_stream {
    enum sim_stream_state state;
    char name[32];
    uint64_t number; /* 0 until known */
    enum ks_ack ack;
    uint32_t shard_count;                 /* indexes used, removed shards included */
    uint32_t reshards;                    /* asked for, not answered */
    uint64_t epoch_seen;                  /* of the routing, by anybody */
    uint64_t epoch_due;                   /* once a reshard was answered: what it must come to */
    struct sim_log logs[SIM_SHARDS_KEPT]; /* by shard index */
    struct sim_keyed keyed[SIM_KEYED];
    struct sim_settings settings;
    struct sim_settings settings_next; /* once the change under way is done */
    bool is_setting;                   /* one is under way */
};

enum sim_admin_kind {
    SIM_CREATE,
    SIM_DELETE,
    SIM_RESHARD,
    SIM_MODE,
    SIM_SET,
    SIM_SET_ACCOUNT,
    SIM_REMOVE,
    SIM_REMOVE_MAYBE,
    SIM_REMOVE_REFUSED
};

struct sim_world;
struct sim_admin {
    struct ks_admin admin; /* first */
    struct ks_list link;
    struct sim_world *world;
    struct sim_stream *stream;
    uint64_t stream_number; /* the stream may be another one when the answer comes */
    enum sim_admin_kind kind;
    uint64_t epoch_due;
    uint32_t shard_index;
    struct sim_change *change; /* owned; SIM_SET */
    bool is_too_much;          /* it asks for too many tags */
};

/* Totals over all worlds, printed at the end: a branch that never ran fails the run. */
struct sim_totals {
    uint64_t cycles, power_cuts, kills, clean_stops, poisons, cuts_in_recovery;
    uint64_t batches_sent, batches_acked, records_acked, records_checked, duplicates_answered,
        retries_sent;
    uint64_t refused_throttled, refused_full, refused_other;
    uint64_t weak_acked, weak_lost; /* batches answered from memory; of them, taken by a crash */
    uint64_t gaps_after_loss;
    uint64_t watches_told, watches_taken_back;
    uint64_t reshards_asked, reshards_done, reshards_delayed, reshards_resumed, streams_scaled;
    uint64_t puts_held, puts_to_closed, keys_moved, shards_removed;
    uint64_t settings_changed, settings_found, settings_refused;
    uint64_t streams_created, streams_deleted, reads, reads_would_block, reads_held, time_lookups;
    uint64_t pool_files_missed;
    uint64_t catalogs_copied, catalogs_put_back, segments_adopted;
    uint64_t bit_flips, bits_healed, damage_reported, full_disks, faults_injected;
    struct ks_recovery_stats recovery;
    struct ks_engine_stats engine;
    uint64_t lost, duplicated, reordered, altered;
};

struct sim_held_read {
    struct ks_read read;
    struct sim_log *log;
    uint64_t from_sequence;
    uint64_t log_id;
    uint64_t bytes_crc; /* of all extents when they were read */
    bool is_held;
};

/* A long-poll: waits for what comes behind last_sequence. */
struct sim_watch {
    struct ks_log_watch watch;
    struct sim_world *world;
    struct ks_log *log; /* referenced while it is armed */
    uint64_t last_sequence;
    bool was_closed;
    bool is_armed; /* until its mail is delivered, or it is taken back */
};

#define SIM_FLIPS_MAX 3

struct sim_flip {
    char path[64];
    uint64_t offset;
    unsigned bit;
    uint8_t around[64]; /* what lay there after the flip: a place that was written since is not
                           flipped back */
    size_t around_bytes;
};

struct sim_world {
    uint64_t seed;
    uint32_t cycle;
    bool is_verbose;
    struct ks_prng prng;
    struct ks_fake_clock clock;
    struct ks_events events;
    struct ks_io_sim *disk;
    struct ks_kv_model *catalog;
    struct ks_kv_model *index;
    struct ks_kv_model *copy; /* of the catalog, some time ago */
    bool has_copy;
    bool is_catalog_copy;         /* the catalog is that copy, put back */
    struct ks_kv *catalog_handle; /* open while the engine is */
    struct ks_engine *engine;     /* NULL while the machine is down */
    struct ks_mailbox mailbox;
    struct ks_step *steps[SIM_STEPS_MAX];
    size_t step_count;
    uint8_t step_phase[SIM_STEPS_MAX]; /* 0 idle, 1 begun, 2 run */
    struct ks_list puts;               /* sim_put.link: under way */
    struct ks_list admins;             /* sim_admin.link */
    struct sim_stream streams[SIM_STREAMS_MAX];
    uint64_t account; /* when its commitment started */
    uint64_t account_next;
    bool is_setting_account;
    struct sim_held_read held[SIM_READS_HELD];
    struct sim_watch watches[SIM_WATCHES];
    uint64_t next_uid;
    uint64_t next_name;
    bool is_poisoned; /* the engine said so */
    bool is_killed_by_index;
    struct sim_flip flips[SIM_FLIPS_MAX]; /* those that may turn back */
    size_t flip_count;
    bool has_flips; /* bits were flipped in this world: damage may be reported */
    struct sim_totals *totals;
};

/* Each prints what is wrong with seed and cycle and returns false on a broken promise. */
bool sim_world_run(uint64_t seed, uint32_t cycles, bool is_verbose, struct sim_totals *totals);

bool sim_fail(struct sim_world *world, const char *format, ...) KS_PRINTF(2, 3);

/* sim_reshard.c: streams whose shards change. */
bool sim_learn_shards(
    struct sim_world *world, struct sim_stream *stream, const struct ks_stream *snapshot);
bool sim_check_shards(
    struct sim_world *world, struct sim_stream *stream, const struct ks_stream *snapshot);
/* The newest snapshot, learnt from and held against what was seen before. */
bool sim_look(struct sim_world *world, struct sim_stream *stream, struct ks_stream **out_snapshot);
bool sim_reshard(struct sim_world *world);
void sim_reshard_answered(struct sim_admin *op);
/* A stream on demand that is about to use up its indexes is on demand no more. */
bool sim_tame_streams(struct sim_world *world);
bool sim_remove_shard(struct sim_world *world);
bool sim_put_keyed(struct sim_world *world);
bool sim_keyed_answered(struct sim_world *world, struct sim_keyed *keyed, const struct sim_log *log,
    const struct ks_append *append);
/* After a crash, with the logs checked: what was in flight is stored or not. */
bool sim_keyed_recovered(struct sim_world *world, struct sim_stream *stream);
bool sim_check_finished(struct sim_world *world);

/* sim_settings.c: tags and other settings. */
void sim_settings_first(
    struct sim_world *world, struct sim_stream *stream, struct ks_stream_spec *spec);
bool sim_set_something(struct sim_world *world);
void sim_set_answered(struct sim_admin *op);
bool sim_check_settings(
    struct sim_world *world, struct sim_stream *stream, const struct ks_stream *snapshot);
bool sim_set_account(struct sim_world *world);
bool sim_check_account(struct sim_world *world);
bool sim_account_recovered(struct sim_world *world);
/* After a crash: a change that was under way is there or not. */
bool sim_settings_recovered(
    struct sim_world *world, struct sim_stream *stream, const struct ks_stream *snapshot);

/* sim_clients.c: what users do. */
struct sim_stream *sim_pick_stream(struct sim_world *world); /* NULL: none is there */
/* Sends a batch; on acceptance the model has it. producer: number + 1, 0 = plain. */
bool sim_send(struct sim_world *world, struct sim_log *log, struct ks_log *target, uint64_t epoch,
    const struct sim_batch *batch, uint32_t producer, struct sim_keyed *keyed, bool *out_is_sent);
struct sim_admin *sim_admin_new(
    struct sim_world *world, struct sim_stream *stream, enum sim_admin_kind kind);
void sim_admin_free(struct sim_admin *op);
/* An operation was taken or refused at once. */
bool sim_admin_begun(
    struct sim_world *world, struct sim_admin *op, enum ks_status st, const struct ks_error *err);
bool sim_put_some(struct sim_world *world);
bool sim_create_stream(struct sim_world *world);
bool sim_delete_stream(struct sim_world *world);
bool sim_read_some(struct sim_world *world);
bool sim_find_time(struct sim_world *world);
bool sim_release_reads(struct sim_world *world, bool all);
void sim_forget_requests(struct sim_world *world); /* the process died: nobody will answer */
bool sim_deliver(struct sim_world *world);

/* sim_watch.c: long-polls. */
void sim_watch_some(struct sim_world *world);
/* All mail is delivered: who still waits has nothing to read. */
bool sim_check_watches(struct sim_world *world);
void sim_forget_watches(struct sim_world *world);

/* sim_copy.c: the catalog is lost, and a copy comes back. */
void sim_copy_catalog(struct sim_world *world);
void sim_put_back_catalog(struct sim_world *world);

/* sim_rot.c: bits that turn over while the power is off, and back again. */
/* is_newest_named: the journal's newest block is known to have been durable, so it may go as well.
 */
void sim_flip_bits(struct sim_world *world, bool is_newest_named);
void sim_heal_bits(struct sim_world *world);
/* Somebody puts a file among the segments that is none of ours. */
void sim_leave_stranger(struct sim_world *world);
/* Somebody removes files that are empty, while the broker runs. */
void sim_tidy_away(struct sim_world *world);

/* sim_check.c: the whole content against the model, after recovery. */
bool sim_check_all(struct sim_world *world);
bool sim_check_read(struct sim_world *world, struct sim_log *log, uint64_t log_id,
    const struct ks_read *read, uint64_t from_sequence);

#endif
