"""Kubeconfig files, whole: certificates stand in them, so that they can be copied and mounted."""

import base64
import json
from pathlib import Path

from tests.cluster.certificates import Authority


def with_certificate(path: Path, server: str, authority: Authority, name: str) -> None:
    """For whom the authority issued NAME.crt to."""
    user = {
        "client-certificate-data": _encoded(authority.folder / f"{name}.crt"),
        "client-key-data": _encoded(authority.folder / f"{name}.key"),
    }
    _write(path, server, authority.certificate, user, "default")


def with_token(path: Path, server: str, authority_certificate: Path, token: str, namespace: str) -> None:
    """For the bearer of a token, at home in a namespace."""
    _write(path, server, authority_certificate, {"token": token}, namespace)


def _write(path: Path, server: str, authority_certificate: Path, user: dict[str, str], namespace: str) -> None:
    cluster = {"server": server, "certificate-authority-data": _encoded(authority_certificate)}
    context = {"cluster": "test", "user": "test", "namespace": namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    }
    path.write_text(json.dumps(config, indent=2))  # YAML's readers read JSON
    path.chmod(0o600)


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
