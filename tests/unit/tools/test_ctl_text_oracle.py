"""--output text against the text formatter of the aws CLI, on values of every shape. TEXT_DRIVER names the program that
prints; exit 77: no awscli here."""
import io, json, os, random, subprocess, sys

sys.path.append("/usr/lib/python3/dist-packages")  # where Debian keeps it, whichever python3 runs this
try:
    from awscli.text import format_text
except ImportError:
    print("awscli is not installed")
    sys.exit(77)

NAMES = ["StreamName", "b", "a", "Shards", "Tags", "a-b 1"]
PLAIN = ["text", "", "two words", "tab\there", 7, -3, 0.5, True, False, None, "\u00e9"]


def make(rng, depth):
    kind = rng.randrange(4) if depth else 3
    if kind == 0:
        return {rng.choice(NAMES): make(rng, depth - 1) for _ in range(rng.randrange(4))}
    if kind == 1:
        return [make(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 2:
        return [{name: make(rng, rng.randrange(2)) for name in rng.sample(NAMES, rng.randrange(3))}
                for _ in range(rng.randrange(4))]
    return rng.choice(PLAIN)


def main():
    rng = random.Random(7)
    values = [make(rng, rng.randrange(5)) for _ in range(3000)]
    lines = "".join(json.dumps(value) + "\n" for value in values)
    run = subprocess.run([os.environ["TEXT_DRIVER"]], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    texts = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(texts) == len(values)
    failures = broken = 0
    for value, ours in zip(values, texts):
        expected = io.StringIO()
        try:
            format_text(value, expected)
        except AttributeError:
            broken += 1  # it cannot print a list of objects and plain values
            continue
        if any(sign in expected.getvalue() for sign in ("{", "[")):
            broken += 1  # nor a member that is plain in one object and not in another, but as Python writes it
            continue
        if ours != expected.getvalue():
            failures += 1
            print("%s\nexpected %r\n     got %r" % (json.dumps(value), expected.getvalue(), ours))
    print("%d values, the oracle broke on %d, %d failures" % (len(values), broken, failures))
    assert broken * 5 < len(values)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
