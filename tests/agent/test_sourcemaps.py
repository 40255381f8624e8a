"""Source maps: against TypeScript's and esbuild's own maps, and against hostile ones."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent import sourcemaps
from memwatch_agent.sourcemaps import Place
from tests.support import runtimes
from tests.support.stack import program_env

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

SOURCE = """\
// a comment that is dropped
interface Report { title: string }

export const cache: Map<number, Report> = new Map();

export function remember(key: number): void {
  cache.set(key, { title: `report ${key}` });
}
"""


def encoded(number):
    """A number as a source map writes it."""
    left = -number * 2 + 1 if number < 0 else number * 2
    text = ""
    while True:
        digit, left = left & 31, left >> 5
        text += _DIGITS[digit | (32 if left else 0)]
        if not left:
            return text


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=5))
def test_numbers(wanted):
    """Every list of numbers comes back from its encoding."""
    assert sourcemaps.numbers("".join(map(encoded, wanted))) == wanted


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["sections", "offset", "map", "mappings", "sources", "line", "column"]
                ),
                inner,
            )
        ),
    ),
    st.integers(1, 100),
)
def test_any_map(source_map, line):
    """A map that is not what the standard says is as good as none, and never an error."""
    place = sourcemaps.original(source_map, Place("/a.js", line, 1)) if source_map else None
    assert place is None or isinstance(place, Place)


@pytest.fixture
def bundle(tmp_path):
    """A TypeScript file made into a bundle by esbuild: the folder."""
    esbuild = runtimes.npm_modules() / "esbuild" / "bin" / "esbuild"
    if not esbuild.exists():
        pytest.skip("esbuild is not installed (npm was not there when `make test` looked)")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "shop.ts").write_text(SOURCE)

    def build(*flags):
        command = [esbuild, "src/shop.ts", "--outfile=dist/shop.js", "--minify-whitespace", *flags]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return tmp_path

    return build


def place_of(script, text):
    """Where a text begins in a file."""
    code = script.read_text()
    line = code[: code.index(text)].count("\n")
    return Place(str(script), line + 1, code.index(text) - code.rfind("\n", 0, code.index(text)))


@pytest.mark.parametrize("flag", ["--sourcemap", "--sourcemap=inline", "--sourcemap=external"])
def test_esbuild(bundle, flag):
    """A function of a bundle is found in its TypeScript file, by file, inline or sibling map."""
    folder = bundle(flag)
    place = place_of(folder / "dist" / "shop.js", "function remember")
    ours = resolved({"root": "/", "places": [vars(place)]})

    assert ours == [{"script": str(folder / "src" / "shop.ts"), "line": 6, "column": 8}]


def test_index_map(bundle):
    """A map of sections answers as the map of the section."""
    folder = bundle("--sourcemap")
    script = folder / "dist" / "shop.js"
    place = place_of(script, "function remember")
    inner = json.loads((folder / "dist" / "shop.js.map").read_text())
    sections = [{"offset": {"line": 3, "column": 0}, "map": inner}]
    moved = Place(place.script, place.line + 3, place.column)

    found = sourcemaps.original({"version": 3, "sections": sections}, moved)
    assert found == sourcemaps.original(inner, place)


def resolved(request):
    """What the program answers."""
    command = [sys.executable, "-P", "-m", "memwatch_agent.sourcemaps"]
    done = subprocess.run(
        command, input=json.dumps(request), env=program_env(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_links_stay_inside(tmp_path):
    """A link of the target's files is followed inside its root, never to a file of ours."""
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "app").mkdir(parents=True)
    secret.write_text("ours")
    (root / "app" / "a.map").symlink_to(secret)
    (root / "app" / "b.map").symlink_to("../../secret")
    (root / "app" / "c.map").symlink_to("/app/real")
    (root / "app" / "loop").symlink_to("loop")
    (root / "app" / "real").write_text("theirs")

    def read(name):
        return sourcemaps.read_inside(root, f"/app/{name}", 100)

    assert [read(name) for name in ("a.map", "b.map", "loop", "../../secret")] == [None] * 4
    assert read("c.map") == b"theirs"
    assert sourcemaps.read_inside(root, "/app/real", 3) is None


def test_pipe_is_no_script(tmp_path):
    """A file that is no regular file is not opened: a pipe would block for ever."""
    os.mkfifo(tmp_path / "pipe")
    assert sourcemaps.read_inside(tmp_path, "/pipe", 100) is None


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("file:///app/a%20b.mjs", "/app/a b.mjs"),
        ("/app/../app/x.js", "/app/x.js"),
        ("node:internal/fs", None),
        ("file://elsewhere/app.js", None),
        ("https://cdn/app.js", None),
        ("/a\0b", None),
        ("", None),
    ],
)
def test_path_of(script, path):
    """Files are told from everything else that a script may be named."""
    assert sourcemaps.path_of(script) == path
