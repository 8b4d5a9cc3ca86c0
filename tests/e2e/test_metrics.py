"""/metrics: the figures are right, every one of them moves, the series are bounded, and Prometheus has no complaint."""
import re, threading
from kstream_test import *
from reshard_test import MIDDLE, split
from test_clock import DAY, HOUR, Machine
from test_routed import Router, part
from test_service import hold_thread, let_thread_go, thread_of

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MIB = 1 << 20


def families_of_table():
    with open(os.path.join(ROOT, "daemon", "metrics.def")) as file:
        rows = re.findall(r'^KS_METRIC\(\w+, (\w+), "(\w+)"', file.read(), re.M)
    return {name: kind.lower() for kind, name in rows}


class Figures(dict):
    """{(name, labels): value}, and what the text says of the families."""

    def __init__(self, text_):
        super().__init__()
        self.text = text_
        self.types, self.helps = {}, {}
        for line in text_.splitlines():
            if line.startswith("# HELP "):
                name, help_ = line[7:].split(" ", 1)
                assert name not in self.helps, "twice: " + name
                self.helps[name] = help_
            elif line.startswith("# TYPE "):
                name, kind = line[7:].split(" ")
                self.types[name] = kind
            else:
                name, labels, value = re.fullmatch(r'(\w+)(?:\{(.*)\})? (\S+)', line).groups()
                assert (name, labels or "") not in self, "twice: " + line
                self[name, labels or ""] = float(value)

    def family(self, name):
        """Samples of the family, those of a histogram by their counts."""
        if self.types.get(name) == "histogram":
            name += "_count"
        return {labels: value for (each, labels), value in self.items() if each == name}

    def one(self, name, labels=""):
        return self[name, labels]


def scrape(broker):
    code, text_ = broker.http("/metrics")
    assert code == 200, (code, text_)
    return Figures(text_)


def promtool(text_):
    tool = shutil.which("promtool")
    if not tool:
        raise Skip("needs promtool (package prometheus)")
    checked = subprocess.run([tool, "check", "metrics"], input=text_, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=DEADLINE_S)
    assert checked.returncode == 0 and not checked.stdout, checked.stdout


def test_figures_are_exact(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("a", 2)
    client.create_stream("b")
    client.put("a", [("k%d" % i, b"x" * 100) for i in range(50)])
    client.put("b", [("k", b"y")])
    client.read_all("a", 2)
    for _ in range(3):
        try:
            client.iterator("nowhere")
        except Refused as error:
            assert error.is_("KS_NOT_FOUND")
    figures = scrape(broker)
    assert figures.one("kstream_incoming_records_total", 'stream="a"') == 50
    assert figures.one("kstream_incoming_records_total", 'stream="b"') == 1
    assert figures.one("kstream_outgoing_records_total", 'stream="a"') == 50
    assert figures.one("kstream_outgoing_records_total", 'stream="b"') == 0
    stored = sum(len(encode_record("k%d" % i, b"x" * 100)) for i in range(50))
    assert figures.one("kstream_incoming_bytes_total", 'stream="a"') == stored
    assert figures.one("kstream_outgoing_bytes_total", 'stream="a"') > stored  # with batch headers
    assert figures.one("kstream_requests_total", 'operation="PutRecords"') == 2
    assert figures.one("kstream_requests_total", 'operation="CreateStream"') == 2
    assert figures.one("kstream_requests_total", 'operation="DeleteStream"') == 0
    assert figures.one("kstream_request_errors_total", 'status="KS_NOT_FOUND"') == 3
    assert figures.one("kstream_request_duration_seconds_count", 'class="put"') == 2
    for stage in ("queue", "write", "fsync"):
        # Two shards of a, one of b: a batch each.
        assert figures.one("kstream_put_duration_seconds_count", 'stage="%s"' % stage) == 3, stage
    assert figures.one("kstream_put_duration_seconds_count", 'stage="ack"') == 2
    assert figures.one("kstream_fsync_duration_seconds_count", 'file="journal"') == \
        figures.one("kstream_journal_blocks_total")
    assert figures.one("kstream_journal_batches_total") == 3
    assert figures.one("kstream_streams") == 2 and figures.one("kstream_open_shards") == 3
    assert figures.one("kstream_connections") == 1 and figures.one("kstream_ready") == 1
    assert figures.one("kstream_events_total", 'event="daemon.ready",level="info"') == 1
    assert abs(figures.one("process_start_time_seconds") - time.time()) < 600
    assert abs(figures.one("process_resident_memory_bytes") - broker.rss_bytes()) < 64 * MIB
    with open("/proc/%d/limits" % broker.process.pid) as file:
        limit = next(int(line.split()[3]) for line in file if line.startswith("Max open files"))
    assert figures.one("process_max_fds") == limit
    assert figures.one("process_open_fds") >= 10
    for name in ("kstream_put_duration_seconds", "kstream_fsync_duration_seconds", "kstream_request_duration_seconds"):
        check_histogram(figures, name)
    client.call(DELETE, (1, "b"))
    assert 'stream="b"' not in scrape(broker).text
    broker.stop()


def check_histogram(figures, name):
    """Buckets rise with their ends, the last is the count, and the sum lies between what they allow."""
    series = {}
    for (each, labels), value in figures.items():
        if each == name + "_bucket":
            label, end = re.fullmatch(r'(.*),le="(.*)"', labels).groups()
            series.setdefault(label, []).append((float(end), value))
    assert series, name
    for label, buckets in series.items():
        assert buckets == sorted(buckets) and buckets[-1][0] == float("inf"), (label, buckets)
        values = [value for _, value in buckets]
        assert values == sorted(values) and values[-1] == figures.one(name + "_count", label), (label, buckets)
        least = most = 0
        for (low, before), (high, value) in zip([(0, 0)] + buckets, buckets):
            least += (value - before) * low
            most += (value - before) * high
        assert least <= figures.one(name + "_sum", label) + 1e-6 and \
            (most != most or figures.one(name + "_sum", label) <= most + 1e-6), (label, buckets)


def test_prometheus_has_no_complaint(scratch):
    broker = Broker(scratch)
    client = broker.client()
    for name in ("a", "with.dots_and-dashes"):
        client.create_stream(name)
        client.put(name, [("k", b"v")])
    figures = scrape(broker)
    promtool(figures.text)
    table = families_of_table()
    assert figures.types == table, "the table and the text differ: %s" % (set(figures.types.items()) ^ set(table.items()))
    assert list(figures.types) == list(table), "the text is not in the order of the table"
    broker.stop()


def test_series_are_bounded(scratch):
    broker = Broker(scratch, "--metrics-streams", "3", "--loops", "2")
    clients = [broker.client(), broker.client()]
    for n in range(10):
        clients[0].create_stream("s%d" % n)
        for client in clients:
            client.put("s%d" % n, [("k", b"v")] * (n + 1))
    figures = scrape(broker).family("kstream_incoming_records_total")
    assert len(figures) == 4, figures
    assert sum(figures.values()) == 2 * sum(range(1, 11)), figures
    assert all(figures['stream="s%d"' % n] == 2 * (n + 1) for n in range(3)), figures
    assert figures['stream="(others)"'] == 2 * sum(range(4, 11)), figures
    broker.stop()


def test_scrapes_at_any_moment_do_no_harm(scratch):
    """While it starts, serves, reloads, and stops under the scraper's hands."""
    for round_ in range(3):
        broker = Broker(scratch)
        over, seen = threading.Event(), []

        def scrape_on():
            while not over.is_set():
                try:
                    seen.append(scrape(broker).one("kstream_ready"))
                except (OSError, urllib.error.URLError):
                    if broker.process.poll() is not None:
                        return
        scrapers = [threading.Thread(target=scrape_on) for _ in range(2)]
        for scraper in scrapers:
            scraper.start()
        client = broker.client()
        if round_ == 0:
            client.create_stream("s", 4)
        for n in range(50):
            client.put("s", [("k%d" % i, b"v" * 100) for i in range(100)])
        wait_until(lambda: len(seen) >= 10, "it was scraped")
        broker.stop()
        over.set()
        for scraper in scrapers:
            scraper.join()
        assert 1 in seen


# ---- every family moves ----

class Seen:
    """Families of which some sample was not zero."""

    def __init__(self):
        self.moved = set()

    def look(self, broker, *expected):
        def all_moved():
            figures = scrape(broker)
            self.moved |= {name for name in figures.types if any(figures.family(name).values())}
            return not [name for name in expected if not any(figures.family(name).values())]
        wait_until(all_moved, "these are not zero: %s" % (expected,))


def fill(client, name, mebibytes):
    for n in range(mebibytes):
        client.put_patiently(name, [("k", os.urandom(512 * 1024)), ("k", os.urandom(512 * 1024 - 200))])


def segment_files(broker):
    for path, _, names in os.walk(os.path.join(broker.data_dir, "segments")):
        for name in names:
            yield os.path.join(path, name)


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def see_traffic_and_limits(seen, scratch):
    broker = Broker(scratch, "--connections", "3")
    client = broker.client()
    client.create_stream("s")
    router = Router(client, "s")
    for _ in range(2):
        router.put(part(0, [encode_record("k", b"v")], producer=7, sequence=1, first=True))
    try:
        client.iterator("nowhere")
    except Refused:
        pass
    reader = broker.client()
    at = reader.iterator("s", kind="LATEST")
    reader.send(GET_RECORDS, encode((1, at), (6, 20000)))
    client.read_all("s")
    third, fourth = broker.connect(), broker.connect()
    assert fourth.recv(1) == b""
    seen.look(broker, "kstream_duplicate_batches_total", "kstream_request_errors_total", "kstream_parked_reads",
              "kstream_connections_refused_total", "kstream_outgoing_bytes_total")
    third.close()
    broker.stop()


def see_full_journal(seen, scratch):
    broker = Broker(scratch, "--journal-bytes", "8MiB", "--journal-file-bytes", "4MiB")
    client = broker.client()
    client.create_stream("s")
    tid = thread_of(broker.process, "ks-commit")
    hold_thread(tid)
    for _ in range(12):
        client.send(PUT_RECORDS, encode((1, encode((1, b"x" * 900000), (3, "k"))), (2, "s")))
    seen.look(broker, "kstream_throttled_records_total", "kstream_journal_used_ratio", "kstream_memory_bytes")
    let_thread_go(tid)
    for _ in range(12):
        client.receive()
    broker.stop()


def see_segments(seen, scratch):
    flags = ("--segment-bytes", "16MiB", "--flush-bytes", "4MiB", "--flush-age", "100ms", "--scrub-interval", "1s",
             "--scrub-rate", "1GiB")
    broker = Broker(scratch, *flags)
    client = broker.client()
    client.create_stream("s")
    fill(client, "s", 8)
    early_ms = int(time.time() * 1000)
    fill(client, "s", 32)
    seen.look(broker, "kstream_flushed_bytes_total", "kstream_segments_sealed_total", "kstream_index_entries_total",
              "kstream_scrubbed_segments_total")
    # Sealed ones are cut to what is in them: all but the newest. A record of one is damaged; the scrubber finds it.
    sealed = sorted((path for path in segment_files(broker) if os.path.getsize(path) > 8 * MIB), key=os.path.getmtime)
    flip(sealed[0], 5 * MIB)
    seen.look(broker, "kstream_checksum_errors_total")
    client.get(client.iterator("s", kind="AT_TIMESTAMP", unix_ms=early_ms))
    seen.look(broker, "kstream_index_lookups_total")
    broker.kill()
    # Without an index, and with footers that cannot be read, segments are read over to find a place in them.
    shutil.rmtree(os.path.join(broker.data_dir, "index"))
    for path in sealed:
        flip(path, os.path.getsize(path) - 20)
    broker = Broker(scratch, *flags)
    client = broker.client()
    client.get(client.iterator("s", kind="AT_TIMESTAMP", unix_ms=early_ms))
    seen.look(broker, "kstream_index_rebuilds_total")
    client.call(DELETE, (1, "s"))
    client.create_stream("t")
    fill(client, "t", 8)
    seen.look(broker, "kstream_segments_retired_total", "kstream_retired_bytes_total", "kstream_retired_records_total",
              "kstream_files_pooled_total", "kstream_files_recycled_total")
    broker.stop()


def see_delayed_reads(seen, scratch):
    broker = Broker(scratch, "--flush-age", "1ms")
    client = broker.client()
    client.create_stream("s")
    fill(client, "s", 4)
    broker.stop()
    for path in segment_files(broker):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    broker = Broker(scratch, "--in-flight", "1MiB")
    client = broker.client()
    at = client.iterator("s")
    requests = b"".join(frame(100 + n, GET_RECORDS, encode((1, at))) for n in range(8))
    client.connection.sendall(requests)  # at once: the first has promised an answer before the second is looked at
    for _ in range(8):
        client.receive()
    seen.look(broker, "kstream_delayed_reads_total")
    broker.stop()


def see_compactor(seen, scratch):
    machine = Machine(scratch, "all")
    broker = machine.start("--flush-age", "1ms", "--segment-bytes", "16MiB", "--scrub-interval", "1ms", "--write-timeout",
                           "1h")
    client = broker.client()
    client.create_stream("s")
    client.create_stream("kept")
    split(client, "s", 0, MIDDLE)
    client.put("s", [("k", b"old one")])
    wait_until(lambda: any(b"old one" in open(path, "rb").read(8192) for path in segment_files(broker)), "it is flushed")
    client.call(DELETE, (1, "kept"), (100, 1))
    machine.set(25 * HOUR)
    client = broker.client()
    client.call(COMPACT)
    seen.look(broker, "kstream_streams_purged_total", "kstream_shards_removed_total", "kstream_compactor_run_records",
              "kstream_compactor_run_segments", "kstream_compactor_run_bytes", "kstream_compactor_run_end_timestamp_seconds",
              "kstream_compactor_run_start_timestamp_seconds")
    client.create_stream("t")
    fill(client, "t", 24)
    wait_until(lambda: scrape(broker).one("kstream_segments_sealed_total") >= 1, "a segment is full")
    slow = broker.client()
    at = slow.iterator("t")
    for _ in range(3):  # more than the sockets take
        slow.send(GET_RECORDS, encode((1, at)))
    seen.look(broker, "kstream_scrub_passes_total", "kstream_scrub_pass_end_timestamp_seconds")
    client.call(DELETE, (1, "t"))
    seen.look(broker, "kstream_held_segments", "kstream_held_bytes")
    broker.kill()


def see_clock(seen, scratch):
    machine = Machine(scratch, "wall")
    broker = machine.start("--clock-adopt-after", "2s")
    machine.set(8 * DAY)
    seen.look(broker, "kstream_clock_difference_seconds")
    broker.wait_logged("clock.retention_held")
    figures = scrape(broker)
    if "clock.retention_released" not in broker.log():
        assert abs(figures.one("kstream_retention_behind_seconds") - 8 * DAY) < 600, figures.text
    seen.look(broker)
    broker.stop()


def test_every_family_moves(scratch):
    """A metric that nothing increments would be an alert that never comes."""
    seen = Seen()
    for scene in (see_traffic_and_limits, see_full_journal, see_segments, see_delayed_reads, see_compactor, see_clock):
        folder = os.path.join(scratch, scene.__name__)
        os.mkdir(folder)
        scene(seen, folder)
    still = sorted(set(families_of_table()) - seen.moved)
    assert not still or still == ["kstream_retention_behind_seconds"], "nothing has moved these: %s" % still


if __name__ == "__main__":
    run_tests(test_figures_are_exact, test_prometheus_has_no_complaint, test_series_are_bounded,
              test_scrapes_at_any_moment_do_no_harm, test_every_family_moves)
