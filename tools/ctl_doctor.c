#include "tools/ctl_doctor.h"

#include "base/defs.h"
#include "tools/ctl_json.h"
#include "tools/ctl_time.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define GIB (1ull << 30)
/* No disk answers a sync so fast; a RAM disk or a library that drops syncs does. */
#define SYNC_NS_MIN 5000u
#define SYNC_NS_SLOW 50000000u
#define RESERVE_BYTES GIB /* or a twentieth of the file system, if that is less */
#define FORECAST_MS_MIN 180000u
#define FILES_FREE_MIN 1000u
#define CLOCK_OFF_MS 1000
#define DAY_S 86400u

enum verdict { VERDICT_OK, VERDICT_UNKNOWN, VERDICT_WARNING, VERDICT_PROBLEM };
static const char *const verdicts[] = {"ok", "unknown", "warning", "problem"};

struct doctor {
    const struct ctl_doctor_facts *facts;
    struct ctl_doctor_counts counts;
    json_t *checks;
    bool is_full; /* out of memory */
};

/* fix: NULL where there is nothing to mend. */
static void say(struct doctor *doctor, const char *check, enum verdict verdict, const char *fix,
    const char *format, ...) KS_PRINTF(5, 6);
static void say(struct doctor *doctor, const char *check, enum verdict verdict, const char *fix,
    const char *format, ...)
{
    char finding[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(finding, sizeof finding, format, args);
    va_end(args);
    doctor->counts.problems += verdict == VERDICT_PROBLEM;
    doctor->counts.warnings += verdict == VERDICT_WARNING;
    json_t *row = json_object();
    bool is_made = ctl_json_add(row, "check", json_string(check)) &&
                   ctl_json_add(row, "verdict", json_string(verdicts[verdict])) &&
                   ctl_json_add(row, "finding", ctl_json_text(finding)) &&
                   ctl_json_add(row, "fix", ctl_json_text(fix));
    if (!is_made || json_array_append_new(doctor->checks, json_incref(row)))
        doctor->is_full = true;
    json_decref(row);
}

struct size_text {
    char text[32];
};

static struct size_text size_of(uint64_t bytes)
{
    struct size_text size;
    ctl_size_to_text(bytes, size.text, sizeof size.text);
    return size;
}

static void time_left(uint64_t seconds, char *text, size_t bytes)
{
    if (seconds < 2 * 60)
        snprintf(text, bytes, "%llu s", (unsigned long long)seconds);
    else if (seconds < 2 * 3600)
        snprintf(text, bytes, "%llu min", (unsigned long long)seconds / 60);
    else if (seconds < 2 * DAY_S)
        snprintf(text, bytes, "%llu h", (unsigned long long)seconds / 3600);
    else
        snprintf(text, bytes, "%llu days", (unsigned long long)seconds / DAY_S);
}

/* ---- the directory ---- */

static void check_directory(struct doctor *doctor)
{
    const Kstream__HostFacts *host = doctor->facts->host;
    const char *directory = doctor->facts->directory;
    char fix[512];
    if (!host->is_writable) {
        snprintf(
            fix, sizeof fix, "chown -R USER '%.300s', USER being who runs kstreamd", directory);
        say(doctor, "permissions", VERDICT_PROBLEM, fix,
            "user %u may not read and write in '%s' (owner %u, mode %04o)", host->user, directory,
            host->owner, host->mode);
    } else if (host->mode & 0022) {
        snprintf(fix, sizeof fix, "chmod 0700 '%.300s'", directory);
        say(doctor, "permissions", VERDICT_PROBLEM, fix,
            "others may write in '%s' (mode %04o): they could replace its files", directory,
            host->mode);
    } else if (host->mode & 0007) {
        snprintf(fix, sizeof fix, "chmod 0700 '%.300s'", directory);
        say(doctor, "permissions", VERDICT_WARNING, fix, "everybody may look into '%s' (mode %04o)",
            directory, host->mode);
    } else if (host->owner != host->user) {
        snprintf(fix, sizeof fix, "chown -R %u '%.300s'", host->user, directory);
        say(doctor, "permissions", VERDICT_WARNING, fix,
            "'%s' belongs to user %u, and user %u works in it", directory, host->owner, host->user);
    } else {
        say(doctor, "permissions", VERDICT_OK, NULL, "'%s' is its owner's alone (mode %04o)",
            directory, host->mode);
    }
}

/* ---- the mount ---- */

static bool is_word_of(const char *word, const char *words)
{
    size_t bytes = strlen(word);
    for (const char *at = strstr(words, word); at; at = strstr(at + 1, word))
        if ((at == words || at[-1] == ',') && (at[bytes] == ',' || at[bytes] == '\0'))
            return true;
    return false;
}

static bool is_fs_of(const char *type, const char *const *types, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

static void check_mount(struct doctor *doctor)
{
    static const char *const volatile_types[] = {"tmpfs", "ramfs", "hugetlbfs"};
    static const char *const remote_types[] = {"nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs"};
    static const char *const good_types[] = {"ext4", "xfs"};
    const Kstream__HostFacts *host = doctor->facts->host;
    const char *options = host->mount_options;
    const char *type = host->fs_type;
    if (!type[0])
        say(doctor, "mount", VERDICT_UNKNOWN, NULL, "/proc/self/mountinfo does not say");
    else if (is_fs_of(type, volatile_types, KS_COUNT_OF(volatile_types)))
        say(doctor, "mount", VERDICT_PROBLEM,
            "set storage.data_dir to a directory on ext4 or xfs, and move the data there",
            "the data lies on %s, in memory: a reboot loses all of it", type);
    else if (is_fs_of(type, remote_types, KS_COUNT_OF(remote_types)))
        say(doctor, "mount", VERDICT_PROBLEM,
            "set storage.data_dir to a directory on a local ext4 or xfs, and move the data there",
            "the data lies on %s, where a sync may not mean what it says", type);
    else if (is_word_of("nobarrier", options) || is_word_of("barrier=0", options))
        say(doctor, "mount", VERDICT_PROBLEM,
            "take nobarrier out of /etc/fstab, then: mount -o remount,barrier <mount point>",
            "'%s' is mounted with nobarrier: a power cut loses what the disk has in its cache",
            host->mount_point);
    else if (is_word_of("ro", options))
        say(doctor, "mount", VERDICT_PROBLEM,
            "look into dmesg for the reason, then: mount -o remount,rw <mount point>",
            "'%s' is mounted read-only", host->mount_point);
    else if (!is_fs_of(type, good_types, KS_COUNT_OF(good_types)))
        say(doctor, "mount", VERDICT_WARNING,
            "ext4 and xfs are what kstreamd is tested on: use one of them for storage.data_dir",
            "the data lies on %s at '%s'", type, host->mount_point);
    else
        say(doctor, "mount", VERDICT_OK, NULL, "%s at '%s' (%s)", type, host->mount_point,
            host->mount_source);
}

/* ---- syncs ---- */

#define FIX_SYNC                                                                                   \
    "no library may drop fsync (LD_PRELOAD, eatmydata), and the virtual disk must honour "         \
    "flushes (cache=none or writethrough, not unsafe)"

static void check_sync(struct doctor *doctor)
{
    const Kstream__HostSync *sync = doctor->facts->host->sync;
    if (!sync) {
        say(doctor, "sync", VERDICT_UNKNOWN, NULL, "it could not be tried");
        return;
    }
    unsigned long long us = sync->median_ns / 1000;
    if (sync->error)
        say(doctor, "sync", VERDICT_PROBLEM, "look into dmesg for errors of the disk",
            "writing and syncing a small file fails: %s", strerror((int)sync->error));
    else if (sync->has_device && sync->device_writes < sync->tries)
        say(doctor, "sync", VERDICT_PROBLEM, FIX_SYNC,
            "%u syncs were answered and the disk has written %llu times: they do not reach it",
            sync->tries, (unsigned long long)sync->device_writes);
    else if (sync->median_ns < SYNC_NS_MIN)
        say(doctor, "sync", VERDICT_PROBLEM, FIX_SYNC,
            "a sync takes %llu ns, which no disk can do: it does not reach one",
            (unsigned long long)sync->median_ns);
    else if (sync->has_device && sync->has_flush_count && sync->has_volatile_cache &&
             sync->device_flushes == 0)
        say(doctor, "sync", VERDICT_PROBLEM,
            "mount with barriers (the default), or switch the disk's write cache off",
            "syncs reach the disk, whose write cache is never flushed: a power cut loses it");
    else if (sync->median_ns > SYNC_NS_SLOW)
        say(doctor, "sync", VERDICT_WARNING,
            "a disk of its own for storage.data_dir, best one whose cache outlives a power cut",
            "a sync takes %llu ms: every put waits for one", us / 1000);
    else if (!sync->has_device)
        say(doctor, "sync", VERDICT_UNKNOWN, NULL,
            "a sync takes %llu us; the disk's own counters cannot be seen here", us);
    else
        say(doctor, "sync", VERDICT_OK, NULL, "a sync takes %llu us and reaches the disk", us);
}

/* ---- room ---- */

static void check_space(struct doctor *doctor)
{
    const Kstream__HostFacts *host = doctor->facts->host;
    uint64_t reserve = KS_MIN(RESERVE_BYTES, host->total_bytes / 20);
    struct size_text free_size = size_of(host->free_bytes);
    struct size_text total_size = size_of(host->total_bytes);
    if (host->files_total > 0 && host->files_free < FILES_FREE_MIN)
        say(doctor, "space", VERDICT_PROBLEM,
            "remove files there, or make the file system anew with more inodes (mkfs.ext4 -N)",
            "'%s' has room for %llu more files only", host->mount_point,
            (unsigned long long)host->files_free);
    else if (host->free_bytes < reserve)
        say(doctor, "space", VERDICT_PROBLEM,
            "free space there, enlarge it, or keep records for less time "
            "(decrease-stream-retention-period); puts are refused when it is full",
            "%s of %s are free", free_size.text, total_size.text);
    else if (host->free_bytes < 2 * reserve)
        say(doctor, "space", VERDICT_WARNING, "free space there, or enlarge it, soon",
            "%s of %s are free", free_size.text, total_size.text);
    else
        say(doctor, "space", VERDICT_OK, NULL, "%s of %s are free", free_size.text,
            total_size.text);
}

static void check_forecast(struct doctor *doctor)
{
    const Kstream__DescribeHostResponse *broker = doctor->facts->broker;
    uint64_t free_bytes = doctor->facts->host->free_bytes;
    char seen[32];
    char left[32];
    if (!broker)
        return;
    time_left(broker->growth_seen_ms / 1000, seen, sizeof seen);
    struct size_text need = size_of(broker->growth_bytes);
    struct size_text rate = size_of(broker->growth_bytes_per_s);
    bool has_room = broker->growth_bytes_per_s == 0 || broker->growth_bytes <= free_bytes;
    if (has_room && broker->uptime_ms < FORECAST_MS_MIN) {
        say(doctor, "forecast", VERDICT_OK, NULL,
            "there is room for what has come in so far; the broker needs a few minutes to know the "
            "rate");
        return;
    }
    if (has_room) {
        say(doctor, "forecast", VERDICT_OK, NULL,
            "at the rate of the last %s (%s a second) retention will hold %s more: there is room",
            seen, rate.text, need.text);
        return;
    }
    uint64_t seconds = free_bytes / broker->growth_bytes_per_s;
    time_left(seconds, left, sizeof left);
    say(doctor, "forecast", seconds < DAY_S ? VERDICT_PROBLEM : VERDICT_WARNING,
        "a larger disk, or a shorter retention (decrease-stream-retention-period); "
        "kstreamctl usage shows which streams",
        "at the rate of the last %s (%s a second) the disk is full in %s: retention wants to hold "
        "%s more",
        seen, rate.text, left, need.text);
}

/* ---- the process ---- */

static void check_descriptors(struct doctor *doctor)
{
    const Kstream__DescribeHostResponse *broker = doctor->facts->broker;
    unsigned long long limit = doctor->facts->host->open_files_max;
    if (!broker)
        return;
    if (broker->connections_max < broker->connections_wanted)
        say(doctor, "open-files", VERDICT_WARNING,
            "LimitNOFILE=262144 in the unit, or ulimit -n 262144 before kstreamd; or a smaller "
            "limits.connections",
            "the limit of %llu open files leaves room for %llu connections of %llu", limit,
            (unsigned long long)broker->connections_max,
            (unsigned long long)broker->connections_wanted);
    else
        say(doctor, "open-files", VERDICT_OK, NULL, "the limit is %llu", limit);
}

static void check_memory(struct doctor *doctor)
{
    const Kstream__DescribeHostResponse *broker = doctor->facts->broker;
    uint64_t memory = doctor->facts->host->memory_bytes;
    if (!broker || memory == 0)
        return;
    struct size_text limit_size = size_of(broker->memory_limit_bytes);
    struct size_text memory_size = size_of(memory);
    if (broker->memory_limit_bytes > memory / 10 * 9)
        say(doctor, "memory", VERDICT_WARNING,
            "smaller limits.memory, limits.input and limits.output_memory: the kernel may kill "
            "kstreamd otherwise",
            "kstreamd may use %s for records and requests, the machine has %s", limit_size.text,
            memory_size.text);
    else
        say(doctor, "memory", VERDICT_OK, NULL,
            "kstreamd may use %s of %s for records and requests", limit_size.text,
            memory_size.text);
}

/* ---- time ---- */

static void check_clock(struct doctor *doctor)
{
    const Kstream__DescribeHostResponse *broker = doctor->facts->broker;
    int64_t off_ms = broker ? broker->clock_difference_ms : 0;
    char held[32];
    if (broker && broker->is_retention_held) {
        time_left(broker->retention_behind_ms / 1000, held, sizeof held);
        say(doctor, "clock", VERDICT_PROBLEM,
            "if the time of the machine is right: kstreamctl confirm-clock; else set it first",
            "nothing expires: %s; retention is %s behind", broker->why_held, held);
    } else if (off_ms > CLOCK_OFF_MS || off_ms < -CLOCK_OFF_MS) {
        say(doctor, "clock", VERDICT_WARNING,
            "if the time of the machine is right: kstreamctl confirm-clock; else set it",
            "the machine's clock is %.1f s %s the broker's",
            (double)(off_ms < 0 ? -off_ms : off_ms) / 1000, off_ms < 0 ? "behind" : "ahead of");
    } else if (!doctor->facts->host->is_clock_synchronised) {
        say(doctor, "clock", VERDICT_WARNING,
            "install and start chrony or systemd-timesyncd; timedatectl shows whether it works",
            "the kernel does not know that its clock is synchronised");
    } else {
        say(doctor, "clock", VERDICT_OK, NULL, "synchronised");
    }
}

/* ---- settings, damage ---- */

static void check_config(struct doctor *doctor)
{
    const Kstream__DescribeHostResponse *broker = doctor->facts->broker;
    unsigned before = doctor->counts.warnings;
    if (!broker)
        return;
    if (broker->listens_beyond_loopback)
        say(doctor, "config", VERDICT_WARNING,
            "listen.native and listen.http on 127.0.0.1, or a firewall around the port",
            "it listens beyond this machine, and asks nobody who he is");
    if (broker->is_scrubbing_off)
        say(doctor, "config", VERDICT_WARNING,
            "storage.scrub_interval = 7d and storage.scrub_rate = 4MiB",
            "old records are never read over again: damage of the disk is found too late");
    if (broker->journal_bytes_wanted > doctor->facts->host->total_bytes / 8)
        say(doctor, "config", VERDICT_WARNING,
            "a smaller storage.journal_bytes, or a larger file system",
            "storage.journal_bytes is more than an eighth of the file system: the journal is "
            "smaller than that");
    if (doctor->counts.warnings == before)
        say(doctor, "config", VERDICT_OK, NULL, "nothing unusual");
}

static void check_damage(struct doctor *doctor)
{
    const Kstream__DescribeHostResponse *broker = doctor->facts->broker;
    if (!broker)
        return;
    if (broker->damaged_records > 0)
        say(doctor, "damage", VERDICT_PROBLEM,
            "replace the disk; stop kstreamd and run kstream-inspect verify DIR to see which "
            "records are lost",
            "damage met since the start (by the start, reads or verifying): %llu",
            (unsigned long long)broker->damaged_records);
    else
        say(doctor, "damage", VERDICT_OK, NULL, "none was found since the start");
}

json_t *ctl_doctor_judge(const struct ctl_doctor_facts *facts, struct ctl_doctor_counts *out_counts)
{
    struct doctor doctor = {.facts = facts, .checks = json_array()};
    check_directory(&doctor);
    check_mount(&doctor);
    check_sync(&doctor);
    check_space(&doctor);
    check_forecast(&doctor);
    check_descriptors(&doctor);
    check_memory(&doctor);
    check_clock(&doctor);
    check_config(&doctor);
    check_damage(&doctor);
    *out_counts = doctor.counts;
    if (doctor.is_full) {
        json_decref(doctor.checks);
        return NULL;
    }
    return json_pack("{s:o, s:i, s:i}", "checks", doctor.checks, "problems",
        (int)doctor.counts.problems, "warnings", (int)doctor.counts.warnings);
}
