#include "daemon/timekeeper.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "daemon/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SLOT_BYTES 64
#define SLOT_STEP 4096 /* a page each: writing one leaves the other alone */
#define SLOT_COUNT 2
#define SAVE_EVERY_MS 60000
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

static const uint8_t magic[8] = {'k', 's', 'c', 'l', 'o', 'c', 'k', '1'};

/* ---- the file ---- */

static void slot_encode(
    const struct ks_broker_clock_saved *saved, uint64_t generation, uint8_t to[SLOT_BYTES])
{
    memset(to, 0, SLOT_BYTES);
    memcpy(to, magic, sizeof(magic));
    ks_store_u64le(to + 8, generation);
    ks_store_u64le(to + 16, saved->unix_us);
    ks_store_u64le(to + 24, saved->retention_unix_us);
    ks_store_u64le(to + 32, saved->boot_ns);
    memcpy(to + 40, saved->boot_id, KS_BOOT_ID_BYTES);
    ks_store_u32le(to + 60, ks_crc32c(to, 60));
}

static bool slot_decode(
    const uint8_t from[SLOT_BYTES], struct ks_broker_clock_saved *out, uint64_t *out_generation)
{
    if (memcmp(from, magic, sizeof(magic)) != 0 || ks_load_u32le(from + 60) != ks_crc32c(from, 60))
        return false;
    *out_generation = ks_load_u64le(from + 8);
    out->unix_us = ks_load_u64le(from + 16);
    out->retention_unix_us = ks_load_u64le(from + 24);
    out->boot_ns = ks_load_u64le(from + 32);
    memcpy(out->boot_id, from + 40, KS_BOOT_ID_BYTES);
    return out->retention_unix_us <= out->unix_us;
}

/* False: no slot is whole. */
static bool file_load(struct ks_timekeeper *keeper, struct ks_broker_clock_saved *out)
{
    bool is_found = false;
    for (off_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint8_t bytes[SLOT_BYTES];
        struct ks_broker_clock_saved saved;
        uint64_t generation;
        if (pread(keeper->fd, bytes, sizeof(bytes), slot * SLOT_STEP) != (ssize_t)sizeof(bytes) ||
            !slot_decode(bytes, &saved, &generation) ||
            (is_found && generation < keeper->generation))
            continue;
        is_found = true;
        keeper->generation = generation;
        *out = saved;
    }
    return is_found;
}

static void file_save(struct ks_timekeeper *keeper)
{
    struct ks_broker_clock_saved saved;
    uint8_t bytes[SLOT_BYTES];
    ks_broker_clock_save(&keeper->clock, &saved);
    keeper->saved_mono_ms = ks_clock_mono_ns(&keeper->clock.clock) / 1000000;
    slot_encode(&saved, ++keeper->generation, bytes);
    off_t at = (off_t)(keeper->generation % SLOT_COUNT) * SLOT_STEP;
    if (pwrite(keeper->fd, bytes, sizeof(bytes), at) != (ssize_t)sizeof(bytes))
        ks_emit(keeper->events, KS_LEVEL_WARNING, "clock.not_saved", "why=\"%s\"", strerror(errno));
}

/* ---- the boot ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool boot_id_from_text(const char *text, uint8_t out[KS_BOOT_ID_BYTES])
{
    size_t digits = 0;
    memset(out, 0, KS_BOOT_ID_BYTES);
    for (; *text && *text != '\n'; text++) {
        int digit = hex_digit(*text);
        if (*text == '-')
            continue;
        if (digit < 0 || digits == 2 * (size_t)KS_BOOT_ID_BYTES)
            return false;
        out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | digit);
        digits++;
    }
    return digits == 2 * (size_t)KS_BOOT_ID_BYTES;
}

/* A sandbox may hide the kernel's name of the boot; the service gives it by the environment. */
static void boot_id_find(const char *given, uint8_t out[KS_BOOT_ID_BYTES])
{
    char text[64] = "";
    if (given && boot_id_from_text(given, out))
        return;
    int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        KS_IGNORE(read(fd, text, sizeof(text) - 1), "an empty text is no name");
        close(fd);
    }
    if (!boot_id_from_text(text, out))
        memset(out, 0, KS_BOOT_ID_BYTES);
}

/* ---- the clock ---- */

static struct ks_broker_clock_rules rules_of(const struct ks_config *config)
{
    struct ks_broker_clock_rules rules;
    ks_broker_clock_rules_default(&rules);
    rules.adopt_after_ms = config->clock_adopt_after;
    rules.hold_gap_ms = config->clock_hold_gap;
    rules.hold_ms = config->clock_hold_time;
    return rules;
}

enum ks_status ks_timekeeper_open(
    const struct ks_timekeeper_options *options, struct ks_timekeeper *keeper, struct ks_error *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/clock", options->data_dir);
    if (n < 0 || (size_t)n >= sizeof(path))
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot use '%s'", options->data_dir);
    memset(keeper, 0, sizeof(*keeper));
    keeper->events = options->events;
    keeper->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (keeper->fd < 0)
        return ks_fail(
            err, errno == ENOSPC ? KS_STORAGE_FULL : KS_IO, errno, "cannot open '%s'", path);
    struct ks_broker_clock_saved saved;
    bool is_known = file_load(keeper, &saved);
    struct ks_broker_clock_options clock = {.source = &ks_clock_source_system,
        .events = options->events,
        .rules = rules_of(options->config),
        .saved = is_known ? &saved : NULL,
        .is_new_directory = options->is_new_directory};
    boot_id_find(options->boot_id, clock.boot_id);
    ks_broker_clock_init(&keeper->clock, &clock);
    keeper->is_open = true;
    file_save(keeper);
    return KS_OK;
}

void ks_timekeeper_tick(struct ks_timekeeper *keeper)
{
    bool is_stepped = ks_broker_clock_tick(&keeper->clock);
    uint64_t now = ks_clock_mono_ns(&keeper->clock.clock) / 1000000;
    if (is_stepped || now - keeper->saved_mono_ms >= SAVE_EVERY_MS)
        file_save(keeper);
}

void ks_timekeeper_apply(struct ks_timekeeper *keeper, const struct ks_config *config)
{
    const struct ks_broker_clock_rules rules = rules_of(config);
    ks_broker_clock_set_rules(&keeper->clock, &rules);
}

void ks_timekeeper_close(struct ks_timekeeper *keeper)
{
    if (!keeper->is_open)
        return;
    file_save(keeper);
    ks_broker_clock_fini(&keeper->clock);
    close(keeper->fd);
    keeper->is_open = false;
}
