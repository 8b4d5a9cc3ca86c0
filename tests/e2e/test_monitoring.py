"""The alert rules and the dashboard of docs/: every figure they ask for is there, and each alert fires for its reason only."""
import json, re
from kstream_test import *
from test_metrics import ROOT, families_of_table, scrape

RULES = os.path.join(ROOT, "docs", "prometheus", "kstream.rules.yml")
DASHBOARD = os.path.join(ROOT, "docs", "grafana", "kstream.json")
# Prometheus makes this one itself, for every target.
FOREIGN = {"up"}
# Labels that Prometheus adds to every series.
TARGET_LABELS = {"job", "instance"}
# Series that only a bad day makes, so the test has to know their labels: metrics.c gives them.
RARE = {"kstream_request_errors_total": {"status"}}


def promtool(*words, input_=None):
    tool = shutil.which("promtool")
    if not tool:
        raise Skip("needs promtool (package prometheus)")
    return subprocess.run([tool, *words], input=input_, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=DEADLINE_S)


def load(path):
    with open(path) as file:
        return file.read()


def rules():
    """{alert: expression}: the file has one form only, so that no YAML library is needed to read it."""
    found = {}
    for block in load(RULES).split("- alert: ")[1:]:
        expression = re.search(r"^ +expr: (?:>-\n)?(.*?)\n +(?:for|labels):", block, re.M | re.S).group(1)
        found[block.split("\n")[0]] = re.sub(r"\s+", " ", expression).strip()
    assert len(found) == load(RULES).count("alert:"), sorted(found)
    return found


def dashboard_expressions():
    """[(where, expression)] of all panels, with the variables of Grafana replaced by what it would put there."""
    board = json.loads(load(DASHBOARD))
    found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]
    found += [(each["name"], each["expr"]) for each in board["annotations"]["list"]]
    found = [(where, text_.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
              .replace("$stream", ".*")) for where, text_ in found]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
            found.append((variable["name"], re.sub(r"\$\w+", ".*", selector)))
            assert label, variable
    return found


def selectors(expression):
    """[(metric, {label: matched text})]: what is left of PromQL without functions, keywords and groupings."""
    text_ = re.sub(r"\b(by|without|on|ignoring|group_left|group_right) *\([^()]*\)", " ", expression)
    found = []
    for name, matchers in re.findall(r"(?<![\w\"$])([a-zA-Z_]\w*)(?!\w* *\()(?:\{([^}]*)\})?", re.sub(r"\[[^]]*\]", "", text_)):
        if name not in ("and", "or", "unless", "offset", "bool", "m", "h", "s", "d"):
            found.append((name, dict(re.findall(r'(\w+) *(?:=~|!~|!=|=) *"([^"]*)"', matchers))))
    return found


def family_of(name, table):
    """The family whose series are called so; None: there is none."""
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(suffix) and table.get(name[:-len(suffix)]) == "histogram":
            return name[:-len(suffix)]
    return name if table.get(name) in ("counter", "gauge") else None


def all_expressions():
    return [("alert " + name, text_) for name, text_ in rules().items()] + \
        [("panel " + name, text_) for name, text_ in dashboard_expressions()]


def test_selectors_are_found():
    assert selectors('sum by (le, instance) (rate(a_bucket{x=~"b|c",y="d e"}[5m])) / a_max > 0 and on (job) z') == \
        [("a_bucket", {"x": "b|c", "y": "d e"}), ("a_max", {}), ("z", {})]
    assert selectors('(a{l="error"} unless a{l="error"} offset 10m) or increase(b[1h]) > 5') == \
        [("a", {"l": "error"}), ("a", {"l": "error"}), ("b", {})]


def test_every_metric_exists(scratch):
    test_selectors_are_found()
    table = families_of_table()
    count = 0
    for where, expression in all_expressions():
        found = selectors(expression)
        assert found, (where, expression)
        for name, _ in found:
            assert name in FOREIGN or family_of(name, table), "%s asks for %s, which /metrics does not have" % (where, name)
            count += 1
    assert count > 60, count
    assert family_of("kstream_put_duration_seconds", table) is None, "a histogram has no series of its bare name"
    assert family_of("kstream_incoming_records_total_bucket", table) is None


def test_every_label_exists(scratch):
    """Against a broker that has done a little of everything."""
    broker = Broker(scratch)
    client = broker.client()
    client.create_stream("clicks")
    client.put("clicks", [("k", b"v")])
    client.read_all("clicks")
    figures = scrape(broker)
    broker.stop()
    # No healthy broker makes a warning or an error: levels are those of the page of events.
    levels = set(re.findall(r"\*\*(\w+)\*\*", load(os.path.join(ROOT, "docs", "kstream-events.md"))))
    statuses = set(re.findall(r"KS_STATUS\((\w+)", load(os.path.join(ROOT, "base", "status.def"))))
    for where, expression in all_expressions():
        for name, matchers in selectors(expression):
            if name in FOREIGN:
                continue
            series = [dict(re.findall(r'(\w+)="([^"]*)"', labels)) for (each, labels) in figures if each == name]
            known = {label for each in series for label in each} | RARE.get(name, set())
            assert series or name in RARE, (where, name, "has no series to look at")
            for label, value in matchers.items():
                if label in TARGET_LABELS or value == ".*":
                    assert label in known | TARGET_LABELS, (where, name, label)
                    continue
                assert label in known, (where, name, label, sorted(known))
                there = {"level": levels, "status": statuses}.get(label) or {each.get(label) for each in series}
                assert set(value.split("|")) <= there, (where, name, label, value, there)
        for group in re.findall(r"\bby \(([^()]*)\)", expression):
            labels = {label for name, _ in selectors(expression) for (each, text_) in figures if each == name
                      for label in re.findall(r'(\w+)="', text_)} | set().union(*RARE.values()) | TARGET_LABELS
            assert {label.strip() for label in group.split(",")} <= labels, (where, group)


def test_prometheus_understands_all_of_it(scratch):
    checked = promtool("check", "rules", RULES)
    assert checked.returncode == 0, checked.stdout
    # Expressions of panels as rules of their own: the same parser reads them.
    path = os.path.join(scratch, "panels.yml")
    panels = [{"record": "panel:%d" % i, "expr": text_} for i, (_, text_) in enumerate(dashboard_expressions())]
    for bad in (None, {"record": "panel:bad", "expr": "sum(rate(x[5m])"}):
        with open(path, "w") as file:
            json.dump({"groups": [{"name": "panels", "rules": panels + ([bad] if bad else [])}]}, file)
        checked = promtool("check", "rules", path)
        assert (checked.returncode == 0) == (bad is None), checked.stdout


# The figures of a healthy broker, a minute apart for an hour and a half, in the words of promtool: start+step x times.
HEALTHY = {
    'up{}': "1x90", 'kstream_ready{}': "1x90", 'kstream_build_info{version="0"}': "1x90",
    'process_start_time_seconds{}': "1000x90", 'kstream_checksum_errors_total{}': "0x90",
    'kstream_events_total{event="daemon.ready",level="info"}': "1x90",
    'kstream_events_total{event="request.slow",level="warning"}': "1+1x90",
    'kstream_request_errors_total{status="KS_NOT_FOUND"}': "0+5x90",
    'kstream_disk_free_bytes{}': "600000000000-1000000x90", 'kstream_disk_size_bytes{}': "1000000000000x90",
    'kstream_throttled_records_total{stream="s",reason="limit"}': "0+9x90",
    'kstream_throttled_records_total{stream="s",reason="disk"}': "0x90", 'kstream_journal_used_ratio{}': "0.5x90",
    'kstream_memory_bytes{budget="records"}': "10x90", 'kstream_memory_limit_bytes{budget="records"}': "100x90",
    'kstream_fsync_duration_seconds_bucket{file="journal",le="0.005"}': "0+100x90",
    'kstream_fsync_duration_seconds_bucket{file="journal",le="0.25"}': "0+100x90",
    'kstream_fsync_duration_seconds_bucket{file="journal",le="+Inf"}': "0+100x90",
    'kstream_connections_refused_total{}': "0x90", 'process_open_fds{}': "50x90", 'process_max_fds{}': "1000x90",
    'kstream_clock_difference_seconds{}': "0x90", 'kstream_retention_behind_seconds{}': "0x90",
}

# What is different on the bad day of each alert.
BAD_DAYS = {
    "KstreamDown": {'up{}': "0x90"},
    "KstreamNotReady": {'kstream_ready{}': "0x90"},
    "KstreamRestarts": {'process_start_time_seconds{}': "1000+100x90"},
    "KstreamDamage": {'kstream_checksum_errors_total{}': "3x90"},
    # The first event of a name, minutes ago: its series was not there before.
    "KstreamErrors": {'kstream_events_total{event="engine.poisoned",level="error"}': "_x85 1x5"},
    "KstreamFailures": {'kstream_request_errors_total{status="KS_IO"}': "0+5x90"},
    "KstreamDiskFull": {'kstream_disk_free_bytes{}': "20000000000x90"},
    "KstreamDiskFullInADay": {'kstream_disk_free_bytes{}': "400000000000-600000000x90"},
    "KstreamThrottled": {'kstream_throttled_records_total{stream="s",reason="disk"}': "0+7x90"},
    "KstreamJournalFull": {'kstream_journal_used_ratio{}': "0.9x90"},
    "KstreamMemoryShort": {'kstream_memory_bytes{budget="records"}': "95x90"},
    "KstreamSyncSlow": {'kstream_fsync_duration_seconds_bucket{file="journal",le="0.005"}': "0+90x90"},
    "KstreamConnectionsRefused": {'kstream_connections_refused_total{}': "0+1x90"},
    "KstreamFewDescriptors": {'process_open_fds{}': "950x90"},
    "KstreamClockDiffers": {'kstream_clock_difference_seconds{}': "-4000x90"},
    "KstreamRetentionHeld": {'kstream_retention_behind_seconds{}': "700000x90"},
}


def series_of(figures):
    found = []
    for name, values in figures.items():
        values = re.sub(r"(?<!\S)(-?\d[\d.]*)x", r"\1+0x", values)  # a constant, as promtool writes it
        found.append({"series": name.replace("{", '{job="kstream",instance="a",').replace(",}", "}"), "values": values})
    # Another program on the same Prometheus, in a bad way: none of our business.
    found += [{"series": 'process_open_fds{job="other",instance="b"}', "values": "99+0x90"},
              {"series": 'process_max_fds{job="other",instance="b"}', "values": "100+0x90"},
              {"series": 'process_start_time_seconds{job="other",instance="b"}', "values": "0+100x90"},
              {"series": 'up{job="other",instance="b"}', "values": "0+0x90"}]
    return found


def test_each_alert_fires_for_its_reason_only(scratch):
    assert set(BAD_DAYS) == set(rules()), "an alert without its bad day: %s" % (set(BAD_DAYS) ^ set(rules()))
    # Firing alerts have series called ALERTS; how many of each name there are is what is compared.
    tests = []
    for day, changes in {"healthy": {}, **BAD_DAYS}.items():
        expected = [] if day == "healthy" else [{"labels": '{alertname="%s"}' % day, "value": 1}]
        tests.append({"name": day, "interval": "1m", "input_series": series_of({**HEALTHY, **changes}),
                      "promql_expr_test": [{"expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                                            "eval_time": "90m", "exp_samples": expected}]})
    path = os.path.join(scratch, "alerts.test.yml")
    with open(path, "w") as file:
        json.dump({"rule_files": [os.path.abspath(RULES)], "evaluation_interval": "1m", "tests": tests}, file)
    checked = promtool("test", "rules", path)
    assert checked.returncode == 0, checked.stdout
    # It does notice an alert that should not be there.
    tests[0]["promql_expr_test"][0]["exp_samples"] = [{"labels": '{alertname="KstreamDown"}', "value": 1}]
    with open(path, "w") as file:
        json.dump({"rule_files": [os.path.abspath(RULES)], "evaluation_interval": "1m", "tests": tests[:1]}, file)
    assert promtool("test", "rules", path).returncode != 0


def test_the_page_names_every_alert(scratch):
    page = load(os.path.join(ROOT, "docs", "monitoring.md"))
    assert set(re.findall(r"^\| `(Kstream\w+)`", page, re.M)) == set(rules())


if __name__ == "__main__":
    run_tests(test_every_metric_exists, test_every_label_exists, test_prometheus_understands_all_of_it,
              test_each_alert_fires_for_its_reason_only, test_the_page_names_every_alert)
