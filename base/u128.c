#include "base/u128.h"

#include "base/bytes.h"

#include <string.h>

size_t ks_u128_to_text(ks_u128 value, char text[KS_U128_TEXT_BYTES])
{
    char reversed[KS_U128_TEXT_BYTES];
    size_t length = 0;
    do {
        KS_ASSERT(length < KS_U128_TEXT_BYTES - 1);
        reversed[length++] = (char)('0' + (int)(value % 10));
        value /= 10;
    } while (value != 0);
    for (size_t i = 0; i < length; i++)
        text[i] = reversed[length - 1 - i];
    text[length] = '\0';
    return length;
}

bool ks_u128_from_text(const char *text, size_t bytes, ks_u128 *out)
{
    if (bytes == 0 || bytes >= KS_U128_TEXT_BYTES || (text[0] == '0' && bytes > 1))
        return false;
    ks_u128 value = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        unsigned digit = (unsigned)(text[i] - '0');
        if (value > (KS_U128_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

ks_u128 ks_u128_load_be(const uint8_t from[16])
{
    return (ks_u128)ks_load_u64be(from) << 64 | ks_load_u64be(from + 8);
}

void ks_u128_store_be(uint8_t to[16], ks_u128 value)
{
    ks_store_u64be(to, (uint64_t)(value >> 64));
    ks_store_u64be(to + 8, (uint64_t)value);
}
