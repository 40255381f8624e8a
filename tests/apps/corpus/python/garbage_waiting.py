"""Cycles that are garbage already and only wait for the collector."""
# truth: {"verdict": "not leaking"}

import gc

from harness import serve


class Node:
    def __init__(self, number):
        self.name = f"node {number}"
        self.me = self


gc.disable()


def handle(number):
    Node(number)


serve(handle)
