"""Takes out of an image's virtual environment what only an installation needs: pip, and tests."""

import shutil
import sys
from pathlib import Path

#: Packages of the environment's own tools.
_TOOLS = ("pip", "pip-*", "setuptools", "setuptools-*")

#: Folders of tests inside packages; numpy.testing is no test, and stays.
_TESTS = (
    "numpy/**/tests",
    "numba/tests",
    "numba/cuda/tests",
    "llvmlite/tests",
    "sqlalchemy/testing",
)


def tidy(environment: Path) -> None:
    """Removes them."""
    (packages,) = environment.glob("lib/python3.*/site-packages")
    for pattern in (*_TOOLS, *_TESTS):
        for folder in list(packages.glob(pattern)):
            shutil.rmtree(folder, ignore_errors=True)
    for program in (environment / "bin").glob("pip*"):
        program.unlink()


if __name__ == "__main__":
    tidy(Path(sys.argv[1]))
