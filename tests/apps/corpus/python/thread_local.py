"""A worker thread keeps every job in its thread-local list."""
# truth: {"verdict": "leaking", "holder": "jobs", "kind": "list", "class": "Job", "per_unit": 1, "at": "def __init__"}

import queue
import threading

from harness import serve


class Job:
    def __init__(self, number):
        self.name = f"job {number}"


local = threading.local()
inbox = queue.Queue()


def worker():
    local.jobs = []
    while True:
        local.jobs.append(Job(inbox.get()))
        inbox.task_done()


threading.Thread(target=worker, daemon=True).start()


def handle(number):
    inbox.put(number)
    inbox.join()


serve(handle)
