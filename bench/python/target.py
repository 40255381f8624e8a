"""The process that is measured: a heap of its own, a ticker, and peers that look at it from inside.

Lines in, JSON lines out: `heap N`, `buffers MB`, `churn SECONDS`, `peer NAME`, `gap`, `quit`.
Runs on any CPython from 3.9 on, with the peers on its path.
"""

import gc
import json
import sys
import tempfile
import threading
import time

KEPT = []
TICK_SECONDS = 0.001


class Customer:
    def __init__(self, number):
        self.name = f"customer {number}"
        self.orders = [Order(number * 3 + place) for place in range(3)]
        self.tags = {"number": number, "city": f"city {number % 1000}"}


class Order:
    __slots__ = ("lines", "number")

    def __init__(self, number):
        self.number = number
        self.lines = (number, float(number), f"line {number}")


class Ticker(threading.Thread):
    """Sleeps for a millisecond again and again; the longest it took since the last look."""

    def __init__(self):
        super().__init__(daemon=True)
        self.longest = 0.0

    def run(self):
        last = time.perf_counter()
        while True:
            time.sleep(TICK_SECONDS)
            now = time.perf_counter()
            self.longest = max(self.longest, now - last)
            last = now

    def gap(self):
        longest, self.longest = self.longest, 0.0
        return longest


def heap(objects):
    """Some 23 objects a customer."""
    KEPT.append([Customer(number) for number in range(int(objects) // 23)])
    gc.collect()
    return {"tracked": len(gc.get_objects())}


def buffers(megabytes):
    KEPT.append([b"x" * (1 << 20) for _ in range(int(megabytes))])
    return {}


def churn(seconds):
    """Writes to every object again and again, in the background."""

    def rewrite():
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            for customer in KEPT[0]:
                customer.tags["number"] += 1
                for order in customer.orders:
                    order.number += 1

    threading.Thread(target=rewrite, daemon=True).start()
    return {}


def pympler():
    from pympler import muppy, summary

    return {"objects": sum(row[1] for row in summary.summarize(muppy.get_objects()))}


def guppy3():
    from guppy import hpy

    found = hpy().heap()
    return {"objects": sum(row.count for row in found.bytype.stat.get_rows())}


def objgraph():
    import objgraph as graph

    return {"objects": sum(graph.typestats().values())}


def memray():
    """No picture of a heap but a recording: what making 200,000 objects costs under it."""
    import memray as recorder

    def work():
        began = time.thread_time()
        made = [Order(number) for number in range(50_000)]
        del made
        return time.thread_time() - began

    plain = min(work() for _ in range(3))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/recording"
        with recorder.Tracker(path, trace_python_allocators=True):
            recorded = min(work() for _ in range(3))
        with open(path, "rb") as file:
            size = file.seek(0, 2)
    return {"objects": 0, "times": recorded / plain, "size": size}


PEERS = {"pympler": pympler, "guppy3": guppy3, "objgraph": objgraph, "memray": memray}


def peer(name):
    TICKER.gap()
    began, cpu = time.perf_counter(), time.thread_time()
    try:
        found = PEERS[name]()
    except ImportError as cause:
        return {"missing": str(cause)}
    spent = {"seconds": time.perf_counter() - began, "cpu": time.thread_time() - cpu}
    return {**found, **spent, "gap": TICKER.gap()}


def gap():
    return {"gap": TICKER.gap()}


COMMANDS = {"heap": heap, "buffers": buffers, "churn": churn, "peer": peer, "gap": gap}
TICKER = Ticker()

if __name__ == "__main__":
    TICKER.start()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        name, *arguments = line.split()
        if name == "quit":
            break
        print(json.dumps(COMMANDS[name](*arguments)), flush=True)
