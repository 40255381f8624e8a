"""Plain twins of the kernels: slow and simple, used where numba is missing and to check it.

Each module and function is named as its kernel and takes the same arguments; the kernel's
docstring is the contract.
"""
