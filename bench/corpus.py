"""The leak corpus: what the verdict says of programs that leak and of programs that do not."""

import argparse
import sys
from pathlib import Path

from tests.heap.corpus import outcomes, programs

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- corpus: begin -->", "<!-- corpus: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="only the Python programs, by this CPython, such as 3.9")
    parser.add_argument(
        "--node", type=int, help="only the Node programs, by this major, such as 18"
    )
    parser.add_argument(
        "--by-place", action="store_true", help="as if the runtime numbered objects anew each time"
    )
    given = parser.parse_args()
    only = [name for name in ("node", "python") if getattr(given, name)]
    which = outcomes.Which(
        [given.python] if given.python else outcomes.PYTHON_MINORS,
        [given.node] if given.node else [],
        given.by_place,
    )
    rows, wrong = [], 0
    for runtime in only or ("node", "python"):
        if outcomes.command(runtime, which) is None:
            print(f"{runtime}: not installed, left out", file=sys.stderr)
            continue
        for outcome in outcomes.outcomes(runtime, which):
            right = is_right(outcome)
            wrong += not right
            rows.append(row(outcome, right))
            print(rows[-1], flush=True)
    if only or given.by_place:
        print(f"{len(rows)} programs, {wrong} wrong")
    else:
        write(rows, wrong)
    return 1 if wrong else 0


def is_right(outcome: outcomes.Outcome) -> bool:
    program = outcome.program
    wanted = [(outcome.verdict, program.verdict, 3), (outcome.of_two, program.verdict_of_two, 2)]
    for verdict, truth, snapshots in wanted:
        if truth not in ("any", verdict.verdict):
            return False
        for fact, suspect in zip(program.suspects, verdict.suspects, strict=False):
            if outcomes.fits(program, fact, suspect, snapshots):
                return False
    return True


def row(outcome: outcomes.Outcome, right: bool) -> str:
    program, verdict = outcome.program, outcome.verdict
    found = "; ".join(
        f"`{suspect.path}` {suspect.new_count} of {fact.per_unit * programs.UNITS * 2}"
        for suspect, fact in zip(verdict.suspects, program.suspects, strict=False)
    )
    return (
        f"| {program.name} | {program.verdict} | {verdict.verdict} | "
        f"{outcome.of_two.verdict} | {found or '–'} | {'yes' if right else '**no**'} |"
    )


def write(rows: list[str], wrong: int) -> None:
    head = [
        f"{len(rows)} programs, three snapshots each, {wrong} wrong.",
        "",
        "| program | truth | of three | of two | suspects: new objects of planted ones | right |",
        "|---|---|---|---|---|---|",
    ]
    text = README.read_text(encoding="utf-8")
    title = "## corpus: leaking and not leaking programs\n"
    if BEGIN not in text:
        text = text.replace(title, f"{title}\n{BEGIN}\n{END}\n")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    body = "\n".join([BEGIN, *head, *rows, END])
    README.write_text(before + body + after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
