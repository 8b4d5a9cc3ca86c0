"""Walks the command table of kstreamctl: every command, known by any of its names, honours every --output, --query,
--columns and --no-header, when it succeeds and when it fails."""
import csv, io
from ctl_test import *

# A line per command that succeeds: its words, a query and what that finds. "NEW", "OLD" and "KEPT" are streams of this run
# alone: to be made, there (with two shards), deleted but kept; "AT" is an iterator at the start of stream "zz", which holds
# one record; "DIR" the directory of a broker that is stopped.
LINES = {
    "create-stream": (["NEW", "--shards", "1"], "StreamStatus", "ACTIVE"),
    "list-streams": ([], "StreamNames[?@ == 'zz'] | [0]", "zz"),
    "describe-stream": (["zz"], "StreamDescription.Shards[0].ShardId", "shardId-000000000000"),
    "describe-stream-summary": (["zz"], "StreamDescriptionSummary.OpenShardCount", 1),
    "wait stream-exists": (["zz"], "StreamName", "zz"),
    "wait stream-not-exists": (["gone"], "StreamStatus", "DELETED"),
    "list-shards": (["zz"], "Shards[-1].HashKeyRange.StartingHashKey", "0"),
    "delete-stream": (["OLD", "--yes"], "StreamStatus", "DELETING"),
    "split-shard": (["OLD", "0"], "ChildShards[1]", "shardId-000000000003"),
    "merge-shards": (["OLD", "0", "1"], "ChildShards[0]", "shardId-000000000002"),
    "update-shard-count": (["OLD", "4"], "CurrentShardCount", 2),
    "update-stream-mode": (["OLD", "StreamMode=ON_DEMAND"], "StreamMode", "ON_DEMAND"),
    "restore-stream": (["KEPT"], "StreamStatus", "ACTIVE"),
    "increase-stream-retention-period": (["OLD", "--retention-period-hours", "72"], "RetentionPeriodHours", 72),
    "decrease-stream-retention-period": (["OLD", "--hours", "24"], "RetentionPeriodHours", 24),
    "add-tags-to-stream": (["OLD", "a=1,b=2"], "Tags", 2),
    "remove-tags-from-stream": (["zz", "a", "b"], "Tags", 2),
    "list-tags-for-stream": (["zz"], "Tags[0].Key", "t"),
    "tag-resource": (["ARN", "t=1"], "Tags", 1),
    "untag-resource": (["ARN", "u"], "Tags", 1),
    "list-tags-for-resource": (["ARN"], "length(Tags)", 1),
    "update-max-record-size": (["OLD", "2048"], "MaxRecordSizeInKiB", 2048),
    "update-stream-warm-throughput": (["zz-ondemand", "2"], "WarmThroughput.TargetMiBps", 2),
    "enable-enhanced-monitoring": (["OLD", "ALL"], "length(DesiredShardLevelMetrics)", 7),
    "disable-enhanced-monitoring": (["OLD", "ALL"], "length(DesiredShardLevelMetrics)", 0),
    "update-stream-limits": (["OLD", "Mode=aws"], "Limits.ReadCallsPerSecond", 5),
    "describe-limits": ([], "ShardLimit", 20000),
    "describe-account-settings": ([], "MinimumThroughputBillingCommitment.Status", "DISABLED"),
    "update-account-settings": (["Status=DISABLED"], "MinimumThroughputBillingCommitment.Status", "DISABLED"),
    "describe-compactor": ([], "Scrubber.DamagedRecords", 0),
    "compact": (["--dry-run"], "WouldGo.Segments", 0),
    "backup-catalog": ([], "Missing", None),
    "restore-catalog": (["--data-dir", "DIR"], "Missing", None),
    "put-record": (["other", "--partition-key", "k", "--data", "d"], "ShardId", "shardId-000000000000"),
    "put-records": (["other", "--records", "Data=a,PartitionKey=k", "Data=b,PartitionKey=k"], "FailedRecordCount", 0),
    "put": (["other", os.devnull, "--progress", "none"], "records", 0),
    "get-shard-iterator": (["zz", "--shard-id", "0", "--shard-iterator-type", "LATEST"], "Missing", None),
    "get-records": (["--shard-iterator", "AT"], "Records[0].PartitionKey", "first"),
    "tail": (["zz", "--no-follow", "-n", "1"], "partition_key", "first"),
    "status": ([], "account_id", "000000000000"),
    "confirm-clock": ([], "step", None),
    "doctor": ([], "checks[0].check", "permissions"),
    "get-metrics": (["zz", "IncomingRecords"], "Datapoints[0].Unit", "Count"),
    "shard-heat": (["zz"], "shards[0].shard_id", "shardId-000000000000"),
    "top": (["--once", "--interval", "100ms"], "broker.memory_limit_bytes", 536870912),
    "verify": (["zz"], "shards[0].shard_id", "shardId-000000000000"),
    "usage": (["zz"], "streams[0].stream_name", "zz"),
    "config show": (["--effective"], "settings[?key=='limits.connections'] | [0].value", "10000"),
    "completion": (["bash"], "shell", "bash"),
    "help": (["tail"], "[0].command", "create-stream"),
    "version": ([], "version", "0.1.0"),
}
# Those that ask no broker.
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/zz"
LOCAL = ("completion", "help", "version", "restore-catalog")
OUTPUTS = ("json", "ndjson", "table", "csv", "text", "none")


def prepare(scratch):
    broker, ctl = begin(scratch)
    for stream in ("zz", "other"):
        ctl("create-stream", stream, "-o", "none")
    ctl("create-stream", "zz-ondemand", "--stream-mode-details", "StreamMode=ON_DEMAND", "-o", "none")
    ctl("tag-resource", ARN, "t=0", "-o", "none")
    ctl("put-record", "zz", "--partition-key", "first", "--data", "d", "-o", "none")
    return broker, ctl, iterator(ctl, stream="zz")


class Lines:
    """Words of a command that succeeds, again and again."""

    def __init__(self, ctl, at, directory):
        self.ctl, self.at, self.number, self.directory = ctl, at, 0, directory

    def __call__(self, command):
        self.number += 1
        names = {"NEW": "new%d" % self.number, "OLD": "old%d" % self.number, "KEPT": "kept%d" % self.number, "AT": self.at,
                 "ARN": ARN, "DIR": self.directory}
        words, query, expected = LINES[command]
        for name in ("OLD", "KEPT"):
            if name in words:
                self.ctl("create-stream", names[name], "--shards", "2", "-o", "none")
        if "KEPT" in words:
            self.ctl("delete-stream", names["KEPT"], "--enforce-retention", "-o", "none")
        return [names.get(word, word) for word in words], query, expected


def check_whole(command, output, out):
    if output == "none":
        assert out == ""
    elif output == "json":
        json.loads(out)
    elif output == "ndjson":
        assert out and all(json.loads(line) for line in out.splitlines())
    elif output == "csv":
        rows = list(csv.reader(io.StringIO(out)))
        assert rows and len({len(row) for row in rows}) == 1, rows
    else:
        assert out.strip() and not out.startswith(("{", "[")), out


def check_picked(output, out, expected):
    if output == "none":
        assert out == ""
    elif output in ("json", "ndjson"):
        assert json.loads(out) == expected
    else:
        nothing = "None" if output == "text" else '""' if output == "csv" else ""
        last = out.splitlines()[-1].strip()
        assert last == (nothing if expected is None else str(expected)), last
        # A heading but in text.
        assert len(out.splitlines()) == (1 if output == "text" else 2)


def test_every_command_has_its_line(scratch):
    assert sorted(command["command"] for command in commands()) == sorted(LINES), \
        "each command needs its line in LINES of tests/e2e/test_ctl_commands.py"


def test_every_command_honours_every_output_query_and_columns(scratch):
    broker, ctl, at = prepare(scratch)
    line = Lines(ctl, at, stopped_directory(scratch))
    for command in LINES:
        for output in OUTPUTS:
            try:
                words, query, expected = line(command)
                check_whole(command, output, ctl(*command.split(), *words, "--output", output))
                words, query, expected = line(command)
                check_picked(output, ctl(*command.split(), *words, "-o", output, "--query", query), expected)
                words, query, expected = line(command)
                if output in ("json", "ndjson"):
                    ctl.fails(2, "'--columns' is for tables", *command.split(), *words, "-o", output, "--columns", "1")
                else:
                    out = ctl(*command.split(), *words, "-o", output, "--columns", "1", "--no-header")
                    rows = list(csv.reader(io.StringIO(out)))
                    assert (output == "none") == (rows == []), out
                    assert output != "csv" or {len(row) for row in rows} == {1}, out
            except BaseException:
                print("failed: kstreamctl", command, "--output", output)
                raise
    broker.stop()


def test_every_command_fails_in_the_form_asked_for(scratch):
    ctl = Ctl("127.0.0.1:1")
    for command in LINES:
        if command in LOCAL:
            continue
        words = [{"NEW": "x", "OLD": "x", "AT": "x", "ARN": ARN}.get(word, word) for word in LINES[command][0]]
        for output in OUTPUTS:
            code, out, err = ctl.run(*command.split(), *words, "-o", output)
            assert code == 7 and out == b"", (command, output, code, out, err)
            if output in ("json", "ndjson"):
                error = json.loads(err)["error"]
                assert error["code"] == "UNAVAILABLE" and error["hint"] and error["message"], err
                assert error["operation"] == command and error["request_id"] is None, err
                assert output == "json" or err.count("\n") == 1, err
            else:
                assert err.startswith("kstreamctl: %s: " % command) and "\nhint: " in err, err
            # A query that asks for the error gets it; another one cannot hide it.
            code, out, err = ctl.run(*command.split(), *words, "-o", output, "--query", "error.code")
            assert code == 7 and out == b"", (command, output, code, out, err)
            if output != "none":
                assert err.splitlines()[-1].strip().strip('"') == "UNAVAILABLE", (command, output, err)
            code, out, err = ctl.run(*command.split(), *words, "-o", output, "--query", "Missing")
            assert code == 7 and "127.0.0.1:1" in err, (command, output, err)


def test_every_command_refuses_what_it_does_not_know_and_has_a_help(scratch):
    ctl = Ctl("127.0.0.1:1")
    for command in commands():
        for name in (command["command"], *command["also"]):
            words = name.split()
            assert ctl(*words, "--help").startswith("Usage: kstreamctl " + command["command"]), name
            assert ctl("help", *words).startswith("Usage: kstreamctl " + command["command"]), name
            ctl.fails(2, "unknown option '--frobnicate'", *words, "--frobnicate")
            for example in command["examples"]:
                assert "kstreamctl" not in example.split()[0], example


def test_other_names_do_the_same(scratch):
    broker, ctl, at = prepare(scratch)
    assert ctl.json("stream", "create", "clicks", "--shards", "4")["StreamStatus"] == "ACTIVE"
    assert len(ctl.json("shard", "list", "clicks")["Shards"]) == 4
    assert ctl.json("stream", "list") == ctl.json("kinesis", "list-streams")
    ctl("record", "put", "clicks", "hello", "--key", "alice", "-o", "none")
    assert ctl.json("record", "get", at)["Records"][0]["PartitionKey"] == "first"
    assert ctl("tail", "clicks", "--no-follow", "--format", "%k %d\\n") == "alice hello\n"
    ctl.fails(2, "did you mean 'stream create'", "stream", "creat", "x")
    ctl.fails(2, "'stream' needs a verb", "stream")
    ctl("stream", "delete", "clicks", "-y")
    broker.stop()


def test_what_a_list_leaves_out_is_told(scratch):
    broker, ctl, at = prepare(scratch)
    code, out, err = ctl.run("list-streams", "--max-items", "1", "-o", "csv", "--columns", "StreamName")
    assert (code, out, err) == (0, b"StreamName\nother\n", "There is more: --starting-token other\n"), err
    assert ctl.json("list-streams", "--max-items", "1")["NextToken"] == "other"
    broker.stop()


run_tests(test_every_command_has_its_line, test_every_command_honours_every_output_query_and_columns,
          test_every_command_fails_in_the_form_asked_for, test_every_command_refuses_what_it_does_not_know_and_has_a_help,
          test_other_names_do_the_same, test_what_a_list_leaves_out_is_told)
