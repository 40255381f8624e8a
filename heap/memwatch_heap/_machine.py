"""What kernels ask of the machine itself: `_compile` puts one instruction for each of these."""

import ctypes


def word(address: int) -> int:
    """The eight bytes at an address, as one little-endian number."""
    return int.from_bytes(ctypes.string_at(address, 8), "little")


def byte(address: int) -> int:
    """The byte at an address."""
    return ctypes.string_at(address, 1)[0]


def zeros_below(number: int) -> int:
    """How many zero bits stand below the lowest one."""
    return (int(number) & -int(number)).bit_length() - 1
