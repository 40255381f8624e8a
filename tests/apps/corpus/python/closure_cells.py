"""Callbacks kept for ever; each holds its request in a closure cell."""
# truth: {"verdict": "leaking", "holder": "on_exit", "kind": "list", "class": "Function", "per_unit": 1, "at": "def report"}

from harness import serve

on_exit = []


def handle(number):
    request = {"path": f"/order/{number}", "items": [f"item {number}"]}

    def report():
        return request["path"]

    on_exit.append(report)


serve(handle)
