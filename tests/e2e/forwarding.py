"""The way to a Service from a machine that does not route to it: `kubectl port-forward`, anew when its pod goes."""

import re
import subprocess
import tempfile
from pathlib import Path

from tests.cluster.binaries import binary
from tests.local_runs import wait_until

TOLD = re.compile(r"Forwarding from (127\.0\.0\.1:\d+)")


class Forward:
    """To one pod of the Service at a time."""

    def __init__(self, kubeconfig: Path, namespace: str, service: str, port: int) -> None:
        who = [str(binary("kubectl")), f"--kubeconfig={kubeconfig}", f"--namespace={namespace}"]
        self._command = [*who, "port-forward", f"service/{service}", f":{port}"]
        self._process: subprocess.Popen[bytes] | None = None

    def renew(self) -> str:
        """The URL at which a pod that is there now answers."""
        url = wait_until(self._try, " ".join(self._command[3:]))
        assert url is not None
        return url

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _try(self) -> str | None:
        """None where there was no such pod."""
        self.close()
        with tempfile.NamedTemporaryFile() as said:
            process = self._process = subprocess.Popen(self._command, stdout=said, stderr=said)

            def told() -> re.Match[str] | None:
                return TOLD.search(Path(said.name).read_text())

            wait_until(lambda: told() or process.poll() is not None, "kubectl to forward")
            found = told()
            return f"http://{found[1]}" if found else None
