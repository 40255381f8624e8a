"""Declares kernels: functions over flat arrays that run as machine code.

A kernel is written in Python and declared with its argument types. `_compile` makes machine code
of all kernels of a module, `_native` keeps that in a file and loads it: numba, whose import alone
takes most of a second, is only there while something is compiled. For that, kernels make no arrays
and raise nothing; the functions around them that the engine calls make what they fill.
"""

import ctypes
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# By module: its kernels, and the functions that are compiled into them.
registry: "dict[str, list[Kernel]]" = {}
helpers: dict[str, list[Callable[..., Any]]] = {}

_KINDS = {np.dtype(name): f"{name}[]" for name in ("uint8", "uint32", "uint64", "int64")}

# What machine code is called with: the address of its arguments, 64 bits each.
ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_char_p)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a kernel is compiled for.

    Attributes:
        arguments: `uint32[]` and the like for an array of one dimension, else `int64`.
        returns: whether it returns an int64, or nothing.
    """

    arguments: tuple[str, ...]
    returns: bool

    @classmethod
    def parse(cls, text: str) -> "Signature":
        """From `uint32[], int64 -> int64`."""
        arguments, arrow, _ = text.partition(" -> ")
        return cls(tuple(arguments.split(", ")), bool(arrow))


class Kernel:
    """A function over flat arrays, in machine code for each of its signatures."""

    def __init__(self, function: Callable[..., Any], signatures: tuple[Signature, ...]) -> None:
        self.function = function
        self.signatures = signatures
        self._entries: dict[tuple[str, ...], Any] = {}

    def symbol(self, number: int) -> str:
        """What the machine code for a signature is called."""
        return f"{self.function.__name__}.{number}"

    def bind(self, addresses: dict[str, int]) -> None:
        """Takes the addresses of its machine code."""
        self._entries = {
            signature.arguments: ENTRY(addresses[self.symbol(number)])
            for number, signature in enumerate(self.signatures)
        }

    def __call__(self, *arguments: Any) -> int | None:
        """Runs it; the first call of a module's kernels loads or compiles them.

        Raises:
            TypeError: no signature is for these arguments.
        """
        slots: list[int] = []
        kinds = tuple([_place(argument, slots) for argument in arguments])
        if not self._entries:
            from memwatch_heap import _native

            _native.bind(self.function.__module__)
        entry = self._entries.get(kinds)
        if entry is None:
            raise TypeError(f"cannot run {self.function.__name__} with {', '.join(kinds)}")
        found: int = entry(struct.pack(f"{len(slots)}q", *slots))
        return found if self.signatures[0].returns else None


def _place(argument: Any, slots: list[int]) -> str:
    """Adds the slots of an argument, which the caller keeps alive; returns its type."""
    if not isinstance(argument, np.ndarray):
        slots.append(argument)
        return "int64"
    flags = argument.flags
    if argument.ndim != 1 or not (flags.c_contiguous and flags.aligned and flags.writeable):
        raise TypeError("cannot run a kernel: it takes flat arrays that can be written")
    slots += (argument.ctypes.data, argument.size)
    return _KINDS.get(argument.dtype) or f"{argument.dtype}[]"


def kernel(*signatures: str) -> Callable[[Callable[..., Any]], Kernel]:
    """Declares a kernel with the types of its arguments, one text a signature."""

    def wrap(function: Callable[..., Any]) -> Kernel:
        wrapped = Kernel(function, tuple(map(Signature.parse, signatures)))
        registry.setdefault(function.__module__, []).append(wrapped)
        return wrapped

    return wrap


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declares a function that is compiled into the kernels of its module that call it."""
    helpers.setdefault(function.__module__, []).append(function)
    return function
