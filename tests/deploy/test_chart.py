"""The Helm chart: what it renders for each option, and what it refuses. Nothing is installed."""

import functools
import json
import subprocess
from typing import Any

import pytest
import yaml

from deploy.kubernetes import render
from memwatch_controller import settings, webhook_settings, worker_settings
from memwatch_controller.cluster.rights import Mode, rules_of
from memwatch_proto import __version__
from tests.support import runtimes
from tests.support.kubernetes_schemas import complaint
from tests.support.pod_security import violations

HELM = str(runtimes.helm() or "")
CHART = runtimes.ROOT / "deploy" / "helm" / "memwatch"

pytestmark = pytest.mark.skipif(not HELM, reason="helm is not installed; run make test")

EXTERNAL = {
    "database": {"url": "postgresql://memwatch@db/memwatch"},
    "blobs": {"url": "s3://snapshots/memwatch", "existingSecret": "aws"},
}
PLACED = {
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "memwatch", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "podAnnotations": {"team": "platform"},
}
MODES: dict[str, Any] = {
    "targets": True,
    "attach": True,
    "watchdog": True,
    "isolate": {"readiness": True, "detach": True},
}
NO_MODES: dict[str, Any] = {
    "targets": False,
    "attach": False,
    "watchdog": False,
    "isolate": {"readiness": False, "detach": False},
}

#: By name: values, so that together every option is used once.
OPTIONS: dict[str, Any] = {
    "defaults": {},
    "names": {"nameOverride": "mw", "fullnameOverride": "leaks"},
    "images": {
        "images": {
            "registry": "registry.example.com/",
            "pullPolicy": "Never",
            "pullSecrets": ["regcred"],
            "tag": "2",
            "agent": {"repository": "our/agent", "tag": "3"},
            "init": {"digest": "sha256:" + "a" * 64},
        }
    },
    "namespaces": {"namespaces": ["shop", "pay"], "modes": MODES},
    "modes": {"modes": MODES},
    "no modes": {"modes": NO_MODES},
    "api server": {"kubernetes": {"apiServer": "[fd00::1]:6443"}},
    "token of one's own": {"token": {"existingSecret": "ours", "key": "bearer"}},
    "token for others": {"token": {"namespaces": ["shop", "pay"]}},
    "elsewhere": {"controller": {**EXTERNAL, **PLACED, "scratchSize": "9Gi"}},
    "secret elsewhere": {
        "controller": {"database": {"existingSecret": "db", "key": "uri"}},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}},
    },
    "workers": {"controller": EXTERNAL, "workers": {"replicas": 3, "analyses": 2, **PLACED}},
    "claim": {"controller": {"storage": {"existingClaim": "data"}}},
    "storage": {"controller": {"storage": {"size": "1Ti", "storageClass": "fast"}}},
    "controller": {
        "controller": {
            "retention": {"days": 0, "snapshots": 10_000_000, "gib": 1_000_000},
            "sessions": 100_000,
            "captures": 4,
            "capturesPerService": 2,
            "analyses": 2,
            "logLevel": "debug",
            "extraArgs": ["--retry-seconds=9"],
            "extraEnv": [{"name": "AWS_REGION", "value": "eu-1"}],
            "service": {"type": "LoadBalancer", "annotations": {"internal": "true"}},
            "resources": {"limits": {"memory": "8Gi", "cpu": 2}},
        }
    },
    "fixed address": {"controller": {"service": {"clusterIP": "10.96.7.7"}}},
    "explicit address": {"controller": {"address": "10.0.0.9:30466"}},
    "no dns": {"controller": {"addressFrom": "clusterIP"}},
    "no webhook": {"webhook": {"enabled": False}},
    "webhook": {
        "webhook": {
            **PLACED,
            "replicas": 1,
            "failurePolicy": "Fail",
            "timeoutSeconds": 2,
            "logLevel": "error",
            "excludeNamespaces": ["istio-system"],
            "namespaceSelector": {
                "matchLabels": {"team": "shop"},
                "matchExpressions": [{"key": "memwatch", "operator": "Exists"}],
            },
        },
        "agent": {"sidecar": "classic", "spoolSize": "9Gi", "fallbackUser": 1000},
    },
    "cert-manager": {"webhook": {"certificate": {"from": "certManager"}}},
    "cert-manager's issuer": {
        "webhook": {
            "certificate": {
                "from": "certManager",
                "issuer": {"name": "ca", "kind": "ClusterIssuer", "group": "cert-manager.io"},
            }
        }
    },
    "own certificate": {
        "webhook": {"certificate": {"from": "secret", "secret": "tls", "caBundle": "QUJD"}}
    },
    "network": {
        "networkPolicy": {
            "enabled": True,
            "clients": [{"podSelector": {"matchLabels": {"app": "ingress"}}}],
        },
        "controller": EXTERNAL,
        "workers": {"replicas": 1},
    },
    "network of some": {"networkPolicy": {"enabled": True}, "namespaces": ["shop"]},
    "no budget": {"podDisruptionBudget": {"enabled": False}},
    "monitoring": {
        "controller": EXTERNAL,
        "workers": {"replicas": 1},
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "p"}, "interval": "10s"},
            "podMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True, "labels": {"grafana_dashboard": "2"}},
        },
    },
}

#: Kinds that no Kubernetes server has by itself.
FOREIGN = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "Issuer", "Certificate"}


def helm(values, *flags):
    """What `helm template` says to values, as a finished process."""
    command = [HELM, "template", "memwatch", CHART, "--namespace=memwatch", "--values=-", *flags]
    return subprocess.run(
        command, input=json.dumps(values), capture_output=True, text=True, check=False
    )


@functools.cache
def rendered(option, kubernetes="1.33.0"):
    """The objects of an option, by kind and name."""
    done = helm(OPTIONS[option], f"--kube-version={kubernetes}")
    assert done.returncode == 0, done.stderr
    made = [document for document in yaml.load_all(done.stdout, yaml.CSafeLoader) if document]
    return {(one["kind"], one["metadata"]["name"]): one for one in made}


def pods(objects):
    """The pod templates among objects, by name."""
    return {
        name: one["spec"]["template"]
        for (_, name), one in objects.items()
        if one["kind"] in ("Deployment", "StatefulSet")
    }


def container_of(objects, name):
    """The one container of a pod."""
    (container,) = pods(objects)[name]["spec"]["containers"]
    return container


@pytest.mark.parametrize("option", OPTIONS)
def test_option(option):
    """Each option renders objects that a strict server takes, whose pods are restricted."""
    objects = rendered(option)
    for (kind, name), made in objects.items():
        if kind not in FOREIGN:
            assert complaint(made) == "", f"{kind} {name}"
    for name, pod in pods(objects).items():
        assert violations(pod["spec"]) == [], name
        assert pod["spec"]["containers"][0]["startupProbe"], name


@pytest.mark.parametrize("version", ["1.25", "1.28", "1.36"])
def test_version_of_the_server(version):
    """Older servers get a classic sidecar and no fields that they do not know."""
    objects = rendered("defaults", f"{version}.0")
    assert [text for one in objects.values() if (text := complaint(one, version))] == []
    sidecar = "native" if version == "1.36" else "classic"
    assert f"--sidecar={sidecar}" in container_of(objects, "memwatch-webhook")["args"]


@pytest.mark.parametrize("option", OPTIONS)
def test_programs_take_their_flags(option):
    """Our programs accept every command line that the chart writes."""
    objects = rendered(option)
    for pod in pods(objects).values():
        (container,) = pod["spec"]["containers"]
        env = {v["name"]: v.get("value", "postgresql://x") for v in container["env"]}
        args = [arg.replace("$(MEMWATCH_SERVICE_HOST)", "10.96.0.9") for arg in container["args"]]
        match args[0]:
            case "worker":
                worker_settings.parse(args[1:], env, "w")
            case "webhook":
                webhook_settings.parse(args[1:], {**env, "POD_NAMESPACE": "memwatch"})
            case _:
                settings.parse(args, env, "c")


def test_kinds():
    """SQLite is on a volume of a StatefulSet; with all elsewhere a Deployment replaces itself."""
    controller = rendered("defaults")["StatefulSet", "memwatch-controller"]
    (claim,) = controller["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    elsewhere = rendered("elsewhere")["Deployment", "memwatch-controller"]
    assert elsewhere["spec"]["strategy"] == {"type": "Recreate"}
    assert ("StatefulSet", "memwatch-controller") in rendered("secret elsewhere")


def test_workers_have_the_analyses():
    """With workers the controller does no analyses, and both read one database and store."""
    objects = rendered("workers")
    controller = container_of(objects, "memwatch-controller")
    worker = container_of(objects, "memwatch-worker")
    assert "--analysis-workers=0" in controller["args"]
    assert [v for v in controller["env"] if v in worker["env"]][-2:] == worker["env"][-2:]
    assert controller["envFrom"] == worker["envFrom"]


@pytest.mark.parametrize(
    ("option", "address"),
    [
        ("defaults", "memwatch.memwatch.svc:9466"),
        ("names", "leaks.memwatch.svc:9466"),
        ("fixed address", "10.96.7.7:9466"),
        ("explicit address", "10.0.0.9:30466"),
        ("no dns", "$(MEMWATCH_SERVICE_HOST):9466"),
    ],
)
def test_address_of_the_controller(option, address):
    """Agents are told a name, or where there is no DNS an address."""
    objects = rendered(option)
    (webhook,) = (pod for name, pod in pods(objects).items() if name.endswith("webhook"))
    assert f"--controller={address}" in webhook["spec"]["containers"][0]["args"]
    assert webhook["spec"]["enableServiceLinks"] == (option == "no dns")


def test_images():
    """Registry, tag, digest and pull policy reach our pods and those that the webhook patches."""
    webhook = container_of(rendered("images"), "memwatch-webhook")
    assert webhook["image"] == "registry.example.com/memwatch/controller:2"
    assert webhook["imagePullPolicy"] == "Never"
    assert {
        "--agent-image=registry.example.com/our/agent:3",
        "--init-image=registry.example.com/memwatch/init@sha256:" + "a" * 64,
        "--pull-policy=Never",
    } <= set(webhook["args"])


def test_cluster_is_told():
    """The controller knows its cluster where a mode is on, and for attaching what pods get."""
    values = {"modes": {"attach": True}, **OPTIONS["images"], **OPTIONS["no dns"]}
    done = helm(values)
    objects = yaml.load_all(done.stdout, yaml.CSafeLoader)
    (made,) = (one for one in objects if one and one["kind"] == "StatefulSet")
    spec = made["spec"]["template"]["spec"]
    env = {v["name"]: v.get("value") for v in spec["containers"][0]["env"]}
    told = {
        name.removeprefix("MEMWATCH_CONTROLLER_"): value
        for name, value in env.items()
        if name.startswith("MEMWATCH_CONTROLLER_")
    }
    assert told == {
        "CLUSTER": "in-cluster",
        "WEBHOOK_NAME": "memwatch-memwatch-webhook",
        "ATTACH_IMAGE": "registry.example.com/our/agent:3",
        "ATTACH_PULL_POLICY": "Never",
        "ATTACH_CONTROLLER": "$(MEMWATCH_SERVICE_HOST):9466",
        "ATTACH_TOKEN_SECRET": "memwatch-token",
        "ATTACH_TOKEN_KEY": "token",
    }
    assert spec["enableServiceLinks"] is True
    named = container_of(rendered("namespaces"), "memwatch-controller")["env"]
    assert {"name": "MEMWATCH_CONTROLLER_NAMESPACES", "value": "shop,pay"} in named
    none = container_of(rendered("no modes"), "memwatch-controller")["env"]
    assert {"name": "MEMWATCH_CONTROLLER_CLUSTER", "value": "off"} in none


def test_token():
    """One token is made, the same in each namespace; a secret of one's own is used as it is."""
    done = helm(OPTIONS["token for others"])
    secrets = [
        one
        for one in yaml.load_all(done.stdout, yaml.CSafeLoader)
        if one and one["kind"] == "Secret" and one["metadata"]["name"] == "memwatch-token"
    ]
    assert [one["metadata"]["namespace"] for one in secrets] == ["memwatch", "shop", "pay"]
    assert len({one["data"]["token"] for one in secrets}) == 1
    assert helm(OPTIONS["token for others"]).stdout != done.stdout

    objects = rendered("token of one's own")
    assert ("Secret", "memwatch-token") not in objects
    webhook = container_of(objects, "memwatch-webhook")
    assert {"--token-secret=ours", "--token-key=bearer"} <= set(webhook["args"])


def granted(objects, account="memwatch-controller"):
    """What an account may do, by the namespace of its role."""
    roles = {}
    for made in objects:
        if made["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            (subject,) = made["subjects"]
            assert subject["namespace"] == "memwatch"
            if subject["name"] == account:
                place = made["metadata"].get("namespace", "")
                roles[made["roleRef"]["kind"], made["roleRef"]["name"], place] = place
    return {
        roles[key]: flat(made["rules"])
        for made in objects
        if (key := (made["kind"], made["metadata"]["name"], made["metadata"].get("namespace", "")))
        in roles
    }


def flat(rules):
    """Each single right of RBAC rules."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


#: By set of modes: what switches them on.
SWITCHES: dict[frozenset[Mode], dict[str, Any]] = {
    frozenset(): {},
    frozenset({Mode.LOOKUP}): {"targets": True},
    frozenset({Mode.ATTACH}): {"attach": True},
    frozenset({Mode.READINESS}): {"isolate": {"readiness": True, "detach": False}},
    frozenset({Mode.DETACH}): {"isolate": {"readiness": False, "detach": True}},
    frozenset({Mode.WATCHDOG}): {"watchdog": True},
    frozenset(Mode) - {Mode.CERTIFICATES}: MODES,
}


@pytest.mark.parametrize("modes", SWITCHES, ids=lambda modes: "+".join(sorted(modes)) or "none")
@pytest.mark.parametrize("namespaces", [[], ["shop", "pay"]], ids=["cluster", "namespaces"])
def test_rights_are_the_table_s(modes, namespaces):
    """Each mode grants exactly what the code's table says: in the named namespaces, or in all."""
    switched = {**NO_MODES, **SWITCHES[modes]}
    values = {"modes": switched, "namespaces": namespaces}
    done = helm(values)
    objects = [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]
    wanted = rules_of(modes)
    services, own, cluster = map(flat, (wanted.services, wanted.own, wanted.cluster))
    expected = {"memwatch": own, **dict.fromkeys(namespaces, services)}
    expected[""] = cluster if namespaces else services | cluster

    assert granted(objects) == {place: rights for place, rights in expected.items() if rights}
    (controller,) = (one for one in objects if one["kind"] == "StatefulSet")
    mounted = controller["spec"]["template"]["spec"]["automountServiceAccountToken"]
    assert mounted == bool(modes)


def test_rights_are_narrow():
    """No mode grants a wildcard, a secret, a command in a container, or a role to itself."""
    every = granted(rendered("modes").values())[""]
    assert not {right for right in every if "*" in "".join(right)}
    named = {resource for _, resource, _ in every}
    assert not named & {"secrets", "pods/exec", "roles", "clusterroles", "serviceaccounts/token"}


def test_webhook_reaches_its_own_things_only():
    """The webhook may change its secret and its configuration, by name, and read nothing else."""
    objects = rendered("defaults")
    (own,) = objects["Role", "memwatch-webhook"]["rules"]
    (cluster,) = objects["ClusterRole", "memwatch-memwatch-webhook"]["rules"]
    assert (own["resourceNames"], own["verbs"]) == (
        ["memwatch-webhook-certificate"],
        ["get", "update"],
    )
    assert (cluster["resourceNames"], cluster["verbs"]) == (
        ["memwatch-memwatch-webhook"],
        ["get", "patch"],
    )
    table = rules_of({Mode.CERTIFICATES})
    assert flat([own]) <= flat(table.own)
    assert flat([cluster]) == flat(table.cluster)
    for option in ("cert-manager", "own certificate"):
        assert ("Role", "memwatch-webhook") not in rendered(option)
        spec = pods(rendered(option))["memwatch-webhook"]["spec"]
        assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("namespaces", [[], ["shop", "pay"]], ids=["cluster", "namespaces"])
def test_webhook_looks_after_gates(namespaces):
    """Where pods get readiness gates the webhook may see pods and open the gates, and no more."""
    values = {"modes": {"isolate": {"readiness": True}}, "namespaces": namespaces}
    values["webhook"] = {"certificate": {"from": "certManager"}}
    done = helm(values)
    objects = [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]
    rights = {("", "pods", "list"), ("", "pods", "watch"), ("", "pods/status", "patch")}
    assert granted(objects, "memwatch-webhook") == dict.fromkeys(namespaces or [""], rights)
    (spec,) = (
        one["spec"]["template"]["spec"]
        for one in objects
        if one["kind"] == "Deployment" and one["metadata"]["name"] == "memwatch-webhook"
    )
    assert spec["automountServiceAccountToken"] is True
    arguments = spec["containers"][0]["args"]
    assert "--readiness-gates=on" in arguments
    named = [one for one in arguments if one.startswith("--namespaces=")]
    assert named == (["--namespaces=shop,pay"] if namespaces else [])


def test_webhook_fails_open():
    """Pods start while the webhook is away; the system's and its own namespace are not asked."""
    (webhook,) = rendered("defaults")["MutatingWebhookConfiguration", "memwatch-memwatch-webhook"][
        "webhooks"
    ]
    assert webhook["failurePolicy"] == "Ignore"
    (selected,) = webhook["namespaceSelector"]["matchExpressions"]
    assert {"kube-system", "memwatch"} < set(selected["values"])
    assert selected["operator"] == "NotIn"
    assert "memwatch.dev/inject" in webhook["matchConditions"][0]["expression"]
    assert "caBundle" not in webhook["clientConfig"]


def test_labels_select():
    """Each service and budget selects the pods of its own part, and of no other."""
    objects = rendered("workers")
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}
    for (kind, name), made in objects.items():
        wanted = {"Service": made["spec"].get("selector") if "spec" in made else None}.get(kind)
        if kind == "PodDisruptionBudget":
            wanted = made["spec"]["selector"]["matchLabels"]
        if wanted:
            chosen = [pod for pod, own in labels.items() if wanted.items() <= own.items()]
            assert len(chosen) == 1, name


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"controler": {}}, "'controler' not allowed"),
        ({"images": {"pullPolicy": "Sometimes"}}, "/images/pullPolicy"),
        ({"images": {"agent": {"digest": "sha256:1"}}}, "/images/agent/digest"),
        ({"namespaces": ["Shop"]}, "/namespaces/0"),
        ({"namespaces": ["a", "a"]}, "/namespaces"),
        ({"namespaces": [f"n{number}" for number in range(51)]}, "/namespaces"),
        ({"modes": {"isolate": True}}, "/modes/isolate"),
        ({"modes": {"exec": True}}, "'exec' not allowed"),
        ({"kubernetes": {"apiServer": "https://10.0.0.1"}}, "/kubernetes/apiServer"),
        ({"controller": {"address": "10.0.0.1"}}, "/controller/address"),
        ({"controller": {"database": {"url": "mysql://db"}}}, "/controller/database/url"),
        ({"controller": {"blobs": {"url": "/data"}}}, "/controller/blobs/url"),
        ({"controller": {"storage": {"size": "big"}}}, "/controller/storage/size"),
        ({"controller": {"captures": 0}}, "/controller/captures"),
        ({"controller": {"retention": {"days": "14"}}}, "/controller/retention/days"),
        ({"webhook": {"replicas": 0}}, "/webhook/replicas"),
        ({"webhook": {"timeoutSeconds": 60}}, "/webhook/timeoutSeconds"),
        ({"webhook": {"certificate": {"from": "vault"}}}, "/webhook/certificate/from"),
        ({"agent": {"sidecar": "new"}}, "/agent/sidecar"),
        ({"agent": {"fallbackUser": "root"}}, "/agent/fallbackUser"),
        ({"monitoring": {"podMonitor": {"interval": "often"}}}, "/podMonitor/interval"),
        ({"workers": {"replicas": 1}}, "cannot start workers: they read snapshots from a store"),
        (
            {"workers": {"replicas": 1}, "controller": {"database": EXTERNAL["database"]}},
            "cannot start workers",
        ),
        ({"webhook": {"certificate": {"from": "secret"}}}, "cannot use a certificate of your own"),
        ({"token": {"existingSecret": "t", "namespaces": ["shop"]}}, "cannot copy a token"),
        (
            {"webhook": {"enabled": False}, "modes": {"isolate": {"readiness": True}}},
            "cannot isolate by readiness without the webhook",
        ),
    ],
)
def test_refused(values, said):
    """Values that mean nothing, or cannot work, are refused by name before anything is sent."""
    done = helm(values)
    assert done.returncode != 0
    assert said in done.stderr


def test_lint():
    """Helm's own linter finds nothing but the missing picture."""
    done = subprocess.run(
        [HELM, "lint", "--strict", CHART], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("[")] == [
        "[INFO] Chart.yaml: icon is recommended"
    ]


def test_version():
    """The chart installs the images of this version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_manifests_are_up_to_date(tmp_path):
    """The plain manifests are what the chart renders: `make manifests` after a change."""
    render.render(HELM, tmp_path)
    for name in render.VARIANTS:
        expected = (tmp_path / name).read_text()
        assert (runtimes.ROOT / "deploy" / "kubernetes" / name).read_text() == expected


def test_monitoring_files():
    """The chart holds the alert rules and dashboards of deploy/, no others and no older."""
    for folder, pattern in (("prometheus", "*.rules.yaml"), ("grafana", "*.json")):
        there = {
            path.name: path.read_bytes()
            for path in (runtimes.ROOT / "deploy" / folder).glob(pattern)
        }
        assert {path.name: path.read_bytes() for path in (CHART / folder).glob("*")} == there


def test_lent(tmp_path):
    """What issue rules and dashboards are made of is copied, and what is gone goes."""
    (tmp_path / "deploy" / "grafana").mkdir(parents=True)
    (tmp_path / "deploy" / "grafana" / "memory.json").write_text("{}")
    chart = tmp_path / "chart"
    (chart / "prometheus").mkdir(parents=True)
    (chart / "prometheus" / "old.rules.yaml").touch()
    render.lend(chart, tmp_path / "deploy")
    left = [str(path.relative_to(chart)) for path in chart.rglob("*") if path.is_file()]
    assert left == ["grafana/memory.json"]
