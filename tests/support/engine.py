"""A real Docker engine for tests, in a network namespace of its own, with images of local files.

Needs root and Debian's docker.io, iproute2 and iptables; no image registry.
"""

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import runtimes
from tests.support.processes import running, wait_until

#: What of the standard library no service of the tests needs; it halves the image.
_LEFT_OUT = ("test", "idlelib", "tkinter", "lib2to3", "turtledemo", "site-packages", "__pycache__")

#: What wheels expect of every image besides the C library, as python:slim has it.
_WHEEL_LIBRARIES = tuple(
    f"/usr/lib/{os.uname().machine}-linux-gnu/{name}"
    for name in (
        *("libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2"),
        *("librt.so.1", "libm.so.6", "libutil.so.1", "libz.so.1"),
    )
)


def missing() -> str:
    """Why no Docker engine can be started here; empty where one can."""
    if os.geteuid() != 0:
        return "a Docker engine of our own needs root"
    for program, package in (
        ("dockerd", "docker.io"),
        ("ip", "iproute2"),
        ("iptables", "iptables"),
    ):
        if _program(program) is None:
            return f"no Docker engine is installed ({program}; Debian: {package})"
    return ""


@dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        host: for `DOCKER_HOST`.
        namespace: its network namespace; published ports are in there.
        folder: its files.
    """

    host: str
    namespace: str
    folder: Path

    def docker(self, *arguments: str | Path, stdin: bytes | None = None, check: bool = True) -> str:
        """What a docker command printed; the standard error is part of a failure."""
        done = subprocess.run(
            [_client(), *map(str, arguments)],
            env={**os.environ, "DOCKER_HOST": self.host},
            input=stdin,
            capture_output=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"docker {arguments}: {done.stderr.decode()[-2000:]}"
        return done.stdout.decode().strip()

    def run(self, *arguments: str | Path) -> str:
        """Starts a container in the background; its id."""
        return self.docker("run", "--detach", *arguments)

    def pid(self, container: str) -> int:
        """The pid on the host of a container's first process."""
        return int(self.docker("inspect", "--format", "{{.State.Pid}}", container))

    def inside(self, *command: str | Path) -> list[str]:
        """A command that runs in the engine's network namespace, where its bridge is."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *map(str, command)]


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """An engine that runs for the length of the block; its containers are removed."""
    name = f"memwatch-{uuid.uuid4().hex[:8]}"
    # Not below the usual temporary folder: a socket's path ends at 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="mwd-", dir="/tmp"))
    subprocess.run(["ip", "netns", "add", name], check=True)
    started = Engine(f"unix://{folder}/docker.sock", name, folder)
    try:
        subprocess.run(started.inside("ip", "link", "set", "lo", "up"), check=True)
        # nsenter and not `ip netns exec`, which hides the cgroup mounts.
        command = started.inside(str(_program("dockerd")), "--bip", "172.30.0.1/24")
        command += ["--storage-driver", "overlay2", "--data-root", f"{folder}/data"]
        command += ["--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
        with running([*command, "--host", started.host], log=folder / "log"):
            wait_until(lambda: (folder / "docker.sock").exists() and _answers(started), 60)
            try:
                yield started
            finally:
                for container in started.docker("ps", "--all", "--quiet").split():
                    started.docker("rm", "--force", "--volumes", container, check=False)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def import_node(engine: Engine, tag: str, node: Path | None = None) -> str:
    """An image of a node binary and its libraries: no shell, no package manager."""
    binary = node or runtimes.any_node()
    assert binary, "no node is installed"
    with _root() as root:
        _copy(root, binary, Path("/usr/local/bin/node"))
        return _import(engine, root, tag, "ENV PATH=/usr/local/bin")


def import_python(engine: Engine, tag: str, *extra: Path) -> str:
    """An image of this CPython with its standard library and the folders given: no shell.

    `extra` folders are put where they are here.
    """
    prefix = Path(sys.base_prefix)
    library = prefix / "lib" / "python{}.{}".format(*sys.version_info)
    with _root() as root:
        _copy(root, Path(sys.base_prefix) / "bin" / library.name, prefix / "bin" / library.name)
        shutil.copytree(
            library, _in(root, library), ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True
        )
        for module in (library / "lib-dynload").glob("*.so"):
            _copy_libraries(root, module)
        for name in _WHEEL_LIBRARIES:
            _copy(root, Path(name), Path(name))
        for folder in extra:
            shutil.copytree(folder, _in(root, folder), dirs_exist_ok=True, symlinks=True)
        for name in ("python3", "python"):
            _in(root, Path("/usr/local/bin")).mkdir(parents=True, exist_ok=True)
            (root / "usr/local/bin" / name).symlink_to(prefix / "bin" / library.name)
        return _import(engine, root, tag, "ENV PATH=/usr/local/bin")


@contextlib.contextmanager
def _root() -> Iterator[Path]:
    """A folder for an image's files, with what every process expects."""
    with tempfile.TemporaryDirectory(prefix="memwatch-image-") as folder:
        root = Path(folder)
        for name in ("tmp", "etc", "proc", "sys", "dev", "usr/local/bin"):
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        (root / "etc/passwd").write_text("root:x:0:0::/:/none\napp:x:1000:1000::/:/none\n")
        yield root


def _import(engine: Engine, root: Path, tag: str, *changes: str) -> str:
    """Makes an image of a folder; its tag."""
    flags = [flag for change in changes for flag in ("--change", change)]
    packed = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
    with packed:
        subprocess.run(
            [_client(), "import", *flags, "-", tag],
            env={**os.environ, "DOCKER_HOST": engine.host},
            stdin=packed.stdout,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return tag


def _copy(root: Path, binary: Path, to: Path) -> None:
    """Puts a program and the libraries it is linked with into an image's files."""
    _in(root, to).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(binary.resolve(), _in(root, to))
    _copy_libraries(root, binary)


def _copy_libraries(root: Path, binary: Path) -> None:
    listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
    for library in re.findall(r"(/[^ )]+)", listed.stdout):
        to = _in(root, Path(library))
        if not to.exists() and Path(library).exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(Path(library).resolve(), to)


def _in(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _answers(engine: Engine) -> bool:
    command = [_client(), "info"]
    env = {**os.environ, "DOCKER_HOST": engine.host}
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0


@functools.cache
def _client() -> str:
    """Debian's client where it is: another one of the PATH may be newer than the engine."""
    return "/usr/bin/docker" if Path("/usr/bin/docker").exists() else shutil.which("docker") or ""


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _unmount(folder: Path) -> None:
    """Takes off what a killed engine left mounted."""
    mounts: Sequence[str] = Path("/proc/self/mounts").read_text().split("\n")
    for line in reversed(mounts):
        if str(folder) in line:
            subprocess.run(["umount", "--lazy", line.split()[1]], check=False)


def prepare() -> None:
    """Collects what images are made of, while there is a network: the tests have none."""
    if not missing():
        subprocess.run(
            ["make", "--no-print-directory", "wheels", "hooks"], cwd=runtimes.ROOT, check=True
        )


if __name__ == "__main__":
    prepare()
