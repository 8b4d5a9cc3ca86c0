/*
 * A disk that fails on purpose: passes every call to another ks_io, and lets the n-th of a chosen
 * kind fail. Raise n until a run meets no fault, and every error path has run. For tests.
 *
 * What a failed sync does to the bytes is the simulated disk's business (io_sim.h); here only the
 * answer is made up.
 *
 * Threads: calls may come from any thread; ks_io_fault_plan only while no call is under way.
 */
#ifndef KS_STORAGE_IO_FAULT_H
#define KS_STORAGE_IO_FAULT_H

#include "storage/io.h"

struct ks_io_fault;

enum ks_fault {
    KS_FAULT_EIO,
    KS_FAULT_ENOSPC,
    KS_FAULT_EDQUOT,
    KS_FAULT_ENOMEM,
    KS_FAULT_SHORT,    /* a write or read of which half is done, then EIO; other calls: EIO */
    KS_FAULT_DONE_EIO, /* the call is done in full, yet answers EIO: what a caller must not rely on
                          either */
};

#define KS_IO_FAULT_ANY KS_IO_CALLS /* a call of any kind */

struct ks_io_fault_plan {
    enum ks_io_call call; /* or KS_IO_FAULT_ANY */
    enum ks_fault fault;
    uint64_t nth;   /* 1 = the next such call; 0 = none */
    bool is_sticky; /* and every such call after it */
};

/* inner is borrowed and outlives the result. Errors: KS_NO_MEMORY. */
enum ks_status ks_io_fault_create(
    struct ks_io *inner, struct ks_io_fault **out_fault, struct ks_error *err) KS_MUST_USE;
void ks_io_fault_destroy(struct ks_io_fault *fault); /* every file closed before */
KS_DEFINE_CLEANUP(struct ks_io_fault, ks_io_fault_destroy)

/* To give to the engine. */
struct ks_io *ks_io_fault_io(struct ks_io_fault *fault);
/* Replaces the plan; nth counts from now. */
void ks_io_fault_plan(struct ks_io_fault *fault, const struct ks_io_fault_plan *plan);
/* Faults given since the plan was made: 0 means that the run was shorter than nth. */
uint64_t ks_io_fault_given(const struct ks_io_fault *fault);
/* Calls of a kind (or KS_IO_FAULT_ANY) since creation, failed ones included. */
uint64_t ks_io_fault_calls(const struct ks_io_fault *fault, enum ks_io_call call);

#endif
