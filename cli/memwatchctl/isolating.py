"""The flags of `capture` that keep a service whole, and what they say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from memwatchctl.options import millis

if TYPE_CHECKING:
    from memwatch_proto.v1 import sessions_pb2
    from memwatchctl.client import Controller
    from memwatchctl.isolation import Settings
    from memwatchctl.output import Output

#: What a strategy can do: replace a container, or take a pod out of its service.
MODES = ("none", "replace", "readiness", "detach", "auto")


@dataclass(frozen=True)
class Isolation:
    """What the flags said.

    Attributes:
        mode: one of `MODES`.
        share_volumes, allow_cut: what may be risked for a replacement.
        drain_millis, ready_millis: how long is waited.
        orphan_millis: how long a detached pod lives after its last snapshot.
        dry_run: say what would be done, and do nothing.
    """

    mode: str = "none"
    share_volumes: bool = False
    allow_cut: bool = False
    drain_millis: int = 10_000
    ready_millis: int = 120_000
    orphan_millis: int = 300_000
    dry_run: bool = False

    @classmethod
    def taken(cls, flags: dict[str, Any]) -> "Isolation":
        """What the flags said, taken out of them."""
        names = (
            "share_volumes",
            "allow_cut",
            "drain_millis",
            "ready_millis",
            "orphan_millis",
            "dry_run",
        )
        return cls(flags.pop("isolate"), **{name: flags.pop(name) for name in names})

    @property
    def is_wanted(self) -> bool:
        """Whether anything is to be changed around the service."""
        return self.mode != "none"

    def check(self, strategy: str) -> None:
        """Sees that the mode fits to where the target is.

        Raises:
            click.UsageError: it does not.
        """
        if not self.is_wanted:
            return
        if self.mode == "replace" and strategy != "docker":
            raise click.UsageError(
                "cannot isolate by 'replace': that is for containers; add --strategy docker"
            )
        if self.mode != "replace" and strategy != "k8s":
            raise click.UsageError(
                f"cannot isolate by '{self.mode}': that is for pods; add --strategy k8s"
            )

    def for_pods(self) -> "sessions_pb2.Isolation | None":
        """What the controller is asked to do; None where it is nothing."""
        from memwatch_proto.v1 import sessions_pb2

        if self.mode not in ("readiness", "detach", "auto"):
            return None
        return sessions_pb2.Isolation(
            mode=f"ISOLATION_MODE_{self.mode.upper()}",
            drain_millis=self.drain_millis,
            ready_millis=self.ready_millis,
            orphan_millis=self.orphan_millis,
        )

    @staticmethod
    def preview(out: "Output", controller: "Controller", plan: "sessions_pb2.SessionPlan") -> None:
        """Prints what a session would change in the cluster."""
        from memwatchctl.output import plain, word

        pods = controller.preview_isolation(plan)
        if not out.is_table:
            out.document({"pods": [plain(pod) for pod in pods]})
            return
        for pod in pods:
            out.line(f"{pod.namespace}/{pod.pod} by {word(pod, 'mode')}:")
            for number, step in enumerate(pod.steps, 1):
                out.line(f"  {number}. {step}")
        if not pods:
            out.line("nothing would be changed")

    def for_docker(self, image: str) -> "Settings":
        """The settings of a replacement."""
        from memwatchctl import isolation, replacement, rotation

        return isolation.Settings(
            replacement.Wish(self.share_volumes, self.allow_cut),
            rotation.Patience(self.ready_millis / 1000, self.drain_millis / 1000),
            image,
        )


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--isolate",
        type=click.Choice(MODES),
        default="none",
        show_default=True,
        help="Take the target out of its service for each snapshot. Docker: replace, a second "
        "container serves. Pods: readiness, detach, or auto.",
    ),
    click.option(
        "--drain",
        "drain_millis",
        type=click.UNPROCESSED,
        callback=millis("s"),
        default="10s",
        show_default=True,
        metavar="TIME",
        help="Longest wait for requests that go on when it is taken out.",
    ),
    click.option(
        "--ready-timeout",
        "ready_millis",
        type=click.UNPROCESSED,
        callback=millis("s"),
        default="2m",
        show_default=True,
        metavar="TIME",
        help="Longest wait for what serves in its place.",
    ),
    click.option(
        "--orphan-ttl",
        "orphan_millis",
        type=click.UNPROCESSED,
        callback=millis("m"),
        default="5m",
        show_default=True,
        metavar="TIME",
        help="Pods: how long a detached one lives after its last snapshot.",
    ),
    click.option(
        "--share-volumes",
        is_flag=True,
        help="Docker: the replacement may write to the same volumes at the same time.",
    ),
    click.option(
        "--allow-cut",
        is_flag=True,
        help="Docker: connections may break in networks without a subnet of their own.",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be changed, and change nothing."),
)
