/*
 * A key-value store in memory, behind the same seam as LMDB: for the simulation. What is stored
 * belongs to the model and outlives the handles opened from it, as files do.
 *
 * Commits are atomic. In a durable environment they are durable when commit answers KS_OK; one
 * interrupted by the simulated disk has happened or not, and one that has can still be lost with
 * the power after a mere kill, until ks_kv_sync or the next commit. A cache is durable only as of
 * its last ks_kv_sync: a power cut after a later commit leaves garbage, rows that are missing, old,
 * or under the wrong key.
 *
 * Threads: one.
 */
#ifndef KS_STORAGE_KV_MODEL_H
#define KS_STORAGE_KV_MODEL_H

#include "storage/io_sim.h"
#include "storage/kv.h"

struct ks_kv_model;

struct ks_kv_model_options {
    unsigned table_count;
    bool is_cache;
    struct ks_io_sim
        *disk; /* borrowed: loses power with it, commits count as its changing calls; NULL: none */
    uint64_t seed; /* used without a disk */
};

/* Errors: KS_NO_MEMORY. */
enum ks_status ks_kv_model_create(const struct ks_kv_model_options *options,
    struct ks_kv_model **out_model, struct ks_error *err) KS_MUST_USE;
void ks_kv_model_destroy(struct ks_kv_model *model); /* the handle closed before */
KS_DEFINE_CLEANUP(struct ks_kv_model, ks_kv_model_destroy)

/* One handle at a time. Errors: KS_NO_MEMORY; KS_IO without power. */
enum ks_status ks_kv_model_open(
    struct ks_kv_model *model, struct ks_kv **out_kv, struct ks_error *err) KS_MUST_USE;
/* As deleting the files: empty, and no longer suspect. No handle may be open. */
void ks_kv_model_erase(struct ks_kv_model *model);

/* Decides what survived, as ks_io_sim_power_on does for files. Call it beside that one. No handle
 * may be open. */
void ks_kv_model_power_on(struct ks_kv_model *model, enum ks_sim_survive survive);
/* A cache that has lost power with commits unsynced and was not erased since: what is in it is
 * garbage. */
bool ks_kv_model_was_cut(const struct ks_kv_model *model);

/*
 * The n-th commit of changes from now answers status (0 = none): KS_STORAGE_FULL changes nothing;
 * KS_IO leaves it open what happened; sticky: all later ones too, until power_on or the next plan.
 */
void ks_kv_model_fail_commit_after(
    struct ks_kv_model *model, uint64_t n, enum ks_status status, bool is_sticky);

struct ks_kv_model_counts {
    uint64_t commits; /* of changes, successful */
    uint64_t interrupted, failed, garbled,
        undone; /* undone: visible after a kill, gone with the power */
};
const struct ks_kv_model_counts *ks_kv_model_counts(const struct ks_kv_model *model);

#endif
