#!/usr/bin/env python3
"""Writes journal_v1.jnl from the two FORMAT.md alone, without kstream's code: every later version must read it."""
import pathlib
import struct

from make_batch_v1 import crc32c

here = pathlib.Path(__file__).parent
batch = (here / "batch_v1.bin").read_bytes()  # of log 7: records 1000 to 1002
uuid = b"0123456789abcdef"
run, first_lsn, ordinals = 6, 80, 5000


def page(data):
    return data + b"\0" * (-len(data) % 4096)


def block(lsn, flags, before, last, entries, ends, payload, predecessor=(0, 0, 0), settled=0):
    payload_crc = crc32c(uuid + struct.pack("<QQ", run, lsn) + payload)
    head = b"KSJBLOCK" + struct.pack("<IIII", 1, 0, 0, flags) + uuid
    head += struct.pack("<QQQ", run, lsn, lsn - 1 if flags == 0 else 0)
    head += struct.pack("<IIII", len(entries), len(payload), payload_crc, predecessor[2])
    head += struct.pack("<QQ", predecessor[0], predecessor[1])
    head += struct.pack("<QQQII", before, last, settled, len(ends), 0)
    head = head.ljust(156, b"\0")
    table = b"".join(struct.pack("<IIQQQII", 1, 0, *entry) for entry in entries)
    table += b"".join(struct.pack("<QQ", *end) for end in ends)
    return page(head + struct.pack("<I", crc32c(head + table)) + table + payload)


header = b"KSJFILE\n" + struct.pack("<IIII", 1, 0, 0, 0) + uuid
header += struct.pack("<QQQQQQ", 12, 4 * 4096, run, first_lsn, ordinals, 4000)
header += struct.pack("<QQII", 5, 77, 0xABCD, 1)
header = page(header + struct.pack("<I", crc32c(header)))

first = block(80, 1, ordinals, 40, [], [(3, 960)], b"", (5, 77, 0xABCD), 9)
second = block(81, 0, ordinals, 40, [(7, 1000, 1002, 0, len(batch))], [(3, 960)], batch)
third = block(82, 0, ordinals + 3, 3, [], [(7, 1002)], b"")
(here / "journal_v1.jnl").write_bytes(header + first + second + third)
