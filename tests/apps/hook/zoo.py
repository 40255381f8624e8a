"""A target with one of everything that is hard to walk; says `ready` and waits (CPython 3.9 on)."""

import array
import asyncio
import collections
import datetime
import decimal
import enum
import functools
import gc
import sys
import threading
import time
import types
import weakref

SECRET = "s3cret-value-of-a-string"


class Plain:
    def __init__(self, number):
        self.name = f"plain {number}"
        self.owner = None


class Slotted:
    __slots__ = ("empty", "left", "right")

    def __init__(self):
        self.left = ["left"]
        self.right = ("right", SECRET)


class SlottedChild(Slotted):
    def __init__(self):
        super().__init__()
        self.extra = {"deep": [1]}


class Named(collections.namedtuple("Named", "first second")):
    pass


class Bag(dict):
    def items(self):
        raise RuntimeError("never run the app's code")

    def __iter__(self):
        raise RuntimeError("never run the app's code")


class Row(list):
    def __len__(self):
        raise RuntimeError("never run the app's code")


class HostileMeta(type):
    def __hash__(cls):
        raise RuntimeError("never run the app's code")

    def __eq__(cls, other):
        raise RuntimeError("never run the app's code")

    def __getattribute__(cls, name):
        if name in ("__mro__", "__dict__", "__flags__", "__qualname__"):
            raise RuntimeError("never run the app's code")
        return super().__getattribute__(name)


class Hostile(metaclass=HostileMeta):
    def __init__(self):
        object.__setattr__(self, "kept", ["kept"])

    def __getattribute__(self, name):
        raise RuntimeError("never run the app's code")

    def __sizeof__(self):
        raise RuntimeError("never run the app's code")

    def __eq__(self, other):
        raise RuntimeError("never run the app's code")

    __hash__ = None


class Pretender:
    """Says that it is something else, and computes its dict, as proxies do."""

    __slots__ = ("target",)

    @property
    def __class__(self):
        raise RuntimeError("never run the app's code")

    @property
    def __dict__(self):
        raise RuntimeError("never run the app's code")


class Undead:
    def __del__(self):
        print("deleted in the child", flush=True)


class Colour(enum.Enum):
    RED = 1


def closure():
    cached = {"in": "cell"}

    def inner():
        return cached

    return inner


def generator():
    held_by_generator = ["held"]
    yield held_by_generator


async def coroutine(future):
    held_by_coroutine = ["held"]
    await future
    return held_by_coroutine


PLAIN = [Plain(number) for number in range(100)]
PLAIN[0].owner = PLAIN[1]
TOUCHED = Plain(1000)
TOUCHED_DICT = TOUCHED.__dict__
SLOTTED = Slotted()
SLOTTED_CHILD = SlottedChild()
NAMED = Named(["a"], ["b"])
BAG = Bag(known=["value"], other=1)
BAG["no identifier"] = ["hidden"]
BAG.attribute = ["of the bag"]
ROW = Row([["first"], ["second"]])
DEFAULTS = collections.defaultdict(list, {"key": ["value"]})
ORDERED = collections.OrderedDict(first=["one"])
QUEUE = collections.deque([["queued"]], maxlen=5)
MEMBERS = {("member",), 3}
FROZEN = frozenset([("member",)])
SECRETS = {"password of bob": ["x"], SECRET: 1, 17: ["by number"], ("tuple", "key"): ["by tuple"]}
CLOSURE = closure()
GENERATOR = generator()
next(GENERATOR)
LOOP = asyncio.new_event_loop()
COROUTINE = coroutine(LOOP.create_future())
COROUTINE.send(None)
METHOD = PLAIN[2].__init__
PARTIAL = functools.partial(print, ["argument"])
WEAK = weakref.ref(PLAIN[3])
HOSTILE = Hostile()
PRETENDER = Pretender()
PRETENDER.target = ["behind"]
OTHERS = [
    array.array("d", [1.0]),
    decimal.Decimal("1.5"),
    datetime.datetime(2026, 1, 1),
    memoryview(b"bytes"),
    10**50,
    1.5,
    3j,
    b"bytes",
    bytearray(b"bytes"),
    range(5),
    slice(1, 2),
    types.SimpleNamespace(inside=["namespace"]),
    types.MappingProxyType({"proxied": ["x"]}),
    iter([["iterated"]]),
    Colour.RED,
    object(),
    ...,
    Undead(),
]
DEEP: list = []
for _ in range(50_000):
    DEEP = [DEEP]
try:
    raise ValueError(["in the error"])
except ValueError as error:
    ERROR = error


def ring():
    """Garbage that no collection has found yet."""
    one, two = Plain(7777), Plain(8888)
    one.owner, two.owner = two, one


def waiter():
    local_of_thread = ["held by a frame"]  # noqa: F841
    time.sleep(600)


def recurse(depth):
    kept_deep = [depth]
    if depth:
        return recurse(depth - 1)
    print("ready", flush=True)
    time.sleep(600)
    return kept_deep


threading.Thread(target=waiter, name="worker-7", daemon=True).start()
sys.setrecursionlimit(5000)
gc.disable()
ring()
recurse(500)
