"""Lists the bench programs, or runs one: `python -m bench NAME [ARGS…]`."""

import ast
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent


def programs() -> dict[str, str]:
    """Name and first docstring line of each bench program."""
    found = {}
    for path in sorted([*HERE.glob("[a-z]*.py"), *HERE.glob("*/__main__.py")]):
        name = path.parent.name if path.name == "__main__.py" else path.stem
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[name] = doc.partition("\n")[0]
    return found


def main() -> int:
    names = programs()
    if len(sys.argv) < 2:
        for name, doc in names.items():
            print(f"{name:12} {doc}")
        print("\nrun one with: make bench ARGS=NAME")
        return 0
    name = sys.argv[1]
    if name not in names:
        print(f"cannot run bench '{name}': there are only {', '.join(names)}", file=sys.stderr)
        return 2
    sys.argv = [f"bench {name}", *sys.argv[2:]]
    runpy.run_module(f"bench.{name}", run_name="__main__", alter_sys=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
