"""Pods of a real cluster are captured under load, and no request fails, whoever is killed."""

import json
import subprocess

import pytest

from tests.e2e.cluster.shop import Callers
from tests.support.processes import wait_until, with_parent

pytestmark = pytest.mark.e2e

MODES = ("readiness", "detach")


@pytest.fixture
def callers(cluster, shop):
    """Who calls the service all the time."""
    host, _, port = cluster.address(shop, 8080).rpartition(":")
    with Callers(host, int(port)) as calling:
        yield calling


def capture(cluster, pod, mode, *flags):
    """A capture of one pod that runs in the background."""
    words = ["-o", "json", "capture", f"pod/{pod}", "--namespace", cluster.services]
    words += ["--strategy", "k8s", "--isolate", mode, "--orphan-ttl", "5s", "--timeframe", "2s"]
    return subprocess.Popen(
        with_parent(cluster.ctl(*words, *flags)),
        env=cluster.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def whole(cluster, shop, replicas=2):
    """Whether the service has all its pods, all of them serve, and nothing of ours is left."""
    pods = cluster.pods(shop)
    owned = [pod for pod in pods if pod["metadata"].get("ownerReferences")]
    marked = [
        pod
        for pod in cluster.get("pods")["items"]
        if "memwatch.dev/isolated-by" in (pod["metadata"].get("annotations") or {})
    ]
    serving = cluster.serving(shop)
    return len(owned) == len(pods) == len(serving) == replicas and not marked


def a_pod(cluster, shop):
    """A pod whose agent the controller knows; empty where there is none yet."""
    wait_until(lambda: whole(cluster, shop), 120, "the service to be whole")
    command = cluster.ctl("-o", "json", "targets", "list")
    known = subprocess.run(command, env=cluster.env, capture_output=True, check=True)
    pods = {target["pod"] for target in json.loads(known.stdout)["targets"]}
    return min(cluster.serving(shop) & pods, default="")


def known_pod(cluster, shop):
    """A pod that can be captured."""
    wait_until(lambda: a_pod(cluster, shop), 120, "an agent to be known")
    return a_pod(cluster, shop)


@pytest.mark.parametrize("mode", MODES)
def test_captured_under_load(cluster, shop, callers, mode):
    """Both ways: the pod is out of the EndpointSlices, captured, and nobody notices."""
    pod = known_pod(cluster, shop)
    told = subprocess.run(
        cluster.ctl(
            *("capture", f"pod/{pod}", "--namespace", cluster.services, "--strategy", "k8s"),
            *("--isolate", mode, "--dry-run"),
        ),
        env=cluster.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "->" in told.stdout
    assert whole(cluster, shop)

    running = capture(cluster, pod, mode)
    wait_until(lambda: pod not in cluster.serving(shop), 240, "the pod to leave")
    out, errors = running.communicate(timeout=600)
    assert running.returncode == 0, errors
    session = json.loads(out)["session"]
    steps = [step["message"] for step in session["targets"][0]["isolation"]["steps"]]
    assert steps[0] == "leave the rotation"
    wait_until(lambda: whole(cluster, shop), 240, "the service to be whole again")
    if mode == "detach":
        assert pod not in {found["metadata"]["name"] for found in cluster.pods(shop)}
    callers.check()


@pytest.mark.parametrize("mode", MODES)
def test_controller_killed_in_between(cluster, shop, callers, mode):
    """The controller's pod is killed while a pod is out: afterwards nothing is left out."""
    pod = known_pod(cluster, shop)
    running = capture(cluster, pod, mode, "--detach", "--timeframe", "20s")
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    wait_until(lambda: pod not in cluster.serving(shop), 240, "the pod to leave")
    name = "memwatch-controller-0"
    cluster.kubectl("delete", "pod", name, "--grace-period=0", "--force", namespace=cluster.own)

    cluster.rolled_out("statefulset/memwatch-controller", cluster.own)
    wait_until(lambda: whole(cluster, shop), 600, "the service to be whole again")
    callers.check()


def test_agent_ended_in_between(cluster, shop, callers):
    """The agent beside a captured pod ends and starts again: the pod serves afterwards."""
    pod = known_pod(cluster, shop)
    running = capture(cluster, pod, "readiness")
    wait_until(lambda: pod not in cluster.serving(shop), 240, "the pod to leave")
    end = "import os, signal; os.kill(1, signal.SIGTERM)"
    python = "/opt/memwatch/bin/python"
    cluster.kubectl("exec", pod, "-c", "memwatch-agent", "--", python, "-I", "-c", end)

    running.communicate(timeout=600)
    wait_until(lambda: whole(cluster, shop), 600, "the service to be whole again")
    callers.check()


def test_gates_do_not_need_the_controller(cluster, shop, callers):
    """New pods get ready while no controller runs: the webhook says True."""
    scale = ("scale", "statefulset/memwatch-controller")
    cluster.kubectl(*scale, "--replicas=0", namespace=cluster.own)
    try:
        cluster.kubectl("rollout", "restart", f"deployment/{shop}")
        cluster.rolled_out(f"deployment/{shop}")
        assert len(cluster.serving(shop)) == 2
    finally:
        cluster.kubectl(*scale, "--replicas=1", namespace=cluster.own)
        cluster.rolled_out("statefulset/memwatch-controller", cluster.own)
    callers.check()


def test_refused_with_numbers(cluster, shop):
    """A disruption budget that allows nothing is respected, and told."""
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "keep"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": shop}}},
    }
    pod = known_pod(cluster, shop)
    cluster.apply([budget])
    try:
        wait_until(lambda: cluster.get("pdb", "keep")["status"].get("currentHealthy"), 60)
        running = capture(cluster, pod, "readiness")
        _, errors = running.communicate(timeout=120)
    finally:
        cluster.kubectl("delete", "pdb", "keep")
    assert running.returncode == 4, errors
    assert "PodDisruptionBudget 'keep' allows 0 disruptions" in errors
    assert whole(cluster, shop)
