/*
 * DIR/addresses: where a running broker can be reached, one "name=address" per line. Written by
 * rename when the broker is ready and removed at start and stop, so that its existence means
 * "ready".
 */
#ifndef KS_DAEMON_ADDRESSES_H
#define KS_DAEMON_ADDRESSES_H

#include "base/status.h"

#define KS_ADDRESS_BYTES 300

struct ks_addresses {
    char native[KS_ADDRESS_BYTES]; /* "HOST:PORT"; "" = none, as for all */
    char http[KS_ADDRESS_BYTES];
    char unix_path[KS_ADDRESS_BYTES];
};

/* All of them with their names. */
#define KS_ADDRESSES_TEXT_BYTES (3 * (KS_ADDRESS_BYTES + 16))

/* The lines as they stand in the file. text has room for bytes, KS_ADDRESSES_TEXT_BYTES at most. */
void ks_addresses_text(const struct ks_addresses *addresses, char *text, size_t bytes);
/* Errors: KS_STORAGE_FULL, KS_IO. */
enum ks_status ks_addresses_write(
    const char *data_dir, const struct ks_addresses *addresses, struct ks_error *err) KS_MUST_USE;
void ks_addresses_remove(const char *data_dir);

#endif
