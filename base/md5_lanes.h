/*
 * MD5 of MD5_LANES short keys side by side, one key to a lane of a vector. Included by md5.c once
 * for each width, with MD5_LANES, MD5_NAME and MD5_TARGET defined; nobody else includes it.
 *
 * RFC 1321 with the four state words as vectors; gcc and clang turn the vector operators into
 * whatever the target has. words[i * MD5_LANES + lane] is word i of the lane's one block.
 */
#define MD5_JOIN2(a, b) a##b
#define MD5_JOIN(a, b) MD5_JOIN2(a, b)
#define MD5_VECTOR MD5_JOIN(MD5_NAME, _vector)

typedef uint32_t MD5_VECTOR __attribute__((vector_size(4 * MD5_LANES)));

#define F(x, y, z) ((((y) ^ (z)) & (x)) ^ (z))
#define G(x, y, z) ((((x) ^ (y)) & (z)) ^ (y))
#define H(x, y, z) ((x) ^ (y) ^ (z))
#define I(x, y, z) ((y) ^ ((x) | ~(z)))
#define STEP(f, a, b, c, d, word, constant, shift)                                                 \
    (a) += f(b, c, d) + w[word] + (uint32_t)(constant);                                            \
    (a) = ((a) << (shift) | (a) >> (32 - (shift))) + (b)
#define FOUR(f, w0, k0, w1, k1, w2, k2, w3, k3, s0, s1, s2, s3)                                    \
    STEP(f, a, b, c, d, w0, k0, s0);                                                               \
    STEP(f, d, a, b, c, w1, k1, s1);                                                               \
    STEP(f, c, d, a, b, w2, k2, s2);                                                               \
    STEP(f, b, c, d, a, w3, k3, s3)

MD5_TARGET static void MD5_NAME(const uint32_t *words, uint32_t *digests)
{
    MD5_VECTOR w[16];
    memcpy(w, words, sizeof w);
    MD5_VECTOR a = (MD5_VECTOR){0} + MD5_A;
    MD5_VECTOR b = (MD5_VECTOR){0} + MD5_B;
    MD5_VECTOR c = (MD5_VECTOR){0} + MD5_C;
    MD5_VECTOR d = (MD5_VECTOR){0} + MD5_D;
    FOUR(F, 0, 0xd76aa478, 1, 0xe8c7b756, 2, 0x242070db, 3, 0xc1bdceee, 7, 12, 17, 22);
    FOUR(F, 4, 0xf57c0faf, 5, 0x4787c62a, 6, 0xa8304613, 7, 0xfd469501, 7, 12, 17, 22);
    FOUR(F, 8, 0x698098d8, 9, 0x8b44f7af, 10, 0xffff5bb1, 11, 0x895cd7be, 7, 12, 17, 22);
    FOUR(F, 12, 0x6b901122, 13, 0xfd987193, 14, 0xa679438e, 15, 0x49b40821, 7, 12, 17, 22);
    FOUR(G, 1, 0xf61e2562, 6, 0xc040b340, 11, 0x265e5a51, 0, 0xe9b6c7aa, 5, 9, 14, 20);
    FOUR(G, 5, 0xd62f105d, 10, 0x02441453, 15, 0xd8a1e681, 4, 0xe7d3fbc8, 5, 9, 14, 20);
    FOUR(G, 9, 0x21e1cde6, 14, 0xc33707d6, 3, 0xf4d50d87, 8, 0x455a14ed, 5, 9, 14, 20);
    FOUR(G, 13, 0xa9e3e905, 2, 0xfcefa3f8, 7, 0x676f02d9, 12, 0x8d2a4c8a, 5, 9, 14, 20);
    FOUR(H, 5, 0xfffa3942, 8, 0x8771f681, 11, 0x6d9d6122, 14, 0xfde5380c, 4, 11, 16, 23);
    FOUR(H, 1, 0xa4beea44, 4, 0x4bdecfa9, 7, 0xf6bb4b60, 10, 0xbebfbc70, 4, 11, 16, 23);
    FOUR(H, 13, 0x289b7ec6, 0, 0xeaa127fa, 3, 0xd4ef3085, 6, 0x04881d05, 4, 11, 16, 23);
    FOUR(H, 9, 0xd9d4d039, 12, 0xe6db99e5, 15, 0x1fa27cf8, 2, 0xc4ac5665, 4, 11, 16, 23);
    FOUR(I, 0, 0xf4292244, 7, 0x432aff97, 14, 0xab9423a7, 5, 0xfc93a039, 6, 10, 15, 21);
    FOUR(I, 12, 0x655b59c3, 3, 0x8f0ccc92, 10, 0xffeff47d, 1, 0x85845dd1, 6, 10, 15, 21);
    FOUR(I, 8, 0x6fa87e4f, 15, 0xfe2ce6e0, 6, 0xa3014314, 13, 0x4e0811a1, 6, 10, 15, 21);
    FOUR(I, 4, 0xf7537e82, 11, 0xbd3af235, 2, 0x2ad7d2bb, 9, 0xeb86d391, 6, 10, 15, 21);
    a += MD5_A;
    b += MD5_B;
    c += MD5_C;
    d += MD5_D;
    memcpy(digests, &a, sizeof a);
    memcpy(digests + MD5_LANES, &b, sizeof b);
    memcpy(digests + (size_t)2 * MD5_LANES, &c, sizeof c);
    memcpy(digests + (size_t)3 * MD5_LANES, &d, sizeof d);
}

#undef F
#undef G
#undef H
#undef I
#undef STEP
#undef FOUR
#undef MD5_VECTOR
#undef MD5_JOIN
#undef MD5_JOIN2
#undef MD5_LANES
#undef MD5_NAME
#undef MD5_TARGET
