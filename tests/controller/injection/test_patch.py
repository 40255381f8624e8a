"""Pods in, pods out: every patched pod is valid, restricted, and patched once."""

import base64
import copy
import json
from dataclasses import replace

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller.injection import parts, patch, reviews, wishes
from tests.support.kubernetes_schemas import complaint
from tests.support.pod_security import violations

SETTINGS = parts.Settings("0.1.0", "memwatch/agent:0.1.0", "memwatch/init:0.1.0", "mw.mw:9466")
CLASSIC = parts.Settings(
    "0.1.0", "memwatch/agent:0.1.0", "memwatch/init:0.1.0", "mw.mw:9466", native_sidecar=False
)
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(annotations=None, *, containers=None, labels=None, **spec):
    """A pod that asks for the agent."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web-7d9f",
            "labels": labels or {"app": "web"},
            "annotations": {"memwatch.dev/inject": "true", **(annotations or {})},
        },
        "spec": {"containers": containers or [container()], **spec},
    }


def container(name="app", **more):
    """A container of a service, as the restricted standard wants it."""
    context = {**RESTRICTED, "runAsUser": 1000}
    return {"name": name, "image": "shop:1", "securityContext": context, **more}


def review(made, **more):
    """The AdmissionReview of a pod."""
    request = {
        "uid": "705ab4f5",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "shop",
        "object": made,
        **more,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def patched(made, settings=SETTINGS):
    """The pod after the webhook, and the warnings."""
    response = reviews.answer(review(made), settings)["response"]
    assert response["allowed"] is True
    assert response["uid"] == "705ab4f5"
    operations = json.loads(base64.b64decode(response.get("patch", "W10=")))
    return jsonpatch.apply_patch(made, operations), response.get("warnings", [])


def env_of(made, index=0):
    """The variables of a container, the last of a name."""
    return {v["name"]: v.get("value") for v in made["spec"]["containers"][index].get("env", [])}


def names(made, where):
    """The names of a pod's containers."""
    return [container["name"] for container in made["spec"].get(where, [])]


NODE, PYTHON = patch.NODE_OPTIONS, patch.PYTHONPATH

#: By name: pods that get the agent, and what the main container's hook variables are then.
SHAPES = {
    "plain": (pod(), (NODE, PYTHON)),
    "node only": (pod({"memwatch.dev/runtime": "node"}), (NODE, None)),
    "python only": (pod({"memwatch.dev/runtime": "python"}), (None, PYTHON)),
    "with options": (
        pod(containers=[container(env=[{"name": "NODE_OPTIONS", "value": "--max-old-space=99"}])]),
        (f"{NODE} --max-old-space=99", PYTHON),
    ),
    "with a path": (
        pod(containers=[container(env=[{"name": "PYTHONPATH", "value": "/app:/lib"}])]),
        (NODE, f"{PYTHON}:/app:/lib"),
    ),
    "with an empty option": (
        pod(containers=[container(env=[{"name": "NODE_OPTIONS", "value": ""}])]),
        (NODE, PYTHON),
    ),
    "with an option twice": (
        pod(
            containers=[
                container(
                    env=[
                        {"name": "NODE_OPTIONS", "value": "--first"},
                        {"name": "NODE_OPTIONS", "value": "--last"},
                    ]
                )
            ]
        ),
        (f"{NODE} --last", PYTHON),
    ),
    "with an option from elsewhere": (
        pod(
            containers=[
                container(
                    env=[
                        {
                            "name": "NODE_OPTIONS",
                            "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}},
                        }
                    ]
                )
            ]
        ),
        (None, PYTHON),
    ),
    "with volumes": (
        pod(
            containers=[container(volumeMounts=[{"name": "data", "mountPath": "/data"}])],
            volumes=[{"name": "data", "emptyDir": {}}],
        ),
        (NODE, PYTHON),
    ),
    "with init containers": (pod(initContainers=[container("migrate")]), (NODE, PYTHON)),
    "with a sidecar": (
        pod(initContainers=[container("proxy", restartPolicy="Always")]),
        (NODE, PYTHON),
    ),
    "second container": (
        pod(
            {"memwatch.dev/containers": "app"},
            containers=[container("proxy"), container("app")],
        ),
        (None, None),
    ),
    "default container": (
        pod(
            {"kubectl.kubernetes.io/default-container": "app"},
            containers=[container("proxy"), container("app")],
        ),
        (None, None),
    ),
    "both containers": (
        pod(
            {"memwatch.dev/containers": "app, worker"},
            containers=[container("app"), container("worker")],
        ),
        (NODE, PYTHON),
    ),
    "attach": (pod({"memwatch.dev/hook": "false"}), (None, None)),
    "attach, shared already": (
        pod({"memwatch.dev/hook": "false"}, shareProcessNamespace=True),
        (None, None),
    ),
    "pod's user": (
        pod(
            containers=[container(securityContext=RESTRICTED)],
            securityContext={"runAsUser": 2000, "runAsGroup": 3000, "fsGroup": 4000},
        ),
        (NODE, PYTHON),
    ),
    "no user": (pod(containers=[container(securityContext=RESTRICTED)]), (NODE, PYTHON)),
    "resources": (
        pod(
            {
                "memwatch.dev/resources-cpu-request": "50m",
                "memwatch.dev/resources-memory-limit": "512Mi",
                "memwatch.dev/resources-spool": "10Gi",
            }
        ),
        (NODE, PYTHON),
    ),
    "evictable": (
        pod({"cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": "data"}),
        (NODE, PYTHON),
    ),
    "job": (pod(restartPolicy="Never"), (NODE, PYTHON)),
    "hostile labels": (
        pod(labels={"app": "web", "a": "x", "team": "a.b-c_d"}),
        (NODE, PYTHON),
    ),
    "no labels": (pod(labels={"k8s-app": "web"}), (NODE, PYTHON)),
    "written yes": (pod({"memwatch.dev/inject": "Yes"}), (NODE, PYTHON)),
    "read-only": (
        pod(
            containers=[
                container(
                    securityContext={**RESTRICTED, "runAsUser": 7, "readOnlyRootFilesystem": True}
                )
            ]
        ),
        (NODE, PYTHON),
    ),
    "node selector": (pod(nodeSelector={"kubernetes.io/os": "linux"}), (NODE, PYTHON)),
}


@pytest.mark.parametrize("settings", [SETTINGS, CLASSIC], ids=["native", "classic"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shape(shape, settings):
    """Each shape of pod gets the agent once, valid, restricted and with the hook's variables."""
    made, expected = SHAPES[shape]
    out, _ = patched(made, settings)

    where = "initContainers" if settings.native_sidecar else "containers"
    assert names(out, where).count("memwatch-agent") == 1
    assert (env_of(out).get("NODE_OPTIONS"), env_of(out).get("PYTHONPATH")) == expected
    assert complaint(out) == ""
    assert violations(out["spec"], "memwatch-") == []
    assert out["metadata"]["annotations"]["memwatch.dev/injected"] == "0.1.0"
    assert patched(out, settings) == (out, [])  # a second call changes nothing
    assert untouched(made, out)


def untouched(before, after):
    """Whether everything that a pod had is still there, in its order."""
    if isinstance(before, dict):
        return all(key in after and untouched(value, after[key]) for key, value in before.items())
    if isinstance(before, list):
        rest = iter(after)
        return all(any(untouched(one, other) for other in rest) for one in before)
    return before == after or str(before) in str(after)


def test_order():
    """The hooks are copied first, then the agent starts, then the pod's own init containers."""
    out, _ = patched(pod(initContainers=[container("migrate")]))
    assert names(out, "initContainers") == ["memwatch-hooks", "memwatch-agent", "migrate"]


def test_agent_never_delays():
    """The sidecar has a startup probe that a broken agent passes too, and no readiness probe."""
    out, _ = patched(pod())
    agent = out["spec"]["initContainers"][1]
    assert agent["restartPolicy"] == "Always"
    assert agent["startupProbe"]["exec"]["command"][-1] == "memwatch_agent.started"
    assert "readinessProbe" not in agent
    assert agent["args"] == ["--stay"]


def test_same_user():
    """The agent runs as the service does, of the container before the pod."""
    out, _ = patched(SHAPES["pod's user"][0])
    context = out["spec"]["initContainers"][1]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (2000, 3000)


def test_user_that_is_not_told():
    """A pod without a user is warned that the agent may not reach the service."""
    _, warnings = patched(SHAPES["no user"][0])
    assert warnings == [text for text in warnings if "runAsUser" in text] != []


def test_root_service():
    """Beside a service of root the agent is root too, and does not claim otherwise."""
    out, _ = patched(pod(containers=[container(securityContext={"runAsUser": 0})]))
    context = out["spec"]["initContainers"][1]["securityContext"]
    assert (context["runAsUser"], context["runAsNonRoot"]) == (0, False)


def test_option_from_elsewhere_is_told():
    """A variable that cannot be added to is named, with what to add."""
    _, warnings = patched(SHAPES["with an option from elsewhere"][0])
    assert any("NODE_OPTIONS of container app" in text for text in warnings)


def test_attach_shares_processes():
    """Only the attach mode shares the process namespace, and puts nothing into the service."""
    made, _ = SHAPES["attach"]
    out, _ = patched(made)
    assert out["spec"]["shareProcessNamespace"] is True
    assert out["spec"]["containers"] == made["spec"]["containers"]
    assert "shareProcessNamespace" not in patched(pod())[0]["spec"]


def test_resources():
    """The annotations change the agent's resources and its spool."""
    out, _ = patched(SHAPES["resources"][0])
    resources = out["spec"]["initContainers"][1]["resources"]
    assert resources["requests"] == {"cpu": "50m", "memory": "96Mi"}
    assert resources["limits"] == {"memory": "512Mi"}
    spool = next(v for v in out["spec"]["volumes"] if v["name"] == "memwatch-spool")
    assert spool["emptyDir"]["sizeLimit"] == "10Gi"


def test_secret_is_optional():
    """A namespace without the token's secret keeps no pod from starting."""
    out, _ = patched(pod())
    token = next(
        v for v in out["spec"]["initContainers"][1]["env"] if v["name"] == "MEMWATCH_TOKEN"
    )
    assert token["valueFrom"]["secretKeyRef"]["optional"] is True


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (pod(hostNetwork=True), "its node's network"),
        (pod({"kubernetes.io/config.mirror": "x"}), "mirrors a static pod"),
        (pod(os={"name": "windows"}), "another system than Linux"),
        (pod(volumes=[{"name": "memwatch-run", "emptyDir": {}}]), "a volume of its own"),
        (pod({"memwatch.dev/containers": "nosuch"}), "there is no container nosuch; there is app"),
        (
            pod({"memwatch.dev/hook": "no"}, shareProcessNamespace=False),
            "forbids a shared process namespace",
        ),
        (pod({"memwatch.dev/inject": "perhaps"}), 'write "true" or "false"'),
        (pod({"memwatch.dev/runtime": "ruby"}), "it is none of auto, node, python"),
        (pod({"memwatch.dev/resources-cpu-request": "lots"}), "it is no quantity"),
        (pod({"memwatch.dev/resources-gpu": "1"}), "there is no such annotation"),
    ],
)
def test_refusal(made, said):
    """A pod that cannot have the agent starts as it is, and its maker is told why."""
    out, warnings = patched(copy.deepcopy(made))
    assert out == made
    assert len(warnings) == 1
    assert said in warnings[0]


@pytest.mark.parametrize(
    "more",
    [
        {"operation": "UPDATE"},
        {"namespace": "kube-system"},
        {"kind": {"kind": "Deployment"}},
        {"object": None},
        {"object": {"metadata": {"annotations": {}}}},
        {"object": {"metadata": None, "spec": None}},
    ],
)
def test_not_meant(more):
    """What is no new pod that asks, or is of the system, is let through without a word."""
    response = reviews.answer(review(pod(), **more), SETTINGS)["response"]
    assert response == {"uid": "705ab4f5", "allowed": True}


@pytest.mark.parametrize("body", [None, [], {}, {"request": None}, {"request": {"uid": 7}}])
def test_no_review(body):
    """A body that is no AdmissionReview is an error, since there is nothing to answer."""
    with pytest.raises(reviews.ReviewError):
        reviews.answer(body, SETTINGS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.data())
def test_any_pod(data):
    """A pod of any form is let in, whatever stands where something else belongs."""
    made = copy.deepcopy(data.draw(st.sampled_from([shape for shape, _ in SHAPES.values()])))
    holder, key = data.draw(st.sampled_from(list(places(made))))
    holder[key] = data.draw(JSON)
    response = reviews.answer(review(made), SETTINGS)["response"]
    assert response["allowed"] is True


def places(value):
    """Every place of a document that can be replaced."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


@given(st.dictionaries(st.text(), st.text()))
def test_any_annotations(annotations):
    """Annotations that are not ours ask for nothing, whatever they say."""
    assert wishes.wish_of({"metadata": {"annotations": annotations}}) is None


@given(st.text())
def test_any_value(text):
    """A value that cannot be followed is refused by its annotation's name."""
    made = pod({"memwatch.dev/resources-spool": text, "memwatch.dev/runtime": "node"})
    _, warnings = patched(made)
    assert all("memwatch.dev/resources-spool" in warning for warning in warnings)


@pytest.mark.parametrize("labels", [None, {"app": "web"}])
@pytest.mark.parametrize("gates", [None, [{"conditionType": "example.dev/ready"}]])
def test_readiness_gate(labels, gates):
    """Where the webhook looks after gates, a pod that asks gets one, once, beside its own."""
    made = pod(**({"readinessGates": gates} if gates else {}))
    made["metadata"]["annotations"]["memwatch.dev/isolate"] = "readiness"
    made["metadata"].pop("labels", None)
    if labels:
        made["metadata"]["labels"] = labels
    keeping = replace(SETTINGS, gates=True)
    out, warnings = patched(made, keeping)

    ours = {"conditionType": "memwatch.dev/in-rotation"}
    assert out["spec"]["readinessGates"] == [*(gates or []), ours]
    assert out["metadata"]["labels"] == {**(labels or {}), "memwatch.dev/gated": "true"}
    assert complaint(out) == ""
    assert patched(out, keeping)[0] == out
    assert not [text for text in warnings if "gate" in text]


def test_readiness_gate_that_nobody_looks_after():
    """A webhook that does not look after gates adds none: the pod would never be ready."""
    made = pod()
    made["metadata"]["annotations"]["memwatch.dev/isolate"] = "readiness"
    out, warnings = patched(made)

    assert "readinessGates" not in out["spec"]
    assert [text for text in warnings if "readiness gates are switched off" in text]
