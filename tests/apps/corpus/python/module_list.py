"""A module's list that remembers every request."""
# truth: {"verdict": "leaking", "holder": "history", "kind": "list", "class": "Request", "per_unit": 1, "at": "def __init__"}

from harness import serve


class Request:
    def __init__(self, number):
        self.path = f"/item/{number}"
        self.headers = {"host": "shop", "trace": f"t-{number}"}


history = []


def handle(number):
    history.append(Request(number))


serve(handle)
