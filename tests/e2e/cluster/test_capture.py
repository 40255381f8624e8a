"""Pods of a real cluster get their agent, and are captured by every name that they have."""

import json
import subprocess

import pytest

from tests.e2e.cluster.shop import INJECTED, bare_pod, manifests
from tests.support.processes import wait_until, with_parent

pytestmark = pytest.mark.e2e

AGENT = "memwatch-agent"

#: Ends the agent as an OOM killer does. It is not process 1 here, which a kill -9 from inside its
#: own process namespace would not reach.
KILL = """
import os, signal
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\\0")
    if words[1:3] == [b"-m", b"memwatch_agent"]:
        os.kill(pid, signal.SIGKILL)
"""


def only_pod(cluster, app):
    """The one pod of a service."""
    (pod,) = cluster.pods(app)
    return pod


def restarts(pod, container, kind="containerStatuses"):
    """How often a container of a pod was started again."""
    (found,) = (one for one in pod["status"][kind] if one["name"] == container)
    return found["restartCount"]


def known(cluster):
    """Names of the pods that the controller has a target of that can be captured."""
    done = cluster.run("-o", "json", "targets", "list")
    return {one["pod"] for one in json.loads(done.stdout)["targets"] if one.get("ways")}


def wait_known(cluster, *apps):
    """Waits until every pod of some services has a target."""
    names = {pod["metadata"]["name"] for app in apps for pod in cluster.pods(app)}
    wait_until(lambda: names <= known(cluster), 120, f"targets of {sorted(names)}")
    return names


def captured(cluster, *words):
    """The session of a capture that went well."""
    place = ("--namespace", cluster.services, "--timeframe", "2s")
    done = cluster.run("-o", "json", "capture", *words, *place)
    session = json.loads(done.stdout)["session"]
    assert session["state"] == "SESSION_STATE_SUCCEEDED"
    return session


def pods_of(session):
    """Names of the pods that a session captured, with the phases of each."""
    return {
        one["target"]["pod"]: [snapshot["phase"] for snapshot in one["snapshots"]]
        for one in session["targets"]
    }


BOTH = ["before", "after"]


def test_injected(cluster, shop, python_shop, attached_shop):
    """Pods that ask for it have the sidecar, which started, and no container was started twice."""
    for app in (shop, python_shop, attached_shop):
        for pod in cluster.pods(app):
            (agent,) = (one for one in pod["spec"]["initContainers"] if one["name"] == AGENT)
            assert agent["restartPolicy"] == "Always"
            assert restarts(pod, AGENT, "initContainerStatuses") == 0
            assert restarts(pod, "app") == 0
    wait_known(cluster, shop, python_shop, attached_shop)


def test_the_system_is_left_alone(cluster, shop):
    """The same pod gets the agent in the services' namespace, and none in kube-system."""
    assert shop
    pod = json.dumps(bare_pod("asks", cluster.settings.node_image, INJECTED))
    words = ("create", "--dry-run=server", "-o", "json", "-f", "-")

    def agents(namespace):
        made = json.loads(cluster.kubectl(*words, namespace=namespace, stdin=pod))
        return [c["name"] for c in made["spec"].get("initContainers") or () if c["name"] == AGENT]

    assert agents(cluster.services) == [AGENT]
    assert agents("kube-system") == []


def test_by_the_name_of_a_pod(cluster, shop):
    """pod/NAME is that pod and no other."""
    name = min(wait_known(cluster, shop))
    assert pods_of(captured(cluster, f"pod/{name}")) == {name: BOTH}


def test_by_the_name_of_a_deployment(cluster, shop):
    """deploy/NAME is one of its pods, and with --pick all each of them."""
    names = wait_known(cluster, shop)
    (one,) = pods_of(captured(cluster, f"deploy/{shop}"))
    assert one in names
    every = captured(cluster, f"deploy/{shop}", "--pick", "all")
    assert pods_of(every) == dict.fromkeys(names, BOTH)


def test_by_labels(cluster, shop):
    """-l is every pod of the label, by what agents report and by what the cluster says."""
    names = wait_known(cluster, shop)
    for more in ((), ("--strategy", "k8s", "-l", "app!=reports")):
        assert pods_of(captured(cluster, "-l", f"app={shop}", *more)) == dict.fromkeys(names, BOTH)


def test_python(cluster, python_shop):
    """A Python service that was injected is captured by its hook."""
    (name,) = wait_known(cluster, python_shop)
    assert pods_of(captured(cluster, f"deploy/{python_shop}")) == {name: BOTH}


def test_attached(cluster, bare_shop):
    """An unprepared pod gets an agent, is captured and goes on; the agent has ended."""
    name = only_pod(cluster, bare_shop)["metadata"]["name"]
    words = ("attach", name, "--namespace", cluster.services)
    refused = cluster.run("capture", f"pod/{name}", *words[2:], "-t", "1s", check=False)
    assert refused.returncode == 4, refused.stderr
    assert f"memwatchctl attach {name}" in refused.stderr

    shown = cluster.run("-o", "json", *words, "--dry-run")
    assert json.loads(shown.stdout)["patch"]["spec"]["ephemeralContainers"]
    assert not only_pod(cluster, bare_shop)["spec"].get("ephemeralContainers")

    done = cluster.run("-o", "json", *words, "--timeframe", "2s")
    session = json.loads(done.stdout)["session"]
    assert session["state"] == "SESSION_STATE_SUCCEEDED"
    assert pods_of(session) == {name: BOTH}

    def ended():
        (agent,) = only_pod(cluster, bare_shop)["status"]["ephemeralContainerStatuses"]
        return agent["state"].get("terminated")

    wait_until(ended, 120, "the attached agent to end")
    pod = only_pod(cluster, bare_shop)
    assert (pod["metadata"]["name"], restarts(pod, "app")) == (name, 0)
    assert name in cluster.serving(bare_shop)


def test_attached_agent_is_found_by_labels(cluster, bare_shop):
    """An agent that was attached and kept reports the pod's labels."""
    name = only_pod(cluster, bare_shop)["metadata"]["name"]
    kept = cluster.run("-o", "json", "attach", name, "-n", cluster.services, "--keep")
    assert json.loads(kept.stdout)["agent_id"]
    assert pods_of(captured(cluster, "-l", f"app={bare_shop}")) == {name: BOTH}


def test_agent_killed_while_capturing(cluster, attached_shop):
    """The agent is killed -9 between two snapshots: it comes back, and the session succeeds."""
    (name,) = wait_known(cluster, attached_shop)
    words = ("-o", "json", "capture", f"pod/{name}", "-n", cluster.services, "--timeframe", "20s")
    running = subprocess.Popen(
        with_parent(cluster.ctl(*words)),
        env=cluster.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def waiting():
        listed = json.loads(cluster.run("-o", "json", "sessions", "list").stdout)["sessions"]
        return "SESSION_STATE_WAITING" in {session["state"] for session in listed}

    try:
        wait_until(waiting, 120, "the session to wait for its second snapshot")
        python = "/opt/memwatch/bin/python"
        kill = ("exec", name, "-c", AGENT, "--", python, "-I", "-c", KILL)
        cluster.kubectl(*kill, check=False)  # it ends with the container

        def again():
            return restarts(only_pod(cluster, attached_shop), AGENT, "initContainerStatuses")

        wait_until(again, 120, "the agent to be started again")
        out, errors = running.communicate(timeout=400)
    finally:
        running.kill()
    assert running.returncode == 0, errors
    assert pods_of(json.loads(out)["session"]) == {name: BOTH}
    pod = only_pod(cluster, attached_shop)
    assert restarts(pod, "app") == 0
    assert name in cluster.serving(attached_shop)


def diagnosed(cluster):
    """The exit code of doctor, and its checks by name."""
    done = cluster.run("-o", "json", "doctor", "--namespace", cluster.services, check=False)
    checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    return done.returncode, checks


def webhooks(cluster):
    """The webhook's pods."""
    label = "app.kubernetes.io/component=webhook"
    return cluster.get("pods", "-l", label, namespace=cluster.own)["items"]


def test_doctor(cluster, shop, python_shop):
    """All is in order; then the webhook is away: doctor names it, and the pod that lacks it."""
    wait_known(cluster, shop, python_shop)
    code, checks = diagnosed(cluster)
    assert code == 0, checks
    for name in ("cluster", "rights", "webhook", "certificate", "injection", "store"):
        assert checks[name]["state"] == "ok", checks[name]

    told, webhook = cluster.settings, "deployment/memwatch-webhook"
    late = manifests("late", told.node_image, told.pull_policy, 1, "node", INJECTED)
    cluster.kubectl("scale", webhook, "--replicas=0", namespace=cluster.own)
    try:
        wait_until(lambda: not webhooks(cluster), 120, "the webhook to be away")
        cluster.apply(late)
        cluster.rolled_out("deployment/late")
        code, checks = diagnosed(cluster)
        assert code == 1
        assert "the webhook cannot be called" in checks["webhook"]["message"]
        (lacking,) = checks["injection"]["subjects"]
        assert lacking.startswith(f"{cluster.services}/late-")
    finally:
        cluster.kubectl("scale", webhook, "--replicas=2", namespace=cluster.own)
        cluster.kubectl("delete", "deployment/late", "--ignore-not-found", "--wait=false")
        cluster.rolled_out(webhook, cluster.own)
