"""kstreamctl usage: what streams hold, take and cost, and advice that the figures justify."""
import glob
from ctl_test import *

FAKE = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))
USAGE = 81


def row(answer, name):
    return next(stream for stream in answer["streams"] if stream["stream_name"] == name)


def test_figures_are_those_of_the_streams(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks", "--shards", "4", "-o", "none")
    ctl("create-stream", "empty", "-o", "none")
    ctl("put", "clicks", "-", "--progress", "none", "-o", "none", data=b"".join(b"%06d\n" % i for i in range(5000)))
    client = broker.client()
    got = sum(len(records) for records in client.read_all("clicks", 4).values())
    answer = ctl.json("usage")
    clicks, empty = row(answer, "clicks"), row(answer, "empty")
    assert (clicks["records"], clicks["shards"], clicks["retention_hours"]) == (5000, 4, 24), clicks
    assert 5000 * 6 < clicks["stored_bytes"] < 5000 * 60, clicks
    assert got == 5000 and clicks["in_records_per_s"] == clicks["out_records_per_s"] > 0, clicks
    assert (empty["records"], empty["stored_bytes"], empty["in_records_per_s"]) == (0, 0, 0), empty
    total = answer["total"]
    assert (total["streams"], total["records"], total["stored_bytes"]) == (2, 5000, clicks["stored_bytes"]), total
    # By the default prices: a GB for a month, and a thousand records, of what a month would bring at this rate.
    assert abs(total["cost_month_stored"] - clicks["stored_bytes"] / 1e9 * 0.00025) < 1e-9, total
    assert abs(total["cost_month_records"] - clicks["in_records_per_s"] * 2592000 / 1000 * 0.0000003) < 1e-5, total
    assert abs(total["cost_month"] - total["cost_month_stored"] - total["cost_month_records"]) < 1e-9, total
    assert ctl.json("usage", "clicks")["total"]["streams"] == 1
    ctl.fails(4, "not found", "usage", "nothing")
    # What is stored outlives the process, and so does what has been counted in the last day.
    broker.stop()
    broker = Broker(scratch)
    ctl = Ctl(broker.addresses["native"])
    clicks = ctl.json("usage", "clicks")["streams"][0]
    assert clicks["records"] == 5000 and clicks["stored_bytes"] >= 5000 * 6, clicks
    assert clicks["in_records_per_s"] == clicks["out_records_per_s"] > 0, clicks
    broker.stop()


def test_pages(scratch):
    broker, _ = begin(scratch)
    client = broker.client()
    names = ["s%02d" % i for i in range(7)]
    for name in names:
        client.create_stream(name)
    found, after = [], None
    while True:
        answer = decode(client.call(USAGE, (4, after), (5, 3)))
        found += [text(decode(stream), 1) for stream in answer[1]]
        after = found[-1]
        if answer[2][0] == 0:
            break
    assert found == names, found
    broker.stop()


def test_prices_of_ones_own(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks", "-o", "none")
    ctl("put-record", "clicks", "--partition-key", "k", "--data", "d" * 1000, "-o", "none")
    path = os.path.join(scratch, "prices")
    with open(path, "w") as file:
        file.write("# a comment\n\nstored_gb_month = 1000000  # much\ncurrency=EUR\n")
    answer = ctl.json("usage", "--prices", path)
    assert answer["prices"] == {"stored_gb_month": 1000000.0, "thousand_records": 3e-07, "currency": "EUR"}, answer
    stored = answer["total"]["stored_bytes"]
    assert abs(answer["total"]["cost_month_stored"] - stored / 1e9 * 1e6) < 1e-6, answer
    ctl.environment["KSTREAM_PRICES"] = path
    assert ctl.json("usage")["total"]["currency"] == "EUR"
    del ctl.environment["KSTREAM_PRICES"]
    for bad in ("stored_gb_month = cheap\n", "stored = 1\n", "currency\n", "thousand_records = -1\n", "currency = \n"):
        with open(path, "w") as file:
            file.write("currency = EUR\n" + bad)
        ctl.fails(2, "line 2", "usage", "--prices", path)
    ctl.fails(2, "cannot open", "usage", "--prices", os.path.join(scratch, "nothing"))
    broker.stop()


def test_advice(scratch):
    if not FAKE:
        raise Skip("needs libfaketime (package libfaketime)")
    offset = os.path.join(scratch, "offset")

    def move(seconds):
        with open(offset + ".new", "w") as file:
            file.write("%+d\n" % seconds)
        os.rename(offset + ".new", offset)
    move(0)
    broker = Broker(scratch, environment={
        "LD_PRELOAD": FAKE[0], "FAKETIME_TIMESTAMP_FILE": offset, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_RESET": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "KSTREAM_BOOT_ID": "a" * 32})
    ctl = Ctl(broker.addresses["native"])
    for stream, shards in (("wide", 8), ("empty", 1), ("kept", 1), ("fine", 1)):
        ctl("create-stream", stream, "--shards", str(shards), "-o", "none")
    ctl("increase-stream-retention-period", "kept", "--retention-period-hours", "168", "-o", "none")
    for stream in ("wide", "kept", "fine"):
        ctl("put", stream, "-", "--progress", "none", "-o", "none", data=b"".join(b"%0400d\n" % i for i in range(100)))
    client = broker.client()
    for stream, shards in (("wide", 8), ("fine", 1)):
        client.read_all(stream, shards)
    # What has been seen for a second justifies nothing.
    assert all(stream["tips"] == [] for stream in ctl.json("usage")["streams"])
    move(3600)
    ctl("confirm-clock", "-o", "none")
    answer = ctl.json("usage")
    assert "8 shards for 0.0 records" in row(answer, "wide")["tip"] and row(answer, "wide")["tip"].endswith(
        "shard count wide 1"), answer
    assert row(answer, "empty")["tips"] == ["it is empty and nothing comes in: kstreamctl delete-stream empty"], answer
    assert "nobody has read it" in row(answer, "kept")["tip"] and "168 h" in row(answer, "kept")["tip"], answer
    assert row(answer, "fine")["tips"] == [] and row(answer, "fine")["tip"] is None, answer
    broker.stop()


run_tests(test_figures_are_those_of_the_streams, test_pages, test_prices_of_ones_own, test_advice)
