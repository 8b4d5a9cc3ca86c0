"""Tags and settings of streams, the account and its limits: by name, ARN and id, every refusal, over restarts and crashes."""
from reshard_test import *

ACCOUNT = "under account 000000000000"
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/"
METRICS = ["IncomingBytes", "IncomingRecords", "OutgoingBytes", "OutgoingRecords", "WriteProvisionedThroughputExceeded",
           "ReadProvisionedThroughputExceeded", "IteratorAgeMilliseconds"]


def refused(name, pattern, call, *args):
    try:
        call(*args)
    except Refused as error:
        assert error.is_(name), "expected %s, got %s" % (name, error)
        assert pattern in error.message, error.message
        return
    raise AssertionError("expected %s %s" % (name, pattern))


def summary(client, name):
    return decode(decode(client.call(SUMMARY, (1, name)))[1][0])


def tag(key, value):
    return encode((1, key), (2, value))


def add(client, address, *tags):
    return client.call(ADD_TAGS, address, *((2, tag(*each)) for each in tags))


def pairs(fields):
    return [(text(entry, 1), text(entry, 2)) for entry in map(decode, fields.get(1, []))]


def tags_of(client, address, after=None, limit=None):
    fields = decode(client.call(LIST_TAGS, address, (2, after), (3, limit)))
    return pairs(fields), bool(fields[2][0])


def addresses(client, name, by_name, by_arn, by_id):
    """The three ways to say which stream, with the field numbers of an operation."""
    return (by_name, name), (by_arn, ARN + name), (by_id, text(summary(client, name), 3))


def test_tags_are_there_by_every_address_and_after_a_crash(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.call(CREATE, (1, "clicks"), (2, 1), (4, tag("made", "today")))
    name, arn, stream_id = addresses(client, "clicks", 1, 4, 5)
    for address, key in ((name, "b"), ((3, arn[1]), "a"), ((4, stream_id[1]), "c")):
        add(client, address, (key, "of " + key), ("last", key))
    expected = [("a", "of a"), ("b", "of b"), ("c", "of c"), ("last", "c"), ("made", "today")]
    for address in (name, arn, stream_id):
        assert tags_of(client, address) == (expected, False)
    assert tags_of(client, name, limit=2) == (expected[:2], True)
    assert tags_of(client, name, after="b", limit=2) == (expected[2:4], True)
    assert tags_of(client, name, after="bb", limit=3) == (expected[2:], False)
    assert tags_of(client, name, after="z") == ([], False)
    for address, key in ((name, "a"), ((3, arn[1]), "b"), ((4, stream_id[1]), "c")):
        client.call(REMOVE_TAGS, address, (2, key), (2, "nobody has it"))
    # The same tags, seen as those of a resource.
    resource = ARN + "clicks"
    client.call(TAG_RESOURCE, (1, tag("x", "")), (1, tag("made", "again")), (2, resource))
    client.call(UNTAG_RESOURCE, (1, "last"), (2, resource), (3, stream_id[1]))
    expected = [("made", "again"), ("x", "")]
    assert pairs(decode(client.call(LIST_TAGS_OF_RESOURCE, (1, resource)))) == expected
    broker.kill()
    broker = Broker(scratch)
    client = broker.client()
    assert tags_of(client, name) == (expected, False)
    client.call(DELETE, (1, "clicks"))
    client.create_stream("clicks")
    assert tags_of(client, name) == ([], False), "another stream, none of its tags"
    refused("KS_NOT_FOUND", "Stream with id %s %s not found." % (stream_id[1], ACCOUNT), tags_of, client, stream_id)
    broker.stop()


def test_tags_that_may_not_be_are_refused(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    name = (1, "s")
    add(client, name, *(("k%d" % i, "v") for i in range(49)))
    add(client, name, ("k1", "again"), ("last", "one"))
    fifty = tags_of(client, name)
    assert len(fifty[0]) == 50
    refused("KS_INVALID", "Failed to add tags to stream s %s because a given stream cannot have more than 50 tags associated "
            "with it." % ACCOUNT, add, client, name, ("k2", "x"), ("one more", ""))
    refused("KS_INVALID", "cannot have more than 50 tags", client.call, CREATE, (1, "t"), (2, 1),
            *((4, tag("k%d" % i, "")) for i in range(51)))
    refused("KS_INVALID", "Some tag keys in the request started with 'aws:'. System tags cannot be modified.",
            add, client, name, ("aws:x", ""))
    refused("KS_INVALID", "started with 'aws:'", client.call, UNTAG_RESOURCE, (1, "AWS:x"), (2, ARN + "s"))
    refused("KS_INVALID", "Some tags contain invalid characters.", add, client, name, ("k1", "a;b"))
    refused("KS_INVALID", "Some tags contain invalid characters.", client.call, TAG_RESOURCE, (1, tag("a\n", "")), (2, ARN + "s"))
    refused("KS_INVALID", "because some tags contained illegal characters.", add, client, name, ("k1", "50%"))
    refused("KS_VALIDATION", "Value null at 'tags' failed to satisfy constraint: Member must not be null", add, client, name)
    refused("KS_VALIDATION", "at 'tags' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length "
            "less than or equal to 256, Member must have length greater than or equal to 0]", add, client, name, ("k", "v" * 257))
    refused("KS_VALIDATION", "at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length "
            "less than or equal to 128, Member must have length greater than or equal to 1]",
            client.call, REMOVE_TAGS, name, (2, "k" * 129))
    refused("KS_VALIDATION", "Value '51' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 50",
            tags_of, client, name, None, 51)
    refused("KS_VALIDATION", "'resourceARN' failed to satisfy constraint: Member must satisfy regular expression pattern",
            client.call, LIST_TAGS_OF_RESOURCE, (1, "s"))
    refused("KS_NOT_FOUND", "Consumer %ss/consumer/c:1 not found." % ARN, client.call, LIST_TAGS_OF_RESOURCE, (1, ARN + "s/consumer/c:1"))
    refused("KS_NOT_FOUND", "Stream none %s not found." % ACCOUNT, add, client, (1, "none"), ("k", "v"))
    refused("KS_INVALID", "Either StreamName, StreamARN or StreamId should be provided.", client.call, ADD_TAGS, (2, tag("k", "v")))
    refused("KS_INVALID", "name different streams", client.call, ADD_TAGS, (1, "s"), (3, ARN + "t"), (2, tag("k", "v")))
    add(client, name, ("k1", "\ud30c\ud2f0\uc158 caf\u00e9"), ("k2", "a_b.c:d/e=f+g-h@i"))
    assert dict(tags_of(client, name)[0])["k1"] == "\ud30c\ud2f0\uc158 caf\u00e9"
    assert len(tags_of(client, name)[0]) == 50
    broker.stop()


def test_a_record_may_be_as_large_as_its_stream_says(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    mebibyte = 1 << 20
    put = lambda size: client.put("s", [("k", bytes(size - 1))])  # the key counts
    put(mebibyte)
    refused("KS_INVALID", "stream s takes records of up to 1048576 bytes", put, mebibyte + 1)
    stream_id = text(summary(client, "s"), 3)
    client.call(UPDATE_MAX_RECORD_SIZE, (2, stream_id), (3, 10240))
    put(10 * mebibyte)
    refused("KS_VALIDATION", "Member must have length less than or equal to 10485760", put, 10 * mebibyte + 2)
    broker.kill()
    broker = Broker(scratch)
    client = broker.client()
    assert summary(client, "s")[14][0] == 10240
    put(10 * mebibyte)
    client.call(UPDATE_MAX_RECORD_SIZE, (1, ARN + "s"), (3, 1024))
    refused("KS_INVALID", "stream s takes records of up to 1048576 bytes", put, mebibyte + 1)
    stored = [data for _, _, data in client.read_all("s")[0]]
    assert [len(data) + 1 for data in stored] == [mebibyte, 10 * mebibyte, 10 * mebibyte], "what is stored stays readable"
    for kib in (1023, 10241):
        refused("KS_VALIDATION", "'maxRecordSizeInKiB' failed to satisfy constraint", client.call, UPDATE_MAX_RECORD_SIZE,
                (1, ARN + "s"), (3, kib))
    refused("KS_INVALID", "should be provided", client.call, UPDATE_MAX_RECORD_SIZE, (3, 1024))
    broker.stop()
    small = Broker(scratch, "--segment-bytes", "16MiB", data_dir=os.path.join(scratch, "small"))
    client = small.client()
    client.create_stream("s")
    refused("KS_INVALID", "Records of 10240 KiB do not fit this broker", client.call, UPDATE_MAX_RECORD_SIZE, (1, ARN + "s"), (3, 10240))
    small.stop()


def test_warm_throughput_is_shards_that_are_there(scratch):
    broker = Broker(scratch, "--shards", "20")
    client = broker.client()
    client.create_stream("fixed", 2)
    refused("KS_VALIDATION", "WarmThroughputMiBps is for streams in On-Demand mode.", client.call, UPDATE_WARM_THROUGHPUT,
            (2, "fixed"), (4, 6))
    client.call(CREATE, (1, "s"), (3, encode((1, "ON_DEMAND"))), (5, 5))
    warm = lambda: {n: values[0] for n, values in decode(summary(client, "s")[13][0]).items()}
    assert warm() == {1: 5, 2: 5} and summary(client, "s")[11][0] == 5
    for n, address in enumerate(addresses(client, "s", 2, 1, 3)):
        answer = decode(client.call(UPDATE_WARM_THROUGHPUT, address, (4, 6 + n)))
        assert (text(answer, 1), text(answer, 2)) == (ARN + "s", "s"), answer
        assert decode(answer[3][0]) == {1: [6 + n], 2: [6 + n]}
        assert summary(client, "s")[11][0] == 6 + n, "the shards are there before the answer"
    assert tiles(shards_of(client, "s", "AT_LATEST"))
    refused("KS_LIMIT", "would exceed the shard limit", client.call, UPDATE_WARM_THROUGHPUT, (2, "s"), (4, 19))
    refused("KS_INVALID", "is over the limit of 10000", client.call, UPDATE_WARM_THROUGHPUT, (2, "s"), (4, 10001))
    client.call(UPDATE_WARM_THROUGHPUT, (2, "s"), (4, 2))
    assert warm() == {1: 2, 2: 2} and summary(client, "s")[11][0] == 8, "fewer are only allowed"
    mode = lambda kind, mibps: client.call(UPDATE_STREAM_MODE, (1, ARN + "fixed"), (3, encode((1, kind))), (4, mibps))
    refused("KS_VALIDATION", "On-Demand mode", mode, "PROVISIONED", 3)
    mode("ON_DEMAND", 3)
    assert summary(client, "fixed")[11][0] == 3
    broker.stop()


def test_monitoring_of_shards_is_what_was_asked_for(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("s")
    monitored = lambda: [metric.decode() for metric in decode(summary(client, "s")[8][0]).get(1, [])]
    assert monitored() == []
    name, arn, stream_id = addresses(client, "s", 1, 3, 4)

    def change(op, address, *metrics):
        fields = decode(client.call(op, address, *((2, metric) for metric in metrics)))
        assert (text(fields, 1), text(fields, 4)) == ("s", ARN + "s")
        return [[metric.decode() for metric in fields.get(n, [])] for n in (2, 3)]
    assert change(ENABLE_MONITORING, name, "OutgoingBytes", "IncomingBytes") == [[], ["IncomingBytes", "OutgoingBytes"]]
    assert change(ENABLE_MONITORING, arn, "ALL") == [["IncomingBytes", "OutgoingBytes"], METRICS]
    assert change(DISABLE_MONITORING, stream_id, *METRICS[:5]) == [METRICS, METRICS[5:]]
    broker.kill()
    broker = Broker(scratch)
    client = broker.client()
    assert monitored() == METRICS[5:]
    assert change(DISABLE_MONITORING, name, "ALL") == [METRICS[5:], []]
    refused("KS_VALIDATION", "Value '[Bytes]' at 'shardLevelMetrics' failed to satisfy constraint: Member must satisfy constraint: "
            "[Member must satisfy enum value set: [IncomingBytes,", change, ENABLE_MONITORING, name, "Bytes")
    refused("KS_VALIDATION", "Value null at 'shardLevelMetrics'", change, ENABLE_MONITORING, name)
    broker.stop()


def test_the_account_has_limits_and_says_them(scratch):
    broker = Broker(scratch, "--shards", "10", "--on-demand-streams", "1")
    client = broker.client()
    limits = lambda: [decode(client.call(DESCRIBE_LIMITS))[n][0] for n in (1, 2, 3, 4)]
    on_demand = encode((1, "ON_DEMAND"))
    assert limits() == [10, 0, 0, 1]
    client.create_stream("a", 3)
    client.call(CREATE, (1, "b"), (3, on_demand))
    assert limits() == [10, 7, 1, 1]
    text_of_limit = ("This request would exceed the on-demand stream limit for the account 000000000000 in us-east-1. Current "
                     "on-demand stream count for the account: 1. Limit: 1.")
    refused("KS_LIMIT", text_of_limit, client.call, CREATE, (1, "c"), (3, on_demand))
    refused("KS_LIMIT", text_of_limit, client.call, UPDATE_STREAM_MODE, (1, ARN + "a"), (3, on_demand))
    refused("KS_LIMIT", "Current shard count for the account: 7. Limit: 10. Number of additional shards that would have resulted "
            "from this request: 4.", client.create_stream, "c", 4)
    client.create_stream("c", 3)
    assert limits() == [10, 10, 1, 1]
    broker.stop()


def test_without_a_count_a_stream_has_four_shards(scratch):
    broker = Broker(scratch)
    client = broker.client()
    client.call(CREATE, (1, "s"))
    assert summary(client, "s")[11][0] == 4
    refused("KS_INVALID", "ShardCount is required in PROVISIONED mode.", client.call, CREATE, (1, "t"), (3, encode((1, "PROVISIONED"))))
    broker.stop()


def test_the_commitment_of_an_account_lasts_a_day(scratch):
    broker = Broker(scratch)
    client = broker.client()
    describe = lambda: decode(decode(client.call(DESCRIBE_ACCOUNT))[1][0])
    update = lambda status: decode(decode(client.call(UPDATE_ACCOUNT, (1, encode((1, status)))))[1][0])
    assert {n: values[0] for n, values in describe().items()} == {1: b"DISABLED"}
    begun = update("ENABLED")
    assert text(begun, 1) == "ENABLED" and begun[4][0] == begun[2][0] + 24 * 3600 * 1000 and 3 not in begun
    assert describe() == begun
    ending = update("DISABLED")
    assert text(ending, 1) == "ENABLED_UNTIL_EARLIEST_ALLOWED_END" and ending[4] == begun[4]
    broker.kill()
    broker = Broker(scratch)
    client = broker.client()
    assert describe() == ending
    assert update("ENABLED") == begun, "what had not ended goes on"
    refused("KS_VALIDATION", "Member must satisfy enum value set: [ENABLED, DISABLED]", update, "MAYBE")
    refused("KS_VALIDATION", "Value null at 'minimumThroughputBillingCommitment'", client.call, UPDATE_ACCOUNT)
    broker.stop()


def test_streams_are_listed_by_name_and_by_token(scratch):
    broker = Broker(scratch)
    client = broker.client()
    names = ["s%02d" % i for i in range(7)]
    for name in names:
        client.create_stream(name)
    for by_token in (False, True):
        found, after, token = [], None, None
        while True:
            fields = decode(client.call(LIST_STREAMS, (1, 3), (2, after), (3, token)))
            page = [name.decode() for name in fields[1]]
            assert len(page) <= 3 and [text(decode(entry), 1) for entry in fields[4]] == page
            found += page
            if not fields[2][0]:
                assert 3 not in fields
                break
            after, token = (None, text(fields, 3)) if by_token else (page[-1], None)
        assert found == names
    refused("KS_INVALID", "Invalid NextToken.", client.call, LIST_STREAMS, (3, "bad"))
    broker.stop()


def test_tokens_expire_after_five_minutes(scratch):
    clocks = Clocks(scratch)
    broker = Broker(scratch, environment=clocks.environment)
    client = broker.client()
    for name in ("a", "b"):
        client.create_stream(name, 2)
    streams = text(decode(client.call(LIST_STREAMS, (1, 1))), 3)
    shards = text(decode(client.call(LIST_SHARDS, (1, "a"), (4, 1))), 2)
    more = ((LIST_STREAMS, (1, 1), (3, streams)), (LIST_SHARDS, (2, shards)))
    clocks.go_on(290)
    for call in more:
        client.call(*call)
    clocks.go_on(20)
    for call in more:
        refused("KS_EXPIRED_TOKEN", "NextToken has expired: it is valid for 300 seconds.", client.call, *call)
    refused("KS_INVALID", "NextToken and StreamName cannot be provided together.", client.call, LIST_SHARDS, (1, "a"), (2, shards))
    refused("KS_INVALID", "Either NextToken or StreamName should be provided.", client.call, LIST_SHARDS)
    refused("KS_INVALID", "Invalid NextToken.", client.call, LIST_SHARDS, (2, streams))
    broker.stop()


if __name__ == "__main__":
    run_tests(test_tags_are_there_by_every_address_and_after_a_crash, test_tags_that_may_not_be_are_refused,
              test_a_record_may_be_as_large_as_its_stream_says, test_warm_throughput_is_shards_that_are_there,
              test_monitoring_of_shards_is_what_was_asked_for, test_the_account_has_limits_and_says_them,
              test_without_a_count_a_stream_has_four_shards, test_the_commitment_of_an_account_lasts_a_day,
              test_streams_are_listed_by_name_and_by_token, test_tokens_expire_after_five_minutes)
