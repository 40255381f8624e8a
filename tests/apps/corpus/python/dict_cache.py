"""A cache without a bound: a dict that only grows."""
# truth: {"verdict": "leaking", "holder": "report_cache", "kind": "dict", "class": "Report", "per_unit": 1, "at": "def __init__"}

from harness import serve


class Report:
    def __init__(self, number):
        self.rows = [f"row {row} of {number}" for row in range(5)]


report_cache = {}


def handle(number):
    key = f"/reports/{number}"
    if key not in report_cache:
        report_cache[key] = Report(number)


serve(handle)
