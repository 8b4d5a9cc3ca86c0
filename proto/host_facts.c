#include "proto/host_facts.h"

void ks_host_facts_message(
    struct ks_host_facts *facts, Kstream__HostFacts *out, Kstream__HostSync *sync)
{
    kstream__host_facts__init(out);
    out->is_directory = facts->is_directory;
    out->mode = facts->mode;
    out->owner = facts->owner;
    out->user = facts->user;
    out->is_writable = facts->is_writable;
    out->mount_point = facts->mount_point;
    out->mount_source = facts->mount_source;
    out->fs_type = facts->fs_type;
    out->mount_options = facts->mount_options;
    out->total_bytes = facts->total_bytes;
    out->free_bytes = facts->free_bytes;
    out->files_total = facts->files_total;
    out->files_free = facts->files_free;
    out->open_files_max = facts->open_files_max;
    out->memory_bytes = facts->memory_bytes;
    out->is_clock_synchronised = facts->is_clock_synchronised;
    if (!facts->sync.is_tried)
        return;
    kstream__host_sync__init(sync);
    sync->error = (uint32_t)facts->sync.errnum;
    sync->median_ns = facts->sync.median_ns;
    sync->has_device = facts->sync.has_device;
    sync->device_writes = facts->sync.device_writes;
    sync->device_flushes = facts->sync.device_flushes;
    sync->has_flush_count = facts->sync.has_flush_count;
    sync->has_volatile_cache = facts->sync.has_volatile_cache;
    sync->tries = KS_HOST_PROBES;
    out->sync = sync;
}
