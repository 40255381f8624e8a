"""Rules, alerts, runbooks and dashboards: sound by themselves, and all of a piece."""

import itertools
import json
import re
import shutil
import subprocess

import pytest
import yaml

from tests.support.runtimes import ROOT

RULES = ROOT / "deploy" / "prometheus" / "memwatch.rules.yaml"
CASES = ROOT / "tests" / "deploy" / "prometheus" / "alerts.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))

ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed; apt-get install prometheus"
)


def promtool(*arguments):
    """What promtool says, as a finished process."""
    command = ["promtool", *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_promtool
def test_rules_are_sound():
    """Promtool finds nothing wrong, duplicates and all."""
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_alerts_are_quiet_fire_and_are_over():
    """Promtool runs every alert over made series."""
    done = promtool("test", "rules", CASES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_is_tried(name):
    """Its cases hold it quiet, then firing, then over."""
    tests = yaml.safe_load(CASES.read_text())["tests"]
    tried = [
        bool(case["exp_alerts"])
        for test in tests
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert (tried[0], any(tried), tried[-1]) == (False, True, False)


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_what_to_do(name):
    """A severity, a sentence, and a runbook that is there and has its three parts."""
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    text = (ROOT / alert["annotations"]["runbook"]).read_text()
    assert re.findall(r"^#+ (.*)$", text, re.M) == [name, "Look", "Do"]


def test_no_runbook_is_left_over():
    """Each page belongs to an alert, and the list of pages names each."""
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    listed = re.findall(r"\((\w+)\.md\)", (RUNBOOKS / "README.md").read_text())
    assert pages == set(listed) == set(ALERTS)


def test_compose_starts_with_them():
    """The Prometheus of compose.yaml reads the rules from where they are mounted."""
    folder = ROOT / "deploy" / "docker"
    mounts = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["prometheus"][
        "volumes"
    ]
    read = yaml.safe_load((folder / "prometheus.yml").read_text())["rule_files"]
    [mount] = [mount for mount in mounts if RULES.name in mount]
    source, inside, mode = mount.split(":")
    assert ((folder / source).resolve(), [inside], mode) == (RULES, read, "ro")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "deploy" / "grafana").glob("*.json")), ids=lambda path: path.stem
)
def test_dashboards_take_any_data_source(path):
    """Panels ask the source that is chosen and do not lie on each other; links lead somewhere."""
    board = json.loads(path.read_text())
    source, *variables = board["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    asked = [panel for panel in board["panels"] if panel["type"] != "row"]
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for one in (*asked, *variables, *(target for panel in asked for target in panel["targets"])):
        assert one["datasource"] == chosen
    taken = [cell for panel in board["panels"] for cell in cells(**panel["gridPos"])]
    assert len(taken) == len(set(taken))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    boards = {f"/d/memwatch-{other.stem}" for other in path.parent.glob("*.json")}
    assert {link["url"].partition("?")[0] for link in board["links"]} == boards


def cells(x, y, w, h):
    """The cells of Grafana's grid that a panel takes; it is 24 wide."""
    assert x + w <= 24
    return itertools.product(range(x, x + w), range(y, y + h))
