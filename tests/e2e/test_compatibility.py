"""docs/kinesis-compatibility.md has every operation, its verb and tests that are there."""
import re
from ctl_test import *

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def read(path):
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


def rows():
    """{operation: (verbs, tests, words)}"""
    found = {}
    for line in read("docs/kinesis-compatibility.md").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if re.match(r"^\| [A-Z]\w+ \|", line):
            assert len(cells) == 4 and cells[3], line
            assert cells[0] not in found, line
            found[cells[0]] = (re.findall(r"`([^`]+)`", cells[1]), re.findall(r"`([^`]+)`", cells[2]), cells[3])
    return found


def operations():
    return re.findall(r'^KS_OPERATION\(\w+, \d+, "(\w+)"', read("proto/operations.def"), re.M)


def test_every_operation_has_a_row(_scratch):
    assert set(rows()) == set(operations()), set(rows()) ^ set(operations())


def test_every_row_names_tests_that_are_run(_scratch):
    listed = re.findall(r"'(test_\w+)'", read("tests/e2e/meson.build"))
    for operation, (_, tests, _) in rows().items():
        assert tests, operation
        for name in tests:
            file, function = name.split(".")
            assert file in listed, name
            assert read("tests/e2e/%s.py" % file).count(function) >= 2, "%s is not there, or not run" % name


def test_every_row_names_verbs_that_are_there(_scratch):
    verbs = {command["command"] for command in commands()}
    for operation, (named, _, _) in rows().items():
        assert set(named) <= verbs, operation
        of_kinesis = re.sub(r"(?<!^)(?=[A-Z])", "-", operation).lower()
        assert of_kinesis not in verbs or of_kinesis in named, operation


def test_what_is_not_there_yet_is_said(_scratch):
    names = re.findall(r"^[A-Z]\w+$", "\n".join(re.split(r"[,.\s]+", read("docs/kinesis-compatibility.md").rsplit("##", 1)[1])), re.M)
    missing = set(names) - {"Operations", "Kinesis"}
    of_kinesis = set(rows()) - {"Ping", "DescribeRouting", "ResumeProducer", "ConfirmClock", "RestoreStream", "DescribeCompactor", "Compact",
                                "DescribeUsage", "DescribeHost", "DescribeConfig", "UpdateStreamLimits", "BackupCatalog",
                                "GetMetrics", "DescribeHeat", "DescribeLoad", "VerifyShard"}
    assert not missing & of_kinesis, missing & of_kinesis
    assert len(missing | of_kinesis) == 39, "Kinesis has 39 operations"
    readme = read("README.md").split("## What does not exist yet")[1].split("\n## ")[0]
    for word, operation in (("fan-out", "SubscribeToShard"), ("encryption", "StartStreamEncryption"), ("tags", "TagResource"),
                            ("resource policies", "PutResourcePolicy"), ("monitoring", "EnableEnhancedMonitoring")):
        assert (word in readme) == (operation not in operations()), "README.md is wrong about " + word


if __name__ == "__main__":
    run_tests(test_every_operation_has_a_row, test_every_row_names_tests_that_are_run, test_every_row_names_verbs_that_are_there,
              test_what_is_not_there_yet_is_said)
