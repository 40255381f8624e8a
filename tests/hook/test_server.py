"""The hook in real processes: it answers, and the app does not notice."""

from tests.hook.client import ERROR, RESULT, Heap, connected, wait_for_sockets

PLANTED = """
import time
class Customer:
    def __init__(self, number):
        self.name = "customer %d" % number
        self.orders = [number]
CUSTOMERS = [Customer(number) for number in range(1234)]
time.sleep(60)
"""


def test_hook_answers_every_command(python, hooked, hook_dir):
    """On every interpreter the hook says who it is and answers info, stats and gc."""
    with hooked(python, "-c", PLANTED, MEMWATCH_SERVICE_NAME="shop") as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            assert client.hello["pid"] == target.pid
            assert client.hello["service"] == "shop"
            assert client.hello["commands"][:4] == ["info", "stats", "gc", "heap"]
            assert client.ask("info").body["result"]["argv"] == ["-c"]
            stats = client.ask("stats", types=50).body["result"]
            counts = {row["name"]: row["count"] for row in stats["types"]}
            assert counts["__main__.Customer"] == 1234
            assert client.ask("gc").kind == RESULT
            assert client.ask("dance").body["reason"] == "UNKNOWN_COMMAND"


def test_heap_counts_planted_objects_exactly(python, hooked, hook_dir):
    """A snapshot has every planted object, under its name, and the app's globals lead to it."""
    with hooked(python, "-c", PLANTED) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            answer = client.ask("heap")
    assert answer.kind != ERROR, answer.body
    result = answer.body["result"]
    assert result["size_bytes"] == len(answer.data)
    assert result["pause_millis"] > 0
    heap = Heap.parse(answer.data)
    assert heap.count("__main__.Customer") == 1234
    assert len(set(heap.ids)) == len(heap.ids)
    customers = heap.follow("__main__", "__dict__", "CUSTOMERS")
    assert [heap.names[to] for _, _, to in heap.edges[customers]] == ["__main__.Customer"] * 1234
