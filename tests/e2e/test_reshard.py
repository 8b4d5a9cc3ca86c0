"""Splits, merges and shard counts: lineage, refusals, filters, ends of shards, and who may be asked about them."""
from reshard_test import *


def refused(name, pattern, call, *args, **named):
    try:
        call(*args, **named)
    except Refused as error:
        assert error.is_(name), "expected %s, got %s" % (name, error)
        assert pattern in error.message, error.message
        return error
    raise AssertionError("expected " + name)


def test_lineage_and_totals_are_those_of_kinesis(scratch):
    broker = Broker(scratch)
    client = broker.client()
    for n, (before, target, total) in enumerate([(2, 4, 6), (4, 5, 15), (10, 13, 37), (4, 2, 6), (5, 3, 7), (10, 3, 17), (3, 3, 3)]):
        name = "s%d" % n
        client.create_stream(name, before)
        plan = decode(update_count(client, name, target, dry_run=1)[15][0])
        assert len(shards_of(client, name)) == before, "a dry run changed something"
        answer = update_count(client, name, target)
        assert (text(answer, 1), answer[2][0], answer[3][0]) == (name, before, target), answer
        assert text(answer, 4) == "arn:aws:kinesis:us-east-1:000000000000:stream/" + name
        assert status_of(client, name) == "ACTIVE", "the answer came before the end"
        shards = shards_of(client, name)
        is_open = [shard for shard in shards if shard.is_open]
        assert (len(shards), len(is_open)) == (total, target), (before, target, len(shards), len(is_open))
        assert tiles(is_open)
        assert (plan[1][0], plan[3][0]) == (target, total - before), plan
        by_index = {shard.index: shard for shard in shards}
        for shard in shards:
            parents = [by_index[parent] for parent in shard.parents]
            assert all(not parent.is_open and parent.start < shard.start for parent in parents)
            if len(parents) == 1:
                assert parents[0].first <= shard.first and shard.last <= parents[0].last
            if len(parents) == 2:
                assert (parents[0].first, parents[1].last) == (shard.first, shard.last)
                assert parents[0].last + 1 == parents[1].first
    client.create_stream("equal", 4)
    update_count(client, "equal", 5)
    client.create_stream("five", 5)
    ranges = [[(shard.first, shard.last) for shard in sorted(shards_of(client, name, "AT_LATEST"), key=lambda s: s.first)]
              for name in ("equal", "five")]
    assert ranges[0] == ranges[1], "4 to 5 gives five equal ranges"
    broker.stop()


def test_what_cannot_be_split_or_merged_is_refused(scratch):
    broker = Broker(scratch, "--shards", "6")
    client = broker.client()
    client.create_stream("s", 2)
    at = "in stream s under account 000000000000"
    refused("KS_NOT_FOUND", "Shard shardId-000000000009 %s does not exist" % at, split, client, "s", 9, 5)
    refused("KS_NOT_FOUND", "Stream none under account 000000000000 not found.", split, client, "none", 0, 5)
    refused("KS_NOT_FOUND", "Could not find shard shard-x %s." % at, client.call, SPLIT_SHARD, (1, "s"), (2, "shard-x"), (3, "5"))
    for key in (0, 1, MIDDLE - 1, MIDDLE, KEYS_END - 1):
        refused("KS_INVALID", "NewStartingHashKey %d used in SplitShard() on shard shardId-000000000000 %s is not both greater "
                "than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey %d." % (key, at, MIDDLE - 1),
                split, client, "s", 0, key)
    refused("KS_VALIDATION", "'newStartingHashKey' failed to satisfy constraint: Member must satisfy regular expression pattern",
            client.call, SPLIT_SHARD, (1, "s"), (2, "0"), (3, "x"))
    refused("KS_INVALID", "Shards shardId-000000000001 and shardId-000000000000 %s are not an adjacent pair of shards eligible "
            "for merging" % at, merge, client, "s", 1, 0)
    refused("KS_INVALID", "are not an adjacent pair", merge, client, "s", 0, 0)
    refused("KS_VALIDATION", "Member must satisfy enum value set: [UNIFORM_SCALING]",
            client.call, UPDATE_SHARD_COUNT, (1, "s"), (2, 3), (3, "OTHER"))
    refused("KS_VALIDATION", "Member must have value greater than or equal to 1", update_count, client, "s", 0)
    refused("KS_LIMIT", "more than 10000 shards", update_count, client, "s", 10001)
    for call in (lambda: update_count(client, "s", 7), lambda: update_count(client, "s", 7, dry_run=1)):
        refused("KS_LIMIT", "This request would exceed the shard limit for the account 000000000000 in us-east-1. Current shard "
                "count for the account: 2. Limit: 6. Number of additional shards that would have resulted from this request: 5.",
                call)
    client.call(SPLIT_SHARD, (2, "0"), (3, "1000"), (4, "arn:aws:kinesis:us-east-1:000000000000:stream/s"))
    closed = "Shard shardId-000000000000 %s has already been merged or split, and thus is not eligible for merging or splitting." % at
    refused("KS_INVALID", closed, split, client, "s", 0, 5)
    refused("KS_INVALID", closed, merge, client, "s", 0, 1)
    stream_id = text(decode(decode(client.call(SUMMARY, (1, "s")))[1][0]), 3)
    client.call(MERGE_SHARDS, (2, "2"), (3, "shardId-000000000003"), (5, stream_id))
    assert indexes(shards_of(client, "s", "AT_LATEST")) == [1, 4]
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
    mode = encode((1, "ON_DEMAND"))
    client.call(UPDATE_STREAM_MODE, (1, arn), (3, mode))
    for call, args in ((split, (4, 1000)), (merge, (4, 1)), (update_count, (4,))):
        refused("KS_VALIDATION", "Stream s under account 000000000000 is in On-Demand mode.", call, client, "s", *args)
    broker.stop()
    broker = Broker(scratch)
    client = broker.client()
    refused("KS_VALIDATION", "On-Demand", split, client, "s", 4, 1000)
    client.call(UPDATE_STREAM_MODE, (1, arn), (3, encode((1, "PROVISIONED"))))
    split(client, "s", 4, 1000)
    assert tiles(shards_of(client, "s", "AT_LATEST"))
    broker.stop()


def test_filters_find_the_shards_of_a_time(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s", 2)
    times = [int(time.time() * 1000)]

    def later(change):
        """A change in a second of its own: shards close by the second."""
        wait_until(lambda: int(time.time()) > times[-1] // 1000 + 1, "the next second")
        change()
        wait_until(lambda: int(time.time()) > times[-1] // 1000 + 2, "the next second")
        times.append(int(time.time() * 1000))

    later(lambda: split(client, "s", 0, MIDDLE // 2))         # 2, 3
    later(lambda: merge(client, "s", 3, 1))                   # 4
    later(lambda: update_count(client, "s", 3))               # 5, 6 and 7, 8: short-lived ones, then 9
    opened = [[0, 1], [1, 2, 3], [2, 4]]
    for unix_ms, expected in zip(times, opened):
        for page in (None, 1):
            found = shards_of(client, "s", "AT_TIMESTAMP", unix_ms=unix_ms, page=page)
            assert indexes(found) == expected, (indexes(found), expected)
            assert tiles(found)
    newest = shards_of(client, "s", "AT_TIMESTAMP", unix_ms=times[3])
    assert indexes(newest) == indexes(shards_of(client, "s", "AT_LATEST"))
    assert len(newest) == 3 and tiles(newest)
    assert indexes(shards_of(client, "s", "AT_TRIM_HORIZON")) == [0, 1]
    every = indexes(shards_of(client, "s"))
    assert every == list(range(len(every))) == indexes(shards_of(client, "s", "FROM_TRIM_HORIZON"))
    assert indexes(shards_of(client, "s", "FROM_TIMESTAMP", unix_ms=times[0])) == every
    assert indexes(shards_of(client, "s", "FROM_TIMESTAMP", unix_ms=times[1])) == every[1:]
    assert indexes(shards_of(client, "s", "FROM_TIMESTAMP", unix_ms=times[3])) == indexes(newest)
    assert indexes(shards_of(client, "s", "AFTER_SHARD_ID", shard_id=shard_id(2))) == every[3:]
    broker.stop()


def test_a_closed_shard_ends_with_its_children(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s", 1)
    key = next("k%d" % i for i in range(100) if hash_of("k%d" % i) >= MIDDLE)
    client.put("s", [(key, b"%d" % i) for i in range(3)])
    parked = broker.client()
    parked_id = parked.send(GET_RECORDS, encode((1, client.iterator("s", 0, "LATEST")), (6, 30000)))
    split(client, "s", 0, MIDDLE)
    got_id, op, message, _ = parked.receive()
    assert (got_id, op) == (parked_id, GET_RECORDS)
    assert 1 not in decode(message) and len(decode(message)[3]) == 2, "a waiting reader is told of the end"
    assert client.put("s", [(key, b"3")]) == [(2, 1)]
    closed = shards_of(client, "s")[0]
    for restarted in (False, True):
        for kind, sequence, left in (("TRIM_HORIZON", None, 3), ("LATEST", None, 0), ("AT_SEQUENCE_NUMBER", closed.start, 3),
                                     ("AT_SEQUENCE_NUMBER", closed.end, 0), ("AFTER_SEQUENCE_NUMBER", closed.end, 0)):
            records = client.get(client.iterator("s", 0, kind, sequence))
            assert (len(records), records.next, records.behind_ms) == (left, None, 0), (kind, records, records.next)
            children = [decode(child) for child in records.children]
            assert [(text(child, 1), child[2], text(decode(child[3][0]), 1)) for child in children] == [
                (shard_id(1), [shard_id(0).encode()], "0"), (shard_id(2), [shard_id(0).encode()], str(MIDDLE))]
        part = client.get(client.iterator("s", 0), limit=2)
        assert part.next and not part.children, "children before the end"
        assert [row[2] for row in read_lineage_of(client)] == [key] * 4
        describe = decode(decode(client.call(DESCRIBE, (1, "s")))[1][0])
        shards = [Shard(shard) for shard in describe[5]]
        assert [shard.is_open for shard in shards] == [False, True, True] and shards[0].end == closed.end
        if not restarted:
            broker.kill()
            broker = Broker(scratch)
            client = broker.client()
    merge(client, "s", 1, 2)
    children = [decode(child) for child in client.get(client.iterator("s", 1)).children]
    assert [(text(child, 1), child[2]) for child in children] == [(shard_id(3), [shard_id(1).encode(), shard_id(2).encode()])]
    broker.stop()


def read_lineage_of(client):
    return read_lineage(client, "s")


def test_a_routed_put_learns_of_a_reshard(scratch):
    from test_routed import Router, part
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s", 1)
    router = Router(client, "s")
    record = encode_record("k", b"first")
    assert router.put(part(0, [record], 7, 1, True))[0][2][0] == 1
    split(client, "s", 0, MIDDLE)
    request_id = client.send(PUT_RECORDS, encode((4, router.stream_id), (5, router.epoch), (6, part(0, [record], 7, 2))))
    _, op, message, _ = client.receive()
    error = Refused(decode(message))
    assert op == ERROR and error.is_("KS_ROUTING_CHANGED"), error
    routing = decode(decode(message)[5][0])
    assert routing[3][0] == router.epoch + 1 and len(routing[6]) == 2, routing
    router = Router(client, "s")
    for restarted in (False, True):
        # The closed shard says for ever what it has: applied, not applied, other records.
        again = router.put(part(0, [record], 7, 1, True))[0]
        assert again[2][0] == 1 and again[6][0] == 1, again
        for sequence, records, status in ((2, [record], "KS_SHARD_CLOSED"), (1, [encode_record("k", b"x")], "KS_PRODUCER_MISMATCH")):
            failed = router.put(part(0, records, 7, sequence))[0]
            assert decode(failed[7][0])[1][0] == status_number(status), (status, failed)
        known = [decode(shard) for shard in decode(client.call(RESUME, (1, "s"), (4, Fixed64(7))))[1]]
        assert [(shard.get(1, [0])[0], shard[2][0], shard[6][0]) for shard in known] == [(0, 1, 1)], known
        if not restarted:
            broker.kill()
            broker = Broker(scratch)
            client = broker.client()
            router.client = client
    mixed = router.put(part(0, [record], 7, 3), part(router.shard_of("k"), [record], 7, 1, True))
    assert 7 in mixed[0] and mixed[1][2][0] == 1, mixed
    broker.stop()


if __name__ == "__main__":
    run_tests(test_lineage_and_totals_are_those_of_kinesis, test_what_cannot_be_split_or_merged_is_refused,
              test_filters_find_the_shards_of_a_time, test_a_closed_shard_ends_with_its_children,
              test_a_routed_put_learns_of_a_reshard)
