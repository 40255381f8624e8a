import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memwatch_heap.owned import Owned


@given(st.lists(st.integers(0, 9), max_size=40), st.lists(st.integers(0, 12), max_size=5))
def test_finds_what_a_scan_finds(owner, wanted):
    """The rows of some owners, ascending, however often an owner is named."""
    owners = np.array(owner, np.uint64)
    assert Owned(owners).by(wanted).tolist() == np.flatnonzero(np.isin(owners, wanted)).tolist()
