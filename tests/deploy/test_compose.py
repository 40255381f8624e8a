"""The compose file for one host: confined containers, addresses that meet, flags that exist."""

import re

import pytest
import yaml

from memwatch_agent import settings as agent_settings
from memwatch_controller import settings as controller_settings
from memwatch_proto import __version__
from tests.support.runtimes import ROOT

FOLDER = ROOT / "deploy" / "docker"
TEXT = (FOLDER / "compose.yaml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_confined(name):
    """Every container is read-only and without capabilities; nothing listens beyond this host."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", [name for name in SERVICES if name.endswith("-agent")])
def test_agent(name):
    """An agent is in its service's namespaces and of its user, reached by its name."""
    service, watched = SERVICES[name], name.removesuffix("-agent")
    assert service["pid"] == service["network_mode"] == f"service:{watched}"
    assert service["user"] == SERVICES[watched]["user"]
    env = {**service["environment"], "MEMWATCH_TOKEN": "t", "MEMWATCH_TOKEN_FILE": ""}
    settings = agent_settings.parse([], env, "host")
    assert settings.advertise == f"{watched}:9465"
    assert settings.controller == "controller:9466"


def test_hooks_are_there_first():
    """The Python service starts when the hooks are copied: it looks for them once."""
    waits = SERVICES["shop-python"]["depends_on"]
    assert waits == {"hooks": {"condition": "service_completed_successfully"}}


def test_controller():
    """The controller takes its command line and listens where agents and people ask."""
    service = SERVICES["controller"]
    settings = controller_settings.parse(service["command"], {}, "host")
    assert settings.listen == "0.0.0.0:9466"
    assert {port.rpartition(":")[2] for port in service["ports"]} == {"9466", "9467"}


def test_prometheus():
    """Prometheus asks every agent and the controller, where they listen."""
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    asked = {one for job in jobs for config in job["static_configs"] for one in config["targets"]}
    assert asked == {"shop-node:9464", "shop-python:9464", "controller:9467"}


def test_version():
    """Images of this version are run where none is named."""
    assert set(re.findall(r"MEMWATCH_VERSION:-([^}]+)", TEXT)) == {__version__}
