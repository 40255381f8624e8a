"""Writes docs/reference/openapi.json: `python -m memwatch_controller.api.openapi FILE`."""

import json
import sys
from pathlib import Path
from typing import Any

from memwatch_controller.api.http.application import create_app, describe
from memwatch_controller.api.http.routes import Faces


def document() -> dict[str, Any]:
    """The OpenAPI document of the HTTP API; nothing is opened for it."""
    nothing: Any = None
    faces = Faces(
        controllers=nothing,
        targets=nothing,
        sessions=nothing,
        snapshot_service=nothing,
        reports=nothing,
        heaps=nothing,
        profiles=nothing,
        clusters=nothing,
        findings=nothing,
        agents=nothing,
        snapshots=nothing,
    )
    return describe(create_app(faces, metrics=nothing, ready=nothing))


def text() -> str:
    """The document as it is published."""
    return json.dumps(document(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Writes the document to the file that is named, or to standard output."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())


if __name__ == "__main__":
    main()
