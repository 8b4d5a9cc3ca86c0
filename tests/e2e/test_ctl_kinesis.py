"""The commands of `aws kinesis` with their own flags, as the aws CLI takes them: pages, filters, structures, files, JSON."""
import base64, threading
from ctl_test import *


def write(scratch, name, data):
    path = os.path.join(scratch, name)
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return path


def read(ctl, stream):
    return ctl("tail", stream, "--no-follow", "--format", "%k=%d;")


def test_streams_page_as_the_api_does(scratch):
    broker, ctl = begin(scratch)
    for name in "abcde":
        ctl("create-stream", name)
    page = ctl.json("list-streams", "--limit", "2")
    assert page["StreamNames"] == ["a", "b"] and page["HasMoreStreams"] is True, page
    page = ctl.json("list-streams", "--next-token", page["NextToken"], "--limit", "2")
    assert page["StreamNames"] == ["c", "d"], page
    page = ctl.json("list-streams", "--exclusive-start-stream-name", "d")
    assert page["StreamNames"] == ["e"] and page["HasMoreStreams"] is False and "NextToken" not in page
    assert ctl.json("list-streams", "--no-paginate")["HasMoreStreams"] is False
    assert ctl.json("list-streams", "--page-size", "2")["StreamNames"] == list("abcde")
    page = ctl.json("list-streams", "--page-size", "2", "--max-items", "3")
    assert page["StreamNames"] == ["a", "b", "c"] and page["NextToken"] == "c"
    assert ctl.json("list-streams", "--starting-token", "c", "--page-size", "1")["StreamNames"] == ["d", "e"]
    ctl.fails(2, "exclude", "list-streams", "--limit", "2", "--max-items", "1")
    ctl.fails(1, "Invalid NextToken", "list-streams", "--next-token", "nonsense")
    broker.stop()


def test_shards_page_and_are_filtered_as_the_api_does(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks", "--shards", "5")
    ids = ["shardId-%012d" % i for i in range(5)]

    def shards(*words):
        answer = ctl.json("list-shards", *words)
        return [shard["ShardId"] for shard in answer["Shards"]], answer.get("NextToken")
    assert shards("clicks") == (ids, None)
    first, token = shards("clicks", "--max-results", "2")
    assert first == ids[:2] and token
    assert shards("--next-token", token, "--max-results", "3") == (ids[2:], None)
    ctl.fails(2, "leave the stream out", "list-shards", "clicks", "--next-token", token)
    assert shards("clicks", "--exclusive-start-shard-id", ids[3]) == (ids[4:], None)
    assert shards("clicks", "--max-items", "3", "--page-size", "2") == (ids[:3], ids[2])
    assert shards("clicks", "--starting-token", ids[2]) == (ids[3:], None)
    assert shards("clicks", "--shard-filter", "Type=AT_LATEST") == (ids, None)
    assert shards("clicks", "--shard-filter", '{"Type": "AFTER_SHARD_ID", "ShardId": "%s"}' % ids[1]) == (ids[2:], None)
    assert shards("clicks", "--shard-filter", "Type=FROM_TIMESTAMP,Timestamp=-1h") == (ids, None)
    assert shards("clicks", "--shard-filter", "file://" + write(scratch, "f", '{"Type": "FROM_TRIM_HORIZON"}')) == (ids, None)
    for text, words in (("Type is missing", "ShardId=x"), ("is none of", "Typ=x"), ("no valid JSON", "{"), ("'=' is needed", "x")):
        ctl.fails(2, text, "list-shards", "clicks", "--shard-filter", words)
    ctl.fails(1, "ValidationException", "list-shards", "clicks", "--shard-filter", "Type=x")
    created = ctl.json("describe-stream-summary", "clicks")["StreamDescriptionSummary"]["StreamCreationTimestamp"]
    assert shards("clicks", "--stream-creation-timestamp", created) == (ids, None)
    ctl.fails(4, "was not created at", "list-shards", "clicks", "--stream-creation-timestamp", "2001-01-01")
    described = ctl.json("describe-stream", "clicks", "--limit", "2", "--exclusive-start-shard-id", ids[0])["StreamDescription"]
    assert [shard["ShardId"] for shard in described["Shards"]] == ids[1:3] and described["HasMoreShards"] is True
    described = ctl.json("describe-stream", "clicks", "--exclusive-start-shard-id", ids[4])["StreamDescription"]
    assert described["Shards"] == [] and described["HasMoreShards"] is False
    broker.stop()


def test_put_records_takes_records_in_every_form(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    answer = ctl.json("put-records", "--stream-name", "clicks", "--records", "Data=one,PartitionKey=a",
                      "Data='two, three',PartitionKey=b,ExplicitHashKey=0")
    assert answer["FailedRecordCount"] == 0 and len(answer["Records"]) == 2
    assert all(len(record["SequenceNumber"]) == 56 and record["ShardId"].endswith("0") for record in answer["Records"])
    ctl("put-records", "clicks", "--records", '[{"Data": "json", "PartitionKey": "c"}]', "-o", "none")
    path = write(scratch, "records.json", json.dumps([{"Data": "file", "PartitionKey": "d"}]))
    ctl("put-records", "clicks", "--records", "file://" + path, "-o", "none")
    bytes_path = write(scratch, "bytes", b"\0\xff")
    ctl("put-records", "clicks", "--records", "Data=fileb://%s,PartitionKey=e" % bytes_path, "-o", "none")
    encoded = base64.b64encode(b"base64").decode()
    ctl("put-records", "clicks", "--records", "Data=%s,PartitionKey=f" % encoded, "--cli-binary-format", "base64", "-o", "none")
    records = ctl.run("tail", "clicks", "--no-follow", "--format", "%k=%d;")[1]
    assert records == b"a=one;b=two, three;c=json;d=file;e=\0\xff;f=base64;", records
    ctl.environment["KSTREAM_CLI_BINARY_FORMAT"] = "base64"
    ctl("create-stream", "other")
    ctl("put-record", "other", "--key", "k", "--data", encoded)
    assert read(ctl, "other") == "k=base64;"
    for text, *records in (("there is none", "[]"), ("needs Data and PartitionKey", "Data=x"), ("is none of", "Dta=x,PartitionKey=k"),
                           ("put commas in quotes", "Data=a,b,PartitionKey=k"), ("to be an object", "[1]"),
                           ("at most 500", json.dumps([{"Data": "", "PartitionKey": "k"}] * 501)),
                           ("no valid base64", "Data=!,PartitionKey=k"), ("cannot open", "file:///nowhere")):
        ctl.fails(2, text, "put-records", "other", "--records", *records)
    ctl.fails(2, "'--records' is missing", "put-records", "other")
    broker.stop()


class HalfBroker(threading.Thread):
    """A broker that stores the first record of a PutRecords and throttles the second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.start()

    def run(self):
        client = Client(self.listener.accept()[0])
        try:
            while True:
                size = struct.unpack(">I", client.read_exactly(4))[0]
                request = decode(client.read_exactly(size))
                op = next(number for number in request if number > 2)
                if op == PING:
                    answer = encode((1, "0"), (2, "r"), (3, "0"), (4, 1), (5, 1), (6, 1 << 24))
                else:
                    error = encode((1, status_number("KS_THROTTLED")), (2, "slower, please"))
                    answer = encode((1, 1), (2, encode((1, 0), (2, 1), (3, 1), (4, 1), (5, 1))),
                                    (2, encode((1, 1), (2, 0), (3, 1), (4, 1), (5, 1), (7, error))), (3, b"\0\1"))
                body = encode((1, request[1][0]), (2, 1 << 20), (op, answer))
                client.connection.sendall(struct.pack(">I", len(body)) + body)
        except ConnectionError:
            pass


def test_partly_refused_records_are_listed_and_make_code_9(scratch):
    ctl = Ctl(HalfBroker().endpoint)
    code, out, err = ctl.run("put-records", "clicks", "--records", "Data=a,PartitionKey=a", "Data=b,PartitionKey=b")
    answer = json.loads(out)
    assert code == 9 and "1 of 2 records failed: slower, please" in err, (code, err)
    assert answer["FailedRecordCount"] == 1 and answer["Records"][0]["ShardId"] == "shardId-000000000000", answer
    assert answer["Records"][1]["ErrorCode"] == "ProvisionedThroughputExceededException", answer


def test_put_record_takes_its_data_from_anywhere(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    path = write(scratch, "input", b"from a file\n")
    ctl("put-record", "clicks", "--key", "a", "--data", "file://" + path)
    ctl("record", "put", "clicks", "@" + path, "--key", "b")
    ctl("put-record", "clicks", "--key", "c", "--data", "@" + path)  # a word of an option is what it is
    ctl("record", "put", "clicks", "fileb://" + write(scratch, "b", b"bytes"), "--key", "d")
    assert ctl.json("record", "put", "clicks", "-", "--key", "e", data=b"one\ntwo\n")["records"] == 2
    assert read(ctl, "clicks") == "a=from a file\n;b=from a file\n;c=@%s;d=bytes;e=one;e=two;" % path
    ctl.fails(2, "'--data': cannot open '/nowhere'", "record", "put", "clicks", "@/nowhere", "--key", "k")
    broker.stop()


def test_a_whole_request_may_be_json(scratch):
    broker, ctl = begin(scratch)
    skeleton = ctl.json("create-stream", "--generate-cli-skeleton")
    assert skeleton["StreamName"] == "" and skeleton["ShardCount"] == 0
    assert ctl.json("kinesis", "create-stream", "--generate-cli-skeleton", "input") == skeleton
    assert ctl("put-records", "--generate-cli-skeleton", "--query", "keys(Records[0]) | sort(@) | [0]", "-o", "text") == "Data\n"
    request = {"StreamName": "clicks", "ShardCount": 3}
    ctl("create-stream", "--cli-input-json", json.dumps(request))
    assert len(ctl.json("list-shards", "clicks")["Shards"]) == 3
    path = write(scratch, "request", json.dumps({"StreamName": "clicks", "Records": [{"Data": "d", "PartitionKey": "k"}]}))
    ctl("put-records", "--cli-input-json", "file://" + path)
    assert read(ctl, "clicks") == "k=d;"
    # The command line wins, what it leaves open is filled.
    ctl("create-stream", "other", "--cli-input-json", json.dumps(request))
    assert len(ctl.json("list-shards", "other")["Shards"]) == 3
    ctl.json("list-shards", "--cli-input-json", '{"StreamName": "clicks", "ShardFilter": {"Type": "AT_LATEST"}}')
    ctl.fails(2, "unknown member 'Nme'", "create-stream", "--cli-input-json", '{"Nme": "x"}')
    ctl.fails(2, "'--stream-name' is missing", "create-stream", "--cli-input-json", "{}")
    ctl.fails(2, "'ShardCount' is to be a whole number", "create-stream", "--cli-input-json", '{"ShardCount": "4"}')
    ctl.fails(2, "is for operations of Kinesis", "tail", "clicks", "--cli-input-json", "{}")
    ctl.fails(2, "'--generate-cli-skeleton output'", "create-stream", "--generate-cli-skeleton=output")
    broker.stop()


def test_the_mode_of_a_stream_is_chosen_as_in_kinesis(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "a", "--stream-mode-details", "StreamMode=ON_DEMAND")
    ctl("create-stream", "b", "--stream-mode-details", '{"StreamMode": "PROVISIONED"}', "--shard-count", "2")
    modes = ctl.json("list-streams", "--query", "StreamSummaries[].StreamModeDetails.StreamMode")
    assert modes == ["ON_DEMAND", "PROVISIONED"], modes
    ctl.fails(2, "takes no '--shard-count'", "create-stream", "c", "--stream-mode-details", "StreamMode=ON_DEMAND", "--shards", "1")
    for wrong in ("StreamMode=x", "Mode=ON_DEMAND", "{}"):
        ctl.fails(2, "--stream-mode-details", "create-stream", "c", "--stream-mode-details", wrong)
    broker.stop()


def test_status_says_who_answers(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks")
    status = ctl.json("status")
    assert status["endpoint"] == broker.addresses["native"] and status["streams"] == status["streams_active"] == 1, status
    assert status["addresses"] == broker.addresses, status
    assert status["version"] == ctl("version", "--query", "version", "-o", "text").strip()
    assert abs(status["clock_ahead_ms"]) < 10000 and status["round_trip_ms"] >= 0
    run = status["run"]
    broker.stop()
    ctl.fails(7, "code=UNAVAILABLE", "status")
    broker = Broker(scratch)
    ctl = Ctl(broker.addresses["native"])
    assert ctl.json("status")["run"] > run
    broker.stop()


run_tests(test_streams_page_as_the_api_does, test_shards_page_and_are_filtered_as_the_api_does,
          test_put_records_takes_records_in_every_form, test_partly_refused_records_are_listed_and_make_code_9,
          test_put_record_takes_its_data_from_anywhere, test_a_whole_request_may_be_json,
          test_the_mode_of_a_stream_is_chosen_as_in_kinesis, test_status_says_who_answers)
