"""Streams on demand split and merge by themselves. libfaketime moves all clocks of the broker, as if its machine had slept:
the minute from look to look, and the six hours until cold shards are merged."""
from reshard_test import *

MINUTE, HOURS = 61, 6 * 3600


def look(client, clocks, seconds=0):
    """The broker sleeps in real time: a reshard of another stream wakes those who would look now."""
    clocks.go_on(seconds)
    count = decode(decode(client.call(SUMMARY, (1, "other")))[1][0])[11][0]
    update_count(client, "other", 3 - count)


def open_shards(client):
    return sorted((shard.first, shard.index) for shard in shards_of(client, "clicks") if shard.is_open)


def test_a_hot_shard_is_split_and_cold_ones_are_merged(scratch):
    clocks = Clocks(scratch)
    broker = Broker(scratch, environment=clocks.environment)
    client = broker.client()
    client.call(CREATE, (1, "clicks"), (3, encode((1, "ON_DEMAND"))))
    client.create_stream("other", 1)
    quarter = KEYS_END // 4
    assert open_shards(client) == [(i * quarter, i) for i in range(4)]
    look(client, clocks, MINUTE)  # new shards are measured from their first look on
    # 36 MiB in a minute are more than half of what one shard is meant to take; spread over four they would be nothing.
    key = next(key for key in map(str, range(1000)) if 2 * quarter <= hash_of(key) < 3 * quarter)
    for _ in range(9):
        client.put("clicks", [(key, bytes(1 << 20)[:-len(key)])] * 4)
    look(client, clocks, MINUTE)
    wait_until(lambda: len(open_shards(client)) == 5, "the hot shard is split")
    assert open_shards(client) == [(0, 0), (quarter, 1), (2 * quarter, 4), (2 * quarter + quarter // 2, 5), (3 * quarter, 3)]
    wait_until(lambda: "stream.scaled stream=clicks splits=1 merges=0 open_shards=5" in broker.log(), "the log says so")
    # Puts and reads are what they were.
    client.put("clicks", [(key, b"last")])
    records = [record for record in read_lineage(client, "clicks") if record[2] == key]
    assert len(records) == 37 and records[-1][3] == b"last", len(records)
    assert tiles([shard for shard in shards_of(client, "clicks") if shard.is_open])
    # The others have been cold all the time: two are merged after six hours, but never below the four it began with.
    look(client, clocks, HOURS - 2 * MINUTE)
    assert len(open_shards(client)) == 5
    look(client, clocks, MINUTE)
    wait_until(lambda: len(open_shards(client)) == 4, "cold shards are merged")
    assert tiles([shard for shard in shards_of(client, "clicks") if shard.is_open])
    look(client, clocks, 2 * HOURS)
    look(client, clocks, MINUTE)
    assert len(open_shards(client)) == 4
    # Users leave such a stream alone, until it is theirs again.
    arn = text(decode(decode(client.call(SUMMARY, (1, "clicks")))[1][0]), 2)
    try:
        update_count(client, "clicks", 8)
        assert False, "it is on demand"
    except Refused as refused:
        assert "is in On-Demand mode" in str(refused), refused
    client.call(UPDATE_STREAM_MODE, (1, arn), (3, encode((1, "PROVISIONED"))))
    update_count(client, "clicks", 8)
    broker.stop()


run_tests(test_a_hot_shard_is_split_and_cold_ones_are_merged)
