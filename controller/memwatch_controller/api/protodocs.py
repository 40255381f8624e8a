"""Reads the comments of the .proto files, so that OpenAPI says what the contracts say.

Generated code has no comments; the files themselves are part of `memwatch_proto`. They are
ours and buf-linted, so a line-wise reading is enough: a comment stands right above what it
describes.
"""

import re
from functools import cache
from importlib import resources

_OPEN = re.compile(r"^(message|enum|service) (\w+) \{|^oneof (\w+) \{")
_FIELD = re.compile(r"^(?:repeated |optional )?(?:map<[^>]*>|[\w.]+) (\w+) = \d+")
_VALUE = re.compile(r"^(\w+) = \d+;")
_RPC = re.compile(r"^rpc (\w+)\(")


@cache
def comments() -> dict[str, str]:
    """Comments by name, such as `Session`, `Session.id` and `SessionService.GetSession`."""
    found: dict[str, str] = {}
    folder = resources.files("memwatch_proto.v1")
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".proto"):
            _read(file.read_text(encoding="utf-8"), found)
    return found


def _read(text: str, found: dict[str, str]) -> None:
    comment: list[str] = []
    scopes: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
            continue
        if opened := _OPEN.match(line):
            scopes.append(opened[2] or "")
            _put(found, [scope for scope in scopes if scope], comment)
            if line.endswith("}"):
                scopes.pop()
        elif line == "}":
            scopes.pop()
        elif named := _FIELD.match(line) or _VALUE.match(line) or _RPC.match(line):
            _put(found, [*(scope for scope in scopes if scope), named[1]], comment)
        comment = []


def _put(found: dict[str, str], path: list[str], comment: list[str]) -> None:
    if comment and path:
        found.setdefault(".".join(path), " ".join(comment))
