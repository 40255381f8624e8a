import pytest

from memwatch_controller import model
from memwatch_controller.cluster.errors import NoClusterError
from memwatch_controller.errors import AgentError
from memwatch_controller.model import PauseBudget, Selector, Workload
from tests.controller.builders import agent, target
from tests.controller.sessions.conftest import make_bench, plan

WORDS = "the liveness probe of container 'app' kills it after 21 to 31 s"
REFUSED = AgentError(
    "PAUSE_BUDGET",
    "FAILED_PRECONDITION",
    "cannot capture process 7: it would pause",
    metadata={"predicted_millis": "63000"},
)


class Budgets:
    """Every target has the same."""

    async def of(self, target):
        return PauseBudget(21_000, WORDS)


@pytest.fixture
async def bench(tmp_path):
    made = await make_bench(tmp_path / "m.sqlite", budgets=Budgets())
    yield made
    await made.database.close()


async def test_the_tighter_of_probe_and_caller_bounds_the_pause(bench):
    """The agent is told the least of what the caller and the pod's probe allow."""
    await bench.service.create("r-1", plan())
    await bench.engine.perform_due()
    await bench.service.create("r-2", plan(max_pause_millis=500))
    await bench.engine.perform_due()
    assert [order.max_pause_millis for order in bench.captures.orders] == [21_000, 500]


async def test_a_refusal_names_the_pause_and_the_probe(bench):
    """Both figures stand in the session's error; the agent's own where the caller was tighter."""
    bench.captures.failures = [REFUSED, REFUSED]
    first = await bench.service.create("r-1", plan())
    await bench.engine.perform_due()
    error = (await bench.service.get(first.id)).error
    assert error is not None
    assert error.reason == "PAUSE_BUDGET"
    assert f"it would stand still for about 63 s, and {WORDS}; " in error.message
    assert "--force" in error.message
    second = await bench.service.create("r-2", plan(max_pause_millis=500))
    await bench.engine.perform_due()
    assert "it would pause" in (await bench.service.get(second.id)).error.message


async def test_a_pod_without_a_cluster_is_known_by_its_agent(bench):
    """pod/NAME makes a session by what agents tell; a workload is refused with the reason."""
    bench.registry.register(agent("a-9"), [target("t-9", pod="web-1", namespace="shop")])
    selector = Selector(name="web-1", namespace="shop", workload=Workload("pod", "web-1"))
    made = await bench.service.create("r-1", model.SessionPlan(selector=selector))
    assert [part.target.id for part in made.targets] == ["t-9"]
    again = await bench.service.create("r-1", model.SessionPlan(selector=selector))
    assert again.id == made.id
    unknown = Selector(namespace="shop", workload=Workload("deployment", "web"))
    with pytest.raises(NoClusterError):
        await bench.service.create("r-2", model.SessionPlan(selector=unknown))
