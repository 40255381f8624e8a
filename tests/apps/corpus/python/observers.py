"""Bound methods subscribed to a signal by views that are never closed."""
# truth: {"verdict": "leaking", "holder": "saved.receivers", "kind": "list", "class": "method", "per_unit": 1, "at": "def __init__"}

from harness import serve


class Signal:
    def __init__(self):
        self.receivers = []

    def connect(self, receiver):
        self.receivers.append(receiver)


class View:
    def __init__(self, number):
        self.title = f"view {number}"

    def refresh(self):
        return self.title


saved = Signal()


def handle(number):
    saved.connect(View(number).refresh)


serve(handle)
