"""Where in the original file a place of a compiled script is, by the source map beside the script.

Run as `python -m memwatch_agent.sourcemaps`, a process of its own with bounded memory and time,
because a bundle's map may be larger than the whole agent: one JSON object on standard input,

    {"root": "/proc/4711/root", "places": [{"script": "/app/dist/a.js", "line": 1, "column": 9}]}

and the answers in order on standard output: `{"script", "line", "column"}` of the original, or
null. Lines and columns count from 1. Only names and numbers leave it, never source text.
The format is ECMA-426 (source map revision 3), with index maps; standard library only.
"""

import base64
import binascii
import json
import os
import re
import resource
import stat
import sys
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Larger maps exist, but then the whole program is one bundle of 100 MB.
MAX_MAP_BYTES = 64 * 1024 * 1024

#: The comment that names the map is the last line of a script.
TAIL_BYTES = 64 * 1024

#: Of the process: a map of the largest size, parsed, and the interpreter.
MAX_MEMORY_BYTES = 1024 * 1024 * 1024
MAX_CPU_SECONDS = 20

#: Sections within sections are not allowed by the standard.
MAX_PLACES = 1_000

_COMMENT = re.compile(rb"//[#@][ \t]*sourceMappingURL=([^\s'\"]+)[ \t]*\r?\n?\s*\Z")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_DIGITS = {
    character: number
    for number, character in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    )
}


@dataclass(frozen=True)
class Place:
    """A place in a file; line and column from 1."""

    script: str
    line: int
    column: int


def resolve(root: Path, places: Sequence[Place]) -> list[Place | None]:
    """The original of each place, or None where no map tells it."""
    maps: dict[str, Mapping[str, Any] | None] = {}
    found = []
    for place in places[:MAX_PLACES]:
        if place.script not in maps:
            maps[place.script] = load(root, place.script)
        source_map = maps[place.script]
        found.append(original(source_map, place) if source_map else None)
    return found


def load(root: Path, script: str) -> Mapping[str, Any] | None:
    """The map of a script of the process whose root directory is `root`; None without one."""
    path = path_of(script)
    if path is None:
        return None
    tail = read_inside(root, path, TAIL_BYTES, from_end=True)
    comment = _COMMENT.search(tail) if tail is not None else None
    url = comment[1].decode("utf-8", "replace") if comment else os.path.basename(path) + ".map"
    data = _fetch(root, path, url)
    try:
        loaded = json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) else None


def path_of(script: str) -> str | None:
    """The absolute path of a script by its name in a snapshot; None where it is no file. Pure."""
    if script.startswith("file://"):
        parsed = urllib.parse.urlsplit(script)
        script = urllib.parse.unquote(parsed.path) if parsed.netloc in ("", "localhost") else ""
    ok = script.startswith("/") and "\0" not in script
    return os.path.normpath(script) if ok else None


def original(source_map: Mapping[str, Any], place: Place) -> Place | None:
    """The original of a place by a parsed map: its last mapping at or before the column. Pure.

    Column 1 with nothing at or before it takes the line's first mapping.
    """
    try:
        return _by_sections(source_map, place.line - 1, max(place.column - 1, 0), place.script)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        return None  # not what the standard says: as good as no map


def _by_sections(
    source_map: Mapping[str, Any], line: int, column: int, script: str
) -> Place | None:
    chosen: Mapping[str, Any] | None = None
    for section in source_map.get("sections", ()):
        offset = section["offset"]
        if (offset["line"], offset["column"]) <= (line, column):
            chosen = section
    if chosen is None:
        return _by_mappings(source_map, line, column, script)
    offset = chosen["offset"]
    inner_column = column - offset["column"] if line == offset["line"] else column
    return _by_mappings(chosen["map"], line - offset["line"], inner_column, script)


def _by_mappings(
    source_map: Mapping[str, Any], line: int, column: int, script: str
) -> Place | None:
    best: tuple[int, int, int] | None = None
    for at, source, source_line, source_column in segments(source_map["mappings"], line):
        if at > column and best is not None:
            break
        best = (source, source_line, source_column)
        if at > column:
            break
    if best is None:
        return None
    name = source_map["sources"][best[0]]
    return Place(_named(source_map, name, script), best[1] + 1, best[2] + 1)


def segments(mappings: str, wanted: int) -> Iterator[tuple[int, int, int, int]]:
    """The mappings of one line: (column, source, source line, source column), from 0. Pure.

    Raises:
        KeyError: a character that is no base 64 digit.
        ValueError: a number that is cut off.
    """
    source = source_line = source_column = 0
    for number, line in enumerate(mappings.split(";", wanted + 1)[: wanted + 1]):
        column = 0
        for segment in line.split(",") if line else ():
            fields = numbers(segment)
            column += fields[0]
            if len(fields) < 4:
                continue
            source += fields[1]
            source_line += fields[2]
            source_column += fields[3]
            if number == wanted:
                yield column, source, source_line, source_column


def numbers(segment: str) -> list[int]:
    """The numbers of a segment: base 64, five bits a digit, lowest first, sign in the last bit."""
    found, value, shift = [], 0, 0
    for character in segment:
        digit = _DIGITS[character]
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            found.append(-(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    if shift:
        raise ValueError(segment)
    return found


def _named(source_map: Mapping[str, Any], name: str, script: str) -> str:
    """A source's path, relative ones from where the script is; other schemes as they are."""
    joined = str(source_map.get("sourceRoot") or "") + str(name)
    if joined.startswith("file://"):
        return path_of(joined) or joined
    if _SCHEME.match(joined):
        return joined
    folder = os.path.dirname(path_of(script) or "/")
    return os.path.normpath(os.path.join(folder, joined))


def _fetch(root: Path, script: str, url: str) -> bytes | None:
    """What a map's URL leads to: inline data, or a file beside the script."""
    if url.startswith("data:"):
        head, _, data = url.partition(",")
        try:
            raw = base64.b64decode(data, validate=True) if head.endswith(";base64") else None
        except binascii.Error:
            return None
        return raw if raw is not None else urllib.parse.unquote_to_bytes(data)
    if _SCHEME.match(url) and not url.startswith("file://"):
        return None  # nothing is fetched from a network
    target = path_of(url) or os.path.normpath(
        os.path.join(os.path.dirname(script), urllib.parse.unquote(url))
    )
    return read_inside(root, target, MAX_MAP_BYTES)


def read_inside(root: Path, path: str, limit: int, *, from_end: bool = False) -> bytes | None:
    """A regular file below a root that its links cannot leave; None where it is none or too long.

    Each step is opened without following links, and a link is followed within the root, as the
    process itself would.
    """
    found = _open_inside(root, path, 40)
    if found is None:
        return None
    with open(found, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if from_end:
            file.seek(max(0, size - limit))
        elif size > limit:
            return None
        return file.read(limit)


def _open_inside(root: Path, path: str, links_left: int) -> int | None:
    """A descriptor of a regular file; the links of its path are followed by hand."""
    parts = [part for part in os.path.normpath("/" + path).split("/") if part]
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for number, part in enumerate(parts):
            step = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
            mode = os.fstat(step).st_mode
            if stat.S_ISLNK(mode):
                told = os.readlink("", dir_fd=step)
                os.close(step)
                rest = "/".join([told, *parts[number + 1 :]])
                base = "" if told.startswith("/") else "/" + "/".join(parts[:number])
                return _open_inside(root, f"{base}/{rest}", links_left - 1) if links_left else None
            os.close(folder)
            folder = step
        if not stat.S_ISREG(os.fstat(folder).st_mode):
            return None
        return os.open(f"/proc/self/fd/{folder}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    finally:
        os.close(folder)


def main() -> int:
    """Answers one request; the exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    request = json.load(sys.stdin)
    places = [Place(str(p["script"]), int(p["line"]), int(p["column"])) for p in request["places"]]
    try:
        found = resolve(Path(request["root"]), places)
    except (OSError, MemoryError) as error:
        print(f"cannot read source maps: {error}", file=sys.stderr)  # noqa: T201
        return 1
    json.dump([vars(place) if place else None for place in found], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
