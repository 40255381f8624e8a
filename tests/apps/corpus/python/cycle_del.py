"""Cycles with a `__del__` that saves its object from the collector for good."""
# truth: {"verdict": "leaking", "holder": "morgue", "kind": "list", "class": "Connection", "per_unit": 1, "at": "def __init__"}

import gc

from harness import serve

morgue = []


class Connection:
    def __init__(self, number):
        self.peer = f"10.0.0.{number}"
        self.me = self

    def __del__(self):
        morgue.append(self)


def handle(number):
    Connection(number)
    gc.collect(0)


serve(handle)
