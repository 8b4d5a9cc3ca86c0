"""Our JMESPath against python3-jmespath, the reference implementation: written and made-up expressions on documents of
the kind that kstreamctl prints, results and errors. JMES_DRIVER names the program that evaluates; exit 77: no oracle here.

    test_jmes_oracle.py [--seed N] [--count N]
"""
import argparse, json, os, random, subprocess, sys, warnings

sys.path.append("/usr/lib/python3/dist-packages")  # where Debian keeps it, whichever python3 runs this
try:
    import jmespath
    from jmespath import ast, exceptions, functions
    from jmespath.parser import Parser
except ImportError:
    print("python3-jmespath is not installed")
    sys.exit(77)
warnings.simplefilter("ignore")  # literals without quotes are deprecated, and everywhere

SHARD = "shardId-00000000000"
DOCUMENTS = [
    {"StreamNames": ["views", "clicks", "buys"], "HasMoreStreams": False, "NextToken": None, "StreamSummaries": [
        {"StreamName": "views", "StreamStatus": "ACTIVE", "Shards": 4, "StreamModeDetails": {"StreamMode": "PROVISIONED"}},
        {"StreamName": "clicks", "StreamStatus": "CREATING", "Shards": 12, "Rate": 0.25},
        {"StreamName": "buys", "StreamStatus": "ACTIVE", "Shards": 1, "Tags": {"team": "shop", "cost center": "7"}}]},
    {"Shards": [
        {"ShardId": SHARD + "0", "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "99"},
         "SequenceNumberRange": {"StartingSequenceNumber": "4961", "EndingSequenceNumber": "4999"}},
        {"ShardId": SHARD + "1", "ParentShardId": SHARD + "0", "HashKeyRange": {"StartingHashKey": "0"}},
        {"ShardId": SHARD + "2", "ParentShardId": SHARD + "0", "Closed": True, "Children": [[1, 2], [3, [4]], 5, None]}]},
    {"Records": [{"Data": "aGVsbG8=", "PartitionKey": "schön \u00e9 \U0001f600", "n": 9007199254740993},
                 {"Data": "", "PartitionKey": "k", "n": -3.5}, {"PartitionKey": "b\"q\\", "n": 0}],
     "MillisBehindLatest": 0, "a-b": {"c.d": 1}, "empty": {}, "none": [], "a": {"a": {"a": [{"a": 1}, {"a": 2}]}}},
    [3, 1, 2.5, 1, -7, 0], ["b", "a", "", "B", "é", "z"], [[3, 1], [2], [], [[9]]], [True, False, None, 0, "", [], {}],
    "text", 17, None, True, {}, [],
]

# What people type, and what the specification says in words.
WRITTEN = r"""
StreamNames
StreamNames[0]
StreamNames[-1]
StreamNames[9]
StreamNames[-9]
StreamNames[1:]
StreamNames[:2]
StreamNames[::2]
StreamNames[::-1]
StreamNames[-2:]
StreamNames[5:1:-1]
StreamNames[2:0:-1]
StreamNames[::0]
StreamNames[:]
StreamNames[:-1]
StreamNames[10:-10:-3]
StreamNames.foo
StreamNames[*]
StreamNames[]
StreamSummaries[*].StreamName
StreamSummaries[].StreamName
StreamSummaries[].Tags.team
StreamSummaries[].Tags."cost center"
StreamSummaries[*].StreamModeDetails.StreamMode
StreamSummaries[0].*
StreamSummaries[*].*
StreamSummaries[*].*.StreamMode
StreamSummaries[?StreamStatus=='ACTIVE'].StreamName
StreamSummaries[?StreamStatus==`ACTIVE`].StreamName
StreamSummaries[?StreamStatus==`"ACTIVE"`].StreamName
StreamSummaries[?StreamStatus!='ACTIVE'].StreamName | [0]
StreamSummaries[?Shards > `2`].StreamName
StreamSummaries[?Shards >= `4`].StreamName
StreamSummaries[?Shards < `4`].StreamName
StreamSummaries[?Shards <= `1`] | [0].StreamName
StreamSummaries[?Tags].StreamName
StreamSummaries[?!Tags].StreamName
StreamSummaries[?Tags && StreamStatus=='ACTIVE'].StreamName
StreamSummaries[?Tags || Shards==`4`].StreamName
StreamSummaries[?(Tags || Shards==`4`) && StreamName!='views'].StreamName
StreamSummaries[?Rate==`0.25`].StreamName
StreamSummaries[?Rate==null].StreamName
StreamSummaries[?contains(StreamName, 'ick')].StreamName
StreamSummaries[?starts_with(StreamName, 'b')].StreamName
StreamSummaries[?ends_with(StreamName, `s`)].StreamName
StreamSummaries[].[StreamName, Shards]
StreamSummaries[].[StreamName, Shards, Missing][]
StreamSummaries[].{name: StreamName, n: Shards}
StreamSummaries[].{"na me": StreamName, n: Shards} | [?n > `1`]
StreamSummaries[].{a: {b: StreamName}, c: [Shards]}
StreamSummaries | length(@)
length(StreamSummaries)
length(StreamSummaries[?StreamStatus=='ACTIVE'])
sort_by(StreamSummaries, &Shards)[].StreamName
sort_by(StreamSummaries, &StreamName)[-1].Shards
reverse(sort_by(StreamSummaries, &Shards))[0].StreamName
max_by(StreamSummaries, &Shards).StreamName
min_by(StreamSummaries, &Shards).StreamName
sum(StreamSummaries[].Shards)
avg(StreamSummaries[].Shards)
max(StreamSummaries[].Shards)
min(StreamSummaries[].Shards)
max(StreamNames)
min(StreamNames)
sort(StreamNames)
reverse(StreamNames)
join(', ', StreamNames)
join('', StreamNames)
keys(StreamSummaries[2].Tags)
values(StreamSummaries[2].Tags)
merge(StreamSummaries[2].Tags, `{"team": "new", "x": 1}`)
not_null(NextToken, Missing, StreamNames[0])
not_null(NextToken)
to_array(StreamNames)
to_array(HasMoreStreams)
to_string(HasMoreStreams)
to_string(StreamSummaries[0].Shards)
to_string(StreamSummaries[2].Tags)
to_string(StreamNames)
to_string('x')
to_number('17')
to_number('1.5')
to_number('x')
to_number(`17`)
to_number(HasMoreStreams)
type(StreamNames)
type(HasMoreStreams)
type(NextToken)
type(StreamSummaries[0])
type(StreamSummaries[0].Shards)
type('x')
map(&StreamName, StreamSummaries)
map(&Missing, StreamSummaries)
map(&[0], `[[1], [2], 3]`)
map(&length(@), StreamNames)
StreamNames.length(@)
StreamNames[*].length(@)
StreamSummaries[*].StreamName.length(@)
Shards[0].ShardId
Shards[].HashKeyRange.StartingHashKey
Shards[*].[ShardId, ParentShardId]
Shards[?ParentShardId].ShardId
Shards[?!ParentShardId].ShardId
Shards[?SequenceNumberRange.EndingSequenceNumber].ShardId
Shards[?Closed].ShardId | [0]
Shards[?Closed == `true`].ShardId
Shards[].Children
Shards[].Children[]
Shards[].Children[][]
Shards[2].Children
Shards[2].Children[]
Shards[2].Children[][]
Shards[2].Children[*][0]
Shards[2].Children[*] | [0]
Shards[*].HashKeyRange.*
Shards[*].HashKeyRange.* | []
Shards[0].HashKeyRange.EndingHashKey > '5'
to_number(Shards[0].HashKeyRange.EndingHashKey) > `50`
Records[0].Data
Records[*].PartitionKey
Records[*].n
Records[?n > `-4`].n
Records[?n < `0`] | [0].n
Records[?PartitionKey=='k']
Records[?PartitionKey=='b"q\'].n
length(Records[0].PartitionKey)
reverse(Records[0].PartitionKey)
floor(Records[1].n)
ceil(Records[1].n)
abs(Records[1].n)
abs(`-3`)
floor(`3`)
ceil(`2.0000001`)
"a-b"
"a-b"."c.d"
a.a.a[*].a
a.*.*
a.a.a[].a | sum(@)
empty
empty.*
none[*].x
none[0]
none[]
max(none)
min(none)
avg(none)
sum(none)
sort(none)
max_by(none, &x)
sort_by(none, &x)
join('-', none)
length(none)
length(empty)
keys(empty)
empty || 'nothing'
none || 'nothing'
empty && 'nothing'
MillisBehindLatest && 'zero counts'
!MillisBehindLatest
!empty
!none
!!a
! a || b
@
@.a
@[0]
@ | @
@ | @.StreamNames | @[0]
*
*.*
[*]
[]
[0]
[-1]
[0][0]
[*][0]
[][0]
[?@ > `1`]
[?@ == `1`]
[?@]
[?!@]
[?type(@) == 'string']
[*].type(@)
[0:2]
[0:2][0]
[0:3] | [0]
[::2]
[].[@]
[*].[@, @]
[*].{x: @}
[@, @]
[[@]]
{a: @}
{a: @, b: {c: @}}
{a: StreamNames[0], "b c": `1`, d: 'raw'}
sort(@)
max(@)
min(@)
sum(@)
avg(@)
reverse(@)
length(@)
keys(@)
values(@)
to_string(@)
to_number(@)
to_array(@)
type(@)
not_null(@)
abs(@)
contains(@, `1`)
contains(@, 'a')
contains(@, `null`)
contains(@, `[3, 1]`)
starts_with(@, 'te')
ends_with(@, 'xt')
join(',', @)
map(&@, @)
map(&to_string(@), @)
sort_by(@, &@)
max_by(@, &@)
sort_by(@, &[0])
merge(@, @)
'raw'
'it\'s'
'back\\slash'
'\\'
'a\nb'
''
'`'
`1`
`-1.50`
`1e3`
`"x"`
`x`
` x`
`x y`
``
`[1, {"a": null}]`
`{"a": [1, 2]}`.a[1]
`[1, 2, 3]`[?@ > `1`]
`"\u00e9"`
`"a\`b"`
`true` && `false`
`true` || `false`
`1` == `1.0`
`1` == '1'
`[1, 2]` == `[1, 2]`
`{"a": 1, "b": 2}` == `{"b": 2, "a": 1}`
`{"a": 1}` == `{"a": 2}`
`[]` == `{}`
`null` == missing
'a' < 'b'
'a' < 'B'
'é' > 'z'
`1` < `2`
`2` < `1`
`null` < `1`
`true` < `false`
StreamNames < `1`
a == a
a || b && c
(a || b) && c
a && b || c
a | b | c
a || b | c
a[*].b | [0]
a[0].b[1].c
a.[b, c]
a.{x: b}
a[0].[b]
a.*.[b, c]
 a . b
a . b [ 0 ]
[ ? @ ]
"\u00e9"
"a\nb"
a.b.c.d.e.f.g.h
foo()
foo(@)
length()
length(@, @)
merge()
not_null()
sort_by(@)
map(@, @)
sort_by(&a, @)
length(&a)
abs('x')
abs(StreamNames)
sum(StreamNames)
sort(StreamSummaries)
join(StreamNames, ',')
join(',', Records[*].n)
keys(StreamNames)
max_by(StreamSummaries, &Tags)
sort_by(StreamSummaries, &Rate)
sort_by(StreamSummaries, &Missing)
floor('1')
starts_with(`1`, 'a')
merge(StreamNames)
StreamSummaries[*].abs(StreamName)

.
a.
.a
a..b
a[
a]
a[0
a[0:
a[0:1:2:3]
a[a]
a[*
a[?
a[?b
a[?b==
a['b']
a[`1`]
a["b"]
[a,]
[,a]
{a}
{a:}
{a: b,}
{: b}
{'a': b}
{`a`: b}
(a
a)
()
a b
a 'b'
a = b
a === b
a ! b
a & b
a &&
&& a
a ||
|| a
|
a |
| a
!
-
-a
1
a.1
a[1.5]
a[--1]
a.'b'
a.`b`
a.@
a.(b)
a.[0]
a.[]
a[].[0]
a*
a**
**
a.**
a{b: c}
'a
"a
`a
"a"(b)
'a'(b)
length(
length(@
length @
length(,)
length(@,,@)
@(a)
#
a#
$
$.a
a;b
a%
\
"\x"
"\ud800
`"a`
`[1`
[?]
[? ]
[?a
[::1:]
[a:b]
[1 2]
a[0 1]
a.b.
a..
a[[0]]
a[0]]
{a: b c: d
{a: b; c: d}
{a: b}}
""
" "
ä
a.ä
"""[1:-1]

# Python takes these, the grammar does not: what is behind a comma is left out, commas are missing, & stands anywhere.
LOOSE = ["length(@,)", "not_null(a b)", "{a: b c: d}", "&a", "[&a]", "a || &b", "[1:2 3]"]


class Functions(functions.Functions):
    """Some of them as the specification has them: texts stay readable, true is not the number 1, all types are checked."""

    @functions.signature({"types": ["object"], "variadic": True})
    def _func_merge(self, *objects):
        merged = {}
        for value in objects:
            if not isinstance(value, dict):
                raise exceptions.JMESPathTypeError("merge", value, type(value).__name__, ["object"])
            merged.update(value)
        return merged

    @functions.signature({"types": []})
    def _func_to_string(self, value):
        if isinstance(value, str):
            return value
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    @functions.signature({"types": ["array", "string"]}, {"types": []})
    def _func_contains(self, subject, wanted):
        if isinstance(subject, str):
            return isinstance(wanted, str) and wanted in subject
        return any(same(item, wanted) for item in subject)


class Strict(Parser):
    """Refuses what the grammar refuses: missing commas, one too many, and & outside of calls."""

    def refuse(self):
        token = self._lookahead_token(0)
        raise exceptions.ParseError(token["start"], token["value"], token["type"])

    def _token_led_lparen(self, left):
        if left["type"] != "field":
            self.refuse()
        arguments = []
        while self._current_token() != "rparen":
            arguments.append(self._expression())
            if self._current_token() == "comma":
                self._match("comma")
                if self._current_token() == "rparen":
                    self.refuse()
            elif self._current_token() != "rparen":
                self.refuse()
        self._match("rparen")
        return ast.function_expression(left["value"], arguments)

    def _expression(self, binding_power=0):
        node = super()._expression(binding_power)
        # Behind an element stands a comma or the end of what it is in; everything else is the oracle's looseness.
        if binding_power == 0 and self._current_token() not in ("comma", "rbrace", "rbracket", "rparen", "eof"):
            self.refuse()
        return node

    def _parse_slice_expression(self):
        at = 0
        while self._lookahead(at) in ("number", "colon"):
            if self._lookahead(at) == self._lookahead(at + 1) == "number":
                self.refuse()
            at += 1
        return super()._parse_slice_expression()

    def parse(self, expression):
        parsed = super().parse(expression)
        if has_stray_reference(parsed.parsed, False):
            raise exceptions.ParseError(0, "&", "expref")
        return parsed


def has_stray_reference(node, is_argument):
    if node["type"] == "expref" and not is_argument:
        return True
    return any(has_stray_reference(child, node["type"] == "function_expression")
               for child in node.get("children", ()) if isinstance(child, dict))


OPTIONS = jmespath.Options(custom_functions=Functions())
ARITIES = {name: (sum(not s.get("variadic") for s in entry["signature"]), any(s.get("variadic") for s in entry["signature"]))
           for name, entry in Functions.FUNCTION_TABLE.items()}


def static_errors(node):
    """What is wrong with the calls of a parsed expression, which the oracle says only when it comes to evaluate them."""
    found = set()
    if node["type"] == "function_expression":
        count = len(node["children"])
        if node["value"] not in ARITIES:
            found.add("unknown-function")
        else:
            least, is_variadic = ARITIES[node["value"]]
            if (count < max(least, 1)) if is_variadic else count != least:
                found.add("invalid-arity")
    for child in node.get("children", ()):
        if isinstance(child, dict):
            found |= static_errors(child)
    return found


def is_misread(node):
    """Two places where the oracle leaves the specification: a slice behind an index is not projected ("a[0][1:]"), and
    a projection of an object's members ends at the second name behind it ("a.*.b.c")."""
    parts = [part for part in node.get("children", ()) if isinstance(part, dict)]
    if node["type"] == "index_expression" and any(part["type"] == "slice" for part in parts[2:]):
        return True
    if parts and parts[0]["type"] == "value_projection" and parts[0]["children"][0]["type"] != "identity" and \
            node["type"] in ("subexpression", "value_projection", "filter_projection", "projection", "index_expression"):
        return True
    return any(map(is_misread, parts))


def oracle(expression, document):
    """("result", value) or ("error", kind); None: the oracle itself breaks on it."""
    try:
        compiled = Strict().parse(expression)
        parsed = compiled.parsed
        found = static_errors(parsed)
        if found:
            return "error", min(found) if len(found) == 1 else None
        if is_misread(parsed):
            return None
        return "result", compiled.search(document, options=OPTIONS)
    except (exceptions.ArityError, exceptions.VariadictArityError):
        return "error", "invalid-arity"
    except exceptions.UnknownFunctionError:
        return "error", "unknown-function"
    except exceptions.JMESPathTypeError:
        return "error", "invalid-type"
    except (exceptions.ParseError, exceptions.LexerError, exceptions.EmptyExpressionError):
        return "error", "syntax"
    except ValueError as error:
        return "error", "invalid-value" if "slice step" in str(error) else "syntax"
    except (TypeError, OverflowError):
        return None


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None or isinstance(a, str):
        return type(a) is type(b) and a == b
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return isinstance(b, (int, float)) and (a == b or abs(a - b) <= 1e-12 * abs(a))


# ---- expressions made up ----

class Maker:
    """Expressions of every form, with names that the documents have, so that much is found."""
    NAMES = ["StreamNames", "StreamSummaries", "StreamName", "Shards", "ShardId", "Tags", "team", "Children", "Records", "n",
             "PartitionKey", "HashKeyRange", "StartingHashKey", "a", "none", "empty", "missing", '"a-b"', '"c.d"', "Rate"]
    LITERALS = ["`1`", "`0`", "`-3.5`", "`null`", "`true`", "`[]`", "`[3, 1, 2]`", "`{\"a\": 1}`", "`x`", "'ACTIVE'", "'k'", "''",
                "`[[1, 2], 3]`", "`[\"b\", \"a\"]`"]
    ONE = ["abs", "avg", "ceil", "floor", "keys", "length", "max", "min", "reverse", "sort", "sum", "to_array", "to_number",
           "type", "values", "not_null", "merge"]

    def __init__(self, rng):
        self.rng = rng

    def pick(self, *makers):
        return self.rng.choice(makers)()

    def name(self):
        return self.rng.choice(self.NAMES)

    def index(self):
        rng = self.rng
        number = lambda: rng.choice(["", "", str(rng.randint(-4, 4))])
        return rng.choice(["[%d]" % rng.randint(-4, 4), "[%s:%s]" % (number(), number()),
                           "[%s:%s:%s]" % (number(), number(), rng.choice(["", "1", "2", "-1", "-2"]))])

    def function(self, depth):
        e = lambda: self.expression(depth - 1)
        return self.rng.choice([
            lambda: "%s(%s)" % (self.rng.choice(self.ONE), e()),
            lambda: "contains(%s, %s)" % (e(), e()),
            lambda: "%s(%s, %s)" % (self.rng.choice(["starts_with", "ends_with", "join"]), e(), e()),
            lambda: "map(&%s, %s)" % (e(), e()),
            lambda: "%s(%s, &%s)" % (self.rng.choice(["sort_by", "max_by", "min_by"]), e(), e()),
            lambda: "not_null(%s, %s)" % (e(), e()),
            lambda: "merge(%s, %s)" % (e(), e()),
        ])()

    def expression(self, depth):
        rng = self.rng
        if depth <= 0:
            return self.pick(self.name, self.name, lambda: rng.choice(self.LITERALS), lambda: "@")
        e = lambda: self.expression(depth - 1)
        return self.pick(
            lambda: e() + "." + self.name(), lambda: e() + self.index(), lambda: e() + "[*]", lambda: e() + "[]",
            lambda: e() + "[*]." + self.name(), lambda: e() + ".*", lambda: "%s[?%s]" % (e(), e()),
            lambda: "%s[?%s %s %s]" % (e(), e(), rng.choice(["==", "!=", "<", "<=", ">", ">="]), e()),
            lambda: "%s %s %s" % (e(), rng.choice(["==", "!=", "<", "<=", ">", ">="]), e()),
            lambda: "%s && %s" % (e(), e()), lambda: "%s || %s" % (e(), e()), lambda: "!" + e(), lambda: "(%s)" % e(),
            lambda: "%s | %s" % (e(), e()), lambda: "[%s, %s]" % (e(), e()), lambda: "{x: %s, y: %s}" % (e(), e()),
            lambda: "%s.[%s]" % (e(), e()), lambda: "%s[].{%s: %s}" % (e(), "z", e()), lambda: self.function(depth),
            lambda: self.index(), lambda: "[?%s]" % e(), lambda: self.name())

    def damaged(self, expression):
        """The same with something taken out or put in."""
        at = self.rng.randrange(len(expression) + 1)
        how = self.rng.randrange(3)
        if how == 0:
            return expression[:at] + expression[at + 1:]
        if how == 1:
            return expression[:at] + self.rng.choice(list(".,:|&!*@[](){}'\"`?=<>- a1")) + expression[at:]
        return expression[:at]


def questions(seed, count):
    """(expression, document)"""
    for expression in WRITTEN.split("\n"):
        for document in DOCUMENTS:
            yield expression, document
    for expression in LOOSE:
        yield expression, None
    rng = random.Random(seed)
    maker = Maker(rng)
    for _ in range(count):
        expression = maker.expression(rng.randint(1, 4))
        if rng.random() < 0.25:
            expression = maker.damaged(expression)
        yield expression, rng.choice(DOCUMENTS)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=6000)
    options = parser.parse_args()
    asked = list(questions(options.seed, options.count))
    lines = "".join(json.dumps({"expression": e, "document": d}) + "\n" for e, d in asked)
    run = subprocess.run([os.environ["JMES_DRIVER"]], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(asked), (len(answers), len(asked))
    failures, broken, kinds = 0, 0, {}
    for (expression, document), ours in zip(asked, answers):
        expected = ("error", "syntax") if expression in LOOSE else oracle(expression, document)
        if expected is None:
            broken += 1
            continue
        what, value = expected
        kinds[value if what == "error" else "result"] = kinds.get(value if what == "error" else "result", 0) + 1
        if what in ours and (same(value, ours[what]) if what == "result" else value in (None, ours[what])):
            continue
        if value == "syntax" and ours.get("error") in ("unknown-function", "invalid-arity"):
            continue  # both are wrong, the call comes first
        failures += 1
        if failures <= 40:
            print("%r on %.60s: expected %s %r, got %r" % (expression, json.dumps(document), what, value, ours))
    print("%d questions, %s; the oracle broke on %d; %d failures" % (len(asked), kinds, broken, failures))
    # The run must have looked at everything it is for.
    assert len(set(WRITTEN.split("\n"))) >= 300 and broken * 50 < len(asked), broken
    for kind in ("result", "syntax", "invalid-type", "invalid-value", "invalid-arity", "unknown-function"):
        assert kinds.get(kind, 0) > 0, kind
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
