"""Where the places that a verdict names are in the original files: asked of the target's agent.

Done while a report is made, since the target may be gone later. A worker on another machine has no
agents; its reports name the places of the scripts as they ran.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from memwatch_controller.errors import ControllerError
from memwatch_controller.model import SourcePlace, Target

#: A verdict has fewer; what is beyond is left as it is.
MAX_PLACES = 100

#: Names of files that a compiler may have written.
_SCRIPTS = (".js", ".mjs", ".cjs")

Originals = Callable[[str, Sequence[SourcePlace]], Awaitable[Sequence[SourcePlace | None]]]

_log = structlog.get_logger()


class Directory(Protocol):
    """Targets and where their agents are; the registry."""

    def get(self, id: str) -> Target:
        """One target."""

    def address_of(self, target: Target) -> str:
        """Where to dial its agent."""


class Resolver(Protocol):
    """Asks an agent for originals."""

    async def resolve_sources(
        self, address: str, target_id: str, places: Sequence[SourcePlace]
    ) -> Sequence[SourcePlace | None]:
        """The original of each place; None where no map tells it."""


def asking(directory: Directory, agents: Resolver) -> Originals:
    """Asks the agent of a target; where none answers nothing is known."""

    async def originals(
        target_id: str, places: Sequence[SourcePlace]
    ) -> Sequence[SourcePlace | None]:
        try:
            address = directory.address_of(directory.get(target_id))
            return await agents.resolve_sources(address, target_id, places)
        except ControllerError as error:
            _log.info("source maps not asked", target=target_id, cause=str(error))
            return []

    return originals


async def name_originals(
    verdict: Mapping[str, Any] | None, target_id: str, originals: Originals
) -> None:
    """Adds `original` to the places of a verdict's document that have one."""
    suspects = (verdict or {}).get("suspects", ())
    found = [suspect["where"] for suspect in suspects if suspect.get("where")]
    wanted = [where for where in found if _may_be_compiled(where)][:MAX_PLACES]
    if not wanted or not target_id:
        return
    places = [SourcePlace(w["script"], w["line"], max(w["column"], 1)) for w in wanted]
    for where, place in zip(wanted, await originals(target_id, places), strict=False):
        if place is not None:
            where["original"] = {
                "script": place.script,
                "line": place.line,
                "column": place.column,
            }


def _may_be_compiled(where: Mapping[str, Any]) -> bool:
    return bool(where.get("line")) and str(where.get("script", "")).endswith(_SCRIPTS)
