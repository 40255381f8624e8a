"""A target whose heap can be walked only to a point: what goes wrong is chosen by a line on stdin.

crash: a class's tp_traverse jumps to nowhere. hang: it never returns.
full: the container's memory is as good as used up, by the figures in the folder of argv[1].
freeze: no collection falls into a trap, so that an agent's request for one is harmless.
"""

import ctypes
import gc
import sys

gc.disable()  # a collection would fall into the same trap

TP_TRAVERSE = 184  # offset in a type, where pointers have 8 bytes


class Trap:
    pass


TRAPS = [Trap() for _ in range(10)]
HEAP = [[number] for number in range(30_000)]
SLOT = ctypes.c_void_p.from_address(id(Trap) + TP_TRAVERSE)
RIGHT = SLOT.value

print("ready", flush=True)
for line in sys.stdin:
    word = line.strip()
    from memwatch_hook import cgroup

    SLOT.value = RIGHT
    if word == "crash":
        SLOT.value = 16
    elif word == "hang":
        libc = ctypes.CDLL(None)
        SLOT.value = ctypes.cast(libc.pause, ctypes.c_void_p).value
    elif word == "full":
        cgroup._V2 = (sys.argv[1], "memory.max", "memory.current", "inactive_file")
    elif word == "freeze":
        gc.freeze()
    print(word, flush=True)
