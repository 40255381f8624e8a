"""Builds `memwatch-fork.node`, or says why that cannot be."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.support import runtimes

FOLDER = runtimes.ROOT / "hook" / "node"


def headers() -> Path | None:
    """Node-API's headers: npm's package of them, else those of a Node installation."""
    node = runtimes.any_node()
    places = [runtimes.npm_modules() / "node-api-headers" / "include"]
    if node is not None:
        places.append(node.resolve().parents[1] / "include" / "node")
    return next((place for place in places if (place / "node_api.h").exists()), None)


@cache
def built() -> Path | str:
    """The addon, built where its sources have changed; else one sentence why there is none."""
    if shutil.which("make") is None or shutil.which("cc") is None:
        return "cannot build the fork addon: there is no C compiler"
    found = headers()
    if found is None:
        return "cannot build the fork addon: Node-API's headers are not installed"
    command = ["make", "--silent", "-C", str(FOLDER), f"NODE_API={found}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"cannot build the fork addon: {done.stderr.strip()[-500:]}"
    return FOLDER / "memwatch-fork.node"


if __name__ == "__main__":
    outcome = built()
    print(f"→ {outcome}" if isinstance(outcome, str) else "→ built the fork addon")
