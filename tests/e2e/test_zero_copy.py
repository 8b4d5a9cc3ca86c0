"""The answer of a native GetRecords is the segment file's bytes, untouched."""
import os, re, shutil, subprocess
from kstream_test import *

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

SEGMENT_HEADER_BYTES = 4096


def segments(data_dir):
    for path, _, names in os.walk(os.path.join(data_dir, "segments")):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                yield file.read()


def answers(client, name, **options):
    """The segment members of all answers from the start, one after the other."""
    got = b""
    at = client.iterator(name)
    while True:
        records = client.get(at, **options)
        got += records.segment
        at = records.next
        if not records:
            return got


def batches_once(data):
    """Each stored batch once: an answer begins again with the batch that the last one ended in."""
    seen, out = set(), b""
    for _, batch, start, end in decode_fields(data):
        if batch not in seen:
            seen.add(batch)
            out += data[start:end]
    return out


def test_answers_are_the_bytes_of_the_segment(scratch):
    broker = Broker(scratch, "--flush-age", "1ms")
    client = broker.client()
    client.create_stream("s")
    for i in range(30):
        client.put_patiently("s", [("key-%d" % j, os.urandom(1 + 997 * j)) for j in range(20)])
    from_memory = answers(client, "s")

    def is_flushed():
        return any(from_memory in content for content in segments(broker.data_dir))
    wait_until(is_flushed, "the segment file holds, one after the other, the bytes that were answered")
    stored = next(content for content in segments(broker.data_dir) if from_memory in content)
    assert stored[SEGMENT_HEADER_BYTES:].startswith(from_memory)
    assert answers(client, "s") == from_memory, "from the segment as from memory"
    # In small steps, cut inside batches, and in the middle of a run: still whole stored batches, never re-encoded.
    assert batches_once(answers(client, "s", limit=7)) == from_memory
    assert batches_once(answers(client, "s", max_bytes=1)) == from_memory
    broker.stop()
    broker = Broker(scratch)
    client = broker.client()
    assert answers(client, "s") == from_memory, "after a restart"
    broker.stop()


def test_cold_segment_is_read_by_the_reader_pool(scratch):
    broker = Broker(scratch, "--flush-age", "1ms")
    client = broker.client()
    client.create_stream("s")
    for i in range(20):
        client.put_patiently("s", [("key-%d" % j, os.urandom(50000)) for j in range(10)])
    expected = client.read_all("s")
    broker.stop()
    for path, _, names in os.walk(os.path.join(broker.data_dir, "segments")):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    broker = Broker(scratch)
    client = broker.client()
    tokens = [client.iterator("s", 0, "AT_TIMESTAMP", unix_ms=1), client.iterator("s")]
    for token in tokens:
        client.send(GET_RECORDS, encode((1, token)))  # both under way at once
    for _ in tokens:
        _, op, message, _ = client.receive()
        assert op == GET_RECORDS and len(decode(message)[15][0]) > 100000
    assert client.read_all("s") == expected
    broker.stop()


def test_readme_line_decodes_a_sealed_segment(scratch):
    if not shutil.which("protoc"):
        raise Skip("protoc is missing")
    with open(os.path.join(ROOT, "README.md")) as file:
        line = re.search(r"^tail .* SEGMENT\.seg \| protoc .*$", file.read(), re.MULTILINE).group(0)
    broker = Broker(scratch, "--segment-bytes", "16MiB", "--flush-age", "1ms")
    client = broker.client()
    client.create_stream("s")
    for i in range(20):
        client.put_patiently("s", [("key-%d-%d" % (i, j), b"%d" % j * 100000) for j in range(10)])

    def sealed():
        """The footer ends in its own length: only a sealed segment has one."""
        for path, _, names in os.walk(os.path.join(broker.data_dir, "segments")):
            for name in names:
                with open(os.path.join(path, name), "rb") as file:
                    content = file.read()
                footer_bytes = struct.unpack("<I", content[-4:])[0]
                if 0 < footer_bytes < len(content) and content[-5] == 0x7d:
                    return os.path.join(path, name)
        return None
    path = wait_until(sealed, "a segment is sealed")
    broker.stop()
    done = subprocess.run(line.replace("SEGMENT.seg", path), shell=True, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0 and not done.stderr, done.stderr
    decoded = done.stdout.decode()
    assert re.match(r"batches \{\n  header \{\n", decoded), decoded[:200]
    keys = re.findall(r'partition_key: "(key-\d+-\d+)"', decoded)
    assert keys[:3] == ["key-0-0", "key-0-1", "key-0-2"] and len(keys) == len(set(keys)) > 100, keys[:3]
    assert re.search(r"^footer \{$", decoded, re.MULTILINE) and "footer_bytes: " in decoded


if __name__ == "__main__":
    run_tests(test_readme_line_decodes_a_sealed_segment, test_answers_are_the_bytes_of_the_segment, test_cold_segment_is_read_by_the_reader_pool)
