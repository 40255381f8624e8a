"""Our images run as a hardened pod runs them: nothing to write, no right, no shell, no root.

The controller's image takes a minute to build: `make bench ARGS=images` checks it the same way.
"""

import contextlib
from pathlib import Path

import pytest

from tests.e2e.docker.conftest import version
from tests.support.processes import wait_until

pytestmark = pytest.mark.e2e

PYTHON = "/opt/memwatch/bin/python"
HARDENED = (
    *("--read-only", "--cap-drop=ALL", "--user=65532", "--network=none", "--memory=512m"),
    *("--security-opt=no-new-privileges", "--env=MEMWATCH_TOKEN=t"),
)
STATE = "--tmpfs=/var/lib/memwatch:mode=1777"

#: Promised for an agent that idles.
AGENT_IDLE_MIB = 60


def status(engine, container):
    """The lines of a container's first process in /proc, by name."""
    lines = Path(f"/proc/{engine.pid(container)}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def says(engine, container, *command):
    """What a command in a container prints; empty where it fails."""
    with contextlib.suppress(AssertionError):
        return engine.docker("exec", container, *command)
    return ""


def check_confined(engine, container):
    """Sees that a program runs as nobody in particular, without rights and without a shell."""
    about = status(engine, container)
    assert about["Uid"] == ["65532"] * 4
    assert {about[name][0] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert about["NoNewPrivs"] == ["1"]
    for shell in ("sh", "bash", "/bin/sh"):
        said = engine.docker("exec", container, shell, "-c", "echo alive", check=False)
        assert "alive" not in said


def test_agent(engine):
    """The agent's image serves within its memory, and its startup probe says so."""
    name = engine.run(*HARDENED, STATE, f"memwatch/agent:{version()}", "--stay")
    probe = (PYTHON, "-m", "memwatch_agent.started")
    wait_until(lambda: "0" in says(engine, name, PYTHON, "-c", code_of(probe)), 60)
    check_confined(engine, name)
    assert int(status(engine, name)["VmRSS"][0]) / 1024 < AGENT_IDLE_MIB
    engine.docker("rm", "--force", name)


def code_of(command):
    """A program that prints another's exit code."""
    return f"import subprocess; print(subprocess.run({list(command)!r}).returncode)"


def test_init(engine):
    """The init image copies the hooks into a volume that its user may write, and ends well."""
    image = f"memwatch/init:{version()}"
    for volume in ("--tmpfs=/hooks:mode=1777", "--volume=new-volume:/hooks"):
        assert engine.docker("run", "--rm", *HARDENED, volume, image, "/hooks") == ""
    with pytest.raises(AssertionError, match="cannot copy hooks"):
        engine.docker("run", "--rm", *HARDENED, image, "/hooks")
