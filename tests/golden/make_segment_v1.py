#!/usr/bin/env python3
"""Writes segment_v1.seg from the two FORMAT.md alone, without kstream's code: every later version must read it."""
import pathlib
import struct

from make_batch_v1 import crc32c, varint

here = pathlib.Path(__file__).parent
batch = (here / "batch_v1.bin").read_bytes()  # of log 7: records 1000 to 1002

body = struct.pack("<III", 1, 0, 0)  # version, incompatible, compatible
body += struct.pack("<QQQQQQ", 0x2A, 3, 7, 1000, 1700000000000, 1699999999)
body += struct.pack("<II", 5, len(b"orders"))
body += (0).to_bytes(16, "big") + (2**128 - 1).to_bytes(16, "big")
body += b"abcdefghij0123456789-xyz" + b"orders".ljust(128, b"\0")
body = body.ljust(4096 - 12, b"\0")
header = b"kstrmSEG" + struct.pack("<I", crc32c(body)) + body

footer = b""
for tag, value in ((0x11, 7), (0x19, 1000), (0x21, 1002), (0x29, 1700000000123), (0x31, len(batch))):
    footer += bytes([tag]) + struct.pack("<Q", value)
footer += b"\x3a" + varint(len(varint(len(batch)))) + varint(len(batch))
footer += b"\x42\x01\x03"
mark = b"\x08\x00\x10" + varint(1700000000123)
footer += b"\x4a" + varint(len(mark)) + mark
length = 5 + len(footer) + 5
footer += b"\x7d" + struct.pack("<I", length)
footer = b"\x0d" + struct.pack("<I", crc32c(footer)) + footer

(here / "segment_v1.seg").write_bytes(header + batch + b"\x12" + varint(length) + footer)
