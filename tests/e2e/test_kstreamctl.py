"""kstreamctl against the real broker: every verb in every output, exit codes, put and tail through SIGKILL, terminals."""
import base64, collections, gzip, json, os, pty, re, threading
from ctl_test import *


def test_the_users_own_lines_work_word_for_word(scratch):
    broker, ctl = begin(scratch)
    assert ctl.json("create-stream", "--stream-name", "test-stream", "--shard-count", "2") == {
        "StreamName": "test-stream", "StreamStatus": "ACTIVE"}
    lines = ctl("list-streams", "--query", "StreamNames", "--output", "table").splitlines()
    assert [line.strip() for line in lines] == ["StreamName", "test-stream"], lines
    described = ctl.json("describe-stream", "--stream-name", "test-stream")["StreamDescription"]
    assert described["StreamStatus"] == "ACTIVE" and len(described["Shards"]) == 2
    put = ctl.json("put-record", "--stream-name", "test-stream", "--partition-key", "key1", "--data", "hello")
    assert sorted(put) == ["SequenceNumber", "ShardId"] and re.fullmatch(r"[0-9]{56}", put["SequenceNumber"])
    at = ctl.json("kinesis", "get-shard-iterator", "--stream-name", "test-stream", "--shard-id", put["ShardId"],
                  "--shard-iterator-type", "TRIM_HORIZON")["ShardIterator"]
    records = ctl.json("kinesis", "get-records", "--shard-iterator", at)["Records"]
    assert [(r["PartitionKey"], r["Data"]) for r in records] == [("key1", base64.b64encode(b"hello").decode())]
    assert ctl("--endpoint", broker.addresses["native"], "create-stream", "--stream-name", "b", "--shard-count", "1",
               "--output", "none") == ""
    ctl.environment["KSTREAM_ENDPOINT"] = "127.0.0.1:1"
    assert "b" in ctl("list-streams", "--endpoint", "kstream://" + broker.addresses["native"])
    broker.stop()


def test_errors_have_a_form_a_hint_and_a_code(scratch):
    broker, ctl = begin(scratch)
    err = ctl.fails(4, "kstreamctl: describe-stream: ", "describe-stream", "nope")
    assert "(code=ResourceNotFoundException request=" in err and "\nhint: " in err
    ctl("create-stream", "clicks")
    ctl.fails(5, "ResourceInUseException", "create-stream", "clicks")
    ctl.fails(1, "ValidationException", "create-stream", "a/b")
    ctl.fails(1, "code=", "get-records", "--shard-iterator", "nonsense")
    err = ctl.fails(1, "--query: invalid-type: argument 1 of sum()", "list-streams", "--query", "sum(StreamNames)")
    assert "hint: only the query failed" in err, err
    ctl.fails(7, "127.0.0.1:1", "--endpoint", "127.0.0.1:1", "list-streams")
    ctl.fails(7, "code=UNAVAILABLE", "put", "clicks", "--endpoint", "unix:/nowhere/sock")
    for text, *words in (
            ("did you mean 'list-streams'?", "list-stream"), ("'--stream-name' is missing", "describe-stream"),
            ("'--query': syntax: 'b' is not expected, at character 3", "list-streams", "--query", "a b"),
            ("no function 'lenght'", "list-streams", "--query", "lenght(@)"),
            ("table, json, text, ndjson, csv or none", "list-streams", "-o", "yaml"),
            ("'--timeout", "list-streams", "--timeout", "0s"), ("is needed", "create-stream", "x", "--shards", "0"),
            ("--data", "put-record", "clicks", "--partition-key", "k"),
            ("base64", "put-record", "clicks", "--partition-key", "k", "--data-base64", "!"),
            ("needs '--timestamp'", "get-shard-iterator", "clicks", "--shard-id", "0", "--shard-iterator-type",
             "AT_TIMESTAMP"),
            ("exclude each other", "put", "clicks", "--key", "a", "--key-field", "1"),
            ("cannot open", "put", "clicks", "/nowhere/file"), ("is a directory", "put", "clicks", "/"),
            ("'%x' is unknown", "tail", "clicks", "--format", "%x"), ("not a time", "tail", "clicks", "--from", "x"),
            ("'--stream-name' is not UTF-8", "describe-stream", b"\xff"),
            ("'--key' is not UTF-8", "put", "clicks", "--key", b"\xff"),
            ("endpoint", "list-streams", "--endpoint", "host:port:x")):
        err = ctl.fails(2, text, *words)
        assert "\nhint: " in err, err
    silent = socket.create_server(("127.0.0.1", 0))
    ctl.fails(8, "code=TIMEOUT", "list-streams", "--timeout", "200ms", "--endpoint",
              "127.0.0.1:%d" % silent.getsockname()[1])
    code, _, err = ctl.run("list-streams", "--timeout", "200ms", "--endpoint", broker.addresses["http"])
    assert code == 8 and "is that the native port" in err, err
    silent.close()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(DEADLINE_S)
    asking = ctl.start("list-streams", "--endpoint", "127.0.0.1:%d" % server.getsockname()[1])
    web = server.accept()[0]
    web.recv(1)
    web.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    err = asking.communicate(timeout=DEADLINE_S)[1].decode()
    assert "the peer speaks HTTP" in err and "hint: is that the native port" in err, err
    web.close()
    server.close()
    # The hint is about what is missing.
    for words in (["tail", "clicks", "--shard", "7"], ["split-shard", "clicks", "7"],
                  ["get-shard-iterator", "clicks", "--shard-id", "7", "--shard-iterator-type", "LATEST"]):
        assert "hint: kstreamctl list-shards" in ctl.fails(4, "hard", *words)
    assert "list-streams" not in ctl.fails(4, "is no directory", "doctor", "--data-dir", os.path.join(scratch, "nowhere"))
    ctl.fails(2, "'--shards 0': a number from 1 to 10000 is needed", "create-stream", "x", "--shards", "0")
    ctl("increase-stream-retention-period", "clicks", "--hours", "48")
    change = ["increase-stream-retention-period", "clicks", "--hours"]
    assert "168 hours" not in ctl.fails(1, "hours", *change, "24")
    assert "hint: 168 hours" in ctl.fails(1, "hours", *change, "200")
    assert "kstreamctl 0." in ctl("--version")
    broker.stop()


def test_lists_page_by_themselves_and_on_request(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    names = ["s%03d" % i for i in range(230)]
    for name in names:
        client.create_stream(name)
    assert ctl.json("list-streams")["StreamNames"] == names
    page = ctl.json("list-streams", "--max-items", "150")
    assert page["StreamNames"] == names[:150]
    page = ctl.json("list-streams", "--starting-token", page["NextToken"])
    assert page["StreamNames"] == names[150:] and "NextToken" not in page
    broker.stop()


def test_put_keeps_every_byte_and_the_order_of_a_key(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks", "--shards", "4")
    lines = [b"key%d;%d \xff\x00\r" % (i % 7, i) for i in range(5000)] + [b"key0;", b"key1;last"]
    path = os.path.join(scratch, "input")
    with open(path, "wb") as file:
        file.write(b"\n".join(lines))  # the last line has no newline
    summary = ctl.json("put", "clicks", path, "--key-field", "1:;", "--progress", "none")
    assert summary["records"] == len(lines) and summary["failed"] == 0, summary
    assert summary["ack_p50_ms"] > 0 and summary["records_per_second"] > 0
    out = ctl.run("tail", "clicks", "--no-follow", "--format", "%k %d\\n")[1]
    sent, read = collections.defaultdict(list), collections.defaultdict(list)
    for line in lines:
        sent[line.split(b";")[0]].append(line)
    for line in out.split(b"\n")[:-1]:
        key, _, data = line.partition(b" ")
        read[key].append(data)
    assert read == sent
    # The other ways to choose key and data.
    ctl("create-stream", "one")
    ctl("put", "one", "-", "--key", "all", "--progress", "none", data=b"a\n\nb\n")
    ctl("put", "one", "--progress", "none", "-o", "none", data=b"c\nd\n")
    ctl("put", "one", "--key-field", "2", "--data-field", "3", "-q", data=b" x  k3\t rest of it\n")
    read = ctl("tail", "one", "--no-follow", "--format", "%k=%d|")
    assert read == "all=a|all=|all=b|1=c|2=d|k3=rest of it|", read
    broker.stop()


def test_put_lists_the_lines_it_could_not_store(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    data = b"good\tone\nbad\n\tempty key\n" + b"k" * 300 + b"\tlong key\nbig\t" + b"x" * (11 << 20) + b"\ngood\ttwo\n"
    code, out, err = ctl.run("put", "clicks", "--key-field", "1:\\t", "--data-field", "2:\\t", "--progress", "none",
                             data=data)
    summary = json.loads(out)
    assert code == 9 and "4 of 6 lines were not stored" in err and "code=PARTIAL" in err, (code, out, err)
    assert (summary["records"], summary["failed"], summary["maybe_stored"]) == (2, 4, 0)
    assert [failure["line"] for failure in summary["failures"]] == [2, 3, 4, 5], summary
    assert ctl("tail", "clicks", "--no-follow", "-o", "text") == "one\ntwo\n"
    broker.stop()


def test_put_passes_a_line_on_before_the_input_ends(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    put = ctl.start("put", "clicks", "--progress", "none", stdin=subprocess.PIPE)
    put.stdin.write(b"first\nsec")
    put.stdin.flush()
    wait_until(lambda: ctl("tail", "clicks", "--no-follow", "-o", "text") == "first\n", "the first line is stored")
    put.stdin.write(b"ond\n")
    put.stdin.flush()
    wait_until(lambda: ctl("tail", "clicks", "--no-follow", "-o", "text") == "first\nsecond\n", "the second is, too")
    # SIGINT: what was taken is stored, the summary is printed, and the code says what happened.
    put.send_signal(signal.SIGINT)
    out = put.stdout.read()
    assert put.wait(DEADLINE_S) == 130 and json.loads(out)["records"] == 2, out
    broker.stop()


def test_put_and_tail_go_on_after_sigkill_of_the_broker(scratch):
    broker, ctl = begin(scratch)
    port = broker.addresses["native"].rsplit(":", 1)[1]
    ctl("create-stream", "clicks", "--shards", "4")
    tail = ctl.start("tail", "clicks", "--from", "trim-horizon", "-n", "60000", "--format", "%d\\n")
    followed = []
    reader = threading.Thread(target=lambda: followed.extend(tail.stdout.read().split()))
    reader.start()
    put = ctl.start("put", "clicks", "--progress", "json", stdin=subprocess.PIPE)
    numbers = [b"%d" % i for i in range(60000)]
    put.stdin.write(b"\n".join(numbers[:30000]) + b"\n")
    put.stdin.flush()
    events = []
    while not events or events[-1]["records"] < 10000:
        events.append(json.loads(put.stderr.readline()))
    broker.kill()
    while events[-1]["event"] != "waiting":
        events.append(json.loads(put.stderr.readline()))
    assert events[-1]["reason"]
    broker = Broker(scratch, "--listen", "127.0.0.1:" + port)
    rest = threading.Thread(target=lambda: (put.stdin.write(b"\n".join(numbers[30000:])), put.stdin.close()))
    rest.start()
    for line in put.stderr:
        events.append(json.loads(line))
    rest.join()
    summary = json.loads(put.stdout.read())
    assert put.wait(DEADLINE_S) == 0, summary
    assert "resumed" in [event["event"] for event in events]
    assert summary["records"] == 60000 and summary["failed"] == 0 and summary["reconnects"] >= 1, summary
    stored = ctl("tail", "clicks", "--no-follow", "-o", "text").split()
    assert sorted(map(int, stored)) == list(range(60000)), "lost or duplicated"
    reader.join(DEADLINE_S)
    err = tail.stderr.read().decode()
    assert tail.wait(DEADLINE_S) == 0 and sorted(map(int, followed)) == list(range(60000)), err
    broker.stop()


def test_put_refuses_the_bad_line_and_no_other(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    lines = [b"k one", b"\xff\xfe bad key", b"k three", b"k " + b"x" * (2 << 20), b"", b"k six\r", b"k\x00\x01 \xff"]
    code, out, _ = ctl.run("put", "clicks", "--key-field", "1", "--progress", "none", data=b"\n".join(lines) + b"\n")
    summary = json.loads(out)
    assert code == 9 and (summary["records"], summary["failed"]) == (4, 3), summary
    reasons = {failure["line"]: failure["message"] for failure in summary["failures"]}
    assert sorted(reasons) == [2, 4, 5] and "UTF-8" in reasons[2] and "limit is 1048576" in reasons[4], reasons
    stored = ctl.run("tail", "clicks", "--no-follow", "-o", "text")[1]
    assert stored == b"".join(lines[i] + b"\n" for i in (0, 2, 5, 6)), stored
    # Lines of 5 MB and of any bytes, in a stream that takes them.
    ctl("create-stream", "big", "--max-record-size-in-kib", "10240")
    data = b"".join(bytes([65 + i]) * (5 << 20) + b"\xff\x00\r\n" for i in range(4))
    ctl("put", "big", "-q", data=data)
    assert ctl.run("tail", "big", "--no-follow", "-o", "text")[1] == data
    broker.stop()


def test_closed_standard_streams_are_errors(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    for redirect, *words in (("<&-", "put", "clicks", "--progress", "none"), (">&-", "list-streams"),
                             (">&-", "tail", "clicks", "--from", "trim-horizon")):
        if words[0] == "tail":
            ctl("put-record", "clicks", "--partition-key", "k", "--data", "d")
        shell = subprocess.run(["sh", "-c", '"$@" ' + redirect, "sh", KSTREAMCTL, *words], env=ctl.environment,
                               stderr=subprocess.PIPE, stdout=subprocess.PIPE, timeout=DEADLINE_S)
        assert shell.returncode == 1 and b"Bad file descriptor" in shell.stderr, (words, shell)
    broker.stop()


def test_usage_errors_are_json_wherever_output_stands(scratch):
    ctl = Ctl("127.0.0.1:1")
    for words in (["-o", "json", "list-stream"], ["list-stream", "-o", "json"], ["list-streams", "--bad", "--output=json"],
                  ["list-streams", "-o", "json", "--bad"], ["describe-stream", "-o", "json"],
                  ["list-streams", "--query", "a b", "-o", "json"]):
        code, out, err = ctl.run(*words)
        assert code == 2 and out == b"" and json.loads(err)["error"]["code"] == "USAGE", (words, code, err)


def test_records_page_and_iterators_start_where_they_say(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    sequence = [ctl.json("put-record", "clicks", "--partition-key", "k", "--data", "%d" % i)["SequenceNumber"]
                for i in range(3)]
    first = json.loads(ctl("tail", "clicks", "--no-follow", "-n", "1"))["arrival_time"]

    def read(kind, *words):
        at = ctl("get-shard-iterator", "clicks", "--shard-id", "0", "--shard-iterator-type", kind, *words, "--query",
                 "ShardIterator", "-o", "text").strip()
        pages = []
        while not pages or pages[-1]:
            page = ctl.json("get-records", "--shard-iterator", at, "--limit", "2")
            pages.append([base64.b64decode(record["Data"]).decode() for record in page["Records"]])
            at = page["NextShardIterator"]
        return pages[:-1]
    assert read("TRIM_HORIZON") == [["0", "1"], ["2"]] and read("LATEST") == []
    assert read("AT_SEQUENCE_NUMBER", "--starting-sequence-number", sequence[1]) == [["1", "2"]]
    assert read("AFTER_SEQUENCE_NUMBER", "--starting-sequence-number", sequence[1]) == [["2"]]
    assert read("AT_TIMESTAMP", "--timestamp", first) == [["0", "1"], ["2"]]
    assert read("AT_TIMESTAMP", "--timestamp", "-2h") == [["0", "1"], ["2"]] and read("AT_TIMESTAMP", "--timestamp", "now") == []
    broker.stop()


def test_put_gives_up_after_its_time(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    put = ctl.start("put", "clicks", "--retry-seconds", "1", "--progress", "none", stdin=subprocess.PIPE)
    put.stdin.write(b"first\n")
    put.stdin.flush()
    wait_until(lambda: ctl("tail", "clicks", "--no-follow", "-o", "text") == "first\n", "the first line is stored")
    broker.kill()
    put.stdin.write(b"another\n" * 30)
    out, err = put.communicate(timeout=DEADLINE_S)
    summary = json.loads(out)
    assert put.returncode in (7, 8), (put.returncode, err)
    assert (summary["records"], summary["failed"]) == (1, 30) and b"1 record is durable, 30 are not" in err, (out, err)
    # What is the same for all lines is said once.
    failure = summary["failures"][-1]
    assert len(summary["failures"]) < 4 and failure["lines"] > 10 and failure["to_line"] == 31, summary


def test_tail_reads_from_any_place(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks", "--shards", "2")
    puts = [ctl.json("put-record", "clicks", "--partition-key", "k", "--data", "d%d" % i) for i in range(3)]
    shard = puts[0]["ShardId"]
    read = lambda *words: ctl("tail", "clicks", "--no-follow", "--format", "%d ", *words)
    assert read() == "d0 d1 d2 " and read("--from", "latest") == ""
    assert read("--from", puts[1]["SequenceNumber"]) == "d1 d2 "
    assert read("-n", "2") == "d0 d1 " and read("--shard", shard) == "d0 d1 d2 "
    other = "0" if shard.endswith("1") else "1"
    assert read("--shard", other) == ""
    ctl.fails(4, "no shard 7", "tail", "clicks", "--no-follow", "--shard", "7")
    ctl.fails(2, "of shard", "tail", "clicks", "--from", puts[1]["SequenceNumber"], "--shard", other)
    record = json.loads(ctl("tail", "clicks", "--no-follow", "-n", "1"))
    assert record["data"] == "d0" and record["sequence_number"] == puts[0]["SequenceNumber"]
    assert read("--since", record["arrival_time"]) == "d0 d1 d2 " and read("--since", "-1h") == "d0 d1 d2 "
    line = ctl("tail", "clicks", "--no-follow", "-n", "1", "--format", "%t %s %S %k %%\\t%d\\n")
    assert line == "%s %s %s k %%\td0\n" % (record["arrival_time"].replace("Z", "+00:00"), puts[0]["SequenceNumber"],
                                            shard), line
    ctl("put-record", "clicks", "--partition-key", "k", "--data-base64", base64.b64encode(b"\xff\n").decode())
    assert json.loads(ctl("tail", "clicks", "--no-follow").splitlines()[3])["data_base64"] == "/wo="
    broker.stop()


def test_tail_shows_records_of_a_key_and_decodes_them(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks", "--shards", "3")
    packed = gzip.compress(b'{"n": 1}')
    for key, data in (("a", b"plain"), ("b", packed), ("a", b'{"n": 2}'), ("c", b"\xff\x00")):
        path = os.path.join(scratch, "record")
        with open(path, "wb") as file:
            file.write(data)
        ctl("put-record", "clicks", "--key", key, "--data", "fileb://" + path)

    def tail(*words):
        lines = ctl("tail", "clicks", "--no-follow", *words).splitlines()
        return [{name: value for name, value in json.loads(line).items() if name in ("data", "data_base64", "decoded")}
                for line in lines]
    encoded = [base64.b64encode(data).decode() for data in (b"plain", b'{"n": 2}')]
    assert tail("--key", "a") == [{"data": "plain"}, {"data": '{"n": 2}'}]
    assert tail("--key", "a", "-n", "1", "-o", "ndjson") == [{"data": "plain"}]
    assert tail("--key", "a", "--decode", "base64") == [{"data_base64": text} for text in encoded]
    assert tail("--key", "a", "--decode", "json") == [{"data": "plain"}, {"data": {"n": 2}}]
    assert tail("--key", "b") == [{"data": '{"n": 1}', "decoded": "gzip"}]
    assert tail("--key", "b", "--decode", "raw") == [{"data_base64": base64.b64encode(packed).decode()}]
    assert tail("--key", "b", "--decode", "json") == [{"data": {"n": 1}, "decoded": "gzip"}]
    assert tail("--key", "b", "--decode", "json", "--query", "{data: data.n}") == [{"data": 1}]
    assert tail("--key", "c") == [{"data_base64": "/wA="}]
    assert tail("--key", "none") == []
    # Bytes that go on are what they are, unless something else is asked for.
    assert ctl.run("tail", "clicks", "--no-follow", "-k", "b", "-o", "text")[1] == packed + b"\n"
    assert ctl("tail", "clicks", "--no-follow", "-k", "b", "-o", "text", "--decode", "auto") == '{"n": 1}\n'
    assert ctl("tail", "clicks", "--no-follow", "-k", "c", "--format", "%d", "--decode", "base64") == "/wA="
    code, out, err = ctl.run("tail", "clicks", "--no-follow", "-k", "a", "--decode", "gzip", "--format", "%d;")
    assert code == 9 and out == b'plain;{"n": 2};' and "2 records are no gzip" in err, (code, out, err)
    assert ctl("tail", "clicks", "--no-follow", "-k", "b", "--decode", "gzip", "--format", "%d") == '{"n": 1}'
    csv = ctl("tail", "clicks", "--no-follow", "-k", "c", "-o", "csv", "--columns", "partition_key,data,data_base64")
    assert csv == "partition_key,data,data_base64\nc,,/wA=\n", csv
    ctl.fails(2, "'--sort-by'", "tail", "clicks", "--no-follow", "-o", "csv", "--sort-by", "data")
    broker.stop()


def test_tail_follows_until_it_is_stopped_or_nobody_reads(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks", "--shards", "3")
    ctl("put-record", "clicks", "--partition-key", "a", "--data", "before")
    tail = ctl.start("tail", "clicks", "--from", "trim-horizon", "-o", "text")
    assert tail.stdout.readline() == b"before\n"
    for i in range(5):
        ctl("put-record", "clicks", "--partition-key", "k%d" % i, "--data", "after %d" % i)
        assert tail.stdout.readline() == b"after %d\n" % i
    tail.send_signal(signal.SIGINT)
    assert tail.wait(DEADLINE_S) == 130 and tail.stdout.read() == b"" and tail.stderr.read() == b""
    # A reader that has gone: quiet, whether records come or not.
    for words in (("--from", "trim-horizon"), ("--from", "latest")):
        tail = ctl.start("tail", "clicks", *words)
        tail.stdout.close()
        assert tail.wait(DEADLINE_S) == 0 and tail.stderr.read() == b""
    broker.stop()


def test_results_that_cannot_be_written_are_errors(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    ctl("put-record", "clicks", "--partition-key", "a", "--data", "x")
    with open("/dev/full", "wb") as full:
        for words in (["list-streams"], ["tail", "clicks", "--no-follow"],
                      ["get-records", "--shard-iterator", iterator(ctl), "-o", "text"]):
            process = ctl.start(*words, stdout=full)
            assert process.wait(DEADLINE_S) == 1 and b"No space left" in process.stderr.read(), words
    broker.stop()


def progress_on_terminal(ctl, broker, term):
    """What put shows on a terminal of 50 columns until it gives a killed broker up."""
    import fcntl, termios
    terminal, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    ctl.environment["TERM"] = term
    put = ctl.start("put", "clicks", "--retry-seconds", "1", "-o", "none", stdin=subprocess.PIPE, stderr=slave)
    os.close(slave)
    put.stdin.write(b"line\n")
    put.stdin.flush()
    shown = b""
    if term != "dumb":  # plain has nothing to say for 10 seconds
        while b"1 records" not in shown:
            shown += os.read(terminal, 65536)
    else:
        wait_until(lambda: ctl("tail", "clicks", "--no-follow", "-o", "text") == "line\n", "the line is stored")
    broker.kill()
    put.stdin.write(b"another\n")
    put.stdin.close()
    try:
        while True:
            shown += os.read(terminal, 65536)
    except OSError:
        pass
    os.close(terminal)
    assert put.wait(DEADLINE_S) in (7, 8), shown
    return shown.decode()


def test_a_bar_stays_on_its_line_and_needs_a_terminal_that_can(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    pictures = progress_on_terminal(ctl, broker, "xterm").split("\r\033[K")
    assert pictures[0] == "" and "(code=" in pictures[-1], pictures
    bars = pictures[1:-1]
    assert any("waiting for" in bar for bar in bars), bars
    assert all(len(bar) < 50 and "\n" not in bar for bar in bars), bars
    broker = Broker(scratch, data_dir=os.path.join(scratch, "other"))
    ctl = Ctl(broker.addresses["native"])
    ctl("create-stream", "clicks")
    shown = progress_on_terminal(ctl, broker, "dumb")
    assert "\033" not in shown and "waiting for the broker" in shown, shown


def test_put_accounts_for_the_lines_before_a_read_error(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    # A terminal whose other end hangs up: reading gives a line, then EIO.
    terminal, slave = pty.openpty()
    put = ctl.start("put", "clicks", "--progress", "none", stdin=slave)
    os.close(slave)
    os.write(terminal, b"a line\n")
    wait_until(lambda: ctl("tail", "clicks", "--no-follow", "-o", "text") == "a line\n", "the line is stored")
    os.close(terminal)
    out, err = put.communicate(timeout=DEADLINE_S)
    assert json.loads(out)["records"] == 1, (out, err)
    assert put.returncode == 0 and err == b"" or put.returncode == 1 and b"cannot read the input" in err, err
    process = ctl.start("put", "clicks", "/proc/self/mem", "--progress", "none")
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1 and b"cannot read the input" in err and json.loads(out)["records"] == 0, (out, err)
    broker.stop()


def test_tail_shows_a_terminal_nothing_that_could_upset_it(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    ctl("put-record", "clicks", "--partition-key", "k\033[2J", "--data", "d\033[2J")
    code, shown = on_terminal(ctl, "tail", "clicks", "--no-follow")
    assert code == 0 and "\033" not in shown and "k\\x1b[2J" in shown, shown
    assert "base64:" + base64.b64encode(b"d\033[2J").decode() in shown, shown
    broker.stop()


def test_on_a_terminal_results_are_tables_and_deleting_asks(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    code, shown = on_terminal(ctl, "list-streams")
    assert code == 0 and re.sub(r"\033\[[0-9;]*m", "", shown).split()[:2] == ["StreamName", "StreamARN"], shown
    assert "\033[1mStreamName" in shown and "\033[32mACTIVE" in shown, shown
    code, shown = on_terminal(ctl, "put", "clicks", os.path.abspath(__file__))
    assert code == 0 and "records" in shown and "{" not in shown, shown
    ctl.fails(2, "--yes", "delete-stream", "--stream-name", "clicks")
    code, shown = on_terminal(ctl, "delete-stream", "clicks", typed=b"other\n")
    assert code == 2 and "Type the name" in shown and "nothing has changed" in shown, shown
    assert "clicks" in ctl("list-streams")
    code, shown = on_terminal(ctl, "delete-stream", "clicks", typed=b"clicks\n")
    assert code == 0 and "DELETING" in shown, shown
    assert ctl.json("list-streams")["StreamNames"] == []
    broker.stop()


run_tests(test_the_users_own_lines_work_word_for_word,
          test_errors_have_a_form_a_hint_and_a_code, test_lists_page_by_themselves_and_on_request,
          test_put_keeps_every_byte_and_the_order_of_a_key, test_put_lists_the_lines_it_could_not_store,
          test_put_passes_a_line_on_before_the_input_ends, test_put_refuses_the_bad_line_and_no_other,
          test_closed_standard_streams_are_errors, test_usage_errors_are_json_wherever_output_stands,
          test_records_page_and_iterators_start_where_they_say,
          test_put_and_tail_go_on_after_sigkill_of_the_broker,
          test_put_gives_up_after_its_time, test_tail_reads_from_any_place,
          test_tail_shows_records_of_a_key_and_decodes_them,
          test_tail_follows_until_it_is_stopped_or_nobody_reads, test_results_that_cannot_be_written_are_errors,
          test_a_bar_stays_on_its_line_and_needs_a_terminal_that_can,
          test_put_accounts_for_the_lines_before_a_read_error, test_tail_shows_a_terminal_nothing_that_could_upset_it,
          test_on_a_terminal_results_are_tables_and_deleting_asks)
