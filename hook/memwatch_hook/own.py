"""What of a process is the hook's, and what both walkers say of the rest."""

from __future__ import annotations

import sys
import types
from _weakref import getweakrefs

OWN_MODULES = ("memwatch_hook",)
BOOTSTRAP_MARK = "__memwatch_bootstrap__"


def dump_head() -> dict[str, str]:
    """What the first block of a dump says of this process."""
    version = "{}.{}.{}".format(*sys.version_info[:3])
    return {"runtime": "python", "runtime_version": version, "walker": "python"}


def modules() -> list[tuple[str, object]]:
    """The app's modules by name, and the hook's."""
    return [
        (name, module)
        for name, module in list(sys.modules.items())
        if type(name) is str and module is not None
    ]


def own_things() -> list[object]:
    """The hook's modules, what they define, and the methods of their classes."""
    found: list[object] = []
    for name, module in list(sys.modules.items()):
        if type(module) is not types.ModuleType:
            continue
        if name.partition(".")[0] in OWN_MODULES or BOOTSTRAP_MARK in module.__dict__:
            found.append(module)
            found += filter(_is_own, module.__dict__.values())
    for thing in list(found):
        if isinstance(thing, type):
            found += filter(_is_own, thing.__dict__.values())
            found += getweakrefs(thing)  # by which its bases know it
    return found


def _is_own(thing: object) -> bool:
    """Whether something that a module of ours holds is ours, or of a class of ours."""
    made_in = thing if type(thing) in (type, types.FunctionType) else type(thing)
    module = getattr(made_in, "__module__", "")
    return type(module) is str and module.partition(".")[0] in OWN_MODULES
