/*
 * What the machine offers to a directory: its mount, room, rights, limits of this process, the
 * clock, and whether a sync reaches the disk. Facts only; what they mean is for others to say.
 *
 * Threads: any. Everything may wait for the disk.
 */
#ifndef KS_BASE_HOST_H
#define KS_BASE_HOST_H

#include "base/status.h"

#define KS_HOST_PROBES 8u /* writes that are synced, one after the other */

/*
 * A file in the directory is written and synced; meanwhile the counters of the device below are
 * looked at. A sync that answers although the device has written nothing was none.
 */
struct ks_host_sync {
    bool is_tried;
    int errnum; /* of the call that failed; 0: none */
    uint64_t median_ns;
    bool has_device;         /* the counters could be read; all below is 0 without */
    uint64_t device_writes;  /* by anybody, while the probes ran */
    uint64_t device_flushes; /* of the device's cache */
    bool has_flush_count;    /* the kernel counts them */
    bool has_volatile_cache; /* the device says that its cache must be flushed */
};

struct ks_host_facts {
    bool is_directory; /* it is there; nothing else is known without */
    uint32_t mode;     /* rights only: 0700 */
    uint32_t owner;
    uint32_t user; /* of this process */
    bool is_writable;
    char mount_point[256];
    char mount_source[256];
    char fs_type[32];
    char mount_options[512]; /* of the mount, and of its file system */
    uint64_t total_bytes;
    uint64_t free_bytes; /* for this user */
    uint64_t files_total;
    uint64_t files_free; /* inodes; both 0: there is no limit */
    uint64_t open_files_max;
    uint64_t memory_bytes; /* of the machine */
    bool is_clock_synchronised;
    struct ks_host_sync sync;
};

/* try_sync: also probe it, in a file that has no name, or loses it at once. */
void ks_host_look(const char *directory, bool try_sync, struct ks_host_facts *out);

/*
 * For tests: the line of /proc/self/mountinfo that directory's device number is on; false: it is
 * not of that device, or malformed. The longest mount point that holds directory wins.
 */
bool ks_host_mount_line(const char *line, const char *directory, struct ks_host_facts *facts);

#endif
