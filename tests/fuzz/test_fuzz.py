import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.support.stack import program_env

CORPUS = Path(__file__).parent / "corpus"

#: A run that every change pays for; long ones are run by hand (CONTRIBUTING.md).
SECONDS = 8


@pytest.mark.parametrize("target", targets.TARGETS)
def test_sound_and_kept_inputs_pass(target):
    """What parsers must read, and what one of them once failed at; on compiled kernels."""
    kept = [path.read_bytes() for path in sorted((CORPUS / target).glob("*"))]
    for data in [*targets.seeds(target), *kept]:
        targets.TARGETS[target](data)


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed (pip install -e '.[fuzz]')",
)
def test_a_short_run_finds_nothing(tmp_path):
    """Some seconds of coverage-guided fuzzing of all parsers end without a crash, hang or bomb."""
    paths = [str(Path(__file__).parents[2]), program_env()["PYTHONPATH"]]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "all", f"-max_total_time={SECONDS}", "-seed=1"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    assert " runs in " in done.stderr, done.stderr[-2000:]
