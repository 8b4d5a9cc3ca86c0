"""What the users of a stream are held to: rates of shards as in Kinesis, rates of clients, quotas of days. Refusals say which
limit it was, how much was taken and when to come again; whoever comes then is served. Clocks move as the test says."""
import re
from reshard_test import *

UPDATE_STREAM_LIMITS = 55
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/"
MEBIBYTE = 1 << 20


def limits(mode, write_bytes=None, write_records=None, read_bytes=None, read_calls=None, per_day=None, client_bytes=None,
           client_records=None):
    return encode((1, mode), (2, write_bytes), (3, write_records), (4, read_bytes), (5, read_calls), (6, per_day), (7, client_bytes),
                  (8, client_records))


def set_limits(client, name, message, dry_run=None):
    fields = decode(decode(client.call(UPDATE_STREAM_LIMITS, (1, name), (4, message), (15, dry_run)))[1][0])
    return {number: values[0] for number, values in fields.items()}


def shown(client, name):
    about = decode(decode(client.call(SUMMARY, (1, name)))[1][0])
    return {number: values[0] for number, values in decode(about[102][0]).items()}


class Throttled:
    """A refusal: of a whole request by its error, of a part of PutRecords by that part's."""

    def __init__(self, fields):
        self.status, self.message = fields[1][0], text(fields, 2)
        self.retry_ms, self.name = fields[6][0], text(fields, 7)
        self.limit, self.current = fields.get(8, [None])[0], fields.get(9, [None])[0]
        assert self.status == status_number("KS_THROTTLED"), self.message
        assert text(fields, 3) == "ProvisionedThroughputExceededException"
        assert "retry after %d ms." % self.retry_ms in self.message


def raw(client, op, *fields):
    """None, or how the request was throttled."""
    client.send(op, encode(*fields))
    _, got, message, _ = client.receive()
    return Throttled(decode(message)) if got == ERROR else None


def put_one(client, name, size=10, key="k"):
    return raw(client, PUT_RECORD, (1, name), (2, bytes(size)), (3, key))


def put_many(client, name, records):
    """[None or Throttled] per part of the answer, and the number of failed records."""
    fields = decode(client.call(PUT_RECORDS, *((1, encode((1, data), (3, key))) for key, data in records), (2, name)))
    parts = [decode(part) for part in fields[2]]
    return [Throttled(decode(part[7][0])) if 7 in part else None for part in parts], fields.get(1, [0])[0]


def begin(scratch, *flags):
    clocks = Clocks(scratch)
    if time.time() % 86400 > 86400 - 3600:  # so that no day ends in the middle of a test
        clocks.go_on(3600)
    broker = Broker(scratch, *flags, environment=clocks.environment)
    return broker, broker.client(), clocks


def test_limits_are_set_shown_and_kept(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    assert shown(client, "s") == {1: b"off"}
    aws = {1: b"aws", 2: MEBIBYTE, 3: 1000, 4: 2 * MEBIBYTE, 5: 5}
    assert set_limits(client, "s", limits("aws"), dry_run=1) == aws and shown(client, "s") == {1: b"off"}
    assert set_limits(client, "s", limits("aws", per_day=7)) == {**aws, 6: 7} == shown(client, "s")
    custom = {1: b"custom", 2: 10, 3: 20, 4: 30, 5: 40, 6: 50, 7: 60, 8: 70}
    assert set_limits(client, "s", limits("custom", 10, 20, 30, 40, 50, 60, 70)) == custom
    broker.kill()
    broker = Broker(scratch)
    client = broker.client()
    assert shown(client, "s") == custom
    for address in ((2, ARN + "s"), (3, text(decode(decode(client.call(SUMMARY, (1, "s")))[1][0]), 3))):
        client.call(UPDATE_STREAM_LIMITS, address, (4, limits("custom", read_calls=1)))
        assert shown(client, "s") == {1: b"custom", 5: 1}
    set_limits(client, "s", limits("off"))
    assert shown(client, "s") == {1: b"off"}
    for name, words, message in (("KS_INVALID", "with the mode custom only; the mode is aws", limits("aws", read_calls=7)),
                                 ("KS_INVALID", "with the mode custom only; the mode is off", limits("off", write_bytes=7)),
                                 ("KS_INVALID", "at most", limits("custom", write_bytes=1 << 60)),
                                 ("KS_VALIDATION", "Member must satisfy enum value set: [off, aws, custom]", limits("on")),
                                 ("KS_VALIDATION", "Value null at 'limits'", None)):
        try:
            client.call(UPDATE_STREAM_LIMITS, (1, "s"), (4, message))
            assert False, words
        except Refused as error:
            assert error.is_(name) and words in error.message, error
    broker.stop()


def until_refused(call):
    """(how many went before, the refusal): whoever is slow enough may never be refused, so time is not counted on."""
    for n in range(10000):
        refused = call()
        if refused:
            return n, refused
    raise AssertionError("never refused")


def test_a_shard_takes_what_kinesis_takes(scratch):
    broker, client, clocks = begin(scratch)
    client.create_stream("s", 2)
    set_limits(client, "s", limits("aws"))
    count, refused = until_refused(lambda: put_many(client, "s", [("k", b"x")] * 400)[0][0])
    assert count >= 3, "1000 records, the last request goes into debt"
    assert re.match(r"Rate exceeded for shard shardId-00000000000\d in stream s under account 000000000000\. Limit: "
                    r"write_records_per_second=1000, current: \d+, retry after \d+ ms\.$", refused.message), refused.message
    assert 0 < refused.retry_ms <= 400
    clocks.go_on(2)
    count, refused = until_refused(lambda: put_one(client, "s", MEBIBYTE - 10))
    assert count >= 2 and (refused.name, refused.limit) == ("write_bytes_per_second", MEBIBYTE), refused.message
    clocks.go_on(2)
    assert put_one(client, "s") is None
    broker.stop()


def test_a_shard_in_debt_takes_nothing_until_it_is_paid(scratch):
    broker, client, clocks = begin(scratch)
    client.create_stream("s", 2)
    set_limits(client, "s", limits("custom", write_records=1, write_bytes=1000))
    keys = [next(key for key in map(str, range(100)) if (hash_of(key) >= MIDDLE) == upper) for upper in (False, True)]
    assert put_many(client, "s", [(keys[0], b"x")] * 500) == ([None], 0)
    parts, failed = put_many(client, "s", [(keys[0], b"x"), (keys[1], b"y"), (keys[0], b"z")])
    assert failed == 2 and parts[1] is None, "the other shard has its own"
    refused = put_one(client, "s", key=keys[0])
    assert (refused.name, refused.limit) == ("write_records_per_second", 1) and 300000 < refused.retry_ms <= 500000
    clocks.go_on(refused.retry_ms // 1000 + 1)
    assert put_one(client, "s", key=keys[0]) is None
    assert put_one(client, "s", MEBIBYTE - 10, keys[1]) is None, "larger than what is there"
    refused = put_one(client, "s", 1, keys[1])
    assert refused.name == "write_bytes_per_second" and 900000 < refused.retry_ms <= 1049000, refused.message
    # Limits that are taken away are gone at once, and what was refused is not stored.
    set_limits(client, "s", limits("off"))
    stored = client.read_all("s", 2)
    assert len(stored[0]) == 501 and len(stored[1]) == 2, (len(stored[0]), len(stored[1]))
    assert put_one(client, "s", 1, keys[1]) is None
    metrics = broker.http("/metrics")[1]
    assert 'kstream_throttled_records_total{stream="s",reason="limit"} 4' in metrics, metrics
    broker.stop()


def test_reads_of_a_shard(scratch):
    broker, client, clocks = begin(scratch)
    client.create_stream("s")
    client.put("s", [("k", bytes(MEBIBYTE - 10))])
    set_limits(client, "s", limits("aws"))
    newest, at = client.iterator("s", kind="LATEST"), client.iterator("s")
    count, refused = until_refused(lambda: raw(client, GET_RECORDS, (1, newest)))
    assert count >= 5 and (refused.name, refused.limit) == ("read_calls_per_second", 5) and refused.retry_ms <= 201, refused.message
    assert refused.message.startswith("Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000.")
    clocks.go_on(5)
    count, refused = until_refused(lambda: raw(client, GET_RECORDS, (1, at)))
    assert count >= 1 and refused.name == "read_bytes_per_second" and refused.retry_ms <= 501, refused.message
    set_limits(client, "s", limits("custom", read_bytes=1000))
    clocks.go_on(1)
    assert raw(client, GET_RECORDS, (1, at)) is None
    refused = raw(client, GET_RECORDS, (1, newest))
    assert refused.limit == 1000 and 900000 < refused.retry_ms <= 1049000, refused.message
    assert put_one(client, "s") is None, "puts go on"
    clocks.go_on(refused.retry_ms // 1000 - 100)
    assert raw(client, GET_RECORDS, (1, client.iterator("s"))).name == "read_bytes_per_second"
    clocks.go_on(102)
    assert raw(client, GET_RECORDS, (1, client.iterator("s"))) is None
    broker.stop()


def test_a_day_has_its_quota_and_a_client_its_rate(scratch):
    broker, client, clocks = begin(scratch)
    client.create_stream("s", 2)
    set_limits(client, "s", limits("off", per_day=10))
    assert put_many(client, "s", [(str(i), b"x") for i in range(10)])[1] == 0
    refused = put_one(client, "s")
    assert refused.message.startswith("Rate exceeded for stream s under account 000000000000. Limit: records_per_day=10, current: "
                                      "10, retry after "), refused.message
    assert 0 < refused.retry_ms <= 24 * 3600 * 1000
    assert client.read_all("s", 2), "reads go on"
    clocks.go_on(refused.retry_ms // 1000 + 1)
    assert put_one(client, "s") is None, "another day"
    set_limits(client, "s", limits("off", client_records=1, client_bytes=1000))
    other = broker.client()
    assert put_many(client, "s", [("k", b"x")] * 500)[1] == 0
    refused = put_one(client, "s")
    assert (refused.name, refused.limit) == ("client_records_per_second", 1)
    assert refused.message.startswith("Rate exceeded for this client in stream s under account"), refused.message
    assert put_one(other, "s", MEBIBYTE - 10) is None
    assert put_one(other, "s").name == "client_bytes_per_second"
    clocks.go_on(1100)
    assert put_one(client, "s") is None and put_one(other, "s") is None
    broker.stop()


def test_routed_puts_and_idempotent_producers_are_held_to_them(scratch):
    broker, client, clocks = begin(scratch)
    client.create_stream("s")
    set_limits(client, "s", limits("custom", write_records=1))
    fields = decode(client.call(ROUTING, (1, "s")))

    def put(sequence, records):
        part = encode((1, 0), (2, Fixed64(77)), (3, Fixed64(sequence)), (4, 1), (5, records),
                      (6, b"".join(encode_record("k", b"%d" % sequence) for _ in range(records))))
        answer = decode(client.call(PUT_RECORDS, (4, text(fields, 2)), (5, fields[3][0]), (6, part)))
        result = decode(answer[2][0])
        return Throttled(decode(result[7][0])) if 7 in result else None
    assert put(1, 300) is None
    refused = put(2, 1)
    assert refused.retry_ms > 100000 and "write_records_per_second=1," in refused.message
    clocks.go_on(300)
    assert put(2, 1) is None, "unchanged, when it was told to come again"
    assert [data for _, _, data in client.read_all("s")[0]] == [b"1"] * 300 + [b"2"]
    # What is stored already, or cannot be, is not counted.
    set_limits(client, "s", limits("off", per_day=310))
    for _ in range(20):
        assert put(2, 1) is None
    try:
        for _ in range(20):
            put(9, 1)
        assert False, "it leaves a gap"
    except KeyError:
        pass  # no limit has to do with it
    assert put(3, 9) is None
    assert "records_per_day=310, current: 310," in put(4, 1).message
    broker.stop()


if __name__ == "__main__":
    run_tests(test_limits_are_set_shown_and_kept, test_a_shard_takes_what_kinesis_takes,
              test_a_shard_in_debt_takes_nothing_until_it_is_paid, test_reads_of_a_shard,
              test_a_day_has_its_quota_and_a_client_its_rate, test_routed_puts_and_idempotent_producers_are_held_to_them)
