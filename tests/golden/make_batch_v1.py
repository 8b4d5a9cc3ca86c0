#!/usr/bin/env python3
"""Writes batch_v1.bin from FORMAT.md alone, without kstream's code: the encoder must make the same bytes."""
import pathlib
import struct


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def fixed32(number, value):
    return bytes([number << 3 | 5]) + struct.pack("<I", value)


def fixed64(number, value):
    return bytes([number << 3 | 1]) + struct.pack("<Q", value)


def record(key, data, explicit_hash=None):
    rest = field(2, key.encode()) + field(3, data)
    if explicit_hash is not None:
        rest += field(4, explicit_hash.to_bytes(16, "big"))
    return crc32c(rest), field(2, fixed32(1, crc32c(rest)) + rest)


records = [
    record("user-1", b"first"),
    record("파티션", b""),
    record("a", bytes(range(256)), 2**127 + 1),
]
body = b"".join(encoded for _, encoded in records)
body_crc = crc32c(b"".join(struct.pack("<I", crc) for crc, _ in records))
PADDING = 97  # makes 512 bytes in all
rest = (
    fixed64(2, 7) + fixed64(3, 1000) + fixed64(4, 1700000000123) + fixed32(5, len(records))
    + fixed32(6, len(body)) + fixed32(7, body_crc) + fixed32(8, 0) + fixed32(9, PADDING)
    + fixed64(10, 0x1122334455667788) + fixed64(11, 42) + fixed32(12, 1)
)
header = fixed32(1, crc32c(rest)) + rest
batch = field(1, header) + body + field(3, bytes(PADDING - 2))
stored = field(1, batch)
assert len(stored) == 512, len(stored)
pathlib.Path(__file__).with_name("batch_v1.bin").write_bytes(stored)
