"""kstreamctl split-shard, merge-shards, update-shard-count, update-stream-mode: the flags of aws kinesis, and the short ways."""
from ctl_test import *

MIDDLE = 1 << 127


def lineage(ctl, stream="clicks"):
    """{shard: (parents, first hash key, is open)} with the numbers of shards."""
    def number(shard_id):
        return int(shard_id.split("-")[1])
    return {number(shard["ShardId"]):
            ([number(shard[name]) for name in ("ParentShardId", "AdjacentParentShardId") if name in shard],
             int(shard["HashKeyRange"]["StartingHashKey"]), "EndingSequenceNumber" not in shard["SequenceNumberRange"])
            for shard in ctl.json("list-shards", stream)["Shards"]}


def test_shards_are_split_and_merged_with_the_flags_of_aws(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    arn = ctl("describe-stream-summary", "clicks", "--query", "StreamDescriptionSummary.StreamARN", "-o", "text").strip()
    assert ctl.json("split-shard", "--stream-name", "clicks", "--shard-to-split", "shardId-000000000000",
                    "--new-starting-hash-key", "1000") == {
        "StreamName": "clicks", "StreamStatus": "ACTIVE",
        "ChildShards": ["shardId-000000000001", "shardId-000000000002"]}
    assert lineage(ctl) == {0: ([], 0, False), 1: ([0], 0, True), 2: ([0], 1000, True)}
    assert ctl.json("kinesis", "merge-shards", "--stream-arn", arn, "--shard-to-merge", "shardId-000000000001",
                    "--adjacent-shard-to-merge", "shardId-000000000002")["ChildShards"] == ["shardId-000000000003"]
    assert lineage(ctl)[3] == ([1, 2], 0, True)
    # In the middle, unless told where.
    assert ctl.json("shard", "split", "clicks", "3")["ChildShards"] == ["shardId-000000000004", "shardId-000000000005"]
    assert lineage(ctl)[5] == ([3], MIDDLE, True)
    count = ctl.json("update-shard-count", "--stream-arn", arn, "--target-shard-count", "4", "--scaling-type",
                     "UNIFORM_SCALING")
    assert (count["CurrentShardCount"], count["TargetShardCount"], count["StreamStatus"]) == (2, 4, "ACTIVE"), count
    assert sorted(first for _, first, is_open in lineage(ctl).values() if is_open) == [i << 126 for i in range(4)]
    assert ctl.json("shard", "count", "clicks", "2", "--no-wait")["StreamStatus"] == "UPDATING"
    ctl("wait", "stream-exists", "clicks")
    assert sum(is_open for _, _, is_open in lineage(ctl).values()) == 2
    mode = ctl.json("update-stream-mode", "--stream-arn", arn, "--stream-mode-details", "StreamMode=ON_DEMAND")
    assert mode == {"StreamName": "clicks", "StreamStatus": "ACTIVE", "StreamMode": "ON_DEMAND"}, mode
    about = ctl.json("describe-stream-summary", "clicks")["StreamDescriptionSummary"]
    assert about["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"} and about["OpenShardCount"] == 2, about
    ctl.fails(1, "is in On-Demand mode", "shard", "count", "clicks", "4")
    ctl("stream", "mode", "clicks", '{"StreamMode": "PROVISIONED"}')
    ctl("shard", "count", "clicks", "1")
    broker.stop()


def test_refused_changes_say_why(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks", "--shards", "3")
    ctl("shard", "split", "clicks", "0")
    before = lineage(ctl)
    for code, text, words in (
            (1, "has already been merged or split", ("shard", "split", "clicks", "0")),
            (1, "is not both greater than", ("split-shard", "clicks", "1", "--new-starting-hash-key", "7")),
            (4, "Shard shardId-000000000077 in stream clicks", ("shard", "split", "clicks", "77")),
            (4, "code=ResourceNotFoundException", ("shard", "split", "nope", "0")),
            (1, "not an adjacent pair", ("shard", "merge", "clicks", "2", "1")),
            (1, "code=LimitExceededException", ("shard", "count", "clicks", "20000")),
            (2, "'--scaling-type UNEVEN': UNIFORM_SCALING", ("update-shard-count", "clicks", "4", "--scaling-type", "UNEVEN")),
            (2, "'--target-shard-count 0'", ("shard", "count", "clicks", "0")),
            (2, "StreamMode=PROVISIONED or ON_DEMAND", ("stream", "mode", "clicks", "StreamMode=NONE")),
            (2, "--adjacent-shard-to-merge", ("shard", "merge", "clicks", "1"))):
        ctl.fails(code, text, *words)
    assert lineage(ctl) == before
    broker.stop()


run_tests(test_shards_are_split_and_merged_with_the_flags_of_aws, test_refused_changes_say_why)
