"""Ten thousand shards on one broker that may open 1 024 files: an idle shard costs memory, little of it, and nothing else."""
import os
from kstream_test import *
from test_routed import Router, part

SHARDS = 10000
FILES = 1024
BYTES_A_SHARD = 2048
BATCH = 500
IN_FLIGHT = 100


def proc(broker, name):
    return "/proc/%d/%s" % (broker.process.pid, name)


def counts(broker):
    """(threads, descriptors, mappings)"""
    with open(proc(broker, "maps")) as file:
        mappings = sum(1 for _ in file)
    return len(os.listdir(proc(broker, "task"))), len(os.listdir(proc(broker, "fd"))), mappings


def pipelined(client, op, messages):
    """The answers in the order of the requests."""
    for at in range(0, len(messages), IN_FLIGHT):
        ids = [client.send(op, message) for message in messages[at:at + IN_FLIGHT]]
        answers = {}
        for _ in ids:
            request_id, got, answer, _ = client.receive()
            assert got == op, decode(answer)
            answers[request_id] = decode(answer)
        yield from (answers[request_id] for request_id in ids)


def read_everything(client, step=1):
    """Each shard has the one record that was put to it."""
    shards = range(0, SHARDS, step)
    iterators = [text(fields, 1) for fields in pipelined(client, GET_ITERATOR, [
        encode((1, "s"), (2, "shardId-%012d" % shard), (3, "TRIM_HORIZON")) for shard in shards])]
    for shard, fields in zip(shards, pipelined(client, GET_RECORDS, [encode((1, it)) for it in iterators])):
        batches = [batch for _, batch, _, _ in decode_fields(fields[15][0])]
        records = [decode(record)[3][0] for number, record, _, _ in decode_fields(batches[0]) if number == 2]
        assert len(batches) == 1 and records == [b"of shard %d" % shard], (shard, records)


def check_idle(broker, before, rss_before, when):
    threads, descriptors, mappings = counts(broker)
    assert threads <= before[0], "%d threads %s" % (threads, when)
    assert descriptors <= before[1] + 64, "%d descriptors %s" % (descriptors, when)
    assert mappings <= before[2] + 100, "%d mappings %s" % (mappings, when)
    grown = (broker.rss_bytes() - rss_before) // SHARDS
    print("      %s: %d bytes a shard" % (when, grown))
    assert grown <= BYTES_A_SHARD, "%d bytes a shard %s" % (grown, when)


def segment_files(broker):
    return sum(len(names) for _, _, names in os.walk(os.path.join(broker.data_dir, "segments")))


def test_ten_thousand_shards_with_a_thousand_files(scratch):
    broker = Broker(scratch, "--flush-age", "100ms", "--verify-routing", "off", files=FILES)
    with open(proc(broker, "limits")) as limits:
        row = next(line for line in limits if line.startswith("Max open files"))
        assert row.split()[3:5] == [str(FILES), str(FILES)], row
    client = broker.client()
    client.call(PING)
    before, rss_before = counts(broker), broker.rss_bytes()
    client.create_stream("s", SHARDS)
    check_idle(broker, before, rss_before, "created")
    router = Router(client, "s")
    for at in range(0, SHARDS, BATCH):
        for shard, result in enumerate(router.put(*(
                part(shard, [encode_record("k", b"of shard %d" % shard)], producer=7, sequence=1, first=True)
                for shard in range(at, at + BATCH))), at):
            assert result[2][0] == 1 and 7 not in result, (shard, result)
    read_everything(client, 10)
    wait_until(lambda: segment_files(broker) >= SHARDS, "every shard is flushed")
    # The tails go when the last round is committed; the memory follows.
    wait_until(lambda: broker.rss_bytes() - rss_before <= SHARDS * BYTES_A_SHARD,
               "an idle shard costs at most %d bytes" % BYTES_A_SHARD)
    read_everything(client)
    check_idle(broker, before, rss_before, "flushed and read")
    broker.stop()
    broker = Broker(scratch, files=FILES)
    client = broker.client()
    client.call(PING)
    check_idle(broker, before, rss_before, "after a restart")
    read_everything(client)
    check_idle(broker, before, rss_before, "and read again")
    broker.kill()
    broker = Broker(scratch, files=FILES)
    client = broker.client()
    read_everything(client, 10)
    broker.stop()


if __name__ == "__main__":
    run_tests(test_ten_thousand_shards_with_a_thousand_files)
