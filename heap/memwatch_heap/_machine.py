"""What kernels ask of the machine itself: `_compile` puts one instruction for each of these."""

import ctypes


def word(address: int) -> int:
    """The eight bytes at an address, as one little-endian number."""
    return int.from_bytes(ctypes.string_at(address, 8), "little")


def byte(address: int) -> int:
    """The byte at an address."""
    return ctypes.string_at(address, 1)[0]


def no_digits(address: int) -> int:
    """Bit k is set where byte k of the 64 at an address is no decimal digit."""
    return sum(1 << k for k, at in enumerate(ctypes.string_at(address, 64)) if not 48 <= at <= 57)


def no_digits_32(address: int) -> int:
    """The same for the 32 bytes at an address."""
    return no_digits(address) & 0xFFFFFFFF


def zeros_below(number: int) -> int:
    """How many zero bits stand below the lowest one."""
    return (int(number) & -int(number)).bit_length() - 1
