"""What helm makes of the chart and some values."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from controller.kubernetes.settings import KubernetesSettings, load_kubernetes_settings
from tests.cluster.binaries import binary, kubernetes_version

CHART = Path(__file__).parents[2] / "charts/trainyard"
RELEASE, NAMESPACE = "trainyard", "photos"
HELM_SECONDS = 60

Manifest = dict[str, Any]
Values = dict[str, Any]


class HelmRefused(Exception):
    """helm ended with an error, which is the message."""


@dataclass(frozen=True)
class Pod:
    """Of a manifest's template, or the manifest itself."""

    owner: str  # such as Deployment/trainyard-api
    labels: dict[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]


class Rendering:
    """The manifests that an install would send."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.manifests: list[Manifest] = [part for part in yaml.safe_load_all(text) if part]

    def of_kind(self, kind: str) -> dict[str, Manifest]:
        """Those of a kind by their names."""
        return {found["metadata"]["name"]: found for found in self.manifests if found["kind"] == kind}

    def one(self, kind: str, name: str) -> Manifest:
        return self.of_kind(kind)[name]

    def pods(self) -> Iterator[Pod]:
        for manifest in self.manifests:
            owner = f"{manifest['kind']}/{manifest['metadata']['name']}"
            if manifest["kind"] == "Pod":
                yield Pod(owner, manifest["metadata"]["labels"], manifest["spec"])
            elif "template" in manifest.get("spec", {}):
                template = manifest["spec"]["template"]
                yield Pod(owner, template["metadata"]["labels"], template["spec"])

    def pod(self, component: str) -> Pod:
        """The one pod there is of a component."""
        (found,) = (pod for pod in self.pods() if pod.component == component)
        return found

    def settings(self, folder: Path) -> KubernetesSettings:
        """The Jobs' settings, as the controller would load them."""
        file = folder / "settings.yaml"
        file.write_text(self.one("ConfigMap", f"{RELEASE}-jobs")["data"]["settings.yaml"])
        return load_kubernetes_settings(file)


def render(values: Values, release: str = RELEASE, namespace: str = NAMESPACE) -> Rendering:
    """Raises HelmRefused."""
    return _render(json.dumps(values), release, namespace)  # YAML would read 1e3 in two ways


@cache
def _render(values: str, release: str, namespace: str) -> Rendering:
    template = ("template", release, str(CHART), "--values=-", f"--namespace={namespace}")
    return Rendering(helm(*template, f"--kube-version={kubernetes_version()}", stdin=values))


def helm(*arguments: str, stdin: str | None = None) -> str:
    """What helm printed. Raises HelmRefused."""
    done = subprocess.run(
        [str(binary("helm")), *arguments], input=stdin, capture_output=True, text=True, timeout=HELM_SECONDS
    )
    if done.returncode:
        raise HelmRefused(f"{done.stdout}\n{done.stderr}".strip())
    return done.stdout


def merged(first: Values, *others: Values) -> Values:
    """Values over values, as helm lays them."""
    result = dict(first)
    for other in others:
        for key, value in other.items():
            before = result.get(key)
            result[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def environment(container: Manifest) -> dict[str, str]:
    """Its plain variables."""
    return {variable["name"]: variable["value"] for variable in container.get("env", []) if "value" in variable}
