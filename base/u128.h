/* 128-bit unsigned numbers: hash keys. Decimal text as Kinesis writes it. */
#ifndef KS_BASE_U128_H
#define KS_BASE_U128_H

#include "base/defs.h"

__extension__ typedef unsigned __int128 ks_u128;

#define KS_U128_MAX (~(ks_u128)0)
#define KS_U128_TEXT_BYTES 40 /* 39 digits and the zero */

/* Writes the decimal text, zero-terminated; returns its length. */
size_t ks_u128_to_text(ks_u128 value, char text[KS_U128_TEXT_BYTES]);
/* "0" or a digit string without leading zeros (pattern 0|([1-9]\d{0,38})), at most 2^128-1. */
bool ks_u128_from_text(const char *text, size_t bytes, ks_u128 *out) KS_MUST_USE;
ks_u128 ks_u128_load_be(const uint8_t from[16]);
void ks_u128_store_be(uint8_t to[16], ks_u128 value);

#endif
