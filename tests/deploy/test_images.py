"""The programs that run while images are built."""

import importlib.util
import subprocess
import sys

import pytest

from tests.support.runtimes import ROOT

DOCKER = ROOT / "deploy" / "docker"


def load(name):
    """A script of deploy/docker as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCKER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hooks_of_both_runtimes(tmp_path):
    """The folder that an init container copies has both hooks, and a hook starts from it."""
    load("hooks").collect(ROOT, tmp_path / "hooks")
    hooks = tmp_path / "hooks"

    assert (hooks / "node" / "memwatch-hook.cjs").is_file()
    done = subprocess.run(
        [sys.executable, "-c", "import memwatch_hook, sys; print(memwatch_hook.__file__)"],
        env={
            "PYTHONPATH": f"{hooks}/python/bootstrap:{hooks}/python",
            "MEMWATCH_HOOK_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(hooks))


def test_bytecode_goes_along(tmp_path):
    """What was compiled by `make hooks` is in the folder, bytecode too, over the plain sources."""
    source, cache = tmp_path / "source", "python/memwatch_hook/__pycache__"
    for folder in ("hook/memwatch_hook", "hook/bootstrap", "hook/node", f"build/hooks/{cache}"):
        (source / folder).mkdir(parents=True)
    (source / "build/hooks" / cache / "wire.cpython-313.pyc").touch()
    load("hooks").collect(source, tmp_path / "to")
    assert (tmp_path / "to" / cache / "wire.cpython-313.pyc").exists()


def test_lent_to_the_agent(tmp_path):
    """The agent finds the Python hook's package, and the addon beside its driver."""
    hooks, environment = tmp_path / "hooks", tmp_path / "venv"
    drivers = environment / "lib" / "python3.13" / "site-packages" / "memwatch_agent" / "drivers"
    drivers.mkdir(parents=True)
    (hooks / "node").mkdir(parents=True)
    (hooks / "node" / "memwatch-fork.node").write_text("elf")
    load("hooks").lend(hooks, environment)

    assert (drivers / "memwatch-fork.node").read_text() == "elf"
    path = drivers.parents[1] / "memwatch-hooks.pth"
    assert path.read_text() == f"{hooks}/python\n"


def test_copied_twice(tmp_path):
    """An init container that is started twice copies over what it left."""
    copy = load("copy_hooks").copy
    (tmp_path / "from" / "node").mkdir(parents=True)
    (tmp_path / "from" / "node" / "hook.cjs").write_text("new")
    for _ in range(2):
        copy(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to" / "node" / "hook.cjs").read_text() == "new"


def test_copied_into_a_folder_of_another_user(tmp_path):
    """A volume's folder belongs to the system: what is in it is written, not the folder."""
    hooks, volume = tmp_path / "hooks", tmp_path / "volume"
    for folder, mode in ((hooks, 0o755), (hooks / "node", 0o750), (volume, 0o777)):
        folder.mkdir()
        folder.chmod(mode)
    (hooks / "node" / "hook.cjs").touch()
    load("copy_hooks").copy(hooks, volume)
    assert volume.stat().st_mode & 0o777 == 0o777
    assert (volume / "node" / "hook.cjs").exists()


@pytest.mark.parametrize("words", [(), ("/from",), ("/from", "/proc/nosuch")])
def test_copy_that_cannot_be(words):
    """A missing argument or a folder that cannot be written is one sentence and exit code 1."""
    command = [sys.executable, DOCKER / "copy_hooks.py", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot copy hooks: ")


def test_a_service_starts_without_its_hooks(tmp_path):
    """Hooks that cannot be copied leave an empty file that Node can load, and exit code 0."""
    command = [sys.executable, DOCKER / "copy_hooks.py", tmp_path / "nosuch", tmp_path / "to"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "the service starts without them" in done.stderr
    assert (tmp_path / "to" / "node" / "memwatch-hook.cjs").read_text() == ""


def test_tidy(tmp_path):
    """Pip and the tests of packages leave an image; the packages stay."""
    packages = tmp_path / "lib" / "python3.13" / "site-packages"
    for name in ("pip", "pip-25.1.dist-info", "numpy/core/tests", "numpy/testing", "grpc"):
        (packages / name).mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip3").touch()
    load("tidy").tidy(tmp_path)

    left = {str(path.relative_to(packages)) for path in packages.rglob("*")}
    assert left == {"numpy", "numpy/core", "numpy/testing", "grpc"}
    assert not list((tmp_path / "bin").iterdir())
