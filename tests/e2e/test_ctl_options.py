"""The options that every command of kstreamctl has: where their values come from, colours, quiet, --dry-run, --wait."""
import re, threading
from ctl_test import *

# Those that change nothing, only say something (confirm-clock) or add a copy; every other command takes --dry-run.
READ_ONLY = ("list-streams", "describe-stream", "describe-stream-summary", "wait stream-exists", "wait stream-not-exists",
             "list-shards", "get-shard-iterator", "get-records", "tail", "status", "confirm-clock", "config show",
             "describe-compactor", "list-tags-for-stream", "list-tags-for-resource", "describe-limits",
             "describe-account-settings", "doctor", "usage", "get-metrics", "shard-heat", "verify", "top", "backup-catalog",
             "completion", "help", "version")


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return path


def test_a_flag_wins_over_the_environment_and_that_over_the_profile(scratch):
    broker, ctl = begin(scratch)
    there, nowhere = broker.addresses["native"], "127.0.0.1:1"
    del ctl.environment["KSTREAM_ENDPOINT"]
    ctl.environment["XDG_CONFIG_HOME"] = scratch
    path = write(os.path.join(scratch, "kstream", "config"),
                 "[default]\nendpoint = %s\noutput = text\n[broken]\nendpoint = %s\n" % (there, nowhere))
    ctl("create-stream", "clicks")
    assert ctl("list-streams", "--query", "StreamNames") == "clicks\n"
    ctl.fails(7, nowhere, "list-streams", "--profile", "broken")
    ctl.fails(2, "no profile 'nope'", "list-streams", "-p", "nope")
    ctl.environment["KSTREAM_PROFILE"] = "broken"
    ctl.fails(7, nowhere, "list-streams")
    assert "clicks" in ctl("list-streams", "--profile", "default")
    ctl.environment["KSTREAM_ENDPOINT"] = there
    assert "clicks" in ctl("list-streams")
    ctl.fails(7, nowhere, "list-streams", "--endpoint", nowhere)
    ctl.environment["KSTREAM_ENDPOINT"] = nowhere
    assert "clicks" in ctl("list-streams", "--endpoint", there)
    ctl.environment.update(KSTREAM_ENDPOINT=there, KSTREAM_PROFILE="default", KSTREAM_OUTPUT="ndjson")
    assert ctl("list-streams", "--query", "StreamNames") == '"clicks"\n'
    assert ctl("list-streams", "--query", "StreamNames", "-o", "csv") == "StreamName\nclicks\n"
    # Prose stays prose unless the command line asks for data.
    assert ctl("version").startswith("kstreamctl ")
    other = write(os.path.join(scratch, "other"), "endpoint = %s\n" % nowhere)
    del ctl.environment["KSTREAM_ENDPOINT"], ctl.environment["KSTREAM_OUTPUT"]
    ctl.fails(7, nowhere, "list-streams", "--config", other)
    ctl.environment["KSTREAM_CONFIG"] = other
    ctl.fails(7, nowhere, "list-streams")
    ctl.fails(2, "cannot open", "list-streams", "--config", os.path.join(scratch, "missing"))
    ctl.environment["KSTREAM_CONFIG"] = path
    write(path, "endpont = x\n")
    ctl.fails(2, "%s:1: unknown key 'endpont'; did you mean 'endpoint'?" % path, "list-streams")
    # What needs no settings works all the same.
    assert ctl("--help").startswith("Usage") and ctl("--version")
    write(path, "timeout = soon\n")
    ctl.fails(2, "%s:1: timeout soon': 1ms to 24h" % path, "list-streams")
    ctl.environment.update(KSTREAM_CONFIG=os.devnull, KSTREAM_TIMEOUT="0")
    ctl.fails(2, "'KSTREAM_TIMEOUT 0': 1ms to 24h", "list-streams")
    broker.stop()


def test_colours_are_for_terminals_or_for_who_wants_them(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    assert "\033" not in ctl("list-streams", "-o", "table")
    assert "\033[32mACTIVE" in ctl("list-streams", "-o", "table", "--color", "always")
    assert "\033[1;31mkstreamctl:" in ctl.fails(4, "hint", "describe-stream", "nope", "--color", "always")
    ctl.environment["TERM"] = "xterm"
    assert "\033[1m" in on_terminal(ctl, "list-streams")[1]
    assert "\033" not in on_terminal(ctl, "list-streams", "--color", "never")[1]
    ctl.environment["NO_COLOR"] = "1"
    assert "\033" not in on_terminal(ctl, "list-streams")[1]
    del ctl.environment["NO_COLOR"]
    ctl.environment["CLICOLOR_FORCE"] = "1"
    assert "\033[1m" in ctl("list-streams", "-o", "table")
    broker.stop()


def test_quiet_leaves_results_and_errors(scratch):
    broker, ctl = begin(scratch)
    for name in "abc":
        ctl("create-stream", name)
    assert ctl("list-streams", "--max-items", "1", "-q", "-o", "csv", "--columns", "1", "--no-header") == "a\n"
    assert ctl("put", "a", "-q", "--progress", "plain", data=b"x\n") == ""
    ctl.fails(4, "kstreamctl: describe-stream:", "describe-stream", "nope", "-q")
    broker.stop()


def test_verbose_and_debug_say_what_was_asked_and_how_long_it_took(scratch):
    broker, ctl = begin(scratch)
    code, out, err = ctl.run("list-streams", "-v")
    assert code == 0 and json.loads(out)["StreamNames"] == [], err
    assert re.findall(r"request.answered op=(\w+) request=\d+ us=\d+ bytes=\d+\n", err) == ["Ping", "ListStreams"], err
    code, out, err = ctl.run("describe-stream", "nope", "-v")
    assert code == 4 and re.search(r"op=DescribeStream request=2 us=\d+ bytes=\d+ error=1\n", err), err
    code, out, err = ctl.run("list-streams", "--debug")
    assert code == 0 and "endpoint=%s\n" % broker.addresses["native"] in err, err
    assert "option endpoint=%s from=KSTREAM_ENDPOINT\n" % broker.addresses["native"] in err, err
    assert ctl("list-streams", "-o", "none") == ""
    broker.stop()


def everything(ctl):
    """All that there is: streams, their shards, and records."""
    streams = ctl.json("list-streams")["StreamNames"]
    return streams, [ctl("describe-stream", stream) for stream in streams], [ctl("tail", stream, "--no-follow", "--format", "%k=%d;") for stream in streams]


def test_every_command_that_changes_something_can_be_tried(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks", "--shards", "2")
    ctl("put-record", "clicks", "--key", "k", "--data", "d")
    ctl("create-stream", "scaling", "--stream-mode-details", "StreamMode=ON_DEMAND")
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/clicks"
    ctl("create-stream", "deleted")
    ctl("delete-stream", "deleted", "--enforce-retention")
    before = everything(ctl)
    # Words with which it would succeed, and with which it would be refused with the code that stands there.
    tries = {
        "create-stream": (["new", "--shards", "3"], "create stream 'new' with 3 shards", ["clicks"], "ResourceInUse"),
        "delete-stream": (["clicks"], "delete stream 'clicks' with 2 open shards", ["nope"], "ResourceNotFound"),
        "split-shard": (["clicks", "1"], "close 1 shard and create 2: stream 'clicks' has 3 open ones then",
                        ["clicks", "--shard-to-split", "1", "--new-starting-hash-key", "5"], "InvalidArgument"),
        "merge-shards": (["clicks", "0", "1"], "close 2 shards and create 1: stream 'clicks' has 1 open one then",
                         ["clicks", "1", "0"], "not an adjacent pair"),
        "update-shard-count": (["clicks", "3"], "and create 5 (2 of them for moments only): stream 'clicks' has 3 open ones then",
                               ["clicks", "1000000"], "LimitExceeded"),
        "update-stream-mode": (["clicks", "StreamMode=ON_DEMAND"], "make stream 'clicks' ON_DEMAND",
                               ["nope", "StreamMode=ON_DEMAND"], "ResourceNotFound"),
        "restore-stream": (["deleted"], "restore stream 'deleted'", ["clicks"], "ResourceInUse"),
        "increase-stream-retention-period": (["clicks", "--hours", "48"], "48 hours instead of 24", ["nope", "--hours", "48"],
                                             "ResourceNotFound"),
        "decrease-stream-retention-period": (["clicks", "--hours", "24"], "24 hours instead of 24",
                                             ["clicks", "--hours", "25"], "InvalidArgument"),
        "compact": ([], "clear away 0 segments", ["--stream-name", "nope"], "ResourceNotFound"),
        "add-tags-to-stream": (["clicks", "a=1,b=2"], "set 2 tags of 'clicks'", ["clicks", "aws:a=1"], "InvalidArgument"),
        "remove-tags-from-stream": (["clicks", "a"], "remove 1 tag of 'clicks'", ["nope", "a"], "ResourceNotFound"),
        "tag-resource": ([arn, "a=1"], "set 1 tag of '%s'" % arn, [arn + "x", "a=1"], "ResourceNotFound"),
        "untag-resource": ([arn, "a"], "remove 1 tag of '%s'" % arn, [arn + "x", "a"], "ResourceNotFound"),
        "update-max-record-size": (["clicks", "2048"], "up to 2048 KiB", ["nope", "2048"], "ResourceNotFound"),
        "update-stream-warm-throughput": (["scaling", "6"], "keep 'scaling' at 6 shards or more", ["clicks", "6"], "Validation"),
        "enable-enhanced-monitoring": (["clicks", "ALL"], "have 7 metrics of each shard of 'clicks' instead of 0", ["clicks", "x"],
                                       "Validation"),
        "disable-enhanced-monitoring": (["clicks", "ALL"], "have 0 metrics of each shard of 'clicks' instead of 0", ["nope", "ALL"],
                                        "ResourceNotFound"),
        "update-stream-limits": (["clicks", "Mode=aws"], "hold the users of 'clicks' to limits 'aws'",
                                 ["clicks", "Mode=aws,ReadCallsPerSecond=1"], "InvalidArgument"),
        "update-account-settings": (["Status=ENABLED"], "make the commitment ENABLED", ["Status=x"], "Validation"),
        "restore-catalog": (["--data-dir", stopped_directory(scratch)], "put back the copy", ["--data-dir", broker.data_dir],
                            "a broker is running"),
        "put-record": (["clicks", "hello", "--key", "k"], "store 5 bytes in stream 'clicks' under key 'k'",
                       ["clicks", "x", "--key", "k" * 300], "Validation"),
        "put-records": (["clicks", "--records", "Data=ab,PartitionKey=k", "Data=c,PartitionKey=l"],
                        "store 2 records of 3 bytes in stream 'clicks'",
                        ["nope", "--records", "Data=ab,PartitionKey=k"], "ResourceNotFound"),
        "put": (["clicks", __file__], "records in stream 'clicks'", ["clicks", __file__, "--key-field", "99"], "PARTIAL"),
    }
    changing = [command["command"] for command in commands() if command["command"] not in READ_ONLY]
    lacking = [command["command"] for command in commands() if command["command"] in changing
               and "dry-run" not in [option["name"] for option in command["options"]]]
    assert lacking == [], "they change something and cannot be tried: %s" % lacking
    assert set(tries) == set(changing), "each needs its words in tries of tests/e2e/test_ctl_options.py"
    for command, (words, would, refused, code) in tries.items():
        answer = ctl.json(command, *words, "--dry-run")
        assert answer["dry_run"] is True and would in answer["would"], (command, answer)
        err = ctl.fails(3, code, command, *refused, "--dry-run")
        assert "nothing has changed" in err, err
        if command != "restore-catalog":  # which asks no broker
            ctl.fails(7, "127.0.0.1:1", command, *words, "--dry-run", "--endpoint", "127.0.0.1:1")
        assert everything(ctl) == before, command
    assert ctl.json("put", "clicks", "--dry-run", data=b"a\nbb\n")["records"] == 2
    ctl.fails(3, "ValidationException", "create-stream", "a/b", "--dry-run")
    broker.stop()


def test_waiting_ends_when_it_is_done_or_when_its_time_is_over(scratch):
    broker, ctl = begin(scratch)
    assert ctl.json("create-stream", "clicks", "--wait=30")["StreamStatus"] == "ACTIVE"
    assert ctl.json("wait", "stream-exists", "--stream-name", "clicks")["StreamStatus"] == "ACTIVE"
    err = ctl.fails(8, "until stream 'later' is ACTIVE", "wait", "stream-exists", "later", "--wait=50ms", "--progress", "json")
    assert "--wait=SECONDS" in err
    waiting = ctl.start("stream", "wait", "later", "--progress", "json")
    event = json.loads(waiting.stderr.readline())
    assert event == {"event": "waiting", "for": "stream 'later' is ACTIVE"}, event
    ctl("create-stream", "later")
    assert json.loads(waiting.communicate(timeout=DEADLINE_S)[0])["StreamStatus"] == "ACTIVE"
    assert ctl.json("delete-stream", "later", "-y", "--wait")["StreamStatus"] == "DELETED"
    assert ctl.json("wait", "stream-not-exists", "--stream-name", "later")["StreamStatus"] == "DELETED"
    ctl.fails(8, "until stream 'clicks' is gone", "wait", "stream-not-exists", "clicks", "--wait=50ms")
    ctl.fails(2, "exclude each other", "create-stream", "x", "--wait", "--no-wait")
    ctl.fails(2, "'--wait soon'", "create-stream", "x", "--wait=soon")
    broker.stop()


def test_a_stream_may_be_named_by_its_arn(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    arn = ctl("describe-stream", "clicks", "--query", "StreamDescription.StreamARN", "-o", "text").strip()
    assert ctl.json("describe-stream-summary", "--stream-arn", arn)["StreamDescriptionSummary"]["StreamName"] == "clicks"
    assert len(ctl.json("list-shards", "--stream-arn", arn)["Shards"]) == 1
    assert ctl.json("put-record", "--stream-arn", arn, "--key", "k", "--data", "d")["ShardId"]
    assert ctl("tail", "--stream-arn", arn, "--no-follow", "-o", "text") == "d\n"
    assert ctl.json("put", "--stream-arn", arn, data=b"x\n")["stream"] == "clicks"
    assert ctl("get-shard-iterator", "--stream-arn", arn, "--shard-id", "0", "--shard-iterator-type", "LATEST")
    ctl.fails(2, "'--stream-arn' names 'clicks', '--stream-name' 'other'", "list-shards", "other", "--stream-arn", arn)
    ctl.fails(2, "is not the ARN of a stream", "list-shards", "--stream-arn", "clicks")
    ctl.fails(4, "ResourceNotFound", "list-shards", "--stream-arn", arn.replace("clicks", "nope"))
    assert ctl.json("delete-stream", "--stream-arn", arn, "-y") == {"StreamName": "clicks", "StreamStatus": "DELETING"}
    broker.stop()


run_tests(test_a_flag_wins_over_the_environment_and_that_over_the_profile,
          test_colours_are_for_terminals_or_for_who_wants_them, test_quiet_leaves_results_and_errors,
          test_verbose_and_debug_say_what_was_asked_and_how_long_it_took,
          test_every_command_that_changes_something_can_be_tried,
          test_waiting_ends_when_it_is_done_or_when_its_time_is_over, test_a_stream_may_be_named_by_its_arn)
