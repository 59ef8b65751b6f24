"""Alerts and dashboard: they are rules and queries that Prometheus takes, over metrics that a server
has."""

import json
import re

import pytest
import yaml
from conftest import CHART, POSTGRES, ROOT, find, merged, render, run
from server import Server, get, prometheus, until

RULES = {"metrics": {"prometheusRule": {"enabled": True, "runbookUrl": "https://x/monitoring.md"}}}


def groups():
    return find(render(merged(POSTGRES, RULES)), "PrometheusRule")["spec"]


def alerts():
    return groups()["groups"][0]["rules"]


def panels():
    """Each query of the dashboard, as Grafana sends it."""
    for panel in json.loads((CHART / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "5s")
            for name in ("job", "namespace"):
                query = query.replace(f"${name}", ".+")
            yield panel["title"], query


def named(query):
    """The metrics that a query names."""
    return set(re.findall(r"\b([a-z_]+)\{", query))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    it = Server(tmp_path_factory.mktemp("server"))
    it.work()
    yield it
    it.stop()


def test_promtool_takes_the_rules(tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups()))
    assert f"{len(alerts())} rules found" in run("promtool", "check", "rules", str(tmp_path / "rules.yaml"))


def test_each_alert_fires_when_it_should_and_not_before(tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups()))
    cases = yaml.safe_load((ROOT / "tests/helm/alerts.yaml").read_text())
    assert {case["alert"] for case in cases} == {rule["alert"] for rule in alerts()}
    tests = []
    for case in cases:
        rule = next(rule for rule in alerts() if rule["alert"] == case["alert"])
        fires = {"exp_labels": case.get("labels", {}) | rule["labels"], "exp_annotations": rule["annotations"]}
        for series, expected in ((case["bad"], [fires]), (case["good"], [])):
            series = [{"series": name.replace("J", 'job="shop",namespace="catalog"'), "values": values} for name, values in series.items()]
            tests.append({
                "interval": "1m",
                "input_series": series,
                "alert_rule_test": [{"eval_time": case["at"], "alertname": case["alert"], "exp_alerts": expected}],
            })  # fmt: skip
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    run("promtool", "test", "rules", str(tmp_path / "tests.yaml"))


def test_each_alert_has_its_place_in_the_runbook():
    text = (ROOT / "docs" / "operate" / "monitoring.md").read_text()
    for rule in alerts():
        assert f"### {rule['alert']}\n" in text, rule["alert"]
        assert rule["annotations"]["runbook_url"].endswith(f"#{rule['alert'].lower()}")
    assert len(re.findall(r"^### Endcap", text, re.M)) == len(alerts())


# What a sound server has no reason to count.
NEVER = {"db_client_connection_timeouts_total", "endcap_transaction_retries_total"}


def test_each_metric_that_is_named_is_there(server):
    texts = [rule["expr"] for rule in alerts()] + [query for _, query in panels()]
    names = set().union(*map(named, texts))
    prose = (ROOT / "docs" / "operate" / "monitoring.md").read_text().split("\n## Alerts\n")[1]
    names |= set(re.findall(r"`((?:endcap|rpc|http|db|process)_[a-z_]+)`", prose))
    assert len(names) > 25

    def missing():
        there = set(re.findall(r"^# TYPE (\S+)", get(server.metrics)[1], re.M))
        # Counters and histograms have series of other names than their family's.
        suffixes = ("_total", "_bucket", "_sum", "_count")
        return names - there - {f"{name}{suffix}" for name in there for suffix in suffixes}

    # Some are measured once a sweep.
    until(lambda: missing() <= NEVER, 20)
    # Those are in the generated reference, which a test holds.
    documented = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    assert all(f"`{name}`" in documented for name in NEVER)


def test_each_panel_has_data(server, tmp_path):
    with prometheus(tmp_path, [f"127.0.0.1:{server.admin}"], yaml.safe_dump(groups())) as ask:
        until(lambda: ask("endcap_ready == 1"))
        until(lambda: server.work() or ask("rate(rpc_server_call_duration_seconds_count[5s]) > 0"))
        asked = list(panels())
        assert len(asked) > 25
        empty = set(asked)

        def all_answered():
            server.work()
            for title, query in list(empty):
                if ask(query):
                    empty.discard((title, query))
            return not empty

        try:
            until(all_answered, 40)
        except AssertionError:
            raise AssertionError(f"no data: {empty}") from None
        # A sound server has no reason for an alert; what was refused was meant to be.
        firing = {it["metric"]["alertname"] for it in ask('ALERTS{alertstate="firing"}')}
        assert not firing
