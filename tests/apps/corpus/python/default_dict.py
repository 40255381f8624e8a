"""Growth spread over many small lists: one per tenant, inside a defaultdict of tenants."""
# truth: {"verdict": "leaking", "holder": "tenants", "kind": "dict", "class": "Row", "per_unit": 1, "at": "def __init__"}

import collections

from harness import serve


class Row:
    def __init__(self, number):
        self.value = f"value {number}"


tenants = collections.defaultdict(list)
for tenant in range(40):
    tenants[f"tenant-{tenant}"] = []


def handle(number):
    tenants[f"tenant-{number % 40}"].append(Row(number))


serve(handle)
