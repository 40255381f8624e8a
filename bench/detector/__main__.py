"""Recall, false alarms per service-month and time to detection of three rules on one corpus.

make bench ARGS=detector            (--seeds 3, --kind "daily load", --days 28; half an hour of CPU)
"""

import argparse
import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench.detector.corpus import DAY, HOUR, Service, healthy, leaking
from bench.detector.rules import LOOK_SECONDS, Ancestor, LeastSquares, Ours, Rule

RULES: Mapping[str, Callable[[], Rule]] = {
    "memwatch": Ours,
    "20 % since the last look (ancestor)": lambda: Ancestor(since_first=False),
    "20 % since the first look": lambda: Ancestor(since_first=True),
    "least squares": LeastSquares,
}


@dataclass(frozen=True)
class Outcome:
    """What a rule did on one service.

    Attributes:
        false: alarms where nothing leaked. found_after: seconds from the leak's start; None: never.
    """

    service: Service
    rule: str
    false: int
    found_after: float | None


def judged(service: Service) -> list[Outcome]:
    """Every rule on one service: an alarm is a look that sees it after one that did not."""
    rules = {name: make() for name, make in RULES.items()}
    alarms: dict[str, list[float]] = {name: [] for name in rules}
    told = dict.fromkeys(rules, False)
    next_look = LOOK_SECONDS
    for sample in service.samples():
        for rule in rules.values():
            rule.take(sample)
        if sample.at < next_look:
            continue
        next_look = sample.at + LOOK_SECONDS
        for name, rule in rules.items():
            sees = rule.look(sample.at)
            if sees and not told[name]:
                alarms[name].append(sample.at)
            told[name] = sees
    return [_outcome(service, name, at) for name, at in alarms.items()]


def _outcome(service: Service, rule: str, alarms: Sequence[float]) -> Outcome:
    if service.leaks_from is None:
        return Outcome(service, rule, len(alarms), None)
    after = [at - service.leaks_from for at in alarms if at >= service.leaks_from]
    return Outcome(service, rule, len(alarms) - len(after), after[0] if after else None)


def main() -> None:
    """Prints a table by kind and one by rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kind", default="")
    parser.add_argument("--days", type=float, default=28, help="of each healthy service")
    args = parser.parse_args()
    services = [replace(one, days=args.days) for one in healthy(args.seeds)]
    services += leaking(args.seeds)
    chosen = [one for one in services if args.kind in one.name]
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        outcomes = [one for found in pool.map(judged, chosen) for one in found]
    _print_by_kind(outcomes)
    _print_by_rule(outcomes)


def _print_by_kind(outcomes: Sequence[Outcome]) -> None:
    print("| service | " + " | ".join(RULES) + " |")
    print("|---" * (1 + len(RULES)) + "|")
    for name in dict.fromkeys(one.service.name for one in outcomes):
        cells = []
        for rule in RULES:
            of = [one for one in outcomes if one.service.name == name and one.rule == rule]
            cells.append(_found(of) if of[0].service.leaky else _false(of))
        print(f"| {name} | " + " | ".join(cells) + " |")


def _found(outcomes: Sequence[Outcome]) -> str:
    times = [one.found_after / HOUR for one in outcomes if one.found_after is not None]
    after = f", {median(times):.1f} h" if times else ""
    return f"{len(times)} of {len(outcomes)}{after}"


def _false(outcomes: Sequence[Outcome]) -> str:
    months = sum(one.service.days for one in outcomes) / 30
    return f"{sum(one.false for one in outcomes) / months:.2f} a month"


def _print_by_rule(outcomes: Sequence[Outcome]) -> None:
    print("\n| rule | leaks found | median hours | false alarms per service-month |")
    print("|---|---|---|---|")
    for rule in RULES:
        of = [one for one in outcomes if one.rule == rule]
        leaky = [one for one in of if one.service.leaky]
        found = [one.found_after / HOUR for one in leaky if one.found_after is not None]
        healthy_days = sum(one.service.days for one in of if not one.service.leaky)
        before_days = sum((one.service.leaks_from or 0) / DAY for one in leaky)
        months = (healthy_days + before_days) / 30
        alarms = sum(one.false for one in of) / months if months else 0.0
        share = f"{len(found)} of {len(leaky)}"
        print(f"| {rule} | {share} | {median(found) if found else 0:.1f} | {alarms:.2f} |")


if __name__ == "__main__":
    main()
