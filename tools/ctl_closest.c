#include "tools/ctl_closest.h"

#include "base/defs.h"

#include <string.h>

#define CLOSEST_BYTES_MAX 48

/* Levenshtein's distance; texts longer than CLOSEST_BYTES_MAX are never close. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t a_bytes = strlen(a);
    size_t b_bytes = strlen(b);
    if (a_bytes > CLOSEST_BYTES_MAX || b_bytes > CLOSEST_BYTES_MAX)
        return SIZE_MAX;
    size_t row[CLOSEST_BYTES_MAX + 1];
    for (size_t j = 0; j <= b_bytes; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_bytes; j++) {
            size_t above = row[j];
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = KS_MIN(KS_MIN(row[j], row[j - 1]) + 1, replaced);
            diagonal = above;
        }
    }
    return row[b_bytes];
}

const char *ctl_closest(const char *typed, const char *const *names)
{
    const char *best = NULL;
    size_t best_distance = KS_MAX(strlen(typed) / 3, (size_t)1) + 1;
    for (size_t i = 0; names[i]; i++) {
        size_t distance = edit_distance(typed, names[i]);
        if (distance < best_distance) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}
