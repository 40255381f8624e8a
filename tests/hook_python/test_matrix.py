"""A few rows of the matrix, for the suite: oldest and newest CPython, one of each kind of server.

The whole of it is run by hand: `python -m tests.hook_python.matrix`.
"""

import pytest

from tests.hook_python import matrix
from tests.support import runtimes

#: The gunicorn rows are tests/hook/test_processes.py's.
ROWS = [
    ("script that ends by itself", "3.9"),
    ("`PYTHONMALLOC=mimalloc`", "3.13"),
    ("Django", "3.13"),
    ("FastAPI", "3.13"),
    ("uWSGI", "3.13"),
    ("uWSGI --lazy-apps", "3.13"),
]
BY_NAME = {case.name: case for case in matrix.CASES}


@pytest.fixture(scope="module")
def watcher():
    with matrix.agent() as found:
        yield found


@pytest.mark.parametrize(("name", "minor"), ROWS)
def test_the_hook_works_where_python_is_run(watcher, name, minor):
    """Every process answers, an agent captures a worker, the app goes on, nothing is left."""
    case = BY_NAME[name]
    found = runtimes.python_with_web(minor) or runtimes.python(minor)
    if found is None:
        pytest.skip(f"no CPython {minor} on this machine")
    if why := matrix.missing(case, found):
        pytest.skip(f"{why}: run python -m tests.support.runtimes")
    matrix.run(case, found, watcher)
