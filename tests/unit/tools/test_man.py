"""The pages of the manual: complete, and clean for mandoc and groff. MAN_DIR has them, KSTREAMCTL is what they are about."""
import json, os, re, shutil, subprocess, sys, tempfile

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


def main():
    pages = sorted(name for name in os.listdir(DIRECTORY) if name.endswith(".1"))
    commands = json.loads(run(os.environ["KSTREAMCTL"], "help", "-o", "json")[1])
    groups = sorted({command["group"] for command in commands})
    assert pages == sorted(["kstreamctl.1"] + ["kstreamctl-%s.1" % group for group in groups]), \
        "tools/man/meson.build lists the groups of the table: %s" % groups
    failures = []
    for page in pages:
        path = os.path.join(DIRECTORY, page)
        for tool in (["mandoc", "-T", "lint"], ["groff", "-man", "-T", "utf8", "-ww", "-z"]):
            if not shutil.which(tool[0]):
                print(tool[0], "is not installed")
                continue
            code, text = run(*tool, path)
            if code or text:
                failures.append(text)
    if not shutil.which("man"):
        print("man is not installed")
        sys.exit(1 if failures else 77)
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
