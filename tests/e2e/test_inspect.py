"""kstream-inspect on directories that a real broker has left: what it lists and dumps, every kind of planted damage, and
that it never writes a byte."""
import glob, hashlib, json, random
from kstream_test import *

INSPECT = os.environ.get("KSTREAM_INSPECT", "build/release/tools/kstream-inspect")
SMALL = ("--segment-bytes", "16MiB", "--journal-bytes", "8MiB", "--journal-file-bytes", "4MiB")
HEADER = 4096


def run(*args):
    return subprocess.run([INSPECT, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE_S)


def verify(path, expect=None):
    """(exit code, result)"""
    done = run("verify", path, "--output", "json", "--quiet")
    assert done.returncode in (0, 9), (done.returncode, done.stderr)
    result = json.loads(done.stdout)
    assert (done.returncode == 9) == (result["damages"] > 0)
    assert expect is None or done.returncode == expect, json.dumps(result, indent=1)
    return result


def listed(what, path):
    done = run("list", what, path, "--output", "json")
    return json.loads(done.stdout) if done.returncode in (0, 9) else None


def damages(result):
    return [finding for finding in result["findings"] if finding["severity"] == "damage"]


def snapshot(path):
    """Everything about a tree that a write would change."""
    seen = {}
    for folder, _, names in os.walk(path):
        seen[folder] = os.stat(folder).st_mtime_ns
        for name in names:
            file = os.path.join(folder, name)
            with open(file, "rb") as opened:
                seen[file] = (os.stat(file).st_mtime_ns, os.stat(file).st_size,
                              hashlib.sha256(opened.read()).hexdigest())
    return seen


class Flipped:
    """With one bit of the file turned over; afterwards it is as before."""

    def __init__(self, path, offset, bit=None):
        self.path, self.offset, self.bit = path, offset, random.randrange(8) if bit is None else bit

    def turn(self):
        with open(self.path, "r+b", buffering=0) as file:
            file.seek(self.offset)
            byte = file.read(1)[0]
            file.seek(self.offset)
            file.write(bytes([byte ^ 1 << self.bit]))

    def __enter__(self):
        self.turn()

    def __exit__(self, *_):
        self.turn()


# ---- two directories: one stopped in order, one killed with records that are in the journal only ----

def small_records(count):
    return [("key-%d" % i, b"small %d" % i) for i in range(count)]


def fill(client):
    """Stream 'log': a sealed and an active segment of one shard. Stream 'few': three shards, little in them."""
    client.create_stream("log")
    client.create_stream("few", shards=3)
    client.create_stream("gone")
    for _ in range(4):
        client.put_patiently("log", small_records(5))
    for i in range(36):
        client.put_patiently("log", [("big-%d" % j, bytes([65 + i % 26]) * 100000) for j in range(5)])
    for _ in range(10):
        client.put_patiently("few", small_records(30))
    client.put_patiently("gone", small_records(3))
    client.call(DELETE, (1, "gone"))


def make_clean(scratch):
    broker = Broker(scratch, *SMALL, "--flush-age", "1ms", "--flush-bytes", "1MiB")
    client = broker.client()
    fill(client)
    records = {name: client.read_all(name, shards) for name, shards in (("log", 1), ("few", 3))}
    broker.stop()
    return broker.data_dir, records


def make_killed(scratch):
    data_dir = os.path.join(scratch, "killed")
    broker = Broker(scratch, *SMALL, "--flush-age", "1h", data_dir=data_dir)
    client = broker.client()
    client.create_stream("few", shards=3)
    for _ in range(10):
        client.put_patiently("few", small_records(30))
    records = {"few": client.read_all("few", 3)}
    broker.kill()
    return data_dir, records


def path_of(data_dir, state):
    """The file of stream 'log' in that state."""
    rows = listed("segments", data_dir)
    row = next(row for row in rows if row["stream"] == "log" and row["state"] == state)
    return row["file"], row


# ---- what is right ----

def dumped(path, *options):
    done = run("dump", path, "--output", "json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.decode().split("\n") if line]


def check_dump(data_dir, records):
    for name, shards in records.items():
        got = dumped(data_dir, "--stream", name)
        expected = [(shard, sequence, key, data.decode()) for shard in sorted(shards)
                    for sequence, key, data in shards[shard]]
        assert [(int(row["shard_id"][-12:]), row["sequence"], row["partition_key"], row["data"])
                for row in got] == expected


def check_lists(data_dir, records):
    streams = {row["stream"]: row for row in listed("streams", data_dir)}
    assert set(streams) == set(records)
    for name, shards in records.items():
        assert streams[name]["records"] == sum(len(shard) for shard in shards.values())
        assert streams[name]["shards"] == len(shards)
    rows = [row for row in listed("shards", data_dir) if row["stream"] == "few"]
    assert [row["last_sequence"] for row in rows] == [len(records["few"][i]) for i in range(3)]
    assert listed("journal", data_dir)[0]["file"] == "journal/0001.jnl"
    for what in ("streams", "shards", "segments", "journal"):
        for output in ("table", "text", "json"):
            done = run("list", what, data_dir, "--output", output)
            assert done.returncode == 0 and done.stdout, done.stderr


def test_directories_that_are_intact(scratch):
    for data_dir, records in (make_clean(scratch), make_killed(scratch)):
        before = snapshot(data_dir)
        result = verify(data_dir, expect=0)
        assert result["findings"] == [] and result["lost_records"] == 0, result
        check_dump(data_dir, records)
        check_lists(data_dir, records)
        for output in ("table", "text", "json"):
            assert run("verify", data_dir, "--output", output, "--quiet").returncode == 0
        assert snapshot(data_dir) == before, "the inspector has written"
        if "log" in records:
            assert result["segments"] >= 5 and result["index_rows"] > 0 and result["journal_blocks"] > 0, result
            check_one_segment(data_dir, records)
        # A copy without the lock's file is a data directory too, and stays without.
        copy = data_dir + ".copy"
        shutil.copytree(data_dir, copy, ignore=shutil.ignore_patterns("lock", "lock.mdb"))
        verify(copy, expect=0)
        assert not glob.glob(copy + "/**/lock*", recursive=True)
        shutil.rmtree(copy)


def check_one_segment(data_dir, records):
    name, row = path_of(data_dir, "sealed")
    alone = dumped(os.path.join(data_dir, name))
    assert [record["sequence"] for record in alone] == list(range(1, row["last_sequence"] + 1))
    assert alone == dumped(data_dir, "--segment", os.path.basename(name)[:-4])
    assert dumped(data_dir, "--stream", "log", "--from-sequence", "7", "--limit", "2") == alone[6:8]
    assert verify(os.path.join(data_dir, name), expect=0)["records"] == row["last_sequence"]
    active, _ = path_of(data_dir, "active")
    for verb in ("dump", "verify"):
        done = run(verb, os.path.join(data_dir, active))
        assert done.returncode == 1 and b"this segment is not sealed: it has no footer" in done.stderr, done
    # What is sealed and has lost its end, by a cut or by damage, is not called active without a doubt.
    broken = data_dir + ".broken-" + os.path.basename(name)
    with open(os.path.join(data_dir, name), "rb") as file:
        content = file.read()
    for damaged, said in ((content[:-1] + b"\xff", b"or damaged at its end"),
                          (content[:-10] + bytes([content[-10] ^ 1]) + content[-9:], b"the footer is damaged")):
        with open(broken, "wb") as file:
            file.write(damaged)
        done = run("verify", broken)
        assert done.returncode == 1 and said in done.stderr, done
    open(broken, "wb").close()
    assert b"the file is empty" in run("verify", broken).stderr


# ---- refusals ----

def test_refusals(scratch):
    data_dir, _ = make_clean(scratch)
    sealed, _ = path_of(data_dir, "sealed")
    broker = Broker(scratch, *SMALL, data_dir=data_dir)
    done = run("verify", data_dir)
    assert done.returncode == 5 and str(broker.process.pid).encode() in done.stderr, done
    assert len(dumped(os.path.join(data_dir, sealed))) > 20, "a sealed segment of a running broker can be read"
    broker.stop()
    assert run("verify", os.path.join(scratch, "nothing")).returncode == 4
    os.mkdir(os.path.join(scratch, "empty"))
    assert run("verify", os.path.join(scratch, "empty")).returncode == 4
    assert run("dump", data_dir, "--stream", "unknown").returncode == 4
    assert run("dump", data_dir, "--stream", "log", "--shard", "7").returncode == 4
    assert run("dump", data_dir, "--segment", "77").returncode == 4
    for wrong in ((), ("verify",), ("list", data_dir), ("list", "things", data_dir), ("verify", data_dir, "--shard", "1"),
                  ("dump", data_dir, "--limit", "0"), ("verify", data_dir, "--threads", "many"), ("verfy", data_dir),
                  ("verify", data_dir, data_dir), ("dump", data_dir, "--segment", "xyz"), ("dump", data_dir, "-o", "xml")):
        done = run(*wrong)
        assert done.returncode == 2 and b"hint:" in done.stderr, (wrong, done)
    assert b"did you mean 'verify'" in run("verfy", data_dir).stderr
    done = run("verify", os.path.join(scratch, "nothing"), "--output", "json")
    assert json.loads(done.stderr)["error"]["code"] == "KS_NOT_FOUND"
    for text in (("--help",), ("help",), ("dump", "--help"), ("--version",)):
        done = run(*text)
        assert done.returncode == 0 and b"kstream-inspect" in done.stdout and not done.stderr


# ---- damage to segments ----

def batches_of(content, end):
    """(start, first sequence, [(start, end, sequence) of each record]) of each batch"""
    at = 0
    view = content[HEADER:end]
    for _, batch, start, stop in decode_fields(view):
        body = stop - len(batch)
        records = []
        first = None
        for number, value, r_start, r_stop in decode_fields(batch):
            if number == 1:
                first = decode(value)[3][0]
            elif number == 2:
                records.append((HEADER + body + r_start, HEADER + body + r_stop, first + len(records)))
        yield HEADER + start, first, records
        at = stop
    assert at == len(view)


def must_find(data_dir, name, offset, stream, shard, sequence=None, bit=None):
    """One turned bit: found, with its place and what it costs. sequence None: it costs no record."""
    with Flipped(os.path.join(data_dir, name), offset, bit):
        result = verify(data_dir, expect=9)
    at = [d for d in damages(result) if d["file"] == name and d["offset"] <= offset < d["offset"] + d["bytes"]]
    assert at, "flip at %s:%d is not in %s" % (name, offset, damages(result))
    assert all(d["stream"] == stream and d["shard"] == shard for d in at), at
    if sequence is None:
        assert result["lost_records"] == 0, damages(result)
        return at
    assert any(d["first_sequence"] is not None and d["first_sequence"] <= sequence <= d["last_sequence"] for d in at), \
        (sequence, at)
    return at


def check_batch_damage(data_dir, name, batch):
    start, first, records = batch
    # Tag, length, tag and length of the header, then its twelve fields: the batch cannot be believed.
    header = start + (records[0][0] - start - 82)
    for offset in [start, start + 1, header, header + 1, *(header + 2 + at for at in
                   (0, 1, 5, 6, 14, 15, 23, 24, 32, 33, 37, 38, 42, 43, 47, 48, 52, 53, 57, 58, 66, 67, 75, 76, 79))]:
        must_find(data_dir, name, offset, "log", 0, first)
    begin, end, sequence = records[1]
    for offset in range(begin, min(begin + 24, end)):  # tag, length, checksum, key, data of a small record
        must_find(data_dir, name, offset, "log", 0, sequence)
    hit = must_find(data_dir, name, end - 1, "log", 0, sequence)
    assert [(d["first_sequence"], d["last_sequence"]) for d in hit] == [(sequence, sequence)], hit
    with Flipped(os.path.join(data_dir, name), end - 1):
        done = run("dump", data_dir, "--stream", "log", "--output", "json")
        assert done.returncode == 9 and b"sequences %d to %d" % (sequence, sequence) in done.stderr, done.stderr
        printed = [json.loads(line)["sequence"] for line in done.stdout.decode().split("\n") if line]
    rows = listed("shards", data_dir)
    total = next(row for row in rows if row["stream"] == "log")["last_sequence"]
    assert printed == [s for s in range(1, total + 1) if s != sequence], "every other record is printed"


def test_damage_to_segments(scratch):
    data_dir, _ = make_clean(scratch)
    random.seed(7)
    for state in ("sealed", "active"):
        name, row = path_of(data_dir, state)
        path = os.path.join(data_dir, name)
        with open(path, "rb") as file:
            content = file.read()
        for offset in (0, 7, 8, 11, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 76, 80, 96, 112, 136, 263, 264, 4095):
            must_find(data_dir, name, offset, "log", 0)
        end = row["bytes"]
        if state == "sealed":
            footer_bytes = struct.unpack("<I", content[-4:])[0]
            end = len(content) - footer_bytes - len(varint(footer_bytes)) - 1
            footer = range(end, len(content))
            for offset in [*footer[:60], *random.sample(footer[60:], 10), *footer[-6:]]:
                must_find(data_dir, name, offset, "log", 0)
        batches = list(batches_of(content, end))
        check_batch_damage(data_dir, name, batches[2 if state == "sealed" else 0])
        start, first, records = batches[-1]
        must_find(data_dir, name, records[-1][1] - 1, "log", 0, records[-1][2])
        for _ in range(10):
            start, first, records = random.choice(batches)
            begin, stop, sequence = random.choice(records)
            must_find(data_dir, name, random.randrange(begin, stop), "log", 0, sequence)
        # Cut short, and gone.
        with open(path, "r+b") as file:
            file.truncate(end - 10)
        result = verify(data_dir, expect=9)
        assert any(d["file"] == name and d["last_sequence"] == records and d["stream"] == "log" or
                   d["file"] == name and d["last_sequence"] == row["last_sequence"] for d in damages(result)), result
        os.unlink(path)
        gone = damages(verify(data_dir, expect=9))[-1]
        assert (gone["file"], gone["first_sequence"], gone["last_sequence"], gone["text"]) == \
            (name, row["first_sequence"], row["last_sequence"], "the file is missing"), gone
        with open(path, "wb") as file:
            file.write(content)
        verify(data_dir, expect=0)
    # A segment in the place of another one.
    few = [row for row in listed("segments", data_dir) if row["stream"] == "few"]
    with open(os.path.join(data_dir, few[0]["file"]), "rb") as file:
        other = file.read()
    path = os.path.join(data_dir, few[1]["file"])
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "r+b") as file:
        file.write(other)
    result = verify(data_dir, expect=9)
    assert result["lost_records"] == few[1]["last_sequence"], result
    with open(path, "r+b") as file:
        file.write(content)
    with open(os.path.join(data_dir, "segments", "00", "stranger.seg"), "wb") as file:
        file.write(other)
    result = verify(data_dir, expect=0)
    assert [finding["file"] for finding in result["findings"]] == ["segments/00/stranger.seg"]


# ---- damage to the journal ----

def head_bytes(content, start):
    """header, entry table and ends of the block there"""
    ends, = struct.unpack_from("<I", content, start + 120)
    return 160 + 40 * rows_in(content, start) + 16 * ends


def blocks_of(content):
    """(start, rows, bytes of head and payload, bytes in all) of each block until the first gap"""
    at = HEADER
    while content[at:at + 8] == b"KSJBLOCK":
        rows, payload = struct.unpack_from("<II", content, at + 64)
        used = head_bytes(content, at) + payload
        yield at, rows, used, (used + 4095) // 4096 * 4096
        at += (used + 4095) // 4096 * 4096


def test_damage_to_the_journal(scratch):
    random.seed(8)
    data_dir, _ = make_killed(scratch)
    name = "journal/0001.jnl"
    path = os.path.join(data_dir, name)
    with open(path, "rb") as file:
        content = file.read()
    for offset in [*range(0, 116, 7), 115, 116, 2000, 4095]:
        must_find(data_dir, name, offset, None, None)
    blocks = [block for block in blocks_of(content) if block[1] > 0]
    start, rows, used, whole = blocks[3]
    head = head_bytes(content, start)
    for offset in [*range(0, 160, 9), 159, *range(160, head, 11), head - 1]:  # the head cannot be believed
        with Flipped(path, start + offset):
            result = verify(data_dir, expect=9)
        at = [d for d in damages(result) if d["file"] == name]
        assert any(d["offset"] <= start + offset < d["offset"] + d["bytes"] for d in at), (offset, at)
        lost = [d for d in at if d["first_sequence"] is not None]
        assert lost and all(d["stream"] == "few" and d["text"].startswith("records are missing") for d in lost), at
    for offset in (*range(head, used, (used - head) // 12), used - 1):  # one batch is hit, and named
        with Flipped(path, start + offset):
            at = [d for d in damages(verify(data_dir, expect=9)) if d["stream"]]
        assert [(d["shard"], d["first_sequence"]) for d in at] == [hit_of(content, start, offset)], at
        assert at[0]["file"] == name and at[0]["offset"] <= start + offset < at[0]["offset"] + at[0]["bytes"], at
    if used < whole:
        assert must_find(data_dir, name, start + whole - 1, None, None)[0]["text"].startswith("the zeros")
    # The last block is not named as durable by anything: cut short, it is the torn end of a crash.
    start, rows, used, _ = list(blocks_of(content))[-1]
    with Flipped(path, start + used - 1):
        result = verify(data_dir)
        assert result["damages"] > 0 or "cut short" in result["findings"][0]["text"], result
    check_lost_journal(data_dir, path, content)
    # After a stop in order all of it is in segments too.
    data_dir, _ = make_clean(scratch)
    rows = sorted((row for row in listed("journal", data_dir) if row["blocks"]), key=lambda row: row["first_block"])
    for row in rows:
        with open(os.path.join(data_dir, row["file"]), "rb") as file:
            content = file.read()
        blocks = list(blocks_of(content))
        for start, _, used, _ in [blocks[0], *random.sample(blocks[1:], min(2, len(blocks) - 1))]:
            for offset in (0, 60, used - 1):
                with Flipped(os.path.join(data_dir, row["file"]), start + offset):
                    result = verify(data_dir)
                assert result["lost_records"] == 0, result
                assert len(blocks) == 1 or damages(result)[0]["file"] == row["file"], result


def rows_in(content, start):
    return struct.unpack_from("<I", content, start + 64)[0]


def hit_of(content, start, offset):
    """(shard, first sequence) of the batch at that offset of a block"""
    rows = rows_in(content, start)
    for i in range(rows):
        row = struct.unpack_from("<IIQQQII", content, start + 160 + 40 * i)
        begin = head_bytes(content, start) + row[5]
        if begin <= offset < begin + row[6]:
            return row[2] - 1, row[3]  # logs 1, 2, 3 are its shards, the only ones there are
    raise AssertionError(offset)


def check_lost_journal(data_dir, path, content):
    os.unlink(path)
    result = verify(data_dir, expect=9)
    assert any("blocks" in d["text"] or "missing" in d["text"] for d in damages(result)), result
    with open(path, "wb") as file:
        file.write(content)
    verify(data_dir, expect=0)


# ---- damage to catalog and index ----

def everything(data_dir):
    return [listed(what, data_dir) for what in ("streams", "shards", "segments", "journal")]


def test_damage_to_the_catalog(scratch):
    random.seed(11)
    data_dir, _ = make_clean(scratch)
    path = os.path.join(data_dir, "catalog", "data.mdb")
    with open(path, "rb") as file:
        content = file.read()
    # In every copy of a row: each must be found when it is the valid one, and pages of the past do not matter.
    found = 0
    for needle in (b"log", b"few", b"journal", struct.pack(">Q", 1)):
        at = content.find(needle)
        while at >= 0:
            with Flipped(path, at):
                result = verify(data_dir)
                found += result["damages"] > 0
                assert result["damages"] > 0 or everything(data_dir) == before_flip(data_dir, path, content)
            at = content.find(needle, at + 1)
    assert found > 3
    # Anywhere where something is or was: found, or without consequence.
    expected = everything(data_dir)
    places = [at for at, byte in enumerate(content) if byte]
    found = 0
    for at in random.sample(places, 150):
        with Flipped(path, at):
            if verify(data_dir)["damages"] > 0:
                found += 1
            else:
                assert everything(data_dir) == expected, at
    assert found > 15, found
    # An older copy does not pass for the present one.
    broker = Broker(scratch, *SMALL, data_dir=data_dir)
    broker.client().put_patiently("few", small_records(30))
    broker.kill()
    verify(data_dir, expect=0)
    with open(path, "wb") as file:
        file.write(content)
    result = verify(data_dir, expect=9)
    assert any("older" in d["text"] for d in damages(result)), result
    with open(path, "wb") as file:
        file.write(b"this is no database" * 1000)
    assert damages(verify(data_dir, expect=9))[0]["file"].startswith("catalog")


def before_flip(data_dir, path, content):
    """What is listed without the turned bit."""
    with open(path, "rb") as file:
        turned = file.read()
    with open(path, "wb") as file:
        file.write(content)
    try:
        return everything(data_dir)
    finally:
        with open(path, "wb") as file:
            file.write(turned)


def test_damage_to_the_index(scratch):
    data_dir, _ = make_clean(scratch)
    path = os.path.join(data_dir, "index", "data.mdb")
    name, row = path_of(data_dir, "sealed")
    with open(path, "rb") as file:
        content = file.read()
    key = struct.pack(">QQ", int(os.path.basename(name)[:-4], 16), row["generation"])
    at, hits = content.find(key), 0
    while at >= 0 and hits < 24:
        for offset in (at + 20, at + 24, at + 33, at + 43):  # last part of the key; sequence, arrival, offset
            with Flipped(path, offset):
                result = verify(data_dir)
            if result["damages"]:
                hits += 1
                assert damages(result)[0]["file"] == "index/data.mdb" and result["lost_records"] == 0, result
        at = content.find(key, at + 1)
    assert hits >= 24, hits
    # After a kill the next start deletes the index unread; so is it judged.
    os.unlink(os.path.join(data_dir, "clean"))
    with Flipped(path, content.find(key) + 20):
        verify(data_dir, expect=0)


if __name__ == "__main__":
    run_tests(test_directories_that_are_intact, test_refusals, test_damage_to_segments, test_damage_to_the_journal,
              test_damage_to_the_catalog, test_damage_to_the_index)
