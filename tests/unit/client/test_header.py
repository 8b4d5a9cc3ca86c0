#!/usr/bin/env python3
"""The public headers as a user's compiler meets them.

    test_header.py CLIENT_FOLDER LIBRARY CC [CC...]

Each header compiles alone as C99 with -pedantic and as C++; so does every example in it. Every call is in an example, and
the library exports just what the headers declare.
"""
import os
import re
import subprocess
import sys
import tempfile

HEADERS = ("kstream.h", "kstream_admin.h")
# What the header promises about its examples.
AROUND = """
static void example_%d(struct kstream_client *client, struct kstream_producer *producer, struct kstream_reader *reader,
    struct kstream_reader *other_reader, struct kstream_batch *batch, enum kstream_status st, struct kstream_error err)
{
    {
%s
    }
    (void)client; (void)producer; (void)reader; (void)other_reader; (void)batch; (void)st; (void)err;
}
"""
INCLUDES = "#include <kstream/kstream.h>\n#include <kstream/kstream_admin.h>\n" \
    "#include <poll.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-but-set-variable"]
DIALECTS = (("c", ["-std=c99", "-pedantic", "-D_POSIX_C_SOURCE=200809L"]), ("c++", ["-std=c++11", "-Wno-pedantic"]))


def examples(text):
    """(line, lines of code) of each block behind 'Example:'."""
    found, lines = [], text.split("\n")
    for at, line in enumerate(lines):
        if line != " * Example:":
            continue
        code = []
        for following in lines[at + 1:]:
            if following != " *" and not following.startswith(" *     "):
                break
            code.append(following[7:])
        assert any(code), "line %d: an example without code" % (at + 1)
        found.append((at + 1, code))
    return found


def is_whole(code):
    """Functions of its own, or a program: goes into a file as it stands."""
    return any(re.match(r"(static .*\(|int main|#include)", line) for line in code)


def program_of(number, code):
    if is_whole(code):
        return INCLUDES + "\n".join(code) + "\n"
    body = "\n".join("        " + line for line in code)
    return INCLUDES + AROUND.replace("%d", str(number)).replace("%s", body)


def compile_one(compilers, folder, name, source):
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write(source)
    for compiler in compilers:
        for language, flags in DIALECTS:
            command = [compiler, "-x", language, *flags, *WARNINGS, "-fsyntax-only", "-I", folder, path]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert done.returncode == 0, "%s\n%s\n%s" % (" ".join(command), done.stdout, source)


def declared(text):
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return set(re.findall(r"KSTREAM_API\s+[^;(]*?\b(kstream_\w+)\(", code))


def main():
    client, library, compilers = sys.argv[1], sys.argv[2], sys.argv[3:]
    functions, shown, count = set(), set(), 0
    with tempfile.TemporaryDirectory(prefix="kstream-header-") as folder:
        os.mkdir(os.path.join(folder, "kstream"))
        for header in HEADERS:
            with open(os.path.join(client, header)) as file:
                text = file.read()
            os.symlink(os.path.join(os.path.abspath(client), header), os.path.join(folder, "kstream", header))
            functions |= declared(text)
        for header in HEADERS:
            with open(os.path.join(client, header)) as file:
                text = file.read()
            compile_one(compilers, folder, "alone.c", "#include <kstream/%s>\n#include <kstream/%s>\n" % (header, header))
            for line, code in examples(text):
                count += 1
                compile_one(compilers, folder, "example-%s-%d.c" % (header, line), program_of(line, code))
                shown |= set(re.findall(r"\bkstream_\w+(?=\()", "\n".join(code)))
    missing = functions - shown
    assert not missing, "calls without an example: %s" % ", ".join(sorted(missing))
    listing = subprocess.run(["nm", "-D", "--defined-only", library], check=True, stdout=subprocess.PIPE, text=True).stdout
    exported = {line.split()[-1].split("@")[0] for line in listing.splitlines()} - {"KSTREAM_0"}
    assert exported == functions, "exported but not declared: %s; declared but not exported: %s" % (
        exported - functions, functions - exported)
    print("%d examples, %d calls, %d compilers in C99 and C++" % (count, len(functions), len(compilers)))


main()
