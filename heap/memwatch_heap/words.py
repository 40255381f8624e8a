"""Paths in words that a programmer recognises: names from the source, no parts of the engine."""

import re
from dataclasses import dataclass

from memwatch_heap import rules
from memwatch_heap.holders import Holders
from memwatch_heap.paths import Path, Step

_MAX_NAME = 80  # a longer label is data; its beginning will do
_SYSTEM = "system / "
_IDENTIFIER = re.compile(r"^[#A-Za-z_$][\w$]*$")
_PAIR = re.compile(r"^\d+ / part of key \(")


@dataclass(frozen=True, slots=True)
class Said:
    """A container in words.

    Attributes:
        root: the module, script or global that holds it (`app.js`).
        name: the expression that leads to it from there (`bus`, `Widget.all`).
        kind: what it is (`Map`, `EventEmitter`).
        part: which part of it (`listeners of 'close'`); mostly empty.
        script: the script that `root` is, whole. labels: the names in `name`.
        start: the node that `root` is. nodes: those on the way from there, the container last.
    """

    root: str
    name: str
    kind: str
    part: str
    script: str = ""
    labels: tuple[str, ...] = ()
    start: int = -1
    nodes: tuple[int, ...] = ()

    def __str__(self) -> str:
        root = f"{self.root}: " if self.root else ""
        part = f" → {self.part}" if self.part else ""
        return f"{root}{self.name} ({self.kind}){part}"


def class_word(name: str) -> str:
    """A class as a person says it."""
    return name.removeprefix(_SYSTEM)


def say(holders: Holders, path: Path, container: int, linked: bool) -> Said:
    """A container, by the path to it."""
    steps = list(path.steps)
    kind, part = kind_of(holders, container, linked), ""
    for at, step in enumerate(steps):
        whole = rules.WHOLES.get(holders.group_of(step.node))
        if whole is not None:
            kind, steps = whole, steps[: at + 1]
            break
        if step.label in rules.PARTS:
            kind = rules.PARTS[step.label].kind
            part = _part(step.label, steps[at + 1 :])
            steps = steps[:at]
            break
    name = expression(steps) or class_word(holders.group_of(container))
    labels = tuple(step.label for step in steps if step.kind in ("context", "property"))
    nodes = tuple(step.node for step in path.steps)
    return Said(path.root, name, kind, part, path.script, labels, path.start, nodes)


def kind_of(holders: Holders, container: int, linked: bool) -> str:
    """What kind of container an object is; `linked`: it holds a chain by its head."""
    name = holders.group_of(container)
    if linked and name not in rules.CHAINS_OF_THEIR_OWN:
        return rules.CHAIN_KIND
    return rules.KINDS.get(name, class_word(name))


def _part(label: str, rest: list[Step]) -> str:
    names = [step.label for step in rest if step.kind == "property"]
    if rules.PARTS[label].named and names:
        return f"listeners of {_cut(names[-1])!r}"
    return "listeners"


def expression(steps: list[Step]) -> str:
    """Labels joined as in the source: `pool.idle[3]`, `handler → cache`."""
    text = ""
    for step in steps:
        if step.kind == "internal" and step.label in rules.SILENT_LABELS:
            continue
        if step.kind == "context":
            text += f" → {_cut(step.label)}" if text else _cut(step.label)
        elif step.kind == "property":
            text = _member(step.label, text)
        elif step.kind == "element":
            text += f"[{step.label}]"
        elif step.kind == "internal":
            text += _inside(step, text)
    return text


def _member(label: str, text: str) -> str:
    label = _cut(label)
    if not text or label.startswith("["):  # a key that is not shown
        return text + label
    return text + (f".{label}" if _IDENTIFIER.match(label) else f"[{label}]")


def _inside(step: Step, text: str) -> str:
    if _PAIR.match(step.label):
        return " → its value in a WeakMap"
    if step.label.isdigit():
        return " → entry"
    return "" if step.label == "context" or not text else f" → {_cut(step.label)}"


def _cut(label: str) -> str:
    label = " ".join(label.split())
    return label if len(label) <= _MAX_NAME else label[: _MAX_NAME - 1] + "…"
