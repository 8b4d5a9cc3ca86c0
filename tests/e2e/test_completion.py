"""Completion in real shells: the line is typed on a terminal, TAB is pressed, and what the shell makes of it is read."""
import fcntl, re, select, termios
from ctl_test import *

SHELLS = {
    # How it is started without anybody's own settings, and how it learns the script.
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source %s"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; source %s"),
    "fish": (["fish", "--no-config", "-i", "--features", "no-query-term"], "source %s"),
}


class Shell:
    def __init__(self, ctl, name, script, scratch):
        command, setup = SHELLS[name]
        if not shutil.which(command[0]):
            raise Skip("there is no " + name)
        # A script of the same name in front of all others, so that the shell calls the one under test.
        self.name = name
        pid, self.terminal = pty.fork()
        if pid == 0:
            environment = {**ctl.environment, "TERM": "xterm", "PS1": "$ ", "PATH": os.path.join(scratch, "bin") + ":" +
                           os.environ["PATH"], "HOME": scratch, "XDG_CONFIG_HOME": scratch, "XDG_DATA_HOME": scratch}
            os.chdir(scratch)
            os.execvpe(command[0], command, environment)
        self.pid = pid
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        self.seen = ""
        self.ask(setup % script)

    def read(self, until, what):
        """What the shell shows until the text has come."""
        end = time.monotonic() + DEADLINE_S
        while not re.search(until, self.seen):
            if not select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError("%s: %s: no %r in %r" % (self.name, what, until, self.seen))
            # Colours, movements and titles say nothing here.
            more = os.read(self.terminal, 65536).decode(errors="replace")
            if "\033[c" in more or "\033[0c" in more:
                os.write(self.terminal, b"\033[?62;c")  # what kind of terminal is this?
            self.seen += more
            self.seen = re.sub("\033\\[[0-9;?>=]*[A-Za-z]|\033\\][^\007]*\007|\033[=>()][0B]?|\r", "", self.seen)
        return self.seen

    def ask(self, command):
        """The output of a command line, so that the shell is known to be ready for the next."""
        self.seen = ""
        os.write(self.terminal, (command + "; echo ready'-'now\r").encode())
        return self.read("ready-now", command)

    def complete(self, line, expected, tabs=1):
        """Types the line and presses TAB; expected: a pattern of what appears."""
        self.seen = ""
        os.write(self.terminal, line.encode())
        self.read(re.escape(line[-10:]), "echo of the line")
        self.seen = ""
        for _ in range(tabs):
            os.write(self.terminal, b"\t")
        self.read(expected, "completion of %r" % line)
        # Takes the line back: control U, since an interrupt would drop what is typed next.
        os.write(self.terminal, b"\025")
        self.ask("true")

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def prepare(scratch):
    broker, ctl = begin(scratch)
    os.mkdir(os.path.join(scratch, "bin"))
    os.symlink(os.path.abspath(KSTREAMCTL), os.path.join(scratch, "bin", "kstreamctl"))
    ctl("create-stream", "clicks-of-today", "--shards", "2")
    with open(os.path.join(scratch, "lines-to-put"), "w") as file:
        file.write("x\n")
    return broker, ctl


def try_shell(scratch, name):
    broker, ctl = prepare(scratch)
    script = os.path.join(scratch, "script." + name)
    with open(script, "w") as file:
        file.write(ctl("completion", name))
    shell = Shell(ctl, name, script, scratch)
    shell.complete("kstreamctl describe-stream-s", "ummary")
    shell.complete("kstreamctl stream cre", "ate")
    shell.complete("kstreamctl put-record --partit", "ion-key")
    shell.complete("kstreamctl list-streams --output=nd", "json")
    shell.complete("kstreamctl list-streams --output nd", "json")
    shell.complete("kstreamctl describe-stream cli", "cks-of-today")
    shell.complete("kstreamctl describe-stream --stream-name=cli", "cks-of-today")
    shell.complete("kstreamctl tail clicks-of-today --shard ", "shardId-00000000000")
    shell.complete("kstreamctl put clicks-of-today lines-t", "o-put")
    shell.complete("kstreamctl --endpoint %s describe-stream cli" % broker.addresses["native"], "cks-of-today")
    # Several candidates are listed.
    shell.complete("kstreamctl completion ", "bash[^$]*zsh|zsh[^$]*bash|fish[^$]*bash", tabs=2)
    shell.close()
    broker.stop()


def test_bash(scratch):
    try_shell(scratch, "bash")


def test_zsh(scratch):
    try_shell(scratch, "zsh")


def test_fish(scratch):
    try_shell(scratch, "fish")


def test_a_broker_that_does_not_answer_costs_300_ms_at_most(scratch):
    silent = socket.create_server(("127.0.0.1", 0))
    ctl = Ctl("127.0.0.1:%d" % silent.getsockname()[1])
    # It ends by itself, without an answer and without an error; the deadline of the test is what a hang meets.
    assert ctl("__complete", "--", "describe-stream", "") == ""
    # What needs no broker is there all the same.
    assert ctl("__complete", "--", "describe-str").startswith("describe-stream\t")
    silent.close()
    assert Ctl("127.0.0.1:1")("__complete", "--", "describe-stream", "") == ""


def test_profiles_and_shards_are_looked_up(scratch):
    broker, ctl = begin(scratch)
    ctl("create-stream", "clicks", "--shards", "2")
    ctl.environment["KSTREAM_CONFIG"] = os.path.join(scratch, "config")
    with open(ctl.environment["KSTREAM_CONFIG"], "w") as file:
        file.write("[prod]\nendpoint = 127.0.0.1:1\n[here]\nendpoint = %s\n" % broker.addresses["native"])
    assert ctl("__complete", "--", "list-streams", "--profile", "") == "prod\t\nhere\t\n"
    del ctl.environment["KSTREAM_ENDPOINT"]
    assert ctl("__complete", "--", "-p", "here", "delete-stream", "") == "clicks\tACTIVE\n"
    assert ctl("__complete", "--", "-p", "prod", "delete-stream", "") == ""
    shards = ctl("__complete", "--", "-p", "here", "list-shards", "clicks", "--exclusive-start-shard-id=")
    assert shards == "".join("--exclusive-start-shard-id=shardId-%012d\topen\n" % i for i in range(2)), shards
    broker.stop()


run_tests(test_bash, test_zsh, test_fish, test_a_broker_that_does_not_answer_costs_300_ms_at_most,
          test_profiles_and_shards_are_looked_up)
