"""What the broker counts minute by minute: kstreamctl get-metrics, and the files of DIR/history that outlive the process."""
import glob
from ctl_test import *

ENABLE_MONITORING = 50
FIGURES = [line.split('"')[1] for line in open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "daemon",
                                                          "figures.def")) if line.startswith("KS_FIGURE(")]
MINUTES_14_DAYS = 14 * 1440


# ---- the format, as daemon/history_format.h has it ----

def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def read_blocks(data):
    """[(minute, run, [(stream, shard or None, {figure: [count, sum, least, greatest]})])] of the whole blocks."""
    blocks = []
    while len(data) >= 32 and data[:4] == b"KSH1":
        crc, size, zero, minute, run = struct.unpack_from("<IIIQQ", data, 4)
        if len(data) < 32 + size or crc32c(data[8:32 + size]) != crc:
            break
        assert zero == 0
        rows, at, payload = [], 0, data[32:32 + size]
        while at < size:
            stream, at = read_varint(payload, at)
            shard, at = read_varint(payload, at)
            bits, at = read_varint(payload, at)
            values = {}
            for i, name in enumerate(FIGURES):
                if bits >> i & 1:
                    values[name] = []
                    for _ in range(4):
                        value, at = read_varint(payload, at)
                        values[name].append(value)
            rows.append((stream, shard - 1 if shard else None, values))
        blocks.append((minute, run, rows))
        data = data[32 + size:]
    return blocks


def make_block(minute, run=1, stream=77, records=1):
    payload = varint(stream) + varint(0) + varint(1 << FIGURES.index("IncomingRecords")) + varint(1) + varint(records) * 3
    rest = struct.pack("<IIQQ", len(payload), 0, minute, run) + payload
    return b"KSH1" + struct.pack("<I", crc32c(rest)) + rest


def files_of(broker):
    return sorted(glob.glob(os.path.join(broker.data_dir, "history", "*.hist")))


def on_disk(broker, figure="IncomingRecords"):
    total = 0
    for path in files_of(broker):
        with open(path, "rb") as file:
            for _, _, rows in read_blocks(file.read()):
                total += sum(values.get(figure, [0, 0])[1] for _, shard, values in rows if shard is None)
    return total


def metric(ctl, name, *words):
    """(SampleCount, Sum, Minimum, Maximum) over everything that is told."""
    points = ctl.json("get-metrics", "s", name, *words)["Datapoints"]
    if not points:
        return 0, 0, None, None
    return (sum(p["SampleCount"] for p in points), sum(p["Sum"] for p in points), min(p["Minimum"] for p in points),
            max(p["Maximum"] for p in points))


def test_figures_are_exact(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    client.create_stream("s", 2)
    client.create_stream("quiet")
    for size in (10, 20, 30):
        ctl("put-record", "s", "--partition-key", "k", "--data", "d" * size, "-o", "none")
    client.put("s", [("k%d" % i, b"x" * 5) for i in range(40)])
    client.put("s", [("k%d" % i, b"x" * 5) for i in range(60)])
    records = sum(len(found) for found in client.read_all("s", 2).values())
    assert records == 103
    assert metric(ctl, "IncomingRecords") == (5, 103, 1, 60)
    assert metric(ctl, "PutRecord.Success") == (3, 3, 1, 1)
    count, total, least, most = metric(ctl, "PutRecord.Bytes")
    assert count == 3 and most - least == 20 and total == least * 3 + 30, (count, total, least, most)
    assert metric(ctl, "PutRecords.TotalRecords") == metric(ctl, "PutRecords.SuccessfulRecords") == (2, 100, 40, 60)
    assert metric(ctl, "PutRecords.FailedRecords") == metric(ctl, "PutRecords.ThrottledRecords") == (2, 0, 0, 0)
    assert metric(ctl, "WriteProvisionedThroughputExceeded") == (5, 0, 0, 0)
    assert metric(ctl, "GetRecords.Records")[1] == metric(ctl, "OutgoingRecords")[1] == 103
    assert metric(ctl, "GetRecords.Success")[1] == metric(ctl, "GetRecords.Success")[0] > 0
    assert metric(ctl, "IncomingBytes")[1] == metric(ctl, "PutRecord.Bytes")[1] + metric(ctl, "PutRecords.Bytes")[1] > 0
    count, total, least, most = metric(ctl, "PutRecord.Latency")
    assert count == 3 and 0 < least <= most < 60000 and total >= most, "milliseconds"
    # All of them at once, and of a stream for which nothing was counted.
    rows = ctl.json("get-metrics", "s")["Datapoints"]
    assert {row["MetricName"] for row in rows} == set(FIGURES), set(FIGURES) - {row["MetricName"] for row in rows}
    assert ctl.json("get-metrics", "quiet")["Datapoints"] == []
    one = ctl.json("get-metrics", "s", "IncomingRecords", "--statistics", "Average", "--period", "86400")
    assert one["Label"] == "IncomingRecords" and len(one["Datapoints"]) == 1, one
    assert one["Datapoints"][0]["Average"] == 103 / 5 and "Sum" not in one["Datapoints"][0], one
    assert metric(ctl, "IncomingRecords", "--start-time", "-3h", "--end-time", "-1h") == (0, 0, None, None)
    broker.stop()


def test_iterator_age(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"1")])
    first = client.put("s", [("k", b"2")])
    began = time.monotonic()
    at = client.iterator("s")
    wait_until(lambda: time.monotonic() - began > 0.2, "some time has passed")
    client.get(at, limit=1)
    assert metric(ctl, "GetRecords.IteratorAgeMilliseconds")[3] >= 200
    assert metric(ctl, "GetRecords.IteratorAgeMilliseconds")[3] == metric(ctl, "IteratorAgeMilliseconds")[3]
    assert first
    broker.stop()


def test_shards_with_enhanced_monitoring(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    client.create_stream("s", 2)
    shard = client.put("s", [("a", b"1")])[0][0]
    assert metric(ctl, "IncomingRecords", "--shard-id", str(shard)) == (0, 0, None, None)
    client.call(ENABLE_MONITORING, (1, "s"), (2, "IncomingRecords"), (2, "OutgoingRecords"))
    client.put("s", [("a", b"1"), ("a", b"2")])
    client.get(client.iterator("s", shard))
    assert metric(ctl, "IncomingRecords", "--shard-id", str(shard)) == (1, 2, 2, 2)
    assert metric(ctl, "OutgoingRecords", "--shard-id", str(shard))[1] == 3
    assert metric(ctl, "IncomingBytes", "--shard-id", str(shard)) == (0, 0, None, None), "it was not asked for"
    assert metric(ctl, "IncomingRecords", "--shard-id", str(1 - shard)) == (0, 0, None, None)
    assert metric(ctl, "IncomingRecords") == (2, 3, 1, 2), "the stream's own figures count once"
    broker.stop()


def test_what_limits_refuse_is_counted(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    client.create_stream("s")
    client.call(ENABLE_MONITORING, (1, "s"), (2, "ALL"))
    ctl("update-stream-limits", "s", "--limits", "Mode=aws", "-o", "none")
    at, refused_gets, refused_records = client.iterator("s"), 0, 0
    for _ in range(20):
        try:
            client.get(at)
        except Refused as error:
            assert error.is_("KS_THROTTLED")
            refused_gets += 1
    for _ in range(8):
        try:
            client.put("s", [("k", b"x")] * 400)
        except Refused as error:
            assert error.is_("KS_THROTTLED")
            refused_records += 400
    assert refused_gets > 0 and refused_records > 0
    for words in ((), ("--shard-id", "0")):
        assert metric(ctl, "ReadProvisionedThroughputExceeded", *words)[1] == refused_gets
        assert metric(ctl, "WriteProvisionedThroughputExceeded", *words)[1] == refused_records
    assert metric(ctl, "PutRecords.ThrottledRecords")[1] == refused_records
    assert metric(ctl, "GetRecords.Success")[:2] == (20, 20 - refused_gets)
    broker.stop()


def test_history_outlives_restart_and_kill(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"x")] * 7)
    broker.stop()
    assert on_disk(broker) == 7
    broker = Broker(scratch)
    client, ctl = broker.client(), Ctl(broker.addresses["native"])
    assert metric(ctl, "IncomingRecords") == (1, 7, 7, 7)
    client.put("s", [("k", b"x")] * 5)
    assert metric(ctl, "IncomingRecords")[1] == 12
    wait_until(lambda: on_disk(broker) == 12, "the history is written")
    assert metric(ctl, "IncomingRecords")[1] == 12, "what is on disk and in memory counts once"
    client.put("s", [("k", b"x")] * 3)
    wait_until(lambda: on_disk(broker) == 15, "the running minute is written again")
    broker.kill()
    # A kill in the middle of a write.
    path = files_of(broker)[-1]
    with open(path, "ab") as file:
        file.write(make_block(1)[:36])
    broker = Broker(scratch)
    client, ctl = broker.client(), Ctl(broker.addresses["native"])
    assert metric(ctl, "IncomingRecords")[1] == 15
    broker.wait_logged("history.cut")
    client.put("s", [("k", b"x")])
    broker.stop()
    assert on_disk(broker) == 16, "what was torn stands in nobody's way"
    # A stream made again under the same name has a history of its own.
    broker = Broker(scratch)
    client, ctl = broker.client(), Ctl(broker.addresses["native"])
    client.call(DELETE, (1, "s"))
    wait_until(lambda: "s" not in ctl.json("list-streams")["StreamNames"], "the stream is gone")
    client.create_stream("s")
    assert metric(ctl, "IncomingRecords") == (0, 0, None, None)
    # Damage costs what stands behind it in its file.
    broker.stop()
    with open(files_of(broker)[-1], "r+b") as file:
        file.seek(40)
        byte = file.read(1)
        file.seek(40)
        file.write(bytes([byte[0] ^ 1]))
    broker = Broker(scratch)
    broker.wait_logged("history.cut")
    broker.stop()


def test_history_is_bounded(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    client.create_stream("s")
    broker.stop()
    now = int(time.time()) // 60
    folder = os.path.join(broker.data_dir, "history")
    for path in files_of(broker):
        os.unlink(path)

    def write(number, minutes):
        with open(os.path.join(folder, "%016x.hist" % number), "wb") as file:
            for minute in minutes:
                file.write(make_block(minute))
    write(1, range(now - MINUTES_14_DAYS - 3000, now - MINUTES_14_DAYS - 1400))  # too old
    write(2, range(now - MINUTES_14_DAYS + 100, now - MINUTES_14_DAYS + 1500))
    for number in range(3, 30):
        write(number, [now - 2000 + number] * 1500)  # 55 KiB each: together more than 1 MiB
    broker = Broker(scratch, "--metrics-history-bytes", "1MiB")
    client = broker.client()
    client.put("s", [("k", b"x")])
    broker.stop()
    names = [int(os.path.basename(path).split(".")[0], 16) for path in files_of(broker)]
    total = sum(os.path.getsize(path) for path in files_of(broker))
    assert total < (1 << 20) + (64 << 10) and names[-1] == 30 and 1 not in names and 29 in names, (total, names)
    # Age alone is reason enough.
    for path in files_of(broker):
        os.unlink(path)
    write(1, range(now - MINUTES_14_DAYS - 3000, now - MINUTES_14_DAYS - 1400))
    write(2, range(now - MINUTES_14_DAYS + 100, now - MINUTES_14_DAYS + 1400))
    broker = Broker(scratch)
    client = broker.client()
    client.put("s", [("k", b"x")])
    broker.stop()
    assert [os.path.basename(path)[:16] for path in files_of(broker)] == ["%016x" % 2, "%016x" % 3], files_of(broker)


def test_a_history_that_cannot_be_written_stops_nothing(scratch):
    broker, ctl = begin(scratch)
    broker.client().create_stream("s")
    broker.stop()
    shutil.rmtree(os.path.join(broker.data_dir, "history"))
    with open(os.path.join(broker.data_dir, "history"), "wb"):
        pass
    broker = Broker(scratch)
    client, ctl = broker.client(), Ctl(broker.addresses["native"])
    client.put("s", [("k", b"x")] * 9)
    broker.wait_logged("history.not_written")
    assert metric(ctl, "IncomingRecords") == (1, 9, 9, 9), "of the last minutes, from memory"
    broker.stop()


def test_questions_that_cannot_be_answered(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "s", "-o", "none")
    ctl.fails(4, "not found", "get-metrics", "nothing")
    ctl.fails(4, "does not exist", "get-metrics", "s", "--shard-id", "7")
    ctl.fails(1, "there is no metric 'incoming'", "get-metrics", "s", "incoming")
    ctl.fails(2, "a multiple of 60", "get-metrics", "s", "--period", "90")
    ctl.fails(2, "before", "get-metrics", "s", "--start-time", "now", "--end-time", "-1h")
    ctl.fails(2, "SampleCount, Sum", "get-metrics", "s", "IncomingBytes", "--statistics", "p99")
    ctl.fails(1, "20160", "get-metrics", "s", "IncomingBytes", "--start-time", "-15d")
    ctl.fails(1, "1440", "get-metrics", "s", "--start-time", "-2d", "--period", "60")
    assert ctl.json("get-metrics", "s", "IncomingBytes", "--start-time", "-13d", "--statistics", "Sum", "Average")[
        "Datapoints"] == []
    broker.stop()


run_tests(test_figures_are_exact, test_iterator_age, test_shards_with_enhanced_monitoring, test_what_limits_refuse_is_counted,
          test_history_outlives_restart_and_kill,
          test_history_is_bounded, test_a_history_that_cannot_be_written_stops_nothing, test_questions_that_cannot_be_answered)
