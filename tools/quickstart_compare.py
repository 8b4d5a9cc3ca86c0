#!/usr/bin/env python3
"""What tools/quickstart sent against what it read back: key by key, in order, byte by byte.

usage: quickstart_compare.py SENT READ: two files of lines "KEY<TAB>DATA". Prints one JSON object; exits 0 only if READ holds
exactly the records of SENT, those of each key in their order. Order between keys is nobody's promise and not compared.
"""
import collections
import json
import sys


def records_by_key(path):
    with open(path, 'rb') as file:
        text = file.read()
    if text and not text.endswith(b'\n'):
        raise SystemExit(f'{path}: the last line is cut')
    keys = collections.defaultdict(list)
    for line in text.split(b'\n')[:-1]:
        key, tab, data = line.partition(b'\t')
        if not tab:
            raise SystemExit(f'{path}: a line without a key: {line[:80]!r}')
        keys[key].append(data)
    return keys


def without(records, surplus):
    """The records in their order, less so many of each, the last ones of a kind first."""
    left = surplus.copy()
    kept = []
    for record in reversed(records):
        if left[record] > 0:
            left[record] -= 1
        else:
            kept.append(record)
    return kept[::-1]


def compare(sent, read):
    """Counts of records: lost; read more often than sent; never sent at all; and those that stand in another's place."""
    result = dict(lost=0, duplicated=0, foreign=0, reordered=0)
    for key in sent.keys() | read.keys():
        wanted, found = sent.get(key, []), read.get(key, [])
        if wanted == found:
            continue
        missing = collections.Counter(wanted) - collections.Counter(found)
        surplus = collections.Counter(found) - collections.Counter(wanted)
        known = set(wanted)
        result['lost'] += sum(missing.values())
        result['duplicated'] += sum(count for record, count in surplus.items() if record in known)
        result['foreign'] += sum(count for record, count in surplus.items() if record not in known)
        pairs = zip(without(wanted, missing), without(found, surplus))
        result['reordered'] += sum(a != b for a, b in pairs)
    return result


def main():
    sent, read = records_by_key(sys.argv[1]), records_by_key(sys.argv[2])
    result = compare(sent, read)
    is_same = not any(result.values())
    result.update(keys=len(sent), records=sum(map(len, sent.values())),
                  bytes=sum(len(data) for records in sent.values() for data in records))
    print(json.dumps(result))
    sys.exit(0 if is_same else 1)


if __name__ == '__main__':
    main()
