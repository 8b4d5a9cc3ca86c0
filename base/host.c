#include "base/host.h"

#include "base/broker_clock.h"
#include "base/clock.h"
#include "base/defs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PROBE_BYTES 4096u
#define MOUNT_LINE_BYTES_MAX 4096

/* Fields of /sys/block/DEVICE/stat (Documentation/block/stat.rst), from 0. */
#define STAT_WRITES 4u
#define STAT_FLUSHES 15u

/* ---- the mount ---- */

/* Octal escapes of mountinfo: "\040" is a blank. */
static void copy_unescaped(char *to, size_t to_bytes, const char *from)
{
    size_t n = 0;
    while (*from && n + 1 < to_bytes) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
            from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
            to[n++] = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            to[n++] = *from++;
        }
    }
    to[n] = '\0';
}

static bool is_below(const char *directory, const char *mount_point)
{
    size_t bytes = strlen(mount_point);
    if (strcmp(mount_point, "/") == 0)
        return directory[0] == '/';
    return strncmp(directory, mount_point, bytes) == 0 &&
           (directory[bytes] == '/' || directory[bytes] == '\0');
}

/* proc(5): id, parent, device, root, mount point, options, optional fields, "-", type, source,
 * options of the file system. */
bool ks_host_mount_line(const char *line, const char *directory, struct ks_host_facts *facts)
{
    char copy[MOUNT_LINE_BYTES_MAX];
    char *words[64];
    size_t count = 0;
    size_t dash = 0;
    char *save = NULL;
    if (snprintf(copy, sizeof copy, "%s", line) >= (int)sizeof copy)
        return false;
    for (char *word = strtok_r(copy, " \n", &save); word && count < KS_COUNT_OF(words);
         word = strtok_r(NULL, " \n", &save)) {
        if (dash == 0 && count >= 6 && strcmp(word, "-") == 0)
            dash = count;
        words[count++] = word;
    }
    if (dash == 0 || dash + 3 >= count)
        return false;
    char mount_point[sizeof facts->mount_point];
    copy_unescaped(mount_point, sizeof mount_point, words[4]);
    /* Of mounts on one place the last is the visible one. */
    if (!is_below(directory, mount_point) || strlen(mount_point) < strlen(facts->mount_point))
        return false;
    memcpy(facts->mount_point, mount_point, sizeof mount_point);
    copy_unescaped(facts->mount_source, sizeof facts->mount_source, words[dash + 2]);
    copy_unescaped(facts->fs_type, sizeof facts->fs_type, words[dash + 1]);
    snprintf(facts->mount_options, sizeof facts->mount_options, "%.240s,%.240s", words[5],
        words[dash + 3]);
    return true;
}

static void look_at_mount(const char *directory, struct ks_host_facts *facts)
{
    char line[MOUNT_LINE_BYTES_MAX];
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (!file)
        return;
    while (fgets(line, sizeof line, file))
        (void)ks_host_mount_line(line, directory, facts);
    fclose(file);
}

/* ---- does a sync reach the disk ---- */

/* The directory in /sys of the device that the file system lies on; false: it is not known. */
static bool find_device(const struct stat *about, const char *source, char *out, size_t out_bytes)
{
    struct stat device;
    dev_t number = about->st_dev;
    /* btrfs and others have a number of their own: the source says more. */
    if (major(number) == 0) {
        if (source[0] != '/' || stat(source, &device) || !S_ISBLK(device.st_mode))
            return false;
        number = device.st_rdev;
    }
    snprintf(out, out_bytes, "/sys/dev/block/%u:%u", major(number), minor(number));
    return access(out, R_OK) == 0;
}

static bool read_text(const char *directory, const char *name, char *text, size_t text_bytes)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, text_bytes - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* False: there is no such field. */
static bool read_counter(const char *device, const char *name, unsigned field, uint64_t *out)
{
    char text[512];
    char *save = NULL;
    unsigned at = 0;
    if (!read_text(device, name, text, sizeof text))
        return false;
    for (char *word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
        if (at++ == field) {
            *out = strtoull(word, NULL, 10);
            return true;
        }
    return false;
}

/* A partition's own counters know nothing of flushes; the cache is the whole device's. */
static const char *whole_of(const char *device, const char *name, const char *of_parent)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/partition", device);
    return access(path, F_OK) == 0 ? of_parent : name;
}

static int by_ns(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* Returns an errno. */
static int probe_file(int fd, uint64_t *out_median_ns)
{
    static const char bytes[PROBE_BYTES] = {1};
    uint64_t times[KS_HOST_PROBES];
    for (size_t i = 0; i < KS_HOST_PROBES; i++) {
        if (pwrite(fd, bytes, sizeof bytes, (off_t)(i * PROBE_BYTES)) != (ssize_t)sizeof bytes)
            return errno ? errno : EIO;
        uint64_t begun = ks_clock_mono_ns(&ks_clock_system);
        if (fdatasync(fd))
            return errno;
        times[i] = ks_clock_mono_ns(&ks_clock_system) - begun;
    }
    qsort(times, KS_HOST_PROBES, sizeof times[0], by_ns);
    *out_median_ns = times[KS_HOST_PROBES / 2];
    return 0;
}

/* Without a name, so that two at once do not meet; where the file system has no such files, under
 * one that nobody has, unlinked at once. */
static int probe_open(const char *directory)
{
    char path[PATH_MAX];
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd;
    if (snprintf(path, sizeof path, "%s/doctor.XXXXXX", directory) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static void try_sync(
    const char *directory, const struct stat *about, const char *source, struct ks_host_sync *out)
{
    char device[64] = "";
    uint64_t writes[2] = {0, 0};
    uint64_t flushes[2] = {0, 0};
    char cache[32];
    out->is_tried = true;
    int fd = probe_open(directory);
    if (fd < 0) {
        out->errnum = errno;
        return;
    }
    bool is_known = find_device(about, source, device, sizeof device);
    const char *whole = is_known ? whole_of(device, "stat", "../stat") : "stat";
    out->has_device = is_known && read_counter(device, "stat", STAT_WRITES, &writes[0]);
    out->has_flush_count =
        out->has_device && read_counter(device, whole, STAT_FLUSHES, &flushes[0]);
    out->errnum = probe_file(fd, &out->median_ns);
    if (out->has_device)
        out->has_device = read_counter(device, "stat", STAT_WRITES, &writes[1]);
    if (out->has_flush_count)
        out->has_flush_count = read_counter(device, whole, STAT_FLUSHES, &flushes[1]);
    close(fd);
    out->device_writes = writes[1] - writes[0];
    out->device_flushes = flushes[1] - flushes[0];
    out->has_volatile_cache =
        is_known &&
        read_text(device, whole_of(device, "queue/write_cache", "../queue/write_cache"), cache,
            sizeof cache) &&
        strncmp(cache, "write back", 10) == 0;
}

/* ---- all of it ---- */

static void look_at_process(struct ks_host_facts *out)
{
    struct rlimit limit;
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    out->user = (uint32_t)geteuid();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out->open_files_max = limit.rlim_cur;
    if (pages > 0 && page_bytes > 0)
        out->memory_bytes = (uint64_t)pages * (uint64_t)page_bytes;
    out->is_clock_synchronised = ks_clock_source_system.is_synchronised(&ks_clock_source_system);
}

void ks_host_look(const char *directory, bool wants_sync, struct ks_host_facts *out)
{
    char path[PATH_MAX];
    struct stat about;
    struct statvfs fs;
    memset(out, 0, sizeof *out);
    look_at_process(out);
    if (!realpath(directory, path) || stat(path, &about) || !S_ISDIR(about.st_mode))
        return;
    out->is_directory = true;
    out->mode = about.st_mode & 07777;
    out->owner = (uint32_t)about.st_uid;
    out->is_writable = faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0;
    look_at_mount(path, out);
    if (statvfs(path, &fs) == 0) {
        out->total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
        out->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        out->files_total = fs.f_files;
        out->files_free = fs.f_favail;
    }
    if (wants_sync && out->is_writable)
        try_sync(path, &about, out->mount_source, &out->sync);
}
