"""Copies of the context are kept, each with the request it was made for."""
# truth: {"verdict": "leaking", "holder": "contexts", "kind": "list", "class": "Context", "per_unit": 1}

import contextvars

from harness import serve


class Trace:
    def __init__(self, number):
        self.name = f"trace {number}"


current = contextvars.ContextVar("current")
contexts = []


def handle(number):
    context = contextvars.copy_context()
    context.run(current.set, Trace(number))
    contexts.append(context)


serve(handle)
