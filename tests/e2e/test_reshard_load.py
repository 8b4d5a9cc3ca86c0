"""Reshards under load: producers of both kinds and a reader go on through splits, merges and kills; compared per key."""
import subprocess
from reshard_test import *

PUT = os.environ["EXAMPLES"] + "/kstream-example-producer"
CHANGES = 20  # between two kills
KILLS = 3


class LibraryWriter:
    """libkstream's producer, fed with lines until it is told to end."""

    def __init__(self, endpoint, stream, name, keys=10):
        self.process = subprocess.Popen([PUT, stream, endpoint], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.keys, self.sent, self.pace = ["%s-%d" % (name, i) for i in range(keys)], {}, threading.Event()
        self.feeder = threading.Thread(target=self.feed, daemon=True)
        self.feeder.start()

    def feed(self):
        number = 0
        try:
            while not self.pace.is_set():
                number += 1
                # A pipe takes 64 KiB, then this waits for the producer.
                self.process.stdin.write("".join("%s %d\n" % (key, number) for key in self.keys).encode())
                self.process.stdin.flush()
                self.sent = dict.fromkeys(self.keys, number)
                self.pace.wait(0.002)  # a load that Python can check afterwards
            self.process.stdin.close()
        except OSError:
            pass  # its exit status tells

    def end(self):
        self.pace.set()
        self.feeder.join(DEADLINE_S)
        said = self.process.stderr.read().decode()
        assert self.process.wait(DEADLINE_S) == 0, said
        assert " 0 failed" in said, said
        # All of it is durable: nothing may be missing.
        return self.sent, {key: set(range(1, count + 1)) for key, count in self.sent.items()}


def run_load(scratch, kills):
    broker = Broker(scratch)
    broker.client().create_stream("clicks", 2)
    addresses = ("--listen", broker.addresses["native"], "--http", broker.addresses["http"])
    libraries = [LibraryWriter(broker.addresses["native"], "clicks", "lib%d" % i) for i in range(2)]
    writers = [PlainWriter(broker, "clicks", "plain%d" % i) for i in range(2)]
    reader, resharder = LineageReader(broker, "clicks"), Resharder(broker, "clicks", seed=kills)
    workers = writers + [reader, resharder]
    for worker in workers:
        worker.start()
    for kill in range(kills + 1):
        target = resharder.changes + CHANGES
        wait_until(lambda: resharder.changes >= target or any(worker.failure for worker in workers), "%d reshards" % target)
        assert not any(worker.failure for worker in workers)
        if kill < kills:
            broker.kill()
            broker = Broker(scratch, *addresses)
            for worker in workers:
                worker.broker = broker
    resharder.end()
    sent, acknowledged = {}, {}
    for writer in writers:
        writer.end()
        sent.update(writer.sent)
        acknowledged.update(writer.acknowledged)
    for library in libraries:
        library_sent, library_acknowledged = library.end()
        sent.update(library_sent)
        acknowledged.update(library_acknowledged)
    assert all(acknowledged.values()), "a key was never stored"
    client = broker.client()
    wait_until(lambda: status_of(client, "clicks") == "ACTIVE", "the last reshard has ended")
    records = read_lineage(client, "clicks")
    check_per_key(records, acknowledged, sent)
    wait_until(lambda: len(reader.records) >= len(records) or reader.failure, "the reader has caught up")
    reader.end()
    # It saw each shard whole, and each key in order, although it read while all that happened.
    check_per_key(reader.records, acknowledged, sent)
    assert sorted(reader.records) == sorted(records)
    print("      %d reshards, %d shards, %d records" % (resharder.changes, len(shards_of(client, "clicks")), len(records)))
    broker.stop()


def test_no_put_fails_and_order_holds(scratch):
    run_load(scratch, 0)


def test_kills_lose_nothing_and_reshards_are_finished(scratch):
    run_load(scratch, KILLS)


if __name__ == "__main__":
    run_tests(test_no_put_fails_and_order_holds, test_kills_lose_nothing_and_reshards_are_finished)
