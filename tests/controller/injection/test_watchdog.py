"""The watchdog's judgement: which pods lack the agent that they ask for."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller.injection.watchdog import State, Verdict, judge
from tests.controller.injection.test_patch import CLASSIC, SETTINGS, SHAPES, container, patched, pod


def living(made, **about):
    """A pod as the API server has it."""
    made = copy.deepcopy(made)
    made["metadata"] |= {"namespace": "shop", "uid": "u", **about}
    return {**made, "status": {"phase": "Running"}}


@pytest.mark.parametrize("settings", [SETTINGS, CLASSIC], ids=["native", "classic"])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_webhook_would_do(shape, settings):
    """A pod of each shape is missing the agent before the webhook, and has it after."""
    made, _ = SHAPES[shape]
    assert judge(living(made)).state is State.MISSING
    assert judge(living(patched(made, settings)[0])) == Verdict(State.PRESENT)


@pytest.mark.parametrize(
    ("made", "state", "said"),
    [
        (pod({"memwatch.dev/inject": "false"}), State.NOT_ASKED, ""),
        (living(pod(), deletionTimestamp="2026-11-22T00:00:00Z"), State.NOT_ASKED, ""),
        ({**living(pod()), "status": {"phase": "Succeeded"}}, State.NOT_ASKED, ""),
        (pod({"memwatch.dev/inject": "perhaps"}), State.REFUSED, 'write "true" or "false"'),
        (pod(hostNetwork=True), State.REFUSED, "its node's network"),
        (pod({"memwatch.dev/containers": "no"}), State.REFUSED, "there is no container no"),
        (living(pod(), namespace="kube-system"), State.EXCLUDED, "kube-system is left alone"),
        (pod(containers=[container("memwatch-agent")]), State.PRESENT, ""),
        (pod(), State.MISSING, "make it anew"),
        (
            living(pod(), ownerReferences=[{"kind": "ReplicaSet", "name": "web-1"}]),
            State.MISSING,
            "restart its rollout",
        ),
        ({}, State.NOT_ASKED, ""),
    ],
)
def test_state(made, state, said):
    """Each pod has one state, and what can be done about it is told."""
    verdict = judge(made)
    assert (verdict.state, said in verdict.why) == (state, True)


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), st.none() | st.just({})))
def test_any_pod(made):
    """A pod with parts missing is judged, and asks for nothing."""
    assert judge(made).state is State.NOT_ASKED
