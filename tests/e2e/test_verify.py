"""kstreamctl verify: sealed segments read over again by the running broker, or a whole directory without one."""
import glob
from ctl_test import *

MIB = 1 << 20


def fill(scratch):
    broker = Broker(scratch, "--segment-bytes", "16MiB", "--flush-bytes", "4MiB", "--flush-age", "100ms", "--scrub-interval", "0")
    ctl = Ctl(broker.addresses["native"])
    client = broker.client()
    client.create_stream("s", 2)
    client.create_stream("quiet")
    for i in range(90):
        client.put_patiently("s", [("k", b"%d" % i + bytes(1000000))])
    wait_until(lambda: len(sealed(broker)) >= 2, "segments are sealed")
    return broker, ctl


def sealed(broker):
    files = glob.glob(os.path.join(broker.data_dir, "segments", "*", "*.seg"))
    return sorted((path for path in files if 8 * MIB < os.path.getsize(path) and b"\0" * 64 not in tail_of(path)), key=os.path.getmtime)


def tail_of(path):
    """The last bytes of a segment: of a sealed one its footer, else zeroes that are allocated ahead."""
    with open(path, "rb") as file:
        file.seek(-64, os.SEEK_END)
        return file.read()


def test_what_is_sealed_is_verified_by_the_broker(scratch):
    broker, ctl = fill(scratch)
    answer = ctl.json("verify", "s")
    assert [shard["shard_id"][-1] for shard in answer["shards"]] == ["0", "1"], answer
    total = answer["total"]
    assert total["segments"] >= 2 and total["bytes"] > 30 * MIB and total["records"] > 30, total
    assert total["damaged_segments"] == total["damaged_records"] == 0, total
    assert total["records"] + total["unsealed_records"] == 90, total
    busy = max(answer["shards"], key=lambda shard: shard["records"])
    alone = ctl.json("verify", "s", "--shard-id", busy["shard_id"][-1])
    assert alone["shards"] == [busy], alone
    everything = ctl.json("verify")
    assert {shard["stream_name"] for shard in everything["shards"]} == {"s", "quiet"}, everything
    ctl.fails(4, "not found", "verify", "nothing")
    ctl.fails(4, "does not exist", "verify", "s", "--shard-id", "9")
    ctl.fails(2, "needs a stream", "verify", "--shard-id", "0")
    broker.stop()


def test_damage_is_found_and_named(scratch):
    broker, ctl = fill(scratch)
    path = sealed(broker)[0]
    with open(path, "r+b") as file:
        file.seek(5 * MIB)
        file.write(b"damage")
    code, out, err = ctl.run("verify", "s", "-o", "json")
    assert code == 9 and "damaged" in err, (code, err)
    answer = json.loads(out)
    assert answer["total"]["damaged_segments"] == 1 and answer["total"]["damaged_records"] >= 1, answer["total"]
    damage = next(shard["damages"] for shard in answer["shards"] if shard["damages"])[0]
    assert damage["file"] == os.path.basename(path) and damage["records"] >= 1 and damage["from_sequence"] >= 1, damage
    broker.wait_logged("scrub.damaged")
    # The doctor knows of it from then on.
    code, out, _ = ctl.run("doctor", "-o", "json")
    assert code == 3 and [row["verdict"] for row in json.loads(out)["checks"] if row["check"] == "damage"] == ["problem"]
    # The same without a broker.
    ctl.fails(5, "", "verify", "--data-dir", broker.data_dir)
    broker.stop()
    code, out, err = ctl.run("verify", "--data-dir", broker.data_dir, "-o", "json")
    assert code == 9 and os.path.basename(path) in out.decode(), (code, out, err)


def test_a_sound_directory_without_a_broker(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "s", "-o", "none")
    ctl("put-record", "s", "--partition-key", "k", "--data", "d", "-o", "none")
    broker.stop()
    assert ctl.json("verify", "--data-dir", broker.data_dir)["findings"] == []
    ctl.fails(4, "is it a data directory", "verify", "--data-dir", scratch)


run_tests(test_what_is_sealed_is_verified_by_the_broker, test_damage_is_found_and_named, test_a_sound_directory_without_a_broker)
