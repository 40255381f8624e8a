"""A buffer that fills and is flushed: fuller at each snapshot, but never with the same rows."""
# truth: {"verdict": "not leaking"}

from harness import serve


class Row:
    def __init__(self, number):
        self.text = f"row {number}"


rows = []


def handle(number):
    if number % 90 == 0:
        rows.clear()
    rows.append(Row(number))


serve(handle)
