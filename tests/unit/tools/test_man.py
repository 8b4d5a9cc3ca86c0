"""The pages of the manual: complete, and clean for mandoc, groff and man. MAN_DIR has them; KSTREAMCTL, KSTREAMD,
KSTREAM_BENCH and KSTREAM_INSPECT are what they are about."""
import json, os, re, shutil, subprocess, sys

DIRECTORY = os.environ["MAN_DIR"]
# Nobody's own settings count.
ENVIRONMENT = {"KSTREAM_CONFIG": os.devnull, "PATH": os.environ["PATH"], "HOME": "/", "LC_ALL": "C.UTF-8", "MANWIDTH": "100"}


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT, check=False)
    return done.returncode, done.stdout.decode()


def shown(page):
    """The page as text, on lines that break nothing but at blanks; what is bold or underlined is plain."""
    code, text = run("man", "-P", "cat", "--nj", "--nh", "-l", os.path.join(DIRECTORY, page))
    assert code == 0, text
    return re.sub(r"\s+", " ", re.sub("\033\\[[0-9;]*m|.\b", "", text))


def long_options(*command):
    """What its help lists at the beginning of lines."""
    code, text = run(*command, "--help")
    found = re.findall(r"^  +(?:-\w, +)?(--[a-z][a-z-]*)", text, re.M)
    assert code == 0 and found, (command, text)
    return found


def daemon_failures():
    """kstreamd(8) has every flag, kstreamd.conf(5) every key with its default, text, flag and variable."""
    page, failures = shown("kstreamd.8"), []
    flags = long_options(os.environ["KSTREAMD"])
    failures += ["kstreamd(8) lacks %s" % flag for flag in flags if not re.search(re.escape(flag) + r"[ \[]", page)]
    page, section, text, count = shown("kstreamd.conf.5"), "", "", 0
    sections = []
    for line in run(os.environ["KSTREAMD"], "--print-default-config")[1].splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            sections.append(section)
        elif re.match(r"#\w+ = ", line) and section:
            key = line[1:].split(" ")[0]
            wanted = [line[1:], "KSTREAM_%s__%s" % (section.upper(), key.upper()), text[1:]]
            failures += ["kstreamd.conf(5) lacks %r of %s.%s" % (each, section, key) for each in wanted if each not in page]
            count += 1
        # Behind the text stand its values and whether a restart is needed; the page says both in other words.
        text = re.sub(r"( \([\w|]*\))?( \[restart\])?$", "", line[2:]) if line.startswith("# ") else ""
    assert count == len([flag for flag in flags if flag not in (
        "--config", "--help", "--version", "--print-default-config", "--check-config", "--print-addresses")]), count
    assert len(sections) == len(set(sections)), "a section is there twice: %s" % sections
    return failures


def tool_failures():
    failures = []
    for name in ("kstream-bench", "kstream-inspect"):
        tool = os.environ[name.upper().replace("-", "_")]
        page = shown(name + ".1")
        verbs = re.findall(r"^  ([a-z]+) ", run(tool, "--help")[1], re.M)
        assert len(verbs) >= 3, verbs
        for verb in verbs:
            failures += ["%s(1) lacks %s" % (name, verb)] if "%s %s " % (name, verb) not in page else []
            failures += ["%s(1) lacks %s of %s" % (name, option, verb) for option in long_options(tool, verb) if option not in page]
            for example in run(tool, verb, "--help")[1].partition("Examples:\n")[2].strip().splitlines():
                failures += ["%s(1) lacks %r" % (name, example)] if "$ " + example.strip() not in page else []
    return failures


def main():
    pages = sorted(name for name in os.listdir(DIRECTORY) if re.search(r"\.[158]$", name))
    commands = json.loads(run(os.environ["KSTREAMCTL"], "help", "-o", "json")[1])
    groups = sorted({command["group"] for command in commands})
    others = ["kstreamctl.1", "kstream-bench.1", "kstream-inspect.1", "kstreamd.8", "kstreamd.conf.5"]
    assert pages == sorted(others + ["kstreamctl-%s.1" % group for group in groups]), \
        "tools/man/meson.build lists the groups of the table: %s" % groups
    failures = []
    for page in pages:
        path = os.path.join(DIRECTORY, page)
        for tool in (["mandoc", "-T", "lint"], ["groff", "-man", "-T", "utf8", "-ww", "-z"],
                     # The page itself, which man prints, is no complaint.
                     ["sh", "-c", "man --warnings -E UTF-8 -l -Tutf8 -Z \"$0\" >/dev/null"]):
            if not shutil.which(tool[0]):
                print(tool[0], "is not installed")
                continue
            code, text = run(*tool, path)
            if code or text:
                failures.append("%s of %s: %s" % (tool[0], page, text[:400]))
    if not shutil.which("man"):
        print("man is not installed")
        sys.exit(1 if failures else 77)
    failures += daemon_failures() + tool_failures()
    whole = shown("kstreamctl.1")
    for command in commands:
        page = shown("kstreamctl-%s.1" % command["group"])
        wanted = [command["command"], *command["also"], *("--" + option["name"] for option in command["options"]),
                  *(option["text"] for option in command["options"]), *command["examples"]]
        failures += ["%s lacks %r" % (command["group"], text) for text in wanted if re.sub(r"\s+", " ", text) not in page]
        failures += ["kstreamctl(1) lacks %r" % command["command"]] if command["command"] not in whole else []
    for topic in ("exit-codes", "query", "outputs", "settings", "values", "options"):
        for line in run(os.environ["KSTREAMCTL"], "help", topic)[1].splitlines()[2:]:
            if line.endswith(":"):
                continue  # a heading of this help alone
            # Lines of a help break elsewhere: their words have to be there.
            for word in re.split(r"\s{2,}", line.strip()):
                if word and word not in whole:
                    failures += ["kstreamctl(1) lacks %r of help %s" % (word, topic)]
    for text in ("KSTREAM_ENDPOINT", "KSTREAM_PROFILE", "/etc/kstream/client.conf", "kstreamctl-stream(1)", "EXIT STATUS"):
        failures += ["kstreamctl(1) lacks %r" % text] if text not in whole else []
    print("\n".join(failures) or "%d pages" % len(pages))
    sys.exit(1 if failures else 0)


main()
