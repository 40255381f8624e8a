"""Says what a snapshot of itself must hold: each object's address, size and class (CPython 3.9 on).

`closure.py FOLDER` writes FOLDER/truth, starts the hook, says `ready`; when FOLDER/go appears it
writes FOLDER/chunks.json (the hook's numbering of addresses) and, where guppy is to be had,
FOLDER/guppy.json, and says `done`.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import atexit
import collections
import ctypes
import dataclasses
import datetime
import decimal
import email.message
import enum
import fractions
import functools
import gc
import http.server
import json
import logging.handlers
import operator
import os
import re
import runpy
import select
import socket
import sqlite3
import sys
import threading
import time
import types
import typing
import unittest.mock
import uuid
import warnings
import weakref
import xml.dom.minidom
from _collections import deque

FOLDER = sys.argv[1]
ROWS = 1500  # of each kind: some 150,000 objects in all
MODULES = (argparse, atexit, email, functools, operator, runpy, select, typing, warnings, xml)


class Plain:
    def __init__(self, number):
        self.name = f"plain {number}"
        self.numbers = [number, number * 1.5]


class Wide:
    def __init__(self, number):
        for place in range(40):
            setattr(self, f"field_{place}", number)


class Slotted:
    __slots__ = ("__weakref__", "empty", "left", "right")

    def __init__(self, number):
        self.left = (number, str(number))
        self.right = {"key": number}


class Child(Slotted):
    def __init__(self, number):
        super().__init__(number)
        self.extra = bytes(number % 50)


class Named(collections.namedtuple("Named", "first second")):
    __slots__ = ()


class Bag(dict):
    pass


class Row(list):
    pass


class Colour(enum.Flag):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Data:
    number: int
    tags: set = dataclasses.field(default_factory=set)


def closure(number):
    return lambda: number


def generator(number):
    kept = [number]
    yield kept


async def coroutine(future, number):
    kept = {"number": number}
    await future
    return kept


def one_of_each(number):
    """Everything that a service keeps in memory, a few objects of each."""
    bag, row = Bag(number=number), Row([number])
    bag.attribute = [number]
    row.attribute = "attribute"
    started = generator(number)
    next(started)
    waiting = coroutine(LOOP.create_future(), number)
    waiting.send(None)
    return [
        Plain(number),
        Wide(number),
        Slotted(number),
        Child(number),
        Named(number, [number]),
        Data(number, {number, "tag"}),
        bag,
        row,
        frozenset({number, "frozen"}),
        collections.OrderedDict(first=number, second=[number]),
        collections.defaultdict(list, {number: [number]}),
        collections.Counter("abcabc"),
        collections.deque([number, [number]], maxlen=9),
        collections.ChainMap({number: 1}),
        array.array("d", [1.0, 2.0]),
        bytearray(b"bytes"),
        b"bytes %d" % number,
        f"ünïcödé {number}",
        10**30 + number,
        -number,
        number * 1.5,
        complex(number, 1),
        decimal.Decimal(number),
        fractions.Fraction(number, 7),
        datetime.datetime(2026, 1, 1) + datetime.timedelta(number),
        uuid.UUID(int=number),
        re.compile(f"pattern {number % 20}"),
        functools.partial(print, number),
        types.SimpleNamespace(number=number),
        types.MappingProxyType({number: [number]}),
        memoryview(b"view"),
        slice(number, [number]),
        range(number),
        iter([number]),
        closure(number),
        started,
        waiting,
        Plain(number).__init__,
        ValueError(number, [number]),
        threading.Lock(),
        Colour.RED | Colour.BLUE,
        ctypes.c_int(number),
    ]


def plant():
    rows = [one_of_each(number) for number in range(ROWS // 42)]
    rows += [[Plain(number) for number in range(ROWS)], {str(n): [n] for n in range(ROWS)}]
    rows += [[Child(number) for number in range(ROWS)], weakref.WeakValueDictionary()]
    for number, thing in enumerate(rows[-2]):
        rows[-1][number] = thing
    rows += [logging.getLogger("closure"), sqlite3.connect(":memory:"), socket.socket()]
    rows += [unittest.mock.Mock(name="mock"), xml.dom.minidom.parseString("<a><b>text</b></a>")]
    rows += [type(f"Made{number}", (Plain,), {"number": number}) for number in range(50)]
    rows += [http.server.BaseHTTPRequestHandler, email.message.EmailMessage()]
    ring = [rows[0]]
    ring.append(ring)
    return [*rows, ring]


# What gc.get_referents does not tell, since these are no objects of the collector's.
CODE_PARTS = (
    ["co_qualname", "co_linetable", "co_exceptiontable"]
    if sys.version_info >= (3, 11)
    else ["co_code", "co_varnames", "co_freevars", "co_cellvars"]
)
CODE_PARTS += ["co_consts", "co_names", "co_filename", "co_name"]


def held(thing):
    """What an object keeps alive, by what Python itself tells."""
    if isinstance(thing, types.CodeType):
        return [getattr(thing, part) for part in CODE_PARTS]
    found = gc.get_referents(thing)
    if isinstance(thing, type):
        found += gc.get_referents(type.__dict__["__dict__"].__get__(thing))
        found += [type.__dict__[part].__get__(thing) for part in ("__mro__", "__bases__")]
    if isinstance(thing, dict):  # keys are shown only where one of them is no string
        found += dict.keys(thing)
    if type(thing) is range:
        found += [thing.start, thing.stop, thing.step]
    return [one for one in found if one is not None]


def write_truth(seeds):
    """All that can be reached from `seeds`, with address, size and class, but this frame."""
    own = {id(seeds), id(sys._getframe())}
    seen = {id(thing): thing for thing in seeds if id(thing) not in own}
    left = list(seen.values())
    while left:
        for thing in held(left.pop()):
            if id(thing) not in seen and id(thing) not in own:
                seen[id(thing)] = thing
                left.append(thing)
    with open(os.path.join(FOLDER, "truth"), "w", encoding="utf-8") as file:
        for address, thing in seen.items():
            cls = type(thing)
            file.write(f"{address}\t{sys.getsizeof(thing)}\t{cls.__module__}.{cls.__qualname__}\n")


def write_guppy():
    try:
        from guppy import hpy
    except ImportError:
        return
    rows = hpy().heap().bytype.stat.get_rows()
    found = {row.name: (row.count, row.size) for row in rows}
    with open(os.path.join(FOLDER, "guppy.json"), "w", encoding="utf-8") as file:
        json.dump(found, file)


def main():
    gc.collect()
    frozen = gc.get_objects()
    gc.freeze()
    THAWED.append(plant())
    gc.collect()
    gc.disable()
    write_truth([*frozen, *gc.get_objects()])
    frozen.clear()
    import memwatch_hook

    memwatch_hook.start()
    print("ready", flush=True)
    go = os.path.join(FOLDER, "go")
    while not os.path.exists(go):
        time.sleep(0.02)
    from memwatch_hook import snapshot

    with open(os.path.join(FOLDER, "chunks.json"), "w", encoding="utf-8") as file:
        json.dump(snapshot._chunks.known(), file)
    write_guppy()
    print("done", flush=True)
    time.sleep(600)


LOOP = asyncio.new_event_loop()
FROZEN = plant()
THAWED = [deque()]
main()
