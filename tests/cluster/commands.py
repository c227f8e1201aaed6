"""`trainyard controller` as a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.cluster_runs import ClusterRun
from tests.cluster.installations import kubernetes_settings
from tests.local_runs import REPOSITORY
from tests.processes import settings_of_tests


@contextmanager
def controller_command(run: ClusterRun, folder: Path, **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """Started, and killed at the end if it still runs; its stderr is a pipe."""
    file = folder / "kubernetes.yaml"
    described = kubernetes_settings(settings.pop("namespace", run.namespace), **settings)
    file.write_text(json.dumps(described.model_dump(mode="json", by_alias=True, exclude_unset=True)))  # YAML too
    environment = {
        **settings_of_tests(),
        "TRAINYARD_DATABASE_URL": run.database.url,
        "TRAINYARD_KUBERNETES_SETTINGS": str(file),
    }
    kubeconfig = run.control_plane.admin if described.namespace != run.namespace else run.kubeconfig
    command = [sys.executable, "-m", "cli.main", "controller", "--kubeconfig", str(kubeconfig), "--port", "0"]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
