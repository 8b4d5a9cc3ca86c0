"""The power goes while kstreamd changes its disk: after each cut every acknowledged record is there, in order, once.

power_cut.c, preloaded, takes back a random part of what no sync has covered at the n-th change of the data directory, and kills
the process. Starts are cut as well. KSTREAM_POWER_CUTS says how many cuts (default 30), KS_SIM_SEED which; both are printed.
"""
import random, threading
from kstream_test import *

CUTS = int(os.environ.get("KSTREAM_POWER_CUTS", "30"))
SEED = int(os.environ.get("KS_SIM_SEED", str(random.SystemRandom().randrange(1 << 32))))
CUTS_A_DIRECTORY = 10
SHARDS = 3
# Small files and early flushes, so that rolls, flushes, recycled files and the index are under way at every moment.
SMALL = ["--journal-bytes", "8MiB", "--journal-file-bytes", "4MiB", "--segment-bytes", "16MiB", "--flush-bytes", "1MiB", "--flush-age",
         "30ms"]


class Ledger:
    """What was sent, and what the broker said to it."""

    def __init__(self):
        self.sent = set()
        self.stored = {shard: {} for shard in range(SHARDS)}  # {sequence: data} as acknowledged, or as once read
        self.streams = {"s": True}  # name: whether it must exist; None: the call was not answered

    def hold(self, shard, sequence, data):
        former = self.stored[shard].setdefault(sequence, data)
        assert former == data, "shard %d: sequence %d is %r, was %r" % (shard, sequence, data[:40], former[:40])

    def check(self, client):
        found = client.read_all("s", SHARDS)
        seen = set()
        for shard, records in found.items():
            sequences = [sequence for sequence, _, _ in records]
            assert all(a < b for a, b in zip(sequences, sequences[1:])), "shard %d is out of order" % shard
            there = {sequence: data for sequence, _, data in records}
            for sequence, data in self.stored[shard].items():
                assert there.get(sequence) == data, "shard %d: record %d is lost or altered" % (shard, sequence)
            for sequence, data in there.items():
                assert data in self.sent, "nobody sent %r" % data[:40]
                assert data not in seen, "twice: %r" % data[:40]
                seen.add(data)
                self.hold(shard, sequence, data)  # shown once, so it stays
        for name, exists in self.streams.items():
            if exists is not None:
                assert is_there(client, name) == exists, "%s: %s" % (name, "lost" if exists else "back again")
        return len(seen)


def is_there(client, name):
    try:
        client.call(SUMMARY, (1, name))
        return True
    except Refused as error:
        assert error.is_("KS_NOT_FOUND"), error
        return False


def produce(broker, ledger, name, seed, until):
    """Puts until the broker is gone."""
    rng = random.Random(seed)
    number = 0
    try:
        client = broker.client()
        while not until.is_set():
            records = []
            for _ in range(rng.choice((1, 1, 2, 5))):
                size = rng.choice((10, 100, 3000, 30000))
                records.append(("k%d" % rng.randrange(12), b"%s-%d-" % (name.encode(), number) + b"x" * size))
                number += 1
            ledger.sent.update(data for _, data in records)
            try:
                for (shard, sequence), (_, data) in zip(client.put("s", records), records):
                    ledger.hold(shard, sequence, data)
            except Refused as error:
                assert error.is_("KS_THROTTLED"), error
    except (ConnectionError, socket.timeout, OSError):
        pass


def administer(broker, ledger, prefix, seed, until):
    """Creates and deletes streams until the broker is gone."""
    rng = random.Random(seed)
    number = 0
    try:
        client = broker.client()
        while not until.is_set():
            mine = [name for name, exists in ledger.streams.items() if exists and name != "s"]
            if mine and rng.random() < 0.5:
                name = rng.choice(mine)
                ledger.streams[name] = None
                client.call(DELETE, (1, name))
                # Its name is free once all of it is gone; until then it may be listed.
                wait_until(lambda: until.is_set() or not is_there(client, name), "a deleted stream goes")
                ledger.streams[name] = False if not until.is_set() else None
            else:
                name = "%s-%d" % (prefix, number)
                number += 1
                ledger.streams[name] = None
                client.create_stream(name, rng.randrange(1, 4))
                ledger.streams[name] = True
    except (ConnectionError, socket.timeout, OSError):
        pass


def start(scratch, at, seed, keeps, **how):
    """A broker whose power goes at a change of its data directory; it is ready, or cut off already."""
    data_dir = os.path.join(scratch, "data")
    os.makedirs(data_dir, mode=0o700, exist_ok=True)
    broker = Broker(scratch, *SMALL, wait=False, environment={
        "LD_PRELOAD": os.environ["POWER_CUT"], "POWER_CUT_DIR": data_dir, "POWER_CUT_AT": str(at), "POWER_CUT_SEED": str(seed),
        "POWER_CUT_KEEPS": str(keeps), "POWER_CUT_REPORT": os.path.join(scratch, "report"), **how})
    wait_until(lambda: broker.process.poll() is not None or "daemon.ready" in broker.log(), "the broker is ready, or cut off")
    return broker


def run_until_cut(scratch, ledger, seed, **how):
    """One start, with the power going at some change. Returns what was cut."""
    rng = random.Random(seed)
    broker = start(scratch, int(2 ** rng.uniform(0, 10)), seed, rng.choice((0, 32, 128, 224)), **how)
    if broker.process.poll() is None:
        try:
            broker.wait_ready()
            client = broker.client()
            if not is_there(client, "s"):
                client.create_stream("s", SHARDS)
            ledger.check(client)
        except (ConnectionError, socket.timeout, OSError, AssertionError, KeyError):  # addresses may have gone with the power
            if broker.process.poll() is None and not is_dying(broker):
                raise
    until = threading.Event()
    threads = [threading.Thread(target=produce, args=(broker, ledger, "%d-%d" % (seed, n), seed + n, until)) for n in range(2)]
    threads.append(threading.Thread(target=administer, args=(broker, ledger, "t%d" % seed, seed, until)))
    if broker.process.poll() is None:
        for thread in threads:
            thread.start()
        wait_until(lambda: broker.process.poll() is not None, "the power goes")
        until.set()
        for thread in threads:
            thread.join()
    code = broker.wait_end()
    assert code == -signal.SIGKILL, "ended with %d:\n%s" % (code, broker.log())
    with open(os.path.join(scratch, "report")) as file:
        return file.read().splitlines()[-1]


def is_dying(broker):
    try:
        broker.process.wait(1)
        return True
    except subprocess.TimeoutExpired:
        return False


def need_shim():
    if os.environ.get("SANITIZE", "none") != "none":
        raise Skip("a sanitizer's runtime must be preloaded first")


def test_every_acknowledged_record_survives_power_cuts(scratch):
    need_shim()
    print("      KS_SIM_SEED=%d KSTREAM_POWER_CUTS=%d" % (SEED, CUTS))
    calls, records = {}, 0
    for first in range(0, CUTS, CUTS_A_DIRECTORY):
        folder = os.path.join(scratch, "d%d" % first)
        os.mkdir(folder)
        ledger = Ledger()
        for number in range(first, min(first + CUTS_A_DIRECTORY, CUTS)):
            line = run_until_cut(folder, ledger, SEED + number)
            what = line.split(" in ")[1].split(":")[0]
            calls[what] = calls.get(what, 0) + 1
        broker = Broker(folder, *SMALL)
        client = broker.client()
        if is_there(client, "s"):
            records += ledger.check(client)
        else:
            assert not any(ledger.stored.values()), "the stream is lost"
        client.close()
        broker.stop()
        shutil.rmtree(folder)
    print("      %d cuts in %s; %d records, none lost" % (CUTS, ", ".join("%s: %d" % one for one in sorted(calls.items())), records))
    assert records > 0


def test_a_first_start_may_be_cut_off_anywhere(scratch):
    need_shim()
    for at in range(1, 200):
        folder = os.path.join(scratch, "d%d" % at)
        os.mkdir(folder)
        first = start(folder, at, at, 0)
        was_cut = first.process.poll() is not None
        first.kill()
        broker = Broker(folder, *SMALL)
        client = broker.client()
        client.create_stream("s")
        client.put("s", [("k", b"v")])
        broker.kill()
        shutil.rmtree(folder)
        if not was_cut:
            print("      %d changes" % at)
            return
    raise AssertionError("a first start makes more than 200 changes")


def test_a_disk_that_lies_is_found_out(scratch):
    """That the check above can fail: syncs that make nothing durable lose acknowledged records."""
    need_shim()
    ledger = Ledger()
    try:
        for number in range(20):
            run_until_cut(scratch, ledger, SEED + number, POWER_CUT_LIES="1", POWER_CUT_KEEPS="0")
        broker = Broker(scratch, *SMALL)
        ledger.check(broker.client())
        broker.kill()
    except (AssertionError, Refused) as found:
        print("      found:", str(found).splitlines()[0])
        return
    raise AssertionError("twenty cuts of a disk that lies lost nothing")


if __name__ == "__main__":
    run_tests(test_every_acknowledged_record_survives_power_cuts, test_a_first_start_may_be_cut_off_anywhere,
              test_a_disk_that_lies_is_found_out)
