"""What the tests of resharding share: shards as the broker lists them, reshards, and clients that go on through them."""
import hashlib, random, threading
from kstream_test import *

KEYS_END = 1 << 128
MIDDLE = 1 << 127


class Shard:
    def __init__(self, message):
        fields = decode(message)
        self.id = text(fields, 1)
        self.index = int(self.id.split("-")[1])
        self.parents = [int(text(fields, n).split("-")[1]) for n in (2, 3) if n in fields]
        keys, sequences = decode(fields[4][0]), decode(fields[5][0])
        self.first, self.last = int(text(keys, 1)), int(text(keys, 2))
        self.start, self.end = text(sequences, 1), text(sequences, 2)
        self.is_open = self.end is None


def shards_of(client, name, kind=None, shard_id=None, unix_ms=None, page=None):
    found, token = [], None
    while True:
        shard_filter = encode((1, kind), (2, shard_id), (3, unix_ms)) if kind else None
        fields = decode(client.call(LIST_SHARDS, (1, None if token else name), (2, token), (4, page),
                                    (6, None if token else shard_filter)))
        found += [Shard(shard) for shard in fields.get(1, [])]
        token = text(fields, 2)
        if not token:
            return found


def tiles(shards):
    """Whether they cover every hash key exactly once."""
    at = 0
    for shard in sorted(shards, key=lambda shard: shard.first):
        if shard.first != at:
            return False
        at = shard.last + 1
    return at == KEYS_END


def indexes(shards):
    return [shard.index for shard in shards]


def shard_id(index):
    return "shardId-%012d" % index


def split(client, name, index, key, **more):
    return client.call(SPLIT_SHARD, (1, name), (2, shard_id(index)), (3, str(key)), *more.items())


def merge(client, name, left, right):
    return client.call(MERGE_SHARDS, (1, name), (2, shard_id(left)), (3, shard_id(right)))


def update_count(client, name, target, dry_run=None):
    return decode(client.call(UPDATE_SHARD_COUNT, (1, name), (2, target), (3, "UNIFORM_SCALING"), (15, dry_run)))


def hash_of(key):
    return int.from_bytes(hashlib.md5(key.encode()).digest(), "big")


def status_of(client, name):
    return text(decode(decode(client.call(SUMMARY, (1, name)))[1][0]), 4)


def read_lineage(client, name):
    """Every record, as a reader sees it that reads parents before their children: [(shard, sequence, key, data)]. It learns
    of children from their parents' end alone."""
    result, done = [], set()
    every = {shard.index: shard for shard in shards_of(client, name)}
    waiting = [index for index, shard in every.items() if not any(parent in every for parent in shard.parents)]
    while waiting:
        index = waiting.pop(0)
        at = client.iterator(name, index)
        while at:
            records = client.get(at)
            result += [(index, *record) for record in records]
            at = records.next
            if at and not records and records.behind_ms == 0:
                break
        assert (at is None) == (len(records.children) > 0), "an end without children, or children without an end"
        done.add(index)
        for child in records.children:
            child = decode(child)
            number = int(text(child, 1).split("-")[1])
            parents = [int(parent.decode().split("-")[1]) for parent in child[2]]
            if number not in done and number not in waiting and all(parent in done or parent not in every for parent in parents):
                waiting.append(number)
    assert done == set(every), "shards that no parent named: %s" % (set(every) - done)
    return result


def check_per_key(records, acknowledged, sent, is_whole=True):
    """Data is "KEY NUMBER": of each key all acknowledged ones, in order, once; others only if they were sent."""
    seen = {}
    for _, _, key, data in records:
        data_key, number = data.decode().split(" ")
        assert data_key == key
        seen.setdefault(key, []).append(int(number))
    for key, numbers in seen.items():
        for before, after in zip(numbers, numbers[1:]):
            assert before < after, "key %s: %d behind %d" % (key, after, before)
        assert numbers[-1] <= sent[key], "key %s has records that nobody sent" % key
    for key, numbers in acknowledged.items():
        missing = numbers - set(seen.get(key, [])) if is_whole else set()
        assert not missing, "key %s lost %s" % (key, sorted(missing)[:20])


class Worker(threading.Thread):
    """Does its turns until it is told to end, over lost connections; what it finds wrong fails the test."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.broker, self.failure, self.is_ending = broker, None, False
        self.client = None

    def run(self):
        try:
            while not self.is_ending:
                try:
                    if not self.client:
                        self.client = Client(self.broker.connect())
                        self.connected()
                    self.turn()
                except (OSError, ConnectionError):
                    if self.client:
                        self.client.close()
                    self.client = None
                    self.lost()
            self.client and self.finish()
        except BaseException as failure:
            self.failure = failure
            traceback.print_exc()

    def connected(self):
        pass

    def lost(self):
        pass

    def finish(self):
        pass

    def end(self):
        self.is_ending = True
        self.join(DEADLINE_S)
        assert not self.is_alive(), "%s does not end" % type(self).__name__
        assert not self.failure, "%s failed" % type(self).__name__


class PlainWriter(Worker):
    """Puts that the broker routes, many in flight on one connection. A reshard alone must not fail one of them."""

    def __init__(self, broker, stream, name, window=8, batch=20, keys=12):
        super().__init__(broker)
        self.stream, self.window, self.batch = stream, window, batch
        self.keys = ["%s-%d" % (name, i) for i in range(keys)]
        self.sent, self.acknowledged = dict.fromkeys(self.keys, 0), {key: set() for key in self.keys}
        self.in_flight, self.random, self.latencies = {}, random.Random(name), []

    def lost(self):
        self.in_flight = {}

    def turn(self):
        while len(self.in_flight) < self.window:
            records = []
            for key in self.random.choices(self.keys, k=self.batch):
                self.sent[key] += 1
                records.append((key, self.sent[key]))
            entries = [(1, encode((1, "%s %d" % record), (3, record[0]))) for record in records]
            request_id = self.client.send(PUT_RECORDS, encode(*entries, (2, self.stream)))
            self.in_flight[request_id] = (records, time.monotonic())
        self.take_answer()

    def take_answer(self):
        request_id, op, message, _ = self.client.receive()
        records, begun = self.in_flight.pop(request_id)
        self.latencies.append(time.monotonic() - begun)
        if op == ERROR:
            raise Refused(decode(message))
        fields = decode(message)
        assert fields[1][0] == 0, "a put failed: %s" % [Refused(decode(decode(part)[7][0])) for part in fields[2] if 7 in decode(part)]
        for key, number in records:
            self.acknowledged[key].add(number)

    def finish(self):
        while self.in_flight:
            self.take_answer()


class LineageReader(Worker):
    """Reads parents before their children while all goes on, from iterators that outlive the broker."""

    def __init__(self, broker, stream):
        super().__init__(broker)
        self.stream, self.records = stream, []
        self.iterators, self.done, self.known, self.parents = {}, set(), set(), {}
        self.has_begun = False

    def connected(self):
        if not self.has_begun:
            for shard in shards_of(self.client, self.stream):
                self.learn(shard.index, shard.parents)
            self.has_begun = True

    def learn(self, index, parents):
        self.known.add(index)
        self.parents[index] = parents

    def turn(self):
        for index in sorted(self.known - self.done):
            if index not in self.iterators and all(parent in self.done for parent in self.parents[index]):
                self.iterators[index] = self.client.iterator(self.stream, index)
        reading = sorted(set(self.iterators) - self.done)
        for index in reading:
            records = self.client.get(self.iterators[index], wait_ms=20 if index == reading[-1] else None)
            self.records += [(index, *record) for record in records]
            self.iterators[index] = records.next
            if not records.next:
                self.done.add(index)
                assert records.children, "shard %d ends without children" % index
                for child in map(decode, records.children):
                    self.learn(int(text(child, 1).split("-")[1]), [int(parent.decode().split("-")[1]) for parent in child[2]])


class Resharder(Worker):
    """One change after the other, of any kind."""

    def __init__(self, broker, stream, open_max=6, seed=1):
        super().__init__(broker)
        self.stream, self.open_max, self.random, self.changes = stream, open_max, random.Random(seed), 0

    def turn(self):
        if status_of(self.client, self.stream) != "ACTIVE":
            return  # after a kill the broker goes on with the change that was under way
        is_open = sorted((shard for shard in shards_of(self.client, self.stream) if shard.is_open), key=lambda shard: shard.first)
        assert tiles(is_open), "open shards do not tile the hash keys"
        self.change(is_open)
        self.changes += 1

    def change(self, is_open):
        kind = self.random.randrange(3)
        at = self.random.randrange(len(is_open))
        if kind == 0 and len(is_open) < self.open_max:
            shard = is_open[at]
            split(self.client, self.stream, shard.index, (shard.first + shard.last) // 2 + 1)
        elif kind == 1 and at + 1 < len(is_open):
            merge(self.client, self.stream, is_open[at].index, is_open[at + 1].index)
        else:
            update_count(self.client, self.stream, self.random.randint(1, self.open_max))
