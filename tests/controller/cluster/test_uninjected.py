"""Pods without the agent that they ask for, each with the reason."""

from memwatch_controller.cluster.pods import Pod
from memwatch_controller.cluster.uninjected import uninjected
from tests.controller.injection.test_patch import SETTINGS, patched, pod


def running(name, made, namespace="shop"):
    """A pod of a name that runs."""
    about = {**made["metadata"], "name": name, "namespace": namespace, "uid": name}
    return Pod({**made, "metadata": about, "status": {"phase": "Running"}})


def test_reasons():
    """Only running pods that ask and lack it are named, outside the namespaces left alone."""
    pods = [
        running("fine", patched(pod(), SETTINGS)[0]),
        running("silent", pod({"memwatch.dev/inject": "no"})),
        running("late", pod()),
        running("host", pod(hostNetwork=True)),
        running("garbled", pod({"memwatch.dev/inject": "perhaps"})),
        running("system", pod(), "kube-system"),
    ]
    found = uninjected(pods, ("kube-system",))
    assert list(found) == ["shop/late", "shop/host", "shop/garbled"]
    assert "no webhook answered" in found["shop/late"]
    assert "its node's network" in found["shop/host"]
    assert 'write "true" or "false"' in found["shop/garbled"]
