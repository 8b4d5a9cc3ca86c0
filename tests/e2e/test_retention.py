"""Retention, the compactor, the scrubber and deletion, against the real broker; libfaketime moves its clocks.

Each test of a clock says which rule of base/broker_clock.h it meets. "wall": only CLOCK_REALTIME moves; "all": every
clock does.
"""
import glob, json
from kstream_test import *
from reshard_test import MIDDLE, indexes, merge, read_lineage, shards_of, split, tiles
from test_clock import Machine, DAY, HOUR, MINUTE, confirm, kernel_is_synchronised, logged

KSTREAMCTL = os.environ.get("KSTREAMCTL", "build/release/tools/kstreamctl")
QUICK = ("--flush-age", "1ms")


def ctl(broker, *words, code=0):
    """What kstreamctl printed; as a dict if it is JSON. With another code: what it complained of."""
    done = subprocess.run([KSTREAMCTL, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=DEADLINE_S, env={**os.environ, "KSTREAM_ENDPOINT": broker.addresses["native"]})
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    if code:
        return done.stderr
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout


def line(broker, text_, code=0):
    """A line as people bring it, through a shell."""
    assert text_.startswith("kstreamctl ")
    done = subprocess.run(["sh", "-c", text_.replace("kstreamctl", '"$KSTREAMCTL"', 1)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S,
                          env={**os.environ, "KSTREAMCTL": KSTREAMCTL, "KSTREAM_ENDPOINT": broker.addresses["native"]})
    assert done.returncode == code, (text_, done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def compactor(broker):
    return ctl(broker, "describe-compactor", "-o", "json")


def read(client, name, shard=0):
    """The data of every record from the start."""
    return [data for _, _, data in client.read_all(name, shard + 1)[shard]]


def refused(client, op, *fields):
    try:
        client.call(op, *fields)
    except Refused as error:
        return error
    raise AssertionError("it was taken")


def segment_files(broker):
    return glob.glob(os.path.join(broker.data_dir, "segments", "*", "*.seg"))


def disk_bytes(broker):
    return sum(os.stat(path).st_blocks * 512 for path in segment_files(broker))


def wait_flushed(broker, words):
    """A segment has these bytes near its start: of a record."""
    def is_there():
        return any(words in open(path, "rb").read(8192) for path in segment_files(broker))
    wait_until(is_there, "%s is in a segment" % words)


# ---- the lines that people bring ----

def test_lines_word_for_word(scratch):
    broker = Broker(scratch)
    assert line(broker, "kstreamctl list-streams --query 'StreamNames' --output table").split() == ["StreamName"]
    said = json.loads(line(broker, 'kstreamctl create-stream --stream-name "example-stream" --shard-count 1'))
    assert said == {"StreamName": "example-stream", "StreamStatus": "ACTIVE"}, said
    listed = line(broker, "kstreamctl list-streams --query 'StreamNames' --output table")
    assert listed.split() == ["StreamName", "example-stream"], listed
    about = json.loads(line(broker, 'kstreamctl describe-stream --stream-name "example-stream"'))["StreamDescription"]
    assert about["StreamStatus"] == "ACTIVE" and about["RetentionPeriodHours"] == 24 and len(about["Shards"]) == 1, about
    line(broker, 'kstreamctl put-record --stream-name example-stream --partition-key k --data hello')
    said = json.loads(line(broker, 'kstreamctl increase-stream-retention-period --stream-name "example-stream" '
                                   '--retention-period-seconds 259200'))
    assert said == {"StreamName": "example-stream", "RetentionPeriodHours": 72}, said
    about = json.loads(line(broker, 'kstreamctl describe-stream --stream-name "example-stream"'))["StreamDescription"]
    assert about["RetentionPeriodHours"] == 72 and "PurgeTimestamp" not in about, about
    said = json.loads(line(broker, 'kstreamctl delete-stream --stream-name "example-stream" --enforce-retention'))
    assert said["StreamStatus"] == "DELETING" and said["PurgeTimestamp"], said
    about = json.loads(line(broker, 'kstreamctl describe-stream --stream-name "example-stream"'))["StreamDescription"]
    assert about["StreamStatus"] == "DELETING" and about["PurgeTimestamp"] == said["PurgeTimestamp"], about
    assert "DELETING" in line(broker, 'kstreamctl describe-stream --stream-name "example-stream" --output table')
    broker.stop()


def test_a_deleted_stream_is_readable_and_restorable(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("kept")
    client.put("kept", [("k", b"a")])
    ctl(broker, "delete-stream", "kept", "--enforce-retention")
    assert read(client, "kept") == [b"a"]
    assert "kept" in ctl(broker, "list-streams")["StreamNames"]
    taken = ctl(broker, "create-stream", "kept", code=5)
    assert "Stream kept under account 000000000000 already exists." in taken, taken
    error = refused(client, PUT_RECORD, (1, "kept"), (2, b"b"), (3, "k"))
    assert error.exception == "ResourceNotFoundException" and "RestoreStream" in error.message, error
    error = refused(client, DELETE, (1, "kept"), (100, 1))
    assert error.message == "Stream kept under account 000000000000 not ACTIVE, instead in state DELETING", error
    assert error.exception == "ResourceInUseException", error
    error = refused(client, INCREASE_RETENTION, (1, "kept"), (2, 48))
    assert error.message == "Stream kept under account 000000000000 not ACTIVE, instead in state DELETING", error
    broker.kill()
    broker = Broker(scratch)
    client = broker.client()
    assert read(client, "kept") == [b"a"]
    assert ctl(broker, "restore-stream", "kept") == {"StreamName": "kept", "StreamStatus": "ACTIVE"}
    client.put("kept", [("k", b"b")])
    assert read(client, "kept") == [b"a", b"b"]
    error = refused(client, RESTORE, (1, "kept"))
    assert error.message == "Stream kept under account 000000000000 not DELETING, instead in state ACTIVE", error
    # Deleted again, and this time at once.
    ctl(broker, "delete-stream", "kept", "--enforce-retention")
    ctl(broker, "delete-stream", "kept", "--yes", "--enforce-consumer-deletion")
    assert refused(client, RESTORE, (1, "kept")).is_("KS_NOT_FOUND")
    ctl(broker, "create-stream", "kept")
    assert read(client, "kept") == []
    broker.stop()


def test_a_deleted_stream_purges_itself_after_a_day(scratch):
    """All clocks forward: time that passed."""
    machine = Machine(scratch, "all")
    broker = machine.start(*QUICK)
    client = broker.client()
    client.create_stream("kept")
    client.create_stream("other")
    client.put("kept", [("k", b"to be kept")])
    wait_flushed(broker, b"to be kept")
    ctl(broker, "delete-stream", "kept", "--enforce-retention")
    machine.set(23 * HOUR)
    ctl(broker, "compact")
    assert read(client, "kept") == [b"to be kept"]
    machine.set(24 * HOUR + 5 * MINUTE)
    wait_until(lambda: ctl(broker, "list-streams")["StreamNames"] == ["other"], "the stream has purged itself")
    assert compactor(broker)["SinceStart"]["StreamsPurged"] == 1
    broker.kill()
    broker = machine.start()
    assert ctl(broker, "list-streams")["StreamNames"] == ["other"]
    broker.stop()


# ---- the retention period ----

def test_errors_of_the_retention_period(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    cases = [
        (INCREASE_RETENTION, 23, "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is "
                                 "too short."),
        (DECREASE_RETENTION, 0, "Minimum allowed retention period is 24 hours. Requested retention period (0 hours) is "
                                "too short."),
        (INCREASE_RETENTION, 169, "Maximum allowed retention period is 168 hours. Requested retention period (169 hours) "
                                  "is too long."),
        (INCREASE_RETENTION, 47, "Requested retention period (47 hours) for stream s can not be shorter than existing "
                                 "retention period (48 hours). Use DecreaseRetentionPeriod API."),
        (DECREASE_RETENTION, 49, "Requested retention period (49 hours) for stream s can not be longer than existing "
                                 "retention period (48 hours). Use IncreaseRetentionPeriod API."),
    ]
    client.call(INCREASE_RETENTION, (1, "s"), (2, 48))
    client.call(INCREASE_RETENTION, (1, "s"), (2, 48))
    client.call(DECREASE_RETENTION, (1, "s"), (2, 48))
    for op, hours, message in cases:
        error = refused(client, op, (1, "s"), (2, hours))
        assert (error.exception, error.message) == ("InvalidArgumentException", message), error
    error = refused(client, INCREASE_RETENTION, (1, "nope"), (2, 48))
    assert (error.exception, error.message) == ("ResourceNotFoundException",
                                                "Stream nope under account 000000000000 not found."), error
    error = refused(client, INCREASE_RETENTION, (1, "s"))
    assert error.exception == "ValidationException" and "retentionPeriodHours" in error.message, error
    assert ctl(broker, "describe-stream", "s")["StreamDescription"]["RetentionPeriodHours"] == 48
    broker.stop()


def test_errors_of_the_command(scratch):
    broker = Broker(scratch)
    ctl(broker, "create-stream", "s")
    change = ("increase-stream-retention-period", "--stream-name", "s")
    said = ctl(broker, *change, "--retention-period-seconds", "90000", code=0)
    assert said["RetentionPeriodHours"] == 25, said
    said = ctl(broker, *change, "--retention-period-seconds", "90001", code=2)
    assert "whole hours are needed, so 90000 or 93600" in said, said
    assert "86400" in ctl(broker, *change, "--retention-period-seconds", "86399", code=2)
    said = ctl(broker, *change, "--retention-period-seconds", "608400", code=1)
    assert "Maximum allowed retention period is 168 hours" in said and "604800 seconds" in said, said
    ctl(broker, *change, "--retention-period-seconds", "604800")
    assert "is needed" in ctl(broker, *change, code=2)
    said = ctl(broker, "decrease-stream-retention-period", "s", "--hours", "24", "--dry-run")
    assert said["would"] == "keep the records of 's' for 24 hours instead of 168", said
    ctl(broker, *change, "--hours", "167", "--dry-run", code=3)
    ctl(broker, "restore-stream", "s", "--dry-run", code=3)
    ctl(broker, "delete-stream", "s", "--enforce-retention", "--wait", code=2)
    assert "in 24 hours" in ctl(broker, "delete-stream", "s", "--enforce-retention", "--dry-run")["would"]
    assert ctl(broker, "describe-stream", "s")["StreamDescription"]["StreamStatus"] == "ACTIVE"
    both = ctl(broker, *change, "--retention-period-seconds", "86400", "--retention-period-hours", "24", code=2)
    assert "exclude each other" in both, both
    broker.stop()
    broker = Broker(scratch, "--max-retention-hours", "8760")
    assert ctl(broker, *change, "--retention-period-hours", "8760")["RetentionPeriodHours"] == 8760
    ctl(broker, *change, "--retention-period-hours", "8761", code=2)
    broker.stop()


def test_a_decrease_asks_when_records_would_go(scratch):
    """All clocks forward: time that passed."""
    machine = Machine(scratch, "all")
    broker = machine.start(*QUICK)
    client = broker.client()
    client.create_stream("s")
    ctl(broker, "increase-stream-retention-period", "s", "--hours", "168")
    client.put("s", [("k", b"old one")])
    wait_flushed(broker, b"old one")
    machine.set(30 * HOUR)
    client = broker.client()
    client.put("s", [("k", b"new")])
    assert read(client, "s") == [b"old one", b"new"]
    change = ("decrease-stream-retention-period", "s", "--hours", "24")
    dry = ctl(broker, *change, "--dry-run")
    assert dry["dry_run"] and "for 24 hours instead of 168" in dry["would"] and dry["WouldGo"]["RecordsHidden"] == 1, dry
    assert "'s': this deletes 1 records" in ctl(broker, *change, code=2)
    assert read(client, "s") == [b"old one", b"new"]
    ctl(broker, *change, "--yes")
    assert read(client, "s") == [b"new"]
    ctl(broker, "increase-stream-retention-period", "s", "--hours", "168")
    assert read(client, "s") == [b"new"], "an increase brought something back"
    broker.kill()
    broker = machine.start()
    client = broker.client()
    assert read(client, "s") == [b"new"], "a restart brought something back"
    ctl(broker, "decrease-stream-retention-period", "s", "--hours", "24")  # nothing would go: nobody is asked
    dry = ctl(broker, "delete-stream", "s", "--dry-run")
    assert dry["WouldGo"]["RecordsHidden"] == 1 and read(client, "s") == [b"new"], dry
    broker.stop()


# ---- the clocks ----

def test_all_clocks_forward_expire(scratch):
    """The clock advances by CLOCK_BOOTTIME: after 25 h, and after 8 d, what is older than 24 h is gone."""
    for n, jump in enumerate((25 * HOUR, 8 * DAY)):
        folder = os.path.join(scratch, str(n))
        os.mkdir(folder)
        machine = Machine(folder, "all")
        broker = machine.start(*QUICK)
        client = broker.client()
        client.create_stream("s")
        answer = decode(client.call(PUT_RECORD, (1, "s"), (2, b"old one"), (3, "k")))
        before_ms = int(time.time() * 1000) - 1000
        wait_flushed(broker, b"old one")
        machine.set(jump - 2 * HOUR)
        client = broker.client()
        is_early = jump - 2 * HOUR < DAY
        assert read(client, "s") == ([b"old one"] if is_early else [])
        client.put("s", [("k", b"new")])
        machine.set(jump)
        client = broker.client()
        assert read(client, "s") == [b"new"]
        for kind, extra in (("TRIM_HORIZON", {}), ("AT_TIMESTAMP", {"unix_ms": before_ms}),
                            ("AT_SEQUENCE_NUMBER", {"sequence": text(answer, 2)})):
            records = client.get(client.iterator("s", kind=kind, **extra))
            assert [data for _, _, data in records] == [b"new"], (kind, records)
        broker.kill()
        broker = machine.start()
        assert read(broker.client(), "s") == [b"new"]
        broker.stop()


def test_wall_clock_alone_expires_nothing(scratch):
    """A difference of over 60 s is not adopted for 10 minutes: nothing expires because somebody set the clock."""
    machine = Machine(scratch, "wall")
    broker = machine.start(*QUICK)
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"a")])
    for n, jump in enumerate((25 * HOUR, 8 * DAY, -25 * HOUR)):
        machine.set(jump)
        logged(broker, "clock.differs", n + 1)
        ctl(broker, "compact")
        assert read(client, "s") == [b"a"], "a jump by %d s expired a record" % jump
        machine.set(0)
        logged(broker, "clock.agrees", n + 1)
    broker.stop()


def test_wall_clock_that_stays_is_believed(scratch):
    """After that time the clock steps: by a day it is believed, and records expire; stepping back brings none back
    that is gone, and new ones live as long as ever."""
    machine = Machine(scratch, "wall")
    broker = machine.start(*QUICK, "--clock-adopt-after", "1s")
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"old one")])
    wait_flushed(broker, b"old one")
    machine.set(25 * HOUR)
    logged(broker, "clock.adopted step_s=")
    assert read(client, "s") == []
    ctl(broker, "compact")
    wait_until(lambda: compactor(broker)["SinceStart"]["Segments"] == 1, "the segment is retired")
    machine.set(0)
    logged(broker, "clock.adopted step_s=-")
    assert read(client, "s") == []
    client.put("s", [("k", b"b")])
    ctl(broker, "compact")
    assert read(client, "s") == [b"b"]
    broker.stop()


def test_a_jump_over_a_week_expires_nothing_until_confirmed(scratch):
    """A step of over 7 d holds retention until the time is synchronised, an hour has passed, or confirm-clock."""
    if kernel_is_synchronised():
        raise Skip("the kernel's time is synchronised, which releases retention at once")
    machine = Machine(scratch, "wall")
    broker = machine.start(*QUICK, "--clock-adopt-after", "1s")
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"a")])
    machine.set(8 * DAY)
    logged(broker, "clock.retention_held")
    ctl(broker, "compact")
    assert read(client, "s") == [b"a"]
    assert compactor(broker)["Status"] == "HELD" and compactor(broker)["WhyHeld"], compactor(broker)
    assert confirm(client)["was_held"]
    assert read(client, "s") == []
    assert compactor(broker)["Status"] != "HELD"
    broker.stop()


def test_all_clocks_back_expire_nothing(scratch):
    """What no real machine does: the boot clock goes back. Time stands, nothing expires, and later it expires as ever."""
    machine = Machine(scratch, "all")
    broker = machine.start(*QUICK)
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"a")])
    for jump in (-25 * HOUR, -8 * DAY):
        machine.set(jump)
        client = broker.client()
        client.call(COMPACT)
        assert read(client, "s") == [b"a"], "a jump by %d s expired a record" % jump
        client.put("s", [("k", b"a")])
        machine.set(0)
        client = broker.client()
        assert read(client, "s") == [b"a", b"a"]
        client.call(DELETE, (1, "s"))
        client.create_stream("s")
        client.put("s", [("k", b"a")])
    machine.set(25 * HOUR)
    client = broker.client()
    client.call(COMPACT)
    assert read(client, "s") == []
    broker.stop()


def test_a_start_after_a_reboot(scratch):
    """At the start a gap of up to 7 d is believed; a larger one holds retention; time never goes back."""
    for n, (jump, left) in enumerate([(25 * HOUR, []), (8 * DAY, [b"a"]), (-25 * HOUR, [b"a"])]):
        if jump == 8 * DAY and kernel_is_synchronised():
            continue
        folder = os.path.join(scratch, str(n))
        os.mkdir(folder)
        machine = Machine(folder, "wall", "a")
        broker = machine.start(*QUICK)
        client = broker.client()
        client.create_stream("s")
        client.put("s", [("k", b"a")])
        broker.kill()
        machine.boot = "b"
        machine.set(jump)
        broker = machine.start()
        assert read(broker.client(), "s") == left, (jump, broker.log())
        broker.stop()


# ---- closed shards ----

def test_closed_shards_vanish(scratch):
    """All clocks forward: a closed shard is there while a record of it can be read, and gone when the last has expired."""
    machine = Machine(scratch, "all")
    broker = machine.start(*QUICK)
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"of the parent")])
    wait_flushed(broker, b"of the parent")
    split(client, "s", 0, MIDDLE)
    machine.set(12 * HOUR)
    client = broker.client()
    client.put("s", [("k", b"of a child")])
    wait_flushed(broker, b"of a child")
    merge(client, "s", 1, 2)
    machine.set(23 * HOUR)
    client = broker.client()
    client.call(COMPACT)
    assert indexes(shards_of(client, "s")) == [0, 1, 2, 3]
    assert [data for _, _, _, data in read_lineage(client, "s")] == [b"of the parent", b"of a child"]
    machine.set(25 * HOUR)
    client = broker.client()
    client.call(COMPACT)
    wait_until(lambda: compactor(broker)["SinceStart"]["ShardsRemoved"] == 1, "the parent is gone")
    assert indexes(shards_of(client, "s")) == [1, 2, 3]
    assert [data for _, _, _, data in read_lineage(client, "s")] == [b"of a child"]
    assert refused(client, GET_ITERATOR, (1, "s"), (2, "shardId-000000000000"), (3, "TRIM_HORIZON")).is_("KS_NOT_FOUND")
    broker.kill()
    broker = machine.start(*QUICK)
    assert indexes(shards_of(broker.client(), "s")) == [1, 2, 3], "a restart brought the parent back"
    machine.set(37 * HOUR)
    client = broker.client()
    client.call(COMPACT)
    wait_until(lambda: compactor(broker)["SinceStart"]["ShardsRemoved"] == 2, "the children are gone")
    assert indexes(shards_of(client, "s")) == [3] and tiles(shards_of(client, "s"))
    client.put("s", [("k", b"new")])
    assert [data for _, _, _, data in read_lineage(client, "s")] == [b"new"]
    broker.stop()


# ---- the compactor ----

def test_space_comes_back(scratch):
    """All clocks forward: time that passed. Files beyond the pool are gone, their blocks too."""
    machine = Machine(scratch, "all")
    broker = machine.start(*QUICK, "--segment-bytes", "16MiB", "--compact-files", "0")
    client = broker.client()
    client.create_stream("s")
    payload = os.urandom(1 << 20)[:-64]
    for _ in range(170):
        client.put_patiently("s", [("k", payload)])
    wait_until(lambda: disk_bytes(broker) > 160 << 20, "the records are in segments")
    full = disk_bytes(broker)
    dry = ctl(broker, "compact", "--dry-run")["WouldGo"]
    assert dry["Segments"] == dry["Bytes"] == 0 and dry["OldestTimestamp"] is None, dry
    client.read_all("s", limit=1)
    machine.set(25 * HOUR)
    dry = ctl(broker, "compact", "--dry-run")["WouldGo"]
    assert dry["Segments"] >= 10 and dry["Records"] >= 150 and dry["Bytes"] > 150 << 20, dry
    assert dry["OldestTimestamp"] <= dry["NewestTimestamp"], dry
    ctl(broker, "compact")
    wait_until(lambda: compactor(broker)["SinceStart"]["Records"] == 170, "also the last record is retired")
    about = wait_until(lambda: (now := compactor(broker))["Status"] == "IDLE" and now, "the compactor is done")
    assert about["LastRun"]["EndTimestamp"] and about["LastRun"]["Records"] <= 170, about
    wait_until(lambda: disk_bytes(broker) < full / 2, "the blocks are free again")
    client = broker.client()
    assert read(client, "s") == []
    sequence = client.put("s", [("k", b"new")])[0][1]
    assert sequence == 171, sequence
    broker.kill()
    broker = machine.start()
    assert read(broker.client(), "s") == [b"new"]
    assert "files.missing" not in broker.log() and "quarantined_files=0" in broker.log(), broker.log()
    broker.stop()


def test_a_slow_reader_gets_what_it_was_given(scratch):
    """All clocks forward, while an answer by reference is on its way: its file is not touched before it has left."""
    machine = Machine(scratch, "all")
    broker = machine.start(*QUICK, "--segment-bytes", "16MiB", "--compact-files", "0", "--write-timeout", "24h",
                           "--write-rate", "1")
    client = broker.client()
    client.create_stream("s")
    payloads = [os.urandom((1 << 20) - 64) for _ in range(24)]
    for payload in payloads:
        client.put_patiently("s", [("k", payload)])
    wait_until(lambda: disk_bytes(broker) > 20 << 20, "the records are in segments")
    slow = broker.client()
    at = slow.iterator("s")
    for _ in range(3):  # more than the sockets take
        slow.send(GET_RECORDS, encode((1, at)))
    machine.set(25 * HOUR)
    ctl(broker, "compact")
    other = broker.client()
    for _ in range(8):
        other.put_patiently("s", [("k", os.urandom((1 << 20) - 64))])
    for _ in range(3):
        try:
            _, op, message, _ = slow.receive()
        except ConnectionError:  # for a broker that looks at its clock just now, it has read nothing for a day
            broker.wait_logged("connection.never_reads")
            break
        if op == ERROR:  # came too late, and is told so: never other bytes
            continue
        fields = decode(message)
        found = 0
        for _, batch, _, _ in decode_fields(fields[15][0] if 15 in fields else b""):
            for number, record, _, _ in decode_fields(batch):
                if number == 2:
                    data = decode(record)[3][0]
                    assert data == payloads[found], "the bytes of record %d changed under its reader" % found
                    found += 1
    wait_until(lambda: compactor(broker)["HeldByReaders"]["Segments"] == 0, "the reader has let go")
    broker.stop()


def test_a_trickle_gives_its_space_back(scratch):
    """A segment whose oldest record has expired is ended, so that it can go as a whole later."""
    machine = Machine(scratch, "all")
    broker = machine.start(*QUICK)
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"old one")])
    wait_flushed(broker, b"old one")
    machine.set(20 * HOUR)
    broker.client().put("s", [("k", b"young one")])
    wait_flushed(broker, b"young one")
    machine.set(25 * HOUR)
    ctl(broker, "compact")
    wait_until(lambda: compactor(broker)["SinceStart"]["SegmentsSealedByAge"] == 1, "the old segment is ended")
    client = broker.client()
    assert read(client, "s") == [b"young one"]
    client.put("s", [("k", b"c")])
    machine.set(45 * HOUR)
    ctl(broker, "compact")
    wait_until(lambda: compactor(broker)["SinceStart"]["Segments"] == 1, "the old segment is retired")
    assert read(broker.client(), "s") == [b"c"]
    broker.stop()


def test_the_scrubber_tells_of_damage(scratch):
    broker = Broker(scratch, *QUICK, "--segment-bytes", "16MiB", "--scrub-interval", "1ms", "--scrub-rate", "1GiB")
    client = broker.client()
    client.create_stream("s")
    for _ in range(20):
        client.put_patiently("s", [("k", os.urandom((1 << 20) - 64))])

    def passes():
        return compactor(broker)["Scrubber"]
    wait_until(lambda: passes()["Passes"] >= 2 and passes()["Segments"] >= 1, "a pass has been made")
    assert passes()["DamagedSegments"] == 0, passes()
    broker.stop()
    # The first file is the one that is full; any byte of a record.
    path = max(segment_files(broker), key=os.path.getsize)
    with open(path, "r+b") as file:
        file.seek(5 << 20)
        byte = file.read(1)[0]
        file.seek(5 << 20)
        file.write(bytes([byte ^ 1]))
    broker = Broker(scratch, "--scrub-interval", "1ms", "--scrub-rate", "1GiB")
    broker.wait_logged("scrub.damaged")
    wait_until(lambda: passes()["DamagedRecords"] >= 1, "it is counted")
    assert passes()["DamagedBatches"] >= 1, passes()
    broker.stop()


def test_settings_change_while_it_runs(scratch):
    """SIGHUP: the ceiling, the rates."""
    config = os.path.join(scratch, "kstreamd.conf")
    with open(config, "w") as file:
        file.write("[limits]\nmax_retention_hours = 24\n")
    broker = Broker(scratch, "--config", config)
    ctl(broker, "create-stream", "s")
    change = ("increase-stream-retention-period", "s", "--hours", "48")
    assert "Maximum allowed retention period is 24 hours" in ctl(broker, *change, code=1)
    with open(config, "w") as file:
        file.write("[limits]\nmax_retention_hours = 48\n[storage]\ncompact_files = 10\nscrub_rate = 0\n")
    broker.process.send_signal(signal.SIGHUP)
    broker.wait_logged("config.reloaded")
    ctl(broker, *change)
    assert compactor(broker)["Scrubber"]["NextPassTimestamp"] is None
    broker.stop()


if __name__ == "__main__":
    run_tests(test_lines_word_for_word, test_a_deleted_stream_is_readable_and_restorable,
              test_a_deleted_stream_purges_itself_after_a_day, test_errors_of_the_retention_period,
              test_errors_of_the_command, test_a_decrease_asks_when_records_would_go, test_all_clocks_forward_expire,
              test_wall_clock_alone_expires_nothing, test_wall_clock_that_stays_is_believed,
              test_a_jump_over_a_week_expires_nothing_until_confirmed, test_all_clocks_back_expire_nothing, test_a_start_after_a_reboot, test_closed_shards_vanish, test_space_comes_back,
              test_a_slow_reader_gets_what_it_was_given, test_a_trickle_gives_its_space_back,
              test_the_scrubber_tells_of_damage, test_settings_change_while_it_runs)
