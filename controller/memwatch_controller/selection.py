"""Which targets a selector means, and how it and they are named in words; pure."""

from memwatch_controller.model import Runtime, Selector, Target

#: Shorter prefixes of a container id match too much by accident.
MIN_PREFIX = 4


def matches(selector: Selector, target: Target) -> bool:
    """Whether a target is what a selector says, in every field that says something."""
    return (
        (not selector.ids or target.id in selector.ids)
        and (not selector.name or _matches_word(selector.name, target))
        and (not selector.service or target.service == selector.service)
        and (not selector.container_id or target.container_id.startswith(selector.container_id))
        and (not selector.namespace or target.namespace == selector.namespace)
        and (not selector.pid or target.pid == selector.pid)
        and all(target.labels.get(key) == value for key, value in selector.labels.items())
        and (selector.runtime is Runtime.UNKNOWN or target.runtime is selector.runtime)
    )


def _matches_word(word: str, target: Target) -> bool:
    """Whether a word that a person typed names a target."""
    return (
        word in (target.id, target.service, target.pod)
        or (word.isdecimal() and target.pid == int(word[:10]))
        or (len(word) >= MIN_PREFIX and target.container_id.startswith(word))
    )


def describe(selector: Selector) -> str:
    """A selector in words, for errors."""
    words = {
        "id": ", ".join(selector.ids),
        "name": selector.name,
        "service": selector.service,
        "container id": selector.container_id,
        "namespace": selector.namespace,
        "pid": str(selector.pid or ""),
        "labels": ",".join(f"{key}={value}" for key, value in sorted(selector.labels.items())),
        "runtime": selector.runtime.value,
        "container": selector.container,
    }
    if selector.workload:
        words[selector.workload.kind] = selector.workload.name
    said = [f"{key} {value!r}" for key, value in words.items() if value]
    return " and ".join(said) or "any name"


def candidate(target: Target) -> str:
    """One of several matches, in a few words."""
    where = target.pod or target.container_id[:12] or f"pid {target.pid}"
    return f"{target.id} ({target.service or target.runtime.value}, {where})"
