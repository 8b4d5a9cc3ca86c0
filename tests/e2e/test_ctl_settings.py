"""The verbs about tags, settings of streams and the account, with the flags of `aws kinesis`; --stream-id with every verb."""
from ctl_test import *

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/"
METRICS = ["IncomingBytes", "IncomingRecords", "OutgoingBytes", "OutgoingRecords", "WriteProvisionedThroughputExceeded",
           "ReadProvisionedThroughputExceeded", "IteratorAgeMilliseconds"]


def summary(ctl, name):
    return ctl.json("describe-stream-summary", name)["StreamDescriptionSummary"]


def tags(ctl, *words):
    answer = ctl.json("list-tags-for-stream", *words)
    return [(tag["Key"], tag["Value"]) for tag in answer["Tags"]], answer["HasMoreTags"]


def test_tags_with_the_flags_of_aws(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "--stream-name", "s", "--shard-count", "1", "--tags", "made=here", "-o", "none")
    stream_id = summary(ctl, "s")["StreamId"]
    assert ctl.json("add-tags-to-stream", "--stream-name", "s", "--tags", "b=2,a=1") == {"StreamName": "s", "Tags": 2}
    ctl("add-tags-to-stream", "--stream-arn", ARN + "s", "--tags", '{"with space": "and: colon"}')
    ctl("tag", "add", "--stream-id", stream_id, "--tags", "c=")
    expected = [("a", "1"), ("b", "2"), ("c", ""), ("made", "here"), ("with space", "and: colon")]
    assert tags(ctl, "--stream-name", "s") == (expected, False)
    assert tags(ctl, "s", "--limit", "2") == (expected[:2], True)
    assert tags(ctl, "s", "--exclusive-start-tag-key", "b", "--limit", "5") == (expected[2:], False)
    ctl("remove-tags-from-stream", "--stream-name", "s", "--tag-keys", "a", "b", "none")
    ctl("tag-resource", "--resource-arn", ARN + "s", "--tags", "d=4")
    ctl("untag-resource", "--resource-arn", ARN + "s", "--tag-keys", "made", "c")
    answer = ctl.json("list-tags-for-resource", "--resource-arn", ARN + "s")
    assert answer == {"Tags": [{"Key": "d", "Value": "4"}, {"Key": "with space", "Value": "and: colon"}]}
    whole = {"StreamName": "s", "Tags": {"x": "1", "y": "2"}}
    ctl("add-tags-to-stream", "--cli-input-json", json.dumps(whole))
    ctl("remove-tags-from-stream", "--cli-input-json", json.dumps({"StreamName": "s", "TagKeys": ["d", "y"]}))
    assert tags(ctl, "s")[0] == [("with space", "and: colon"), ("x", "1")]
    # A dry run changes nothing and knows what would be refused.
    assert ctl.json("tag", "add", "s", "n=1,m=2", "--dry-run")["would"] == "set 2 tags of 's'"
    many = ",".join("k%d=v" % i for i in range(49))
    ctl.fails(3, "cannot have more than 50 tags", "tag", "add", "s", many, "--dry-run")
    ctl.fails(1, "cannot have more than 50 tags", "tag", "add", "s", many)
    ctl.fails(3, "started with 'aws:'", "tag", "remove", "s", "aws:x", "--dry-run")
    ctl.fails(4, "Stream none under account 000000000000 not found.", "tag", "add", "none", "k=v")
    ctl.fails(2, "is to be a text", "tag", "add", "s", '{"k": 1}')
    ctl.fails(2, "'--tags' is missing", "add-tags-to-stream", "s")
    assert tags(ctl, "s")[0] == [("with space", "and: colon"), ("x", "1")]
    broker.stop()


def test_settings_with_the_flags_of_aws(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "s", "--shards", "1", "-o", "none")
    assert ctl.json("update-max-record-size", "s", "4096", "--dry-run")["would"] == "let records of 's' have up to 4096 KiB"
    assert summary(ctl, "s")["MaxRecordSizeInKiB"] == 1024
    ctl("update-max-record-size", "--stream-arn", ARN + "s", "--max-record-size-in-ki-b", "10240")
    assert summary(ctl, "s")["MaxRecordSizeInKiB"] == 10240
    ctl("update-max-record-size", "--stream-name", "s", "--max-record-size-in-kib", "2048")
    assert summary(ctl, "s")["MaxRecordSizeInKiB"] == 2048
    ctl.fails(2, "1024 to 10240", "update-max-record-size", "s", "512")
    answer = ctl.json("enable-enhanced-monitoring", "--stream-name", "s", "--shard-level-metrics", "OutgoingBytes", "IncomingBytes")
    assert answer == {"StreamName": "s", "CurrentShardLevelMetrics": [], "DesiredShardLevelMetrics": ["IncomingBytes", "OutgoingBytes"]}
    assert summary(ctl, "s")["EnhancedMonitoring"] == [{"ShardLevelMetrics": ["IncomingBytes", "OutgoingBytes"]}]
    described = ctl.json("describe-stream", "s")["StreamDescription"]
    assert described["EnhancedMonitoring"] == summary(ctl, "s")["EnhancedMonitoring"]
    ctl("enable-enhanced-monitoring", "s", "ALL", "--dry-run")
    answer = ctl.json("disable-enhanced-monitoring", "s", "--shard-level-metrics", "IncomingBytes")
    assert answer["DesiredShardLevelMetrics"] == ["OutgoingBytes"]
    answer = ctl.json("enable-enhanced-monitoring", "s", "--shard-level-metrics", "ALL")
    assert answer["DesiredShardLevelMetrics"] == METRICS
    ctl.fails(1, "Member must satisfy enum value set", "enable-enhanced-monitoring", "s", "Bytes")
    ctl.fails(1, "WarmThroughputMiBps is for streams in On-Demand mode", "update-stream-warm-throughput", "s", "3")
    ctl.fails(3, "WarmThroughputMiBps is for streams in On-Demand mode", "update-stream-warm-throughput", "s", "3", "--dry-run")
    ctl.fails(2, "is for streams with StreamMode=ON_DEMAND", "create-stream", "t", "--warm-throughput-mi-bps", "3")
    ctl("create-stream", "t", "--stream-mode-details", "StreamMode=ON_DEMAND", "--warm-throughput-mi-bps", "5", "-o", "none")
    assert summary(ctl, "t")["WarmThroughput"] == {"TargetMiBps": 5, "CurrentMiBps": 5}
    ctl("update-stream-warm-throughput", "t", "100", "--dry-run")
    answer = ctl.json("update-stream-warm-throughput", "--stream-name", "t", "--warm-throughput-mi-bps", "6")
    assert answer == {"StreamName": "t", "WarmThroughput": {"TargetMiBps": 6, "CurrentMiBps": 6}}
    assert summary(ctl, "t")["OpenShardCount"] == 6
    ctl("update-stream-mode", "s", "StreamMode=ON_DEMAND", "--warm-throughput-mi-bps", "2", "-o", "none")
    assert summary(ctl, "s")["WarmThroughput"] == {"TargetMiBps": 2, "CurrentMiBps": 2}
    broker.stop()


def test_limits_of_a_stream(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "s", "--shards", "1", "-o", "none")
    assert "Limits" not in summary(ctl, "s")
    answer = ctl.json("setting", "stream-limits", "s", "Mode=aws,RecordsPerDay=1000")
    assert answer == {"StreamName": "s", "Limits": {"Mode": "aws", "WriteBytesPerSecond": 1 << 20, "WriteRecordsPerSecond": 1000,
                                                    "ReadBytesPerSecond": 2 << 20, "ReadCallsPerSecond": 5, "RecordsPerDay": 1000}}
    assert summary(ctl, "s")["Limits"] == answer["Limits"]
    answer = ctl.json("update-stream-limits", "--stream-name", "s", "--limits", '{"Mode": "custom", "WriteRecordsPerSecond": 100, '
                      '"WriteBytesPerSecond": "4MiB"}')
    assert answer["Limits"] == {"Mode": "custom", "WriteBytesPerSecond": 4 << 20, "WriteRecordsPerSecond": 100}
    ctl.fails(2, "Mode=off, aws or custom is missing", "update-stream-limits", "s", "RecordsPerDay=1")
    ctl.fails(2, "'Rate' is none of them", "update-stream-limits", "s", "Mode=aws,Rate=1")
    ctl.fails(2, "is no number", "update-stream-limits", "s", "Mode=custom,RecordsPerDay=many")
    ctl.fails(1, "[off, aws, custom]", "update-stream-limits", "s", "Mode=x")
    # A producer comes again when it is throttled: everything is stored, once and in order. So does a reader.
    ctl("update-stream-limits", "s", "Mode=custom,WriteRecordsPerSecond=200,ReadCallsPerSecond=5")
    lines = b"".join(b"%d\n" % i for i in range(400))
    summed = ctl.json("put", "s", "--key", "k", "--batch", "20", "--progress", "none", data=lines)
    assert summed["records"] == 400 and summed["failed"] == 0, summed
    assert ctl("tail", "s", "--no-follow", "--format", "%d\\n").encode() == lines
    # One put alone is told.
    ctl("update-stream-limits", "s", "Mode=off,RecordsPerDay=1")
    ctl.fails(10, "Rate exceeded for stream s under account 000000000000. Limit: records_per_day=1, current: ", "put-record", "s",
              "--data", "d", "--partition-key", "k")
    broker.stop()


def test_dry_runs_know_the_shard_limit(scratch):
    broker = Broker(scratch, "--shards", "4")
    ctl = Ctl(broker.addresses["native"])
    ctl("create-stream", "s", "--shards", "2", "-o", "none")
    over = "update-stream-mode", "s", "StreamMode=ON_DEMAND", "--warm-throughput-mi-bps", "5"
    ctl.fails(3, "would exceed the shard limit", *over, "--dry-run")
    ctl("update-stream-mode", "s", "StreamMode=ON_DEMAND", "--warm-throughput-mi-bps", "4", "--dry-run")
    ctl("update-stream-mode", "s", "StreamMode=ON_DEMAND", "-o", "none")
    ctl.fails(3, "would exceed the shard limit", "update-stream-warm-throughput", "s", "5", "--dry-run")
    broker.stop()


def test_the_account(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "s", "--shards", "3", "-o", "none")
    assert ctl.json("describe-limits") == {"ShardLimit": 20000, "OpenShardCount": 3, "OnDemandStreamCount": 0,
                                           "OnDemandStreamCountLimit": 1000}
    begun = ctl.json("update-account-settings", "--minimum-throughput-billing-commitment", "Status=ENABLED", "--dry-run")
    assert begun["would"] == "make the commitment ENABLED"
    assert ctl.json("describe-account-settings") == {"MinimumThroughputBillingCommitment": {"Status": "DISABLED"}}
    begun = ctl.json("update-account-settings", "--minimum-throughput-billing-commitment", '{"Status": "ENABLED"}')
    commitment = begun["MinimumThroughputBillingCommitment"]
    assert commitment["Status"] == "ENABLED" and sorted(commitment) == ["EarliestAllowedEndAt", "StartedAt", "Status"]
    assert ctl.json("describe-account-settings") == begun
    ctl.fails(1, "ENABLED, DISABLED", "update-account-settings", "Status=x")
    broker.stop()


def test_a_stream_is_known_by_its_id_to_every_verb(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "s", "--shards", "2", "-o", "none")
    stream_id = summary(ctl, "s")["StreamId"]
    by_id = ("--stream-id", stream_id)
    lines = {"put-record": ["--data", "d", "--partition-key", "k"], "list-shards": [], "usage": [], "get-metrics": [], "shard-heat": [], "verify": [], "describe-stream": [], "wait stream-exists": [],
             "describe-stream-summary": [], "update-shard-count": ["--shards", "3"], "split-shard": ["--shard-to-split", "2"],
             "get-shard-iterator": ["--shard-id", "0", "--shard-iterator-type", "LATEST"], "tail": ["--no-follow"],
             "get-records": ["--shard-iterator", iterator(ctl, stream="s")], "put-records": ["--records", "Data=a,PartitionKey=b"], "merge-shards": ["--shard-to-merge", "5", "--adjacent-shard-to-merge", "6"],
             "increase-stream-retention-period": ["--hours", "48"], "decrease-stream-retention-period": ["--hours", "24"],
             "update-stream-mode": ["--stream-mode-details", "StreamMode=ON_DEMAND"], "list-tags-for-stream": [],
             "put": ["--file", os.devnull, "--progress", "none"], "add-tags-to-stream": ["--tags", "a=b"], "remove-tags-from-stream": ["--tag-keys", "a"],
             "update-max-record-size": ["--max-record-size-in-kib", "1024"], "enable-enhanced-monitoring": ["--shard-level-metrics", "ALL"],
             "disable-enhanced-monitoring": ["--shard-level-metrics", "ALL"],
             "update-stream-limits": ["--limits", "Mode=off"],
             "update-stream-warm-throughput": ["--warm-throughput-mibps", "2"]}
    takers = [command["command"] for command in commands() if any(o["name"] == "stream-id" for o in command["options"])]
    rest = {"delete-stream", "restore-stream", "wait stream-not-exists"}
    assert set(takers) == set(lines) | rest, set(takers) ^ (set(lines) | rest)
    for command, words in lines.items():
        if command == "merge-shards":
            shards = ctl.json("list-shards", "s", "--shard-filter", "Type=AT_LATEST")["Shards"]
            words = ["--shard-to-merge", shards[0]["ShardId"], "--adjacent-shard-to-merge", shards[1]["ShardId"]]
            shards.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
            words[1], words[3] = shards[0]["ShardId"], shards[1]["ShardId"]
        if command == "split-shard":
            words = ["--shard-to-split", ctl.json("list-shards", "s", "--shard-filter", "Type=AT_LATEST")["Shards"][0]["ShardId"]]
        code, out, err = ctl.run(*command.split(), *by_id, *words, "-o", "json")
        assert code == 0, (command, err)
        if b"StreamName" in out:
            assert b'"s"' in out and stream_id.encode() not in out.replace(b'"StreamId": "%s"' % stream_id.encode(), b""), out
    ctl("delete-stream", *by_id, "--enforce-retention", "-o", "none")
    assert ctl.json("restore-stream", *by_id) == {"StreamName": "s", "StreamStatus": "ACTIVE"}
    ctl.fails(2, "'--stream-id' names 's', '--stream-name' 't'", "list-shards", *by_id, "--stream-name", "t")
    ctl("delete-stream", *by_id, "--yes", "--wait", "-o", "none")
    ctl("wait", "stream-not-exists", *by_id, "-o", "none")
    ctl.fails(4, "Stream with id %s under account 000000000000 not found." % stream_id, "describe-stream", *by_id)
    ctl.fails(2, "is not the StreamId of a stream", "describe-stream", "--stream-id", "x" * 25)
    broker.stop()


run_tests(test_tags_with_the_flags_of_aws, test_settings_with_the_flags_of_aws, test_limits_of_a_stream,
          test_dry_runs_know_the_shard_limit, test_the_account, test_a_stream_is_known_by_its_id_to_every_verb)
