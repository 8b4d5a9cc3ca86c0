/*
 * The broker's clock in its process: made from what DIR/clock remembers, looked at once a second,
 * saved once a minute, after each step and at the end.
 *
 * DIR/clock has two slots, written in turn without a sync: a power cut costs the newer one at most,
 * and then a minute, which the wall clock knows better anyway. Little-endian:
 *
 *   0   "ksclock1"
 *   8   u64 generation      the valid slot with the higher one counts
 *   16  u64 unix_us         base/broker_clock.h, struct ks_broker_clock_saved
 *   24  u64 retention_unix_us
 *   32  u64 boot_ns
 *   40  boot id, 16 bytes
 *   56  u32 zero
 *   60  u32 crc32c of the 60 bytes before
 *
 * Threads: main, but for the clock itself.
 */
#ifndef KS_DAEMON_TIMEKEEPER_H
#define KS_DAEMON_TIMEKEEPER_H

#include "base/broker_clock.h"
#include "base/status.h"

struct ks_config;

struct ks_timekeeper {
    struct ks_broker_clock clock;
    const struct ks_events *events;
    int fd;
    bool is_open;
    uint64_t generation;
    uint64_t saved_mono_ms;
};

struct ks_timekeeper_options {
    const char *data_dir;
    bool is_new_directory;
    const char *boot_id; /* 32 hex digits, dashes allowed; NULL or else: ask the kernel */
    const struct ks_config *config;
    const struct ks_events *events;
};

/* Errors: KS_IO, KS_STORAGE_FULL. */
enum ks_status ks_timekeeper_open(const struct ks_timekeeper_options *options,
    struct ks_timekeeper *keeper, struct ks_error *err) KS_MUST_USE;
void ks_timekeeper_tick(struct ks_timekeeper *keeper); /* once a second */
/* The rules of the configuration hold from now on. */
void ks_timekeeper_apply(struct ks_timekeeper *keeper, const struct ks_config *config);
void ks_timekeeper_close(struct ks_timekeeper *keeper); /* saves; not opened is fine */

#endif
