"""A cluster as kubectl sees it, by one kubeconfig."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.cluster.binaries import binary

CALL_SECONDS = 60.0


class KubectlFailed(Exception):
    """kubectl ended with an error, which is the message."""


class Kubectl:
    """Calls by a kubeconfig; what kubectl remembers of the cluster lies in the folder `cache`."""

    def __init__(self, kubeconfig: Path, cache: Path) -> None:
        self.kubeconfig = kubeconfig
        self._cache = cache

    def kubectl(
        self,
        *arguments: str,
        stdin: str | None = None,
        kubeconfig: Path | None = None,
        seconds: float = CALL_SECONDS,
    ) -> str:
        """What kubectl printed, called by this kubeconfig or another. Raises KubectlFailed."""
        who = [f"--kubeconfig={kubeconfig or self.kubeconfig}", f"--cache-dir={self._cache}"]
        command = [str(binary("kubectl")), *who, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise KubectlFailed(done.stderr.strip())
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """The object or list that `kubectl get` finds."""
        return dict(json.loads(self.kubectl("get", "--output=json", *arguments)))

    def create(self, manifest: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
        """The object as the API server made it. Raises KubectlFailed, also for a field that there is not."""
        arguments = ("create", "--filename=-", f"--namespace={namespace}", "--validate=strict", "--output=json")
        return dict(json.loads(self.kubectl(*arguments, stdin=json.dumps(manifest))))
