#include "tools/ctl_base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
#define PADDING 64u

bool ctl_base64_encode(struct ks_view bytes, struct ks_buf *out)
{
    if (!ks_buf_reserve(out, (bytes.bytes + 2) / 3 * 4))
        return false;
    for (size_t i = 0; i < bytes.bytes; i += 3) {
        size_t here = KS_MIN((size_t)3, bytes.bytes - i);
        uint32_t word = (uint32_t)bytes.data[i] << 16;
        if (here > 1)
            word |= (uint32_t)bytes.data[i + 1] << 8;
        if (here > 2)
            word |= bytes.data[i + 2];
        char four[4] = {letters[word >> 18], letters[word >> 12 & 63],
            letters[here > 1 ? word >> 6 & 63 : PADDING], letters[here > 2 ? word & 63 : PADDING]};
        if (!ks_buf_append(out, four, sizeof four))
            return false;
    }
    return true;
}

static int letter_value(uint8_t letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

/* Four letters of which the last padding ones are '='. Bits that padding cuts off must be zero. */
static bool decode_four(const uint8_t *four, size_t padding, uint8_t three[3])
{
    uint32_t word = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < 4 - padding ? letter_value(four[i]) : 0;
        if (value < 0)
            return false;
        word = word << 6 | (uint32_t)value;
    }
    three[0] = (uint8_t)(word >> 16);
    three[1] = (uint8_t)(word >> 8);
    three[2] = (uint8_t)word;
    return (padding < 1 || three[2] == 0) && (padding < 2 || three[1] == 0);
}

bool ctl_base64_decode(struct ks_view text, struct ks_buf *out)
{
    if (text.bytes % 4 != 0 || !ks_buf_reserve(out, text.bytes / 4 * 3))
        return false;
    for (size_t i = 0; i < text.bytes; i += 4) {
        const uint8_t *four = text.data + i;
        size_t padding = 0;
        if (i + 4 == text.bytes && four[3] == '=')
            padding = four[2] == '=' ? 2 : 1;
        uint8_t three[3];
        if (!decode_four(four, padding, three) || !ks_buf_append(out, three, 3 - padding))
            return false;
    }
    return true;
}
