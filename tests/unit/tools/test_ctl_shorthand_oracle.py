"""The short form of structures against the parser of the aws CLI, and the skeletons of requests against botocore's.
SHORTHAND_DRIVER and KSTREAMCTL name the programs; exit 77: no awscli here."""
import json, os, random, subprocess, sys

sys.path.append("/usr/lib/python3/dist-packages")  # where Debian keeps it, whichever python3 runs this
try:
    from awscli.shorthand import ShorthandParseError, ShorthandParser
    try:
        from awscli.botocore.session import get_session  # version 2 brings its own
        from awscli.botocore.utils import ArgumentGenerator
    except ImportError:
        from botocore.session import get_session
        from botocore.utils import ArgumentGenerator
except ImportError:
    print("awscli is not installed")
    sys.exit(77)

NAMES = ["Data", "PartitionKey", "a", "b-c", "d_1", "x.y"]
WORDS = ["b", "hello", "x y", "'it, is'", '"q=1"', "'a\\'b'", "", "1", "é", "a=b", "x\\,y", "[b,c]", "{k=v}", "{k=[a,b],l=m}", "[]",
         "2026-11-22T10:00:00Z", "arn:aws:kinesis:us-east-1:0:stream/x"]


def make(rng):
    text = ",".join("%s=%s" % (rng.choice(NAMES), rng.choice(WORDS)) for _ in range(rng.randint(1, 3)))
    if rng.random() < 0.3:
        text += "," + rng.choice(WORDS)
    if rng.random() < 0.4:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(["", ",", "=", "'", '"', "[", "]", "{", "}", " ", "\\"]) + text[at + rng.randrange(2):]
    return text


def has_empty_name(value):
    if isinstance(value, dict):
        return "" in value or any(map(has_empty_name, value.values()))
    return isinstance(value, list) and any(map(has_empty_name, value))


def short_forms():
    rng = random.Random(3)
    texts = [make(rng) for _ in range(5000)]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    run = subprocess.run([os.environ["SHORTHAND_DRIVER"]], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    ours = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(ours) == len(texts)
    failures, refused = 0, 0
    for text, value in zip(texts, ours):
        try:
            expected = ShorthandParser().parse(text)
        except ShorthandParseError:
            expected = None
        except TypeError:
            continue  # it asks whether the end of the text is a letter
        # Its slips: a name may be empty, a comma too many is passed over, it goes back to a comma behind a backslash, takes a
        # quote behind one for the last, and no blank behind a list.
        if value is None and (",," in text or "\\," in text or "\\'" in text or has_empty_name(expected)) or \
                expected is None and text != text.rstrip():
            continue
        refused += expected is None
        if value != expected:
            failures += 1
            print("%r: expected %s, got %s" % (text, json.dumps(expected), json.dumps(value)))
    print("%d short forms, %d refused, %d failures" % (len(texts), refused, failures))
    assert 100 < refused < 4000
    return failures


def same_form(ours, theirs):
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and all(name in theirs and same_form(ours[name], theirs[name]) for name in ours)
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(ours) == 1 and same_form(ours[0], theirs[0])
    if isinstance(theirs, str):
        return isinstance(ours, str) and (ours == "") == (theirs == "")  # which of the words is the first varies
    if theirs is None or isinstance(theirs, (bool, int)):
        return type(ours) is type(theirs) and ours == theirs
    return ours == "1970-01-01T00:00:00"  # a time


def skeletons():
    """Ours have the members of the model, in the same form, but for those that no option stands for."""
    without_option = {"StreamId", "Tags", "WarmThroughputMiBps"}
    model = get_session().get_service_model("kinesis")
    failures = 0
    for operation in ("CreateStream", "DeleteStream", "DescribeStream", "DescribeStreamSummary", "ListStreams", "ListShards",
                      "PutRecord", "PutRecords", "GetShardIterator", "GetRecords"):
        theirs = ArgumentGenerator().generate_skeleton(model.operation_model(operation).input_shape)
        verb = "".join("-" + c.lower() if c.isupper() else c for c in operation).lstrip("-")
        ours = json.loads(subprocess.check_output([os.environ["KSTREAMCTL"], verb, "--generate-cli-skeleton", "-o", "json"]))
        known = {name: value for name, value in ours.items() if name in theirs}  # newer members are not in this botocore
        if not set(theirs) - set(ours) <= without_option or not same_form(known, theirs):
            failures += 1
            print("%s: expected %s, got %s" % (operation, theirs, ours))
    return failures


sys.exit(1 if short_forms() + skeletons() else 0)
