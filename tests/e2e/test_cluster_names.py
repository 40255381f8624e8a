"""Captures by cluster names: real controller, agent and command line; a FAKE API server.

What a kubelet would do is played: the ephemeral container's environment starts a real agent.
"""

import json
import os
import subprocess
import sys
import threading

import pytest

from memwatch_controller.cluster.resources import PODS
from tests.fakes.kubernetes import FakeKubernetes, pod, workload
from tests.support.processes import running, wait_until
from tests.support.runtimes import any_node
from tests.support.stack import Stack, program_env, unique

pytestmark = pytest.mark.e2e

APP = "setInterval(() => {}, 1000); console.log('up')"


class Kubelet:
    """Starts an agent for each ephemeral container, and tells the fake how it is."""

    def __init__(self, fake, stack):
        self.fake, self.stack, self.pid = fake, stack, 0
        self.processes = []
        fake.objects.on_change.append(self.changed)

    def changed(self, kind, found):
        containers = (found.get("spec") or {}).get("ephemeralContainers") or []
        if kind == "MODIFIED" and len(containers) > len(self.processes):
            self.processes.append(None)
            threading.Thread(target=self.start, args=(found, containers[-1]), daemon=True).start()

    def start(self, found, container):
        about = found["metadata"]
        fields = {"metadata.name": about["name"], "metadata.namespace": about["namespace"]}
        fields |= {"metadata.uid": about["uid"], "status.podIP": "127.0.0.1"}
        env = {}
        for one in container["env"]:
            source = one.get("valueFrom") or {}
            path = (source.get("fieldRef") or {}).get("fieldPath")
            env[one["name"]] = one.get("value", fields.get(str(path), ""))
        env["MEMWATCH_TOKEN"] = self.stack.token
        env["MEMWATCH_AGENT_STATE_DIR"] = str(self.stack.folder / "attached")
        address = f"unix:{self.stack.folder}/attached.sock"
        env |= {"MEMWATCH_AGENT_LISTEN": address, "MEMWATCH_AGENT_ADVERTISE": address}
        process = subprocess.Popen(
            [sys.executable, "-m", "memwatch_agent", *container["args"], "--pid", str(self.pid)],
            env={**os.environ, **program_env(), **env},
            stdin=subprocess.DEVNULL,
        )
        self.processes[-1] = process


def test_capture_attach_and_doctor_in_a_cluster(folder):
    """A pod without an agent is refused, attached to, captured, and its agent has ended."""
    service = unique("shop")
    with FakeKubernetes() as fake:
        config = fake.kubeconfig(folder)
        stack = Stack(
            folder,
            controller_arguments=[
                *("--cluster", str(config), "--attach-image", "registry.example/agent:1"),
                *("--attach-controller", f"unix:{folder}/c.sock"),
            ],
        )
        web = fake.objects.put(workload("StatefulSet", "web"))
        container = {"name": "app", "image": "a:1", "securityContext": {"runAsUser": os.getuid()}}
        made = pod("web-0", labels={"app": service}, owner=web, containers=[container])
        made["metadata"]["labels"]["app"] = "web"
        made["metadata"]["labels"]["app.kubernetes.io/name"] = service
        fake.objects.put(made)
        log, kubelet = folder / "app.log", Kubelet(fake, stack)
        try:
            stack.start_controller()
            env = {"NODE_OPTIONS": "--inspect-port=0"}
            with running([str(any_node()), "-e", APP], env=env, log=log) as app:
                wait_until(lambda: "up" in log.read_text(), 60, "the app to be up")
                kubelet.pid = app.pid
                refused = stack.ctl("capture", "sts/web", "-n", "shop", "-t", "1s", check=False)
                assert refused.returncode == 4, refused.stderr
                assert "memwatchctl attach web-0 -n shop" in refused.stderr
                kept = stack.ctl("attach", "web-0", "-n", "shop", "--keep", "-o", "json")
                agent_id = json.loads(kept.stdout)["agent_id"]
                done = stack.ctl("capture", "sts/web", "-n", "shop", "-t", "1s", "-o", "json")
                session = json.loads(done.stdout)["session"]
                assert session["state"] == "SESSION_STATE_SUCCEEDED"
                target = session["targets"][0]["target"]
                assert (target["pod"], target["agent_id"]) == ("web-0", agent_id)
                assert (
                    target["pod_uid"] == fake.objects.get(PODS, "web-0", "shop")["metadata"]["uid"]
                )
                wrong = stack.ctl("doctor", "-n", "shop", "-o", "json", check=False)
                checks = {one["name"]: one for one in json.loads(wrong.stdout)["checks"]}
                assert checks["cluster"]["message"] == "the API server is v1.36.0-fake"
                assert checks["rights"]["state"] == "ok"
                with stack.channel() as (channel, metadata):
                    from memwatch_proto.v1 import clusters_pb2, clusters_pb2_grpc

                    clusters_pb2_grpc.ClusterServiceStub(channel).DetachAgent(
                        clusters_pb2.DetachAgentRequest(agent_id=agent_id), metadata=metadata
                    )
                assert kubelet.processes[0].wait(60) == 0
        finally:
            stack.stop()
            for process in kubelet.processes:
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
