"""When snapshots are due, what they are called, and which plans are possible; pure.

The timeframe is the quiet time between snapshots: it starts when the first one is safe in
the store, not when it was asked for, so that the transfer of a large snapshot never eats
the time in which the service is to be watched. The others are spaced evenly over it.
"""

from collections.abc import Sequence
from dataclasses import replace

from memwatch_controller.errors import AgentError, InvalidArgumentError
from memwatch_controller.model import Millis, PauseBudget, SessionPlan, Target

#: A session of more snapshots would fill the store before it says more.
MAX_SNAPSHOTS = 100

#: Longer than any leak takes to show; a typing error in a unit is caught here.
MAX_TIMEFRAME_MILLIS = 30 * 24 * 3600 * 1000

#: A snapshot may be this much later than planned before it is marked late …
LATE_MILLIS = 5_000

#: … or this share of the timeframe, whichever is more.
LATE_SHARE = 0.01

#: Targets of one fleet; its session is read and written as a whole.
MAX_FLEET = 1_000

#: The reason of an agent that predicts a longer pause than is allowed.
PAUSE_BUDGET = "PAUSE_BUDGET"

#: Frames of each allocation that are traced; a heap dump tells no more.
MAX_ALLOCATION_FRAMES = 64

#: Allocations are traced no longer than this between two snapshots: it slows the service down.
MAX_TRACED_MILLIS = 24 * 3600 * 1000

#: How much later than planned a snapshot may come before the target ends tracing by itself.
TRACE_PATIENCE_MILLIS = 30 * 60 * 1000

#: Labels of a session.
MAX_LABELS = 64

#: Characters of a free text: service, strategy, label.
MAX_TEXT = 512


def completed(plan: SessionPlan) -> SessionPlan:
    """The plan with defaults filled in.

    Raises:
        InvalidArgumentError: it cannot be carried out.
    """
    _check(plan)
    return replace(plan, snapshots=plan.snapshots or 2, max_parallel=plan.max_parallel or 1)


def _check(plan: SessionPlan) -> None:
    doing = "create a session"
    if plan.snapshots == 1 or not 0 <= plan.snapshots <= MAX_SNAPSHOTS:
        cause = f"{plan.snapshots} snapshots, expected 2 to {MAX_SNAPSHOTS}; pass --snapshots"
        raise InvalidArgumentError(doing, cause)
    if not 0 <= plan.timeframe_millis <= MAX_TIMEFRAME_MILLIS:
        cause = (
            f"a timeframe of {plan.timeframe_millis} ms, expected at most "
            f"{MAX_TIMEFRAME_MILLIS} ms (30 days); pass --timeframe"
        )
        raise InvalidArgumentError(doing, cause)
    if not 0 <= plan.max_parallel <= MAX_FLEET:
        cause = f"{plan.max_parallel} targets at once, expected at most {MAX_FLEET}"
        raise InvalidArgumentError(doing, cause + "; pass --max-parallel")
    _check_tracing(plan, doing)
    texts = [plan.service, plan.strategy, *plan.labels, *plan.labels.values()]
    if workload := plan.selector.workload:
        texts += [workload.kind, workload.name, plan.selector.namespace, plan.selector.container]
    if len(plan.labels) > MAX_LABELS or any(len(text) > MAX_TEXT for text in texts):
        cause = f"more than {MAX_LABELS} labels, or a name of more than {MAX_TEXT} characters"
        raise InvalidArgumentError(doing, cause + "; shorten it")
    if unprintable := next((text for text in texts if not text.isprintable()), None):
        cause = f"{unprintable[:64]!r} holds a control character; write a name of one line"
        raise InvalidArgumentError(doing, cause)


def check_fleet(targets: Sequence[Target]) -> None:
    """Sees that a fleet is not too large.

    Raises:
        InvalidArgumentError: it is.
    """
    if len(targets) > MAX_FLEET:
        cause = f"{len(targets)} targets match, expected at most {MAX_FLEET}; narrow it down"
        raise InvalidArgumentError("create a session", cause)


def longest_pause(plan: SessionPlan, budget: PauseBudget | None) -> int:
    """The longest pause that the caller and the target's probes allow, in ms; 0: any."""
    allowed = [plan.max_pause_millis, budget.millis if budget else 0]
    return min((millis for millis in allowed if millis), default=0)


def with_budget(error: AgentError, budget: PauseBudget | None, allowed_millis: int) -> AgentError:
    """An agent's refusal of a pause; where a probe is what forbids it, in those words."""
    if error.reason != PAUSE_BUDGET or budget is None or budget.millis != allowed_millis:
        return error
    predicted = int(error.metadata.get("predicted_millis") or 0)
    message = (
        f"it would stand still for about {predicted / 1000:g} s, and {budget.words}; let a forked "
        "child write the snapshot (preload the hook), take the pod out of rotation first "
        "(--isolate), widen the probe, or pass --force"
    )
    return AgentError(error.reason, error.code, message, metadata=error.metadata)


def _check_tracing(plan: SessionPlan, doing: str) -> None:
    if not 0 <= plan.allocation_frames <= MAX_ALLOCATION_FRAMES:
        cause = f"{plan.allocation_frames} frames, expected at most {MAX_ALLOCATION_FRAMES}"
        raise InvalidArgumentError(doing, cause + "; pass --allocation-sites")
    if plan.allocation_frames and _interval(plan) > MAX_TRACED_MILLIS:
        cause = (
            f"allocations traced for {_interval(plan)} ms between two snapshots, expected at most "
            f"{MAX_TRACED_MILLIS} ms (a day); pass --timeframe or --snapshots"
        )
        raise InvalidArgumentError(doing, cause)


def _interval(plan: SessionPlan) -> Millis:
    return plan.timeframe_millis // ((plan.snapshots or 2) - 1)


def trace_millis(plan: SessionPlan, index: int) -> Millis:
    """For how long allocations may be traced after a snapshot; 0: no longer, it was the last."""
    if not plan.allocation_frames or index >= plan.snapshots - 1:
        return 0
    return _interval(plan) + TRACE_PATIENCE_MILLIS


def phase_name(index: int, snapshots: int) -> str:
    """What the snapshot with this index is called: "before", "during-N" or "after"."""
    if index == 0:
        return "before"
    return "after" if index == snapshots - 1 else f"during-{index}"


def due_time(plan: SessionPlan, first_time: Millis, index: int) -> Millis:
    """When the snapshot with this index is due, the first having been stored at `first_time`."""
    return first_time + plan.timeframe_millis * index // (plan.snapshots - 1)


def lateness(due: Millis, begun: Millis, taken: Millis, now: Millis) -> int:
    """How many milliseconds after its due time a snapshot was taken.

    `taken` is the agent's word, and its clock may be wrong; it is believed only within what
    the controller saw itself: not before the capture was begun, not after it was stored.
    """
    return max(0, min(max(taken, begun), now) - due)


def is_late(plan: SessionPlan, late_millis: int) -> bool:
    """Whether a snapshot is marked late: by more than 5 s and more than 1 % of the timeframe."""
    return late_millis > max(LATE_MILLIS, plan.timeframe_millis * LATE_SHARE)
