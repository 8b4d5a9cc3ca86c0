/*
 * The simulated disk: files in memory, and a power switch. Everything random comes from one seed.
 *
 * Each file has two images: what the page cache shows (reads, maps) and what a power cut leaves. In
 * 512-byte sectors:
 *  - a plain write is volatile until the file is synced; a durable write until the call has
 * returned KS_OK;
 *  - size, truncation and allocation are volatile until the file is synced;
 *  - created, renamed and removed names are volatile until ks_io_sync_dir of their directory: a
 * file whose name was never synced can vanish as a whole, synced data included; a removed one can
 * come back. Two unsynced changes of one name survive in order; a rename survives or not as one, a
 * sync of either directory makes it durable;
 *  - ks_io_sim_power_on decides, sector by sector and name by name, what of the volatile part
 * survived. A sector written twice without a sync is the old durable one or the newest, never one
 * in between;
 *  - a failed sync drops its sectors from what can become durable, while the cache goes on showing
 * them; the next sync answers KS_OK (as Linux does). ks_file_drop_cache then shows the old bytes, a
 * new write makes a sector dirty again.
 *
 * A map shows the cache's bytes at a fixed address for as long as the file exists: also the new
 * bytes after a file was reused, as on a real disk. Read errors do not reach through maps.
 *
 * What must hold is asserted, as the engine is under test: one thread only; aligned writes to
 * KS_OPEN_DIRECT files; every file closed and every map released before the power comes on.
 */
#ifndef KS_STORAGE_IO_SIM_H
#define KS_STORAGE_IO_SIM_H

#include "base/bytes.h"
#include "storage/io.h"

struct ks_io_sim;

#define KS_SIM_SECTOR_BYTES 512u

struct ks_io_sim_options {
    uint64_t seed;
    uint64_t file_bytes_max; /* no file may grow beyond (KS_IO, EFBIG); 0 = 1 MiB. Costs three times
                                that per live file */
    uint64_t capacity_bytes; /* of the disk; 0 = no limit */
    unsigned cold_percent;   /* how often is_resident says no */
};

/* What of the volatile part is there when the power comes back. */
enum ks_sim_survive {
    KS_SIM_NOTHING, /* only what was synced */
    KS_SIM_ALL,     /* as if all had been synced just before */
    KS_SIM_RANDOM,  /* any subset, in any order */
    KS_SIM_PREFIX,  /* what came first, up to a random moment, torn there */
    KS_SIM_PROCESS, /* the power never went, only the process died: all is there and as volatile as
                       before */
};

/* Errors: KS_NO_MEMORY. */
enum ks_status ks_io_sim_create(const struct ks_io_sim_options *options, struct ks_io_sim **out_sim,
    struct ks_error *err) KS_MUST_USE;
void ks_io_sim_destroy(struct ks_io_sim *sim);
KS_DEFINE_CLEANUP(struct ks_io_sim, ks_io_sim_destroy)
/* An empty disk with a new seed, no fault planned, counters kept; cheaper than a new one.
 * Everything closed before. */
void ks_io_sim_format(struct ks_io_sim *sim, uint64_t seed);

/* To give to the engine. */
struct ks_io *ks_io_sim_io(struct ks_io_sim *sim);

/*
 * The n-th changing call from now (1 = the next: write, sync, truncate, allocate, create, rename,
 * unlink, make_dir, sync_dir, or a commit of a model key-value store) is interrupted: it has
 * happened in part, or not, or in full, nothing of it is durable for sure, and it and every later
 * call answers KS_IO. 0 = never.
 */
void ks_io_sim_cut_after(struct ks_io_sim *sim, uint64_t n);
bool ks_io_sim_is_cut(const struct ks_io_sim *sim);
/* Ends the outage, or cuts and restores at once when there was none. Read errors and planned faults
 * end too. */
void ks_io_sim_power_on(struct ks_io_sim *sim, enum ks_sim_survive survive);

/* For other things that lose power with the disk (kv_model.c): counts as a changing call. */
enum ks_sim_step {
    KS_SIM_GO,   /* do it */
    KS_SIM_CUT,  /* do it or not, then answer KS_IO */
    KS_SIM_DEAD, /* answer KS_IO */
};
enum ks_sim_step ks_io_sim_step(struct ks_io_sim *sim);
/* The simulation's own random numbers. */
struct ks_prng *ks_io_sim_prng(struct ks_io_sim *sim);
/* Changing calls so far: for choosing where to cut. */
uint64_t ks_io_sim_steps(const struct ks_io_sim *sim);

/* The n-th sync from now (of a file, or of a durable write) fails as above; of a directory: its
 * names stay volatile. 0 = never. */
void ks_io_sim_fail_sync_after(struct ks_io_sim *sim, uint64_t n);
/* The n-th write from now fails with EIO, after a random part of it. 0 = never. */
void ks_io_sim_fail_write_after(struct ks_io_sim *sim, uint64_t n);
/* Changes the size of the disk; what is stored beyond stays. 0 = no limit. */
void ks_io_sim_set_capacity(struct ks_io_sim *sim, uint64_t bytes);
uint64_t ks_io_sim_used_bytes(const struct ks_io_sim *sim);
/* Rot: flips a bit on the disk, and in the cache where it is clean. Asserts that the file exists
 * and is that long. */
void ks_io_sim_flip_bit(struct ks_io_sim *sim, const char *path, uint64_t offset, unsigned bit);
/* Reads that touch the range answer KS_IO until bytes = 0 or a power-on. One range a file. Asserts
 * that the file exists. */
void ks_io_sim_fail_reads(struct ks_io_sim *sim, const char *path, uint64_t offset, uint64_t bytes);

struct ks_io_sim_counts {
    uint64_t calls[KS_IO_CALLS];
    uint64_t creates, durable_writes, commits;
    uint64_t cuts, kills;
    uint64_t sectors_lost, sectors_kept; /* volatile ones, at power cuts */
    uint64_t names_lost, names_kept;     /* unsynced changes of names, at power cuts */
    uint64_t files_vanished, files_back; /* created and lost; removed and there again */
    uint64_t failed_syncs, failed_writes, full_refusals, failed_reads, flipped_bits;
};
const struct ks_io_sim_counts *ks_io_sim_counts(const struct ks_io_sim *sim);

#endif
