"""`python -m tests.e2e.cluster.images FILE`: every image of this suite in one archive, as root.

Made by an engine that runs for that long, of this machine's own Node.js and Python; nothing is
fetched but wheels (`make wheels`). Import it into each node's containerd.
"""

import sys
from pathlib import Path

from memwatch_proto import __version__
from tests.e2e.docker.conftest import build
from tests.support import engine as engines

OURS = ("agent", "controller", "init")


def main(file: Path) -> None:
    """Builds the images and writes the archive."""
    if reason := engines.missing():
        sys.exit(f"cannot make images: {reason}")
    with engines.engine() as engine:
        names = ["local/node:test", "local/python:test"]
        engines.import_node(engine, names[0])
        engines.import_python(engine, names[1])
        for name in OURS:
            build(engine, name)
            names.append(f"memwatch/{name}:{__version__}")
        engine.docker("save", "--output", str(file.resolve()), *names)
    print(f"{file}: {', '.join(names)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
