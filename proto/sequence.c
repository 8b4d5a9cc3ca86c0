#include "proto/sequence.h"

#include "base/u128.h"

#include <stdio.h>

/*
 * The number has 47 hex digits, from the top: '2', 9 creation seconds, 1 low nibble of the shard
 * index, 16 ordinal, 2 zeros, 9 arrival seconds, 8 shard index, '2'. As 188 bits in three 64-bit
 * words, the least significant first: word 0: version 0..3, shard index 4..35, arrival 36..63 (its
 * low 28 bits); word 1: arrival 0..7 (its high 8), zeros 8..15, ordinal 16..63 (its low 48); word
 * 2: ordinal 0..15 (its high 16), nibble 16..19, creation 20..55, '2' 56..59.
 */
#define WORDS 3
#define DIGITS 56
#define VERSION 2u
#define DIGITS_AT_ONCE 19
#define TEN_TO_19 10000000000000000000ULL

void ks_sequence_to_text(const struct ks_sequence_number *number, char text[KS_SEQUENCE_TEXT_BYTES])
{
    KS_ASSERT(number->created_unix_s <= KS_SEQUENCE_SECONDS_MAX);
    KS_ASSERT(number->arrival_unix_s <= KS_SEQUENCE_SECONDS_MAX);
    KS_ASSERT(number->ordinal <= KS_SEQUENCE_ORDINAL_END);
    KS_ASSERT(number->shard_index <= KS_SHARD_INDEX_MAX);
    uint64_t word[WORDS] = {
        VERSION | (uint64_t)number->shard_index << 4 | number->arrival_unix_s << 36,
        number->arrival_unix_s >> 28 | number->ordinal << 16,
        number->ordinal >> 48 | (uint64_t)(number->shard_index & 0xf) << 16 |
            number->created_unix_s << 20 | (uint64_t)VERSION << 56,
    };
    /* 19 digits per round: 10^19 is the largest power of ten in 64 bits. */
    uint64_t part[WORDS];
    for (int i = 0; i < WORDS; i++) {
        ks_u128 rest = 0;
        for (int j = WORDS - 1; j >= 0; j--) {
            rest = rest << 64 | word[j];
            word[j] = (uint64_t)(rest / TEN_TO_19);
            rest %= TEN_TO_19;
        }
        part[i] = (uint64_t)rest;
    }
    /* The leading '2' at bit 184 makes it 56 digits, whatever follows. */
    int length = snprintf(text, KS_SEQUENCE_TEXT_BYTES, "%018llu%019llu%019llu",
        (unsigned long long)part[2], (unsigned long long)part[1], (unsigned long long)part[0]);
    KS_ASSERT(length == DIGITS);
}

/* False when it has no 188 bits. text: 56 digits. */
static bool words_from_digits(struct ks_view text, uint64_t word[WORDS])
{
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        ks_u128 carry = (ks_u128)(text.data[i] - '0');
        for (int j = 0; j < WORDS; j++) {
            carry += (ks_u128)word[j] * 10;
            word[j] = (uint64_t)carry;
            carry >>= 64;
        }
        if (carry != 0)
            return false;
    }
    return true;
}

enum ks_status ks_sequence_from_text(struct ks_view text, struct ks_sequence_number *out_number)
{
    uint64_t word[WORDS] = {0};
    if (text.bytes != DIGITS || text.data[0] == '0' || !words_from_digits(text, word))
        return KS_INVALID;
    struct ks_sequence_number number = {
        .shard_index = (uint32_t)(word[0] >> 4),
        .arrival_unix_s = word[0] >> 36 | (word[1] & 0xff) << 28,
        .ordinal = word[1] >> 16 | (word[2] & 0xffff) << 48,
        .created_unix_s = word[2] >> 20 & KS_SEQUENCE_SECONDS_MAX,
    };
    if ((word[0] & 0xf) != VERSION || word[2] >> 56 != VERSION || (word[1] >> 8 & 0xff) != 0 ||
        (word[2] >> 16 & 0xf) != (number.shard_index & 0xf) ||
        number.shard_index > KS_SHARD_INDEX_MAX || number.ordinal > KS_SEQUENCE_ORDINAL_END)
        return KS_INVALID;
    *out_number = number;
    return KS_OK;
}

void ks_shard_id_to_text(uint32_t shard_index, char text[KS_SHARD_ID_TEXT_BYTES])
{
    int length = snprintf(text, KS_SHARD_ID_TEXT_BYTES, "shardId-%012u", shard_index);
    KS_ASSERT(length > 0 && length < KS_SHARD_ID_TEXT_BYTES);
}

enum ks_status ks_shard_id_from_text(struct ks_view text, uint32_t *out_shard_index)
{
    if (text.bytes == 0 || text.bytes > KS_SHARD_ID_BYTES_MAX)
        return KS_INVALID;
    const uint8_t *dash = memchr(text.data, '-', text.bytes);
    size_t at = dash ? (size_t)(dash - text.data) + 1 : 0;
    if (at == text.bytes)
        return KS_INVALID;
    uint64_t index = 0;
    for (; at < text.bytes; at++) {
        if (text.data[at] < '0' || text.data[at] > '9')
            return KS_INVALID;
        index = index * 10 + (uint64_t)(text.data[at] - '0');
        if (index > KS_SHARD_INDEX_MAX)
            return KS_INVALID;
    }
    *out_shard_index = (uint32_t)index;
    return KS_OK;
}
