"""Heap graphs: read, dominate, measure, diff, explain."""

import os

# numpy's OpenBLAS starts a thread for every core that spins while it is imported, for linear
# algebra that nothing here does: a third of what importing numpy costs.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
