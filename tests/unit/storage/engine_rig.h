/*
 * A whole engine on the simulated disk, without threads: opened, stopped, or cut off in the middle.
 * Records of a log are "NAME/ORDINAL", so that what is read back says where it belongs.
 */
#ifndef KS_TESTS_UNIT_STORAGE_ENGINE_RIG_H
#define KS_TESTS_UNIT_STORAGE_ENGINE_RIG_H

#include "base/clock.h"
#include "storage/engine_priv.h"
#include "storage/io_sim.h"
#include "storage/kv_model.h"

struct rig_events {
    struct ks_events events; /* first member */
    char names[64][48];
    unsigned counts[64];
    unsigned name_count;
};

struct rig {
    struct ks_io_sim *disk;
    struct ks_kv_model *catalog;
    struct ks_kv *catalog_kv;
    struct ks_fake_clock clock;
    struct rig_events seen;
    struct ks_engine_options options;
    struct ks_engine *engine;
    struct ks_mailbox mailbox;
    struct ks_error error; /* of the last open or stop */
    unsigned index_erased;
    unsigned poisons;
};

void rig_init(struct rig *rig, uint64_t seed);
void rig_fini(struct rig *rig);

enum ks_status rig_open(struct rig *rig);
void rig_must_open(struct rig *rig);
/* Runs steps until none has work; mail is delivered. */
void rig_run(struct rig *rig);
/* Only the step of that name, once through begin, run and end. False: it had nothing to do. */
bool rig_step(struct rig *rig, const char *name);
enum ks_status rig_stop(struct rig *rig); /* and destroys */
/* The process is gone, and with it what survive says. */
void rig_crash(struct rig *rig, enum ks_sim_survive survive);
unsigned rig_saw(const struct rig *rig, const char *event);

/* A stream of one shard, ACTIVE. */
void rig_create_stream(struct rig *rig, const char *name);
/* And deleted again, durably. */
void rig_delete_stream(struct rig *rig, const char *name);
/* Its log; borrowed, for as long as the engine lives. */
struct ks_log *rig_log(struct rig *rig, const char *name);

/* An append on its way. */
struct rig_put {
    struct ks_append append; /* first member */
    bool is_delivered;
    uint8_t records[65536];
};
/* count records of the log, each of data_bytes at least; not yet committed. */
enum ks_status rig_append(
    struct rig *rig, struct rig_put *put, const char *name, uint32_t count, uint32_t data_bytes);
/* The same, and durable. */
void rig_put(struct rig *rig, const char *name, uint32_t count, uint32_t data_bytes);

/* Reads everything: each record must be what rig_append made, in order, each ordinal once. Returns
 * how many ordinals are there; *out_damaged: of them, told to be damaged. */
uint64_t rig_read_all(struct rig *rig, const char *name, uint64_t *out_damaged);

/* Changes one byte of a file, durably, behind the engine's back. */
void rig_flip(struct rig *rig, const char *path, uint64_t offset);

#endif
