#include "daemon/metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* proc(5), /proc/PID/stat: numbers from 3 on stand behind the name, which may hold anything. */
#define STAT_FIRST 3u
#define STAT_THREADS 20u
#define STAT_VSIZE 23u
#define STAT_RSS 24u

static void read_stat(struct ks_process_figures *out)
{
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return;
    text[n] = '\0';
    char *rest = strrchr(text, ')');
    char *save = NULL;
    unsigned field = STAT_FIRST;
    for (char *word = rest ? strtok_r(rest + 1, " ", &save) : NULL; word;
         word = strtok_r(NULL, " ", &save), field++) {
        unsigned long long number = strtoull(word, NULL, 10);
        if (field == STAT_THREADS)
            out->threads = number;
        else if (field == STAT_VSIZE)
            out->virtual_bytes = number;
        else if (field == STAT_RSS)
            out->resident_bytes = number * (uint64_t)sysconf(_SC_PAGESIZE);
    }
}

void ks_process_figures(struct ks_process_figures *out)
{
    struct rlimit limit;
    struct rusage usage;
    memset(out, 0, sizeof(*out));
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        out->cpu_ms = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
    read_stat(out);
    DIR *fds = opendir("/proc/self/fd");
    while (fds && readdir(fds))
        out->open_fds++;
    if (fds) {
        out->open_fds -= ks_min_u64(out->open_fds, 3); /* ".", ".." and this look itself */
        closedir(fds);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out->max_fds = limit.rlim_cur;
}
