/*
 * replay CORPUS_FOLDER [MUTATIONS [SEED]]: runs every file of the folder and that many mutations of
 * each through the target. The same seed makes the same mutations. Each input lies at the end of
 * its own allocation, so that a sanitizer or valgrind sees a read past it.
 */
#include "base/alloc.h"
#include "base/prng.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_BYTES_MAX (1u << 20)
#define MUTATIONS_DEFAULT 20000
#define STEPS_MAX 4

static void run(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = ks_malloc(bytes > 0 ? bytes : 1);
    KS_ASSERT(copy);
    if (bytes > 0)
        memcpy(copy, data, bytes);
    KS_ASSERT(LLVMFuzzerTestOneInput(copy, bytes) == 0);
    ks_free(copy);
}

/* Changes input of *bytes, which has room for INPUT_BYTES_MAX. */
static void mutate(struct ks_prng *prng, uint8_t *input, size_t *bytes)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x12, 0x1a, '0', '9'};
    size_t at = (size_t)ks_prng_below(prng, *bytes + 1);
    size_t left = *bytes - at;
    size_t some = (size_t)ks_prng_below(prng, 9);
    switch (ks_prng_below(prng, 6)) {
    case 0: /* cut the end off */
        *bytes = at;
        break;
    case 1: /* take some out */
        some = KS_MIN(some, left);
        memmove(input + at, input + at + some, left - some);
        *bytes -= some;
        break;
    case 2: /* repeat some */
        some = KS_MIN(some, left);
        if (*bytes + some > INPUT_BYTES_MAX)
            break;
        memmove(input + at + some, input + at, left);
        *bytes += some;
        break;
    case 3: /* a telling value */
        if (left > 0)
            input[at] = telling[ks_prng_below(prng, KS_COUNT_OF(telling))];
        break;
    default: /* a flipped bit */
        if (left > 0)
            input[at] ^= (uint8_t)(1u << ks_prng_below(prng, 8));
        break;
    }
}

static size_t read_file(const char *path, uint8_t *to)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        (void)fprintf(stderr, "cannot open '%s': %s\n", path, strerror(errno));
        exit(EXIT_FAILURE);
    }
    size_t bytes = fread(to, 1, INPUT_BYTES_MAX, file);
    (void)fclose(file);
    return bytes;
}

static void replay_file(const char *path, uint64_t mutations, uint64_t seed)
{
    static uint8_t original[INPUT_BYTES_MAX];
    static uint8_t input[INPUT_BYTES_MAX];
    size_t original_bytes = read_file(path, original);
    run(original, original_bytes);
    struct ks_prng prng;
    ks_prng_seed(&prng, seed);
    for (uint64_t i = 0; i < mutations; i++) {
        size_t bytes = original_bytes;
        memcpy(input, original, bytes);
        for (uint64_t steps = 1 + ks_prng_below(&prng, STEPS_MAX); steps > 0; steps--)
            mutate(&prng, input, &bytes);
        run(input, bytes);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        (void)fprintf(stderr, "usage: %s CORPUS_FOLDER [MUTATIONS [SEED]]\n", argv[0]);
        return 2;
    }
    uint64_t mutations = argc > 2 ? strtoull(argv[2], NULL, 10) : MUTATIONS_DEFAULT;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    struct dirent **entries = NULL;
    int count = scandir(argv[1], &entries, NULL, alphasort);
    if (count < 0) {
        (void)fprintf(stderr, "cannot read '%s': %s\n", argv[1], strerror(errno));
        return EXIT_FAILURE;
    }
    unsigned files = 0;
    for (int i = 0; i < count; i++) {
        char path[4096];
        if (entries[i]->d_name[0] != '.') {
            (void)snprintf(path, sizeof path, "%s/%s", argv[1], entries[i]->d_name);
            replay_file(path, mutations, seed);
            files++;
        }
        free(entries[i]);
    }
    free(entries);
    (void)printf("%u files, %llu mutations each\n", files, (unsigned long long)mutations);
    return files > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
