"""A leak in a service that was compiled is named by its line in the original file."""

import json
import subprocess

import pytest

from tests.e2e.conftest import get
from tests.e2e.test_capture import capture_twice
from tests.support import runtimes
from tests.support.processes import free_port, running, wait_until
from tests.support.stack import unique

pytestmark = pytest.mark.e2e

SOURCE = """\
import http from 'node:http';

interface Row { id: number }

// The class that leaks; the line of its constructor must be told.
class LeakedOrder implements Row {
  constructor(public readonly id: number, readonly title: string) {}
}

const orders: Map<number, LeakedOrder> = new Map();

http.createServer((request, response) => {
  if (request.url!.startsWith('/leak')) {
    for (let i = 0; i < 1000; i++) orders.set(orders.size, new LeakedOrder(orders.size, 'order'));
  }
  response.end(JSON.stringify({ leaked: orders.size }));
}).listen(Number(process.argv[2]), '127.0.0.1');
"""


def test_typescript_line(shared_stack, tmp_path):
    """The suspect of a minified bundle names the line of the TypeScript file."""
    esbuild, node = runtimes.npm_modules() / "esbuild" / "bin" / "esbuild", runtimes.any_node()
    if node is None or not esbuild.exists():
        pytest.skip("Node.js or esbuild is not installed (npm was not there)")
    (tmp_path / "shop.ts").write_text(SOURCE)
    flags = ("--outfile=dist/shop.cjs", "--format=cjs", "--sourcemap", "--minify-whitespace")
    subprocess.run([esbuild, "shop.ts", *flags], cwd=tmp_path, check=True, capture_output=True)
    port, service = free_port(), unique("compiled")
    env = {"MEMWATCH_SERVICE_NAME": service}
    with running([node, tmp_path / "dist" / "shop.cjs", str(port)], env=env):
        wait_until(lambda: answers(port), 20)
        get(port, "/leak")
        _, report = capture_twice(shared_stack, shared_stack.wait_for_target(service), port)

    (suspect,) = json.loads(report["json"])["verdict"]["suspects"][:1]
    assert suspect["where"]["script"].endswith("/dist/shop.cjs")
    original = suspect["where"]["original"]
    assert (original["script"], original["line"]) == (str(tmp_path / "shop.ts"), 7)
    assert report["verdict"]["suspects"][0]["location"]["original"]["line"] == 7


def answers(port):
    """Whether the service does."""
    try:
        return get(port, "/stats") is not None
    except OSError:
        return False
