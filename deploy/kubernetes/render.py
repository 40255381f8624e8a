"""Renders the chart to plain manifests for `kubectl apply`, and lends it the monitoring files.

    render.py HELM           writes deploy/kubernetes/*.yaml
    render.py HELM FOLDER    writes them there, for a comparison

What Helm alone would use (its labels, a token of its making) is left out.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CHART = HERE.parent / "helm" / "memwatch"

#: The server that the manifests are written for: native sidecars, match conditions.
KUBERNETES = "1.33.0"

#: By file: what differs from the chart's defaults.
VARIANTS = {
    "memwatch.yaml": (),
    "memwatch-all-modes.yaml": (
        "modes.attach=true",
        "modes.isolate.readiness=true",
        "modes.isolate.detach=true",
    ),
}

_HEAD = """\
# Rendered from deploy/helm/memwatch by `make manifests`; change it there. Before it, once:
#   kubectl create namespace memwatch
#   kubectl -n memwatch create secret generic memwatch-token \\
#     --from-literal=token="$(openssl rand -hex 32)"
---
apiVersion: v1
kind: Namespace
metadata:
  name: memwatch
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""

_OF_HELM = re.compile(
    r"^(# Source: .*| *app.kubernetes.io/managed-by: .*| *helm.sh/chart: .*)\n", re.M
)


def lend(chart: Path, deploy: Path) -> None:
    """Copies alert rules and dashboards into the chart: Helm reads nothing outside of it."""
    for folder, pattern in (("prometheus", "*.rules.yaml"), ("grafana", "*.json")):
        shutil.rmtree(chart / folder, ignore_errors=True)
        for file in sorted((deploy / folder).glob(pattern)):
            (chart / folder).mkdir(exist_ok=True)
            shutil.copyfile(file, chart / folder / file.name)


def render(helm: str, to: Path) -> None:
    """Writes every variant.

    Raises:
        CalledProcessError: Helm refuses the chart; it says why on the standard error.
    """
    for name, changes in VARIANTS.items():
        command = [helm, "template", "memwatch", str(CHART), "--namespace=memwatch"]
        command += [f"--kube-version={KUBERNETES}", "--set=token.existingSecret=memwatch-token"]
        command += [f"--set={change}" for change in changes]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        (to / name).write_text(_HEAD + _OF_HELM.sub("", done.stdout), encoding="utf-8")


if __name__ == "__main__":
    folder = Path(sys.argv[2]) if sys.argv[2:] else HERE
    if folder == HERE:
        lend(CHART, HERE.parent)
    render(sys.argv[1], folder)
