"""libkstream on its bad days: eight producers and a reader through kills, stalls and reshards of the broker; the checker:
acknowledged is stored where it was said to be, nothing is stored twice, each key is in order, and what is read is what is
stored."""
import subprocess
from reshard_test import *

PRODUCERS = os.environ["PRODUCERS"]
OK = 0


class Producers:
    def __init__(self, scratch, endpoint, count=8, records_max=20000, memory_bytes=1 << 20, close_ms=60000):
        self.folder = os.path.join(scratch, "producers")
        os.mkdir(self.folder)
        self.count = count
        self.process = subprocess.Popen(
            [PRODUCERS, endpoint, "clicks", self.folder, str(count), str(records_max), str(memory_bytes), str(close_ms)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ask(self):
        """How many records are acknowledged, how many puts found no room."""
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return tuple(map(int, line.split()))

    def acknowledged(self):
        return self.ask()[0]

    def wait_full(self):
        target = self.ask()[1] + 10 * self.count
        wait_until(lambda: self.ask()[1] >= target, "the producers are full")

    def wait_progress(self, records):
        target = self.acknowledged() + records
        wait_until(lambda: self.acknowledged() >= target, "%d records are acknowledged" % target)

    def end(self):
        """[{taken, full, failed, left, close_ms}] of each producer."""
        out, err = self.process.communicate(timeout=4 * DEADLINE_S)
        assert self.process.returncode == 0 and not err, err
        return [dict((key, int(value)) for key, value in (pair.split("=") for pair in line.split())) for line in out.splitlines()]

    def acks(self):
        """{(producer, number): (shard, ordinal, status, is unknown)}"""
        found = {}
        for producer in range(self.count):
            with open(os.path.join(self.folder, "acks-%d" % producer)) as lines:
                for line in lines:
                    number, _, shard, ordinal, status, unknown = map(int, line.split())
                    assert (producer, number) not in found, "acknowledged twice"
                    found[producer, number] = (shard, ordinal, status, unknown)
        return found

    def read(self):
        with open(os.path.join(self.folder, "read")) as lines:
            rows = [line.rstrip("\n").split(" ", 2) for line in lines]
        return [(int(shard.split("-")[1]), int(ordinal), data) for shard, ordinal, data in rows]


def check(producers, client):
    """Compares acknowledgements, what an independent client finds, and what the library's reader read."""
    acks = producers.acks()
    stored = [(shard, sequence, data.decode()) for shard, sequence, _, data in read_lineage(client, "clicks")]
    by_record, last = {}, {}
    for shard, sequence, data in sorted(stored):
        producer, key, number = map(int, data.split())
        assert (producer, number) not in by_record, "stored twice: %s" % data
        by_record[producer, number] = (shard, sequence)
        before = last.get((producer, key), -1)
        assert number > before, "key %d of producer %d: %d behind %d" % (key, producer, number, before)
        last[producer, key] = number
    for record, (shard, ordinal, status, unknown) in acks.items():
        if status == OK:
            assert by_record.get(record) == (shard, ordinal), "%s acknowledged as %s, stored as %s" % (
                record, (shard, ordinal), by_record.get(record))
        elif not unknown:
            assert record not in by_record, "%s is said not to be stored" % (record,)
    assert set(by_record) <= set(acks), "stored and never taken"
    rows = producers.read()
    assert len(set(rows)) == len(rows), "read twice"
    assert set(rows) <= set(stored), "read and not stored"
    seen = {}
    for shard, ordinal, data in rows:
        producer, key, number = map(int, data.split())
        before = seen.get((producer, key), -1)
        assert number > before, "the reader gave %d behind %d" % (number, before)
        seen[producer, key] = number
    return acks, stored, rows


class PatientResharder(Resharder):
    """After a kill the broker goes on with the change that was under way, which may begin between a look and a request."""

    def change(self, is_open):
        try:
            super().change(is_open)
        except Refused as error:
            if not error.is_("KS_IN_USE"):
                raise


def endpoint_of(broker):
    return broker.addresses["native"], ("--listen", broker.addresses["native"], "--http", broker.addresses["http"])


def test_eight_producers_through_kills(scratch):
    broker = Broker(scratch)
    broker.client().create_stream("clicks", 4)
    endpoint, flags = endpoint_of(broker)
    producers = Producers(scratch, endpoint)
    for _ in range(4):
        producers.wait_progress(2000)
        broker.kill()
        broker = Broker(scratch, *flags)
    producers.wait_progress(2000)
    results = producers.end()
    assert all(row["failed"] == 0 and row["left"] == 0 for row in results), results
    acks, stored, rows = check(producers, broker.client())
    assert len(acks) == len(stored) == len(rows) == sum(row["taken"] for row in results)
    broker.stop()


def test_eight_producers_through_reshards_and_kills(scratch):
    broker = Broker(scratch)
    broker.client().create_stream("clicks", 2)
    endpoint, flags = endpoint_of(broker)
    producers = Producers(scratch, endpoint)
    resharder = PatientResharder(broker, "clicks", seed=3)
    resharder.start()
    for turn in range(3):
        target = resharder.changes + 8
        producers.wait_progress(1000)
        wait_until(lambda: resharder.changes >= target or resharder.failure, "%d reshards" % target)
        if turn < 2:
            broker.kill()
            resharder.broker = broker = Broker(scratch, *flags)
    resharder.end()
    results = producers.end()
    assert all(row["failed"] == 0 and row["left"] == 0 for row in results), results
    client = broker.client()
    wait_until(lambda: status_of(client, "clicks") == "ACTIVE", "the last reshard has ended")
    acks, stored, rows = check(producers, client)
    assert len(acks) == len(stored) == len(rows)
    print("      %d reshards, %d records" % (resharder.changes, len(stored)))
    broker.stop()


def test_a_stalled_broker_fills_the_producers_and_no_more(scratch):
    """SIGSTOP: connections stay open and nothing is answered. Memory stays within its limit, puts say so, and all of it is
    stored afterwards."""
    broker = Broker(scratch)
    broker.client().create_stream("clicks", 2)
    producers = Producers(scratch, endpoint_of(broker)[0], count=4, memory_bytes=100000)
    producers.wait_progress(500)
    broker.process.send_signal(signal.SIGSTOP)
    producers.wait_full()
    with open("/proc/%d/status" % producers.process.pid) as status:
        rss_kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    broker.process.send_signal(signal.SIGCONT)
    producers.wait_progress(500)
    results = producers.end()
    assert all(row["failed"] == 0 and row["left"] == 0 for row in results), results
    assert rss_kib < 100 * 1024 or os.environ["SANITIZE"] != "none", "%d KiB" % rss_kib
    check(producers, broker.client())
    broker.stop()


def test_closing_while_the_broker_is_gone_takes_its_time_and_no_more(scratch):
    broker = Broker(scratch)
    broker.client().create_stream("clicks", 2)
    endpoint, flags = endpoint_of(broker)
    producers = Producers(scratch, endpoint, memory_bytes=20000, close_ms=500)
    producers.wait_progress(500)
    broker.kill()
    producers.wait_full()
    results = producers.end()
    for row in results:
        # Full of records that nobody takes; close gives up in time and says how many are left.
        assert row["left"] > 0 and row["failed"] == row["left"], row
        assert row["close_ms"] < 1000 * DEADLINE_S, row
    broker = Broker(scratch, *flags)
    check(producers, broker.client())
    broker.stop()


def test_closing_while_the_broker_is_stalled(scratch):
    broker = Broker(scratch)
    broker.client().create_stream("clicks", 2)
    producers = Producers(scratch, endpoint_of(broker)[0], count=4, memory_bytes=20000, close_ms=500)
    producers.wait_progress(500)
    broker.process.send_signal(signal.SIGSTOP)
    producers.wait_full()
    results = producers.end()
    assert all(row["left"] > 0 and row["failed"] == row["left"] for row in results), results
    broker.process.send_signal(signal.SIGCONT)
    check(producers, broker.client())
    broker.stop()


if __name__ == "__main__":
    run_tests(test_eight_producers_through_kills, test_eight_producers_through_reshards_and_kills,
              test_a_stalled_broker_fills_the_producers_and_no_more,
              test_closing_while_the_broker_is_gone_takes_its_time_and_no_more, test_closing_while_the_broker_is_stalled)
