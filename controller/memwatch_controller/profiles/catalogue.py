"""Which reports each kind of profile has, in which formats; `rendering` makes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memwatch_controller.errors import InvalidArgumentError
from memwatch_controller.profile import Profile, ProfileKind

JSON, HTML, PPROF, RAW = "json", "html", "pprof", "raw"

CONTENT_TYPES = {
    JSON: "application/json",
    HTML: "text/html; charset=utf-8",
    PPROF: "application/gzip",
}
#: How the name of a file in that format ends.
ENDINGS = {JSON: "json", HTML: "html", PPROF: "pb.gz"}


@dataclass(frozen=True, slots=True)
class ReportInfo:
    """One report.

    Attributes:
        formats: the first is the default.
        needs_base: whether it compares with an earlier profile.
    """

    name: str
    formats: tuple[str, ...] = (JSON,)
    needs_base: bool = False


#: The artifact itself; of every kind.
ARTIFACT = ReportInfo("artifact", (RAW,))

#: What every profile of call stacks has.
_STACKS = (
    ReportInfo("table"),
    ReportInfo("tree"),
    ReportInfo("flamegraph", (HTML, JSON)),
    ReportInfo("pprof", (PPROF,)),
    ReportInfo("diff", needs_base=True),
)

REPORTS: Mapping[ProfileKind, Sequence[ReportInfo]] = {
    ProfileKind.TYPES: (ReportInfo("table"), ReportInfo("diff", needs_base=True)),
    ProfileKind.ALLOCATIONS: (
        ReportInfo("lines"),
        ReportInfo("stacks"),
        ReportInfo("diff", needs_base=True),
        ReportInfo("flamegraph"),
    ),
    ProfileKind.NATIVE: (
        ReportInfo("summary"),
        ReportInfo("table", (JSON, HTML)),
        ReportInfo("tree"),
        ReportInfo("stats"),
        ReportInfo("flamegraph", (HTML,)),
        ReportInfo("leaks", (HTML,)),
    ),
    ProfileKind.SAMPLING: _STACKS,
    ProfileKind.NODE_ALLOCATIONS: (ReportInfo("survivors"), *_STACKS),
    ProfileKind.NEAR_LIMIT: (ReportInfo("classes"), ReportInfo("table"), ReportInfo("series")),
    ProfileKind.STATS: (ReportInfo("table"), ReportInfo("series")),
}


def reports_of(kind: ProfileKind) -> tuple[ReportInfo, ...]:
    """The reports of a kind."""
    return (*REPORTS.get(kind, ()), ARTIFACT)


def chosen(profile: Profile, name: str, wanted_format: str) -> tuple[ReportInfo, str]:
    """The report that is asked for, and its format; empty words mean the first.

    Raises:
        InvalidArgumentError: this kind has no such report, or not in that format.
    """
    known = reports_of(profile.kind)
    info = next((one for one in known if one.name == name), None) if name else known[0]
    if info is None:
        names = ", ".join(one.name for one in known)
        cause = f"a profile of kind '{profile.kind}' has no report '{name[:40]}'; it has {names}"
        raise InvalidArgumentError("make a report", cause)
    if wanted_format and wanted_format not in info.formats:
        formats = ", ".join(info.formats)
        cause = f"report '{info.name}' comes as {formats}, not as '{wanted_format[:40]}'"
        raise InvalidArgumentError("make a report", cause)
    return info, wanted_format or info.formats[0]
