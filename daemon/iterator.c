#include "daemon/iterator.h"

#include "base/prng.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAC_BYTES 16
#define ITERATOR_PAYLOAD_BYTES (8 + 8 + 8 + 4 + 8)
#define TOKEN_BYTES_MAX (1 + KS_TOKEN_PAYLOAD_BYTES_MAX + MAC_BYTES)

_Static_assert(
    (1 + ITERATOR_PAYLOAD_BYTES + MAC_BYTES + 2) / 3 * 4 == 72, "as the specification says");
_Static_assert((TOKEN_BYTES_MAX + 2) / 3 * 4 < KS_TOKEN_TEXT_BYTES_MAX, "fits ShardIterator's 512");

/* Made complete under another name: after a crash there is a whole key or none. */
static enum ks_status key_make(
    const char *data_dir, const char *path, struct ks_token_key *key, struct ks_error *err)
{
    char fresh[PATH_MAX];
    snprintf(fresh, sizeof(fresh), "%s/iterator.key.new", data_dir);
    enum ks_status st = ks_random_bytes(key->bytes, sizeof(key->bytes), err);
    if (st)
        return st;
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return ks_fail(
            err, errno == ENOSPC ? KS_STORAGE_FULL : KS_IO, errno, "cannot write '%s'", fresh);
    bool is_written =
        write(fd, key->bytes, sizeof(key->bytes)) == (ssize_t)sizeof(key->bytes) && fsync(fd) == 0;
    int errnum = errno;
    close(fd);
    if (!is_written)
        return ks_fail(
            err, errnum == ENOSPC ? KS_STORAGE_FULL : KS_IO, errnum, "cannot write '%s'", fresh);
    if (rename(fresh, path) < 0)
        return ks_fail(err, KS_IO, errno, "cannot rename '%s'", fresh);
    return KS_OK;
}

enum ks_status ks_token_key_load(
    const char *data_dir, struct ks_token_key *out_key, struct ks_error *err)
{
    char path[PATH_MAX];
    uint8_t bytes[KS_TOKEN_KEY_BYTES + 1];
    int n = snprintf(path, sizeof(path), "%s/iterator.key", data_dir);
    if (n < 0 || n > PATH_MAX - 8)
        return ks_fail(err, KS_IO, ENAMETOOLONG, "cannot read 'iterator.key'");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return key_make(data_dir, path, out_key, err);
    if (fd < 0)
        return ks_fail(err, KS_IO, errno, "cannot read '%s'", path);
    ssize_t got = read(fd, bytes, sizeof(bytes));
    close(fd);
    if (got != KS_TOKEN_KEY_BYTES)
        return ks_fail(err, KS_CORRUPT, 0,
            "'%s' is damaged: remove it, then readers must ask for new iterators", path);
    memcpy(out_key->bytes, bytes, sizeof(out_key->bytes));
    return KS_OK;
}

static void token_mac(
    const struct ks_token_key *key, const uint8_t *data, size_t bytes, uint8_t mac[MAC_BYTES])
{
    uint8_t whole[EVP_MAX_MD_SIZE];
    unsigned whole_bytes = 0;
    const uint8_t *made =
        HMAC(EVP_sha256(), key->bytes, KS_TOKEN_KEY_BYTES, data, bytes, whole, &whole_bytes);
    KS_ASSERT(made && whole_bytes >= MAC_BYTES);
    memcpy(mac, whole, MAC_BYTES);
}

void ks_token_seal(const struct ks_token_key *key, enum ks_token_kind kind, struct ks_view payload,
    char text[KS_TOKEN_TEXT_BYTES_MAX])
{
    uint8_t token[TOKEN_BYTES_MAX];
    KS_ASSERT(payload.bytes > 0 && payload.bytes <= KS_TOKEN_PAYLOAD_BYTES_MAX);
    token[0] = (uint8_t)kind;
    memcpy(token + 1, payload.data, payload.bytes);
    token_mac(key, token, 1 + payload.bytes, token + 1 + payload.bytes);
    EVP_EncodeBlock((unsigned char *)text, token, (int)(1 + payload.bytes + MAC_BYTES));
}

/* Strict: only what EVP_EncodeBlock writes, so that one token has one text. */
static bool base64_decode(struct ks_view text, uint8_t *to, size_t *out_bytes)
{
    unsigned char again[KS_TOKEN_TEXT_BYTES_MAX];
    uint8_t decoded[KS_TOKEN_TEXT_BYTES_MAX];
    if (text.bytes == 0 || text.bytes % 4 != 0 || text.bytes >= KS_TOKEN_TEXT_BYTES_MAX)
        return false;
    int n = EVP_DecodeBlock(decoded, text.data, (int)text.bytes);
    if (n < 0)
        return false;
    size_t bytes = (size_t)n;
    for (size_t i = text.bytes; i > text.bytes - 2 && text.data[i - 1] == '='; i--)
        bytes--;
    EVP_EncodeBlock(again, decoded, (int)bytes);
    if (memcmp(again, text.data, text.bytes) != 0 || bytes > TOKEN_BYTES_MAX)
        return false;
    memcpy(to, decoded, bytes);
    *out_bytes = bytes;
    return true;
}

enum ks_status ks_token_open(const struct ks_token_key *key, enum ks_token_kind kind,
    struct ks_view text, uint8_t *payload, size_t *out_bytes)
{
    uint8_t token[TOKEN_BYTES_MAX];
    uint8_t mac[MAC_BYTES];
    size_t bytes = 0;
    if (!base64_decode(text, token, &bytes) || bytes < 2 + MAC_BYTES || token[0] != (uint8_t)kind)
        return KS_INVALID;
    token_mac(key, token, bytes - MAC_BYTES, mac);
    if (CRYPTO_memcmp(mac, token + bytes - MAC_BYTES, MAC_BYTES) != 0)
        return KS_INVALID;
    *out_bytes = bytes - 1 - MAC_BYTES;
    memcpy(payload, token + 1, *out_bytes);
    return KS_OK;
}

void ks_iterator_to_text(const struct ks_token_key *key, const struct ks_iterator *iterator,
    char text[KS_TOKEN_TEXT_BYTES_MAX])
{
    uint8_t payload[ITERATOR_PAYLOAD_BYTES];
    ks_store_u64be(payload, iterator->issued_unix_ms);
    ks_store_u64be(payload + 8, iterator->stream_number);
    ks_store_u64be(payload + 16, iterator->log_id);
    ks_store_u32be(payload + 24, iterator->shard_index);
    ks_store_u64be(payload + 28, iterator->sequence);
    ks_token_seal(key, KS_TOKEN_ITERATOR, ks_view_of(payload, sizeof(payload)), text);
}

static void time_to_text(uint64_t unix_ms, char text[40])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(text, 40, "%a %b %d %H:%M:%S UTC %Y", &tm);
}

enum ks_status ks_iterator_from_text(const struct ks_token_key *key, struct ks_view text,
    uint64_t now_unix_ms, struct ks_iterator *out_iterator, struct ks_error *err)
{
    uint8_t payload[KS_TOKEN_PAYLOAD_BYTES_MAX];
    size_t bytes = 0;
    if (ks_token_open(key, KS_TOKEN_ITERATOR, text, payload, &bytes) ||
        bytes != ITERATOR_PAYLOAD_BYTES)
        return ks_fail(err, KS_INVALID, 0, "Invalid ShardIterator.");
    struct ks_cursor c = ks_cursor_over(payload, bytes);
    struct ks_iterator iterator = {.issued_unix_ms = ks_load_u64be(payload),
        .stream_number = ks_load_u64be(payload + 8),
        .log_id = ks_load_u64be(payload + 16),
        .sequence = ks_load_u64be(payload + 28)};
    c.position = 24;
    KS_ASSERT(ks_cursor_u32be(&c, &iterator.shard_index));
    if (now_unix_ms > iterator.issued_unix_ms &&
        now_unix_ms - iterator.issued_unix_ms > KS_ITERATOR_TTL_MS) {
        char issued[40];
        char now[40];
        time_to_text(iterator.issued_unix_ms, issued);
        time_to_text(now_unix_ms, now);
        return ks_fail(err, KS_EXPIRED_ITERATOR, 0,
            "Iterator expired. The iterator was created at time %s while right now it is %s which "
            "is further in "
            "the future than the tolerated delay of %u milliseconds.",
            issued, now, KS_ITERATOR_TTL_MS);
    }
    *out_iterator = iterator;
    return KS_OK;
}
