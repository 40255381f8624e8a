"""What the tests of the command line share: a fake controller and a way to run the program."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.controller import TOKEN, FakeController, serving

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Cli:
    """Runs memwatchctl as a user does: a program of its own, at home in an empty folder."""

    home: Path
    controller: str = ""

    @property
    def env(self) -> dict[str, str]:
        """The environment of the program: nothing of the tester's own memwatch."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("MEMWATCH_")}
        env |= {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "MEMWATCH_TOKEN": TOKEN,
            "PYTHONPATH": os.pathsep.join(
                str(ROOT / part) for part in ("cli", "proto", "agent", "controller", "heap")
            ),
        }
        if self.controller:
            env["MEMWATCH_CONTROLLER"] = self.controller
        return env

    def command(self, *arguments: object) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "memwatchctl", *map(str, arguments)]

    def __call__(
        self, *arguments: object, env: dict[str, str] | None = None, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs to the end."""
        return subprocess.run(
            self.command(*arguments),
            env={**self.env, **(env or {})},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def start(self, *arguments: object, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Starts it and leaves it running, in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            env={**self.env, **(env or {})},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


class Inside(Cli):
    """The same, run inside this process: no start-up to wait for, no signals."""

    def __call__(
        self, *arguments: object, env: dict[str, str] | None = None, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs to the end."""
        from memwatchctl.__main__ import run

        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.chdir(self.home)
            for name in [name for name in os.environ if name.startswith("MEMWATCH_")]:
                patch.delenv(name)
            for name, value in {**self.env, **(env or {})}.items():
                patch.setenv(name, value)
            words = [str(argument) for argument in arguments]
            code = run(words)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


@pytest.fixture
def fake() -> FakeController:
    """A fake controller that knows nothing yet."""
    return FakeController()


@pytest.fixture
def cli(fake: FakeController, tmp_path: Path) -> Iterator[Cli]:
    """The program, with the fake controller as its controller."""
    with serving(fake) as address:
        yield Inside(tmp_path, address)


@pytest.fixture
def lone(tmp_path: Path) -> Cli:
    """The program, with no controller anywhere."""
    return Inside(tmp_path, "127.0.0.1:1")
