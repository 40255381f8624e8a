"""`python -m tests.fuzz TARGET [libFuzzer's options]`: coverage-guided, until it is stopped.

TARGET is one of tests/fuzz/targets.py, or `all`, where an input's first byte names the target.
The plain twins of the kernels run, so that coverage sees into them. What is found is written
beside, under `crash-…`, `timeout-…` or `oom-…`; give such a file as an option to replay it.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("MEMWATCH_HEAP_PLAIN", "1")

import atheris

with atheris.instrument_imports(include=["memwatch_heap", "memwatch_agent", "memwatch_hook"]):
    from tests.fuzz import targets

CORPUS = Path(__file__).parent / "corpus"

#: A parser that holds more than this, or takes longer, for a few KB of input is at fault.
LIMITS = ("-rss_limit_mb=1024", "-timeout=10", "-max_len=8192", "-use_value_profile=1")


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    target, options = sys.argv[1], sys.argv[2:]
    names = list(targets.TARGETS) if target == "all" else [target]
    seeds, words = Path(tempfile.mkdtemp(prefix="memwatch-fuzz-")), []
    for number, name in enumerate(names):
        mark = bytes([number]) if target == "all" else b""
        for place, data in enumerate([*targets.seeds(name), *_kept(name)]):
            (seeds / f"{name}-{place}").write_bytes(mark + data)
    words = [f'"{word}"' for word in targets.words()]
    (seeds.parent / f"{seeds.name}.dict").write_text("\n".join(words))
    functions = [targets.TARGETS[name] for name in names]

    def one(data: bytes) -> None:
        if target == "all":
            if data and data[0] < len(functions):
                functions[data[0]](data[1:])
        else:
            functions[0](data)

    given = [option for option in options if not option.startswith("-")]
    folders = [*given, str(seeds)]  # what is new goes into the first
    dictionary = f"-dict={seeds.parent / seeds.name}.dict"
    flags = [option for option in options if option.startswith("-")]
    atheris.Setup([sys.argv[0], dictionary, *LIMITS, *flags, *folders], one)
    atheris.Fuzz()


def _kept(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


if __name__ == "__main__":
    main()
