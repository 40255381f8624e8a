"""A target of few objects and 300 MiB of large bytes; says what its thread of C forks saw.

Half of them have maps of their own; the others lie in malloc's heap, as do 20 MiB of str: glibc
maps no chunk that is smaller than the largest one freed so far.

argv[1]: the library of forker.c, or "-"; argv[2]: "no-clone" forbids the clone system call.
"""

import ctypes
import struct
import sys

MIB = 1 << 20
BIG = [bytes([1]) * MIB for _ in range(150)]
FREED = bytes(16 * MIB)
del FREED
BIG += [bytes([1]) * MIB for _ in range(150)]
TEXTS = ["x" * MIB for _ in range(20)]
FEW = [[number] for number in range(1000)]


def forbid_clone():
    """A seccomp filter that answers `clone` with EPERM; new threads come by clone3."""
    words = [
        (0x20, 0, 0, 0),  # load the call's number
        (0x15, 0, 1, 56),  # clone on x86-64
        (0x06, 0, 0, 0x00050000 | 1),  # EPERM
        (0x06, 0, 0, 0x7FFF0000),  # allow
    ]
    code = b"".join(struct.pack("HBBI", *word) for word in words)
    kept = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxQ", len(words), ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.syscall(317, 1, 1, program) == 0, ctypes.get_errno()  # for all threads


forker = None
if sys.argv[1] != "-":
    forker = ctypes.CDLL(sys.argv[1])
    data = bytes.__basicsize__ - 1  # where an object's bytes begin
    pointers = (ctypes.c_void_p * len(BIG))(*(id(one) + data for one in BIG))
    forker.start(pointers, ctypes.c_size_t(len(BIG)), ctypes.c_size_t(MIB))
if sys.argv[2:] == ["no-clone"]:
    forbid_clone()
print("ready", flush=True)
for line in sys.stdin:
    with open("/proc/self/smaps") as maps:
        kept_from_forks = sum(" dc" in line for line in maps if line.startswith("VmFlags"))
    print(kept_from_forks, *((forker.forks(), forker.failures()) if forker else ()), flush=True)
