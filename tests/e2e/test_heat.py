"""kstreamctl shard-heat: hot shards and keys, and the split that halves the load of a shard."""
import hashlib, random
from ctl_test import *


def hash_of(key):
    return int.from_bytes(hashlib.md5(key.encode()).digest(), "big")


def puts(client, stream, keys, size=10):
    for at in range(0, len(keys), 500):
        records = [(key, b"x" * size) for key in keys[at:at + 500]]

        def stored():
            try:
                client.put(stream, records)
                return True
            except Refused as error:
                if error.is_("KS_THROTTLED"):
                    return False
                raise
        wait_until(stored, "a throttled put is taken")


def keys_in(first, last, count, seed):
    """Keys whose hashes lie in a part of all hash keys, 0 to 1."""
    dice, found = random.Random(seed), []
    while len(found) < count:
        key = "k%d" % dice.randrange(1 << 60)
        if first <= hash_of(key) / 2 ** 128 < last:
            found.append(key)
    return found


def test_the_split_halves_the_load(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    client.create_stream("s", 4)
    # The second shard has nearly all, most of it in its first tenth.
    dice = random.Random(1)
    hot = keys_in(0.25, 0.275, 200, 2) + keys_in(0.275, 0.5, 20, 3)
    cold = keys_in(0, 0.25, 20, 4) + keys_in(0.5, 1, 20, 5)
    load = [dice.choice(hot) for _ in range(4500)] + [dice.choice(cold) for _ in range(500)]
    dice.shuffle(load)
    puts(client, "s", load)
    answer = ctl.json("shard-heat", "s")
    hottest = answer["shards"][0]
    assert hottest["shard_id"] == "shardId-000000000001" and 0.85 < hottest["share"] < 0.95, answer["shards"]
    assert abs(sum(shard["share"] for shard in answer["shards"]) - 1) < 0.01
    assert answer["samples"] > 1000 and len(answer["shards"]) == 4
    assert "--new-starting-hash-key " + hottest["split_at"] in hottest["advice"], hottest
    # What it says is what a split does, by the keys themselves.
    at = int(hottest["split_at"])
    of_shard = [hash_of(key) for key in load if 0.25 <= hash_of(key) / 2 ** 128 < 0.5]
    below = sum(value < at for value in of_shard) / len(of_shard)
    assert 0.42 < below < 0.58, "%.3f of the load is below the split" % below
    assert 0.25 < at / 2 ** 128 < 0.275
    words = hottest["advice"].split(":")[0].split()
    assert words[0] == "kstreamctl"
    ctl(*words[1:], "-o", "none")
    assert [shard["shard_id"] for shard in ctl.json("shard-heat", "s")["shards"]].count("shardId-000000000001") == 0
    puts(client, "s", load)
    children = {shard["shard_id"]: shard for shard in ctl.json("shard-heat", "s")["shards"]}
    rates = [children["shardId-00000000000%d" % i]["records_per_s"] for i in (4, 5)]
    assert 0.7 < rates[0] / rates[1] < 1.4, rates
    broker.stop()


def test_a_key_that_is_too_heavy(scratch):
    broker, ctl = begin(scratch)
    client = broker.client()
    client.create_stream("s", 2)
    client.create_stream("other")
    dice = random.Random(7)
    load = ["whale"] * 1800 + ["fish%d" % dice.randrange(300) for _ in range(600)] + ["ö" * 200] * 100
    dice.shuffle(load)
    puts(client, "s", load)
    puts(client, "other", ["mine"] * 50)
    answer = ctl.json("shard-heat", "s", "--keys", "5")
    assert len(answer["keys"]) == 5
    assert answer["keys"][0]["key"] == "whale" and 0.65 < answer["keys"][0]["share"] < 0.8, answer["keys"]
    assert answer["keys"][1]["is_cut"] and answer["keys"][1]["share"] < 0.1, answer["keys"]
    hottest = answer["shards"][0]
    assert hottest["hottest_key"] == "whale" and hottest["hottest_key_share"] > 0.7, hottest
    assert "one key" in hottest["advice"], hottest
    assert [key["key"] for key in ctl.json("shard-heat", "other")["keys"]] == ["mine"]
    # A stream of many keys, each seen once: bounded, and the heavy one is still found.
    puts(client, "other", ["k%d" % i for i in range(6000)] + ["heavy"] * 1500)
    keys = ctl.json("shard-heat", "other")["keys"]
    assert keys[0]["key"] == "heavy" and 0.1 < keys[0]["share"] < 0.35, keys[:3]
    broker.stop()


def test_nothing_is_hot(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "s", "--shards", "3", "-o", "none")
    answer = ctl.json("shard-heat", "s")
    assert [(shard["share"], shard["advice"], shard["split_at"]) for shard in answer["shards"]] == [(0, None, None)] * 3
    assert answer["keys"] == [] and answer["samples"] == 0
    ctl.fails(4, "not found", "shard-heat", "nothing")
    # An explicit hash key decides, not the key's own.
    ctl("put-record", "s", "--partition-key", "k", "--explicit-hash-key", str(2 ** 128 - 1), "--data", "d", "-o", "none")
    assert ctl.json("shard-heat", "s")["shards"][0]["shard_id"] == "shardId-000000000002"
    # Routed puts of libkstream count as plain ones do.
    ctl("put", "s", "-", "--key", "routed", "--progress", "none", "-o", "none", data=b"line\n" * 100)
    assert ctl.json("shard-heat", "s")["keys"][0]["key"] == "routed"
    broker.stop()


run_tests(test_the_split_halves_the_load, test_a_key_that_is_too_heavy, test_nothing_is_hot)
