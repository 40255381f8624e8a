"""Every instance registers itself with its class."""
# truth: {"verdict": "leaking", "holder": "Widget.instances", "kind": "list", "class": "Widget", "per_unit": 1, "at": "def __init__"}

from harness import serve


class Widget:
    instances = []

    def __init__(self, number):
        self.label = f"widget {number}"
        Widget.instances.append(self)


serve(Widget)
