"""The ordinary day: every operation against the real binary, stop, restart, SIGKILL."""
import os, time
from kstream_test import *


def refused(name, call, *args, **named):
    try:
        call(*args, **named)
    except Refused as error:
        assert error.is_(name), "expected %s, got %s" % (name, error)
        return error.message
    raise AssertionError("expected " + name)


def test_streams_come_and_go(scratch):
    broker = Broker(scratch)
    client = broker.client()
    fields = decode(client.call(PING))
    assert text(fields, 1) == "0.1.0" and text(fields, 3) == "000000000000"
    client.create_stream("clicks", 3)
    message = refused("KS_EXISTS", client.create_stream, "clicks", 1)
    assert message == "Stream clicks under account 000000000000 already exists.", message
    description = decode(decode(client.call(DESCRIBE, (1, "clicks")))[1][0])
    assert text(description, 1) == "clicks" and text(description, 3) == "ACTIVE"
    assert text(description, 2) == "arn:aws:kinesis:us-east-1:000000000000:stream/clicks"
    shards = [decode(shard) for shard in description[5]]
    assert [text(shard, 1) for shard in shards] == ["shardId-%012d" % i for i in range(3)]
    ends = [decode(shard[4][0]) for shard in shards]
    assert text(ends[0], 1) == "0" and text(ends[1], 1) == "113427455640312821154458202477256070485"
    assert text(ends[2], 2) == "340282366920938463463374607431768211455"
    page = decode(client.call(DESCRIBE, (1, "clicks"), (2, 2)))
    page = decode(page[1][0])
    assert len(page[5]) == 2 and page[6][0] == 1
    rest = decode(decode(client.call(DESCRIBE, (1, "clicks"), (3, "shardId-000000000001")))[1][0])
    assert len(rest[5]) == 1 and rest[6][0] == 0
    summary = decode(decode(client.call(SUMMARY, (2, text(description, 2))))[1][0])
    assert summary[11][0] == 3
    stream_id = text(summary, 3)
    assert text(decode(decode(client.call(SUMMARY, (3, stream_id)))[1][0]), 1) == "clicks"
    for name in ("alpha", "beta"):
        client.create_stream(name)
    names = decode(client.call(LIST_STREAMS, (1, 2)))
    assert names[1] == [b"alpha", b"beta"] and names[2][0] == 1
    names = decode(client.call(LIST_STREAMS, (3, text(names, 3))))
    assert names[1] == [b"clicks"] and names[2][0] == 0
    shards = decode(client.call(LIST_SHARDS, (1, "clicks"), (4, 2)))
    assert len(shards[1]) == 2
    shards = decode(client.call(LIST_SHARDS, (2, text(shards, 2))))
    assert [text(decode(shard), 1) for shard in shards[1]] == ["shardId-000000000002"]
    client.call(DELETE, (1, "alpha"))
    refused("KS_NOT_FOUND", client.call, DESCRIBE, (1, "alpha"))
    client.create_stream("alpha", 2)
    broker.stop()


def test_requests_are_validated(scratch):
    broker = Broker(scratch)
    client = broker.client()
    message = refused("KS_VALIDATION", client.call, CREATE, (1, "a/b"), (2, 0))
    assert message.startswith("2 validation errors detected: Value 'a/b' at 'streamName' failed"), message
    message = refused("KS_NOT_FOUND", client.call, DESCRIBE, (1, "none"))
    assert message == "Stream none under account 000000000000 not found.", message
    refused("KS_INVALID", client.call, DESCRIBE)
    refused("KS_INVALID", client.call, DESCRIBE, (1, "a"), (4, "arn:aws:kinesis:us-east-1:000000000000:stream/b"))
    refused("KS_NOT_FOUND", client.call, DESCRIBE, (4, "arn:aws:kinesis:us-east-1:000000000001:stream/a"))
    client.create_stream("s")
    refused("KS_VALIDATION", client.put, "s", [("", b"x")])
    refused("KS_VALIDATION", client.put, "s", [("k" * 257, b"x")])
    refused("KS_INVALID", client.put, "s", [("k", b"x" * ((1 << 20) + 1))])
    refused("KS_INVALID", client.get, "nonsense")
    message = refused("KS_INVALID", client.iterator, "s", 0, "AT_SEQUENCE_NUMBER")
    assert "Request specified AT_SEQUENCE_NUMBER and no StartingSequenceNumber." in message, message
    refused("KS_INVALID", client.iterator, "s", 0, "AT_TIMESTAMP")
    refused("KS_INVALID", client.iterator, "s", 0, "AT_TIMESTAMP", unix_ms=int(time.time() * 1000) + 3600000)
    refused("KS_NOT_FOUND", client.iterator, "s", 1)
    refused("KS_PROTOCOL", client.call, DESCRIBE, (1, b"\xff" * 3), (2, b"not a number"))
    client.call(PING)
    broker.stop()


def test_records_come_back_in_order_from_everywhere(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s", 4)
    expected = {shard: [] for shard in range(4)}
    for round_ in range(20):
        records = [("key-%d" % (i % 37), b"%d-%d" % (round_, i)) for i in range(100)]
        for (shard, sequence), (key, data) in zip(client.put("s", records), records):
            expected[shard].append((sequence, key, data))
    for shard, rows in expected.items():
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1)), "ordinals are dense"
    assert client.read_all("s", 4) == expected
    assert client.read_all("s", 4, limit=7) == expected
    # One record, its number, and both kinds of iterators at it.
    fields = decode(client.call(PUT_RECORD, (1, "s"), (2, b"last"), (3, "key-1")))
    shard = int(text(fields, 1).split("-")[1])
    number = text(fields, 2)
    assert len(number) == 56
    assert [row[2] for row in client.get(client.iterator("s", shard, "AT_SEQUENCE_NUMBER", number))] == [b"last"]
    assert not client.get(client.iterator("s", shard, "AFTER_SEQUENCE_NUMBER", number))
    latest = client.iterator("s", shard, "LATEST")
    assert not client.get(latest)
    assert len(client.get(client.iterator("s", shard, "AT_TIMESTAMP", unix_ms=1000))) == len(expected[shard]) + 1
    # A wait ends when a record comes, not when the time is over.
    other = broker.client()
    waiting = other.send(GET_RECORDS, encode((1, latest), (6, 25000)))
    begun = time.monotonic()
    client.put("s", [("key-1", b"news")])
    got_id, op, message, _ = other.receive()
    assert got_id == waiting and op == GET_RECORDS and b"news" in message
    assert time.monotonic() - begun < 20
    broker.stop()


def test_many_requests_in_flight_are_all_answered(scratch):
    broker = Broker(scratch, "--loops", "3", unix=True)
    client = broker.client()
    client.create_stream("s", 2)
    wanted = set()
    for i in range(500):
        wanted.add(client.send(PUT_RECORDS, encode((1, encode((1, b"x" * 100), (3, "k%d" % i))), (2, "s"))))
    while wanted:
        got_id, op, _, _ = client.receive()
        assert op == PUT_RECORDS
        wanted.remove(got_id)
    assert sum(len(rows) for rows in client.read_all("s", 2).values()) == 500
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(broker.addresses["unix"])
    assert sum(len(rows) for rows in Client(connection).read_all("s", 2).values()) == 500
    assert broker.http("/livez") == (200, "ok\n") and broker.http("/readyz") == (200, "ok\n")
    assert broker.http("/other")[0] == 404
    broker.stop()
    assert not os.path.exists(broker.addresses["unix"])
    assert not os.path.exists(os.path.join(broker.data_dir, "addresses"))


def test_everything_acknowledged_survives_stop_and_sigkill(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s", 2)
    token = client.iterator("s", 0)
    ids = set()
    for stop in (broker.stop, None, None):
        for i in range(50):
            for shard, sequence in client.put("s", [("k%d" % j, b"v" * 1000) for j in range(10)]):
                assert (shard, sequence) not in ids, "a number was given twice"
                ids.add((shard, sequence))
        before = client.read_all("s", 2)
        (broker.stop if stop else broker.kill)()
        broker = Broker(scratch)
        client = broker.client()
        assert client.read_all("s", 2) == before
        assert {(shard, row[0]) for shard, rows in before.items() for row in rows} == ids
    assert client.get(token)[0][0] == 1, "an iterator outlives a restart"
    broker.stop()


def test_deleted_stream_ends_its_iterators(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    client.put("s", [("k", b"old")])
    token = client.iterator("s")
    other = broker.client()
    other.send(GET_RECORDS, encode((1, client.iterator("s", 0, "LATEST")), (6, 25000)))
    client.call(PING)
    client.call(DELETE, (1, "s"))
    _, op, message, _ = other.receive()
    assert op == ERROR and decode(message)[1][0] == status_number("KS_NOT_FOUND"), (op, message)
    client.create_stream("s")
    refused("KS_NOT_FOUND", client.get, token)
    assert client.read_all("s") == {0: []}
    broker.stop()


if __name__ == "__main__":
    run_tests(test_streams_come_and_go, test_requests_are_validated, test_records_come_back_in_order_from_everywhere,
              test_many_requests_in_flight_are_all_answered, test_everything_acknowledged_survives_stop_and_sigkill,
              test_deleted_stream_ends_its_iterators)
