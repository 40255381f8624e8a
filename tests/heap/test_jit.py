import subprocess
import sys

import numpy as np
import pytest

from memwatch_heap import _backend, _jit

pytestmark = pytest.mark.skipif(not _backend.available, reason="kernels need llvmlite")


def numbers(count: int, kind: str = "uint32") -> np.ndarray:
    return np.zeros(count, kind)


def test_a_kernel_has_code_for_each_of_its_signatures():
    """Ids of 32 and of 64 bits run through code of their own, to the same end."""
    repeated = _backend.kernels("graph").repeated_id
    for kind in ("uint32", "uint64"):
        assert repeated(np.array([5, 7, 5], kind), 7) == 2
        assert repeated(np.array([5, 7, 6], kind), 7) == -1


def test_a_kernel_refuses_what_it_was_not_compiled_for():
    """Other types, read-only, strided and nested arrays are errors, never wild reads."""
    greatest = _backend.kernels("graph").greatest_name
    kinds, names, indexed = numbers(4, "uint8"), numbers(4), numbers(2, "uint8")
    assert greatest(kinds, names, indexed) == 0
    fixed = numbers(4)
    fixed.flags.writeable = False
    for wrong in (names.astype(np.int64), fixed, numbers(8)[::2], numbers(4).reshape(2, 2), 4):
        with pytest.raises(TypeError):
            greatest(kinds, wrong, indexed)


def test_numbers_that_do_not_fit_are_refused():
    """A kernel takes 64-bit integers: nothing is cut off or rounded on the way."""
    reach = _backend.kernels("dominators").reachable
    arrays = (numbers(2), numbers(0, "uint8"), numbers(0), numbers(0))
    assert reach(*arrays, np.int64(3)).tolist() == [0]
    for wrong in (1 << 63, 1.5):
        with pytest.raises(Exception, match=r"out of range|not.*integer|integer"):
            reach(*arrays, wrong)


def test_signatures_are_read_from_text():
    """Arrays, numbers, and whether something is returned."""
    assert _jit.Signature.parse("uint32[], int64") == _jit.Signature(("uint32[]", "int64"), False)
    assert _jit.Signature.parse("uint8[] -> int64") == _jit.Signature(("uint8[]",), True)


def test_importing_the_package_costs_nothing():
    """LLVM is loaded by who computes, not by who imports the package's modules."""
    code = "import sys, memwatch_heap.measures, memwatch_heap.diff, memwatch_heap.index;"
    code += "print({'numba', 'llvmlite'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
