"""Puts by a client that routes: verbatim storage, every refusal, and idempotent producers over restarts."""
import hashlib
from kstream_test import *


class Router:
    def __init__(self, client, name):
        self.client = client
        fields = decode(client.call(ROUTING, (1, name)))
        self.stream_id, self.epoch = text(fields, 2), fields[3][0]
        self.shards = []
        for shard in fields[6]:
            shard = decode(shard)
            first, last = (int.from_bytes(shard[n][0], "big") for n in (4, 5))
            self.shards.append((first, last, shard.get(1, [0])[0]))

    def shard_of(self, key):
        digest = int.from_bytes(hashlib.md5(key.encode()).digest(), "big")
        return next(index for first, last, index in self.shards if first <= digest <= last)

    def key_of(self, shard):
        return next("k%d" % i for i in range(1000) if self.shard_of("k%d" % i) == shard)

    def put(self, *parts, epoch=None):
        """parts: encoded ShardPut messages; returns decoded results."""
        fields = decode(self.client.call(PUT_RECORDS, (4, self.stream_id), (5, self.epoch if epoch is None else epoch),
                                         *((6, part) for part in parts)))
        return [decode(part) for part in fields[2]]


def part(shard, records, producer=None, sequence=None, first=None, count=None):
    return encode((1, shard), (2, Fixed64(producer) if producer else None),
                  (3, Fixed64(sequence) if sequence else None), (4, 1 if first else None),
                  (5, len(records) if count is None else count), (6, b"".join(records)))


def refused(name, call, *args, **named):
    try:
        call(*args, **named)
    except Refused as error:
        assert error.is_(name), "expected %s, got %s" % (name, error)
        return error.message
    raise AssertionError("expected " + name)


def test_routed_records_are_stored_as_they_came(scratch):
    broker = Broker(scratch, "--verify-routing", "all")
    client = broker.client()
    client.create_stream("s", 3)
    router = Router(client, "s")
    sent = {shard: [encode_record(router.key_of(shard), b"%d-%d" % (shard, i)) for i in range(5)] for shard in range(3)}
    results = router.put(*(part(shard, records) for shard, records in sent.items()))
    assert [result[1][0] for result in results] == [0, 1, 2]
    assert all(result[2][0] == 1 and result[3][0] == 5 for result in results), results
    for shard, records in sent.items():
        answer = client.get(client.iterator("s", shard))
        assert b"".join(records) in answer.segment, "the records' bytes changed on their way"
        assert [row[2] for row in answer] == [b"%d-%d" % (shard, i) for i in range(5)]
    broker.stop()


def test_what_is_wrong_is_refused_and_stores_nothing(scratch):
    broker = Broker(scratch, "--verify-routing", "all")
    client = broker.client()
    client.create_stream("s", 2)
    router = Router(client, "s")
    good = encode_record(router.key_of(0), b"good")
    other = encode_record(router.key_of(1), b"of the other shard")
    message = refused("KS_INVALID", router.put, part(0, [good] * 70 + [other]))
    assert "routes wrongly" in message, message
    refused("KS_CORRUPT", router.put, part(0, [good, encode_record(router.key_of(0), b"x", crc=1)]))
    refused("KS_PROTOCOL", router.put, part(0, [good[:-1]], count=1))
    refused("KS_PROTOCOL", router.put, part(0, [good], count=2))
    refused("KS_PROTOCOL", router.put, part(0, [good, good], count=1))
    refused("KS_TOO_LARGE", router.put, part(0, [encode_record(router.key_of(0), bytes((1 << 20) + 1))]))
    refused("KS_NOT_FOUND", router.put, part(2, [good]))
    # One bad part takes the good ones with it: the whole request is malformed.
    refused("KS_PROTOCOL", router.put, part(0, [good]), part(1, [other], count=3))
    request_id = client.send(PUT_RECORDS, encode((4, router.stream_id), (5, router.epoch + 1), (6, part(0, [good]))))
    got_id, op, message, _ = client.receive()
    error = decode(message)
    assert op == ERROR and error[1][0] == status_number("KS_ROUTING_CHANGED") and got_id == request_id
    assert decode(error[5][0])[3][0] == router.epoch, "the answer brings the routing as it is"
    assert client.read_all("s", 2) == {0: [], 1: []}
    assert router.put(part(0, [good]))[0][2][0] == 1
    broker.stop()


def test_repeated_batches_are_stored_once_over_sigkill(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    router = Router(client, "s")
    batches = [[encode_record("k", b"%d-%d" % (n, i)) for i in range(3)] for n in range(1, 6)]
    put = lambda n: router.put(part(0, batches[n - 1], producer=77, sequence=n, first=n == 1))[0]
    firsts = [put(n)[2][0] for n in range(1, 6)]
    assert firsts == [1, 4, 7, 10, 13]
    for attempt in range(2):
        again = put(5)
        assert again[2][0] == 13 and again[6][0] == 1, "a repeated batch has the first one's result"
        mismatch = router.put(part(0, batches[0], producer=77, sequence=5))[0]
        assert decode(mismatch[7][0])[1][0] == status_number("KS_PRODUCER_MISMATCH")
        gap = decode(router.put(part(0, batches[0], producer=77, sequence=9))[0][7][0])
        assert gap[1][0] == status_number("KS_PRODUCER_GAP") and gap[4][0] == 6, gap
        unknown = decode(router.put(part(0, batches[0], producer=78, sequence=2))[0][7][0])
        assert unknown[1][0] == status_number("KS_PRODUCER_UNKNOWN"), unknown
        resumed = decode(client.call(RESUME, (1, "s"), (4, Fixed64(77))))
        resumed = decode(resumed[1][0])
        assert resumed[2][0] == 5 and resumed[5][0] == 13 and resumed[4][0] == 3, resumed
        assert len(client.read_all("s")[0]) == 15
        broker.kill()
        broker = Broker(scratch)
        client = broker.client()
        router = Router(client, "s")
    broker.stop()
    broker = Broker(scratch)
    router = Router(broker.client(), "s")
    assert put(5)[6][0] == 1, "known after a clean stop too"
    assert len(router.client.read_all("s")[0]) == 15
    broker.stop()


def test_sigterm_answers_what_is_under_way(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    waiting = broker.client()
    waiting.send(GET_RECORDS, encode((1, waiting.iterator("s", 0, "LATEST")), (6, 30000)))
    client.call(PING)
    begun = time.monotonic()
    broker.process.send_signal(signal.SIGTERM)
    _, op, _, _ = waiting.receive()
    assert op == GET_RECORDS, "a long-poll ends with an ordinary, empty answer"
    assert broker.wait_end() == 0
    assert time.monotonic() - begun < 10
    assert os.path.exists(os.path.join(broker.data_dir, "clean"))


if __name__ == "__main__":
    run_tests(test_routed_records_are_stored_as_they_came, test_what_is_wrong_is_refused_and_stores_nothing,
              test_repeated_batches_are_stored_once_over_sigkill, test_sigterm_answers_what_is_under_way)
