"""A resource's spec from a session's row, and a session from a resource's spec. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.kubernetes.names import GROUP, KIND, SESSION_LABEL, VERSION
from controller.kubernetes.resource import CREATED_ANNOTATION, Maker, Resource
from trainyard.sessions import NewSession

THRESHOLDS = {"minConfidence": "min_confidence", "minFaceSize": "min_face_size_px"}  # the spec's words, the options'


@dataclass(frozen=True)
class Requested:
    """What a row was made from."""

    maker: Maker
    root_path: str
    subdirectories: Sequence[str]
    category: str | None
    options: Mapping[str, Any]


def new_session(resource: Resource, defaults: Mapping[str, Any]) -> NewSession:
    """The session that somebody applied, as it is: discover says what is wrong with it.

    `defaults` are the installation's own options, `untrained` and `face_engine`.
    """
    spec = resource.spec
    return NewSession(
        root_path=spec["rootPath"],
        subdirectories=spec.get("subdirectories") or (),
        category=spec.get("category"),
        options=_options(spec.get("faceDetection") or {}, defaults),
    )


def _options(faces: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    if not faces.get("enabled", True):
        return {"faces": False, "untrained": defaults["untrained"]}
    given = {name: faces[key] for key, name in THRESHOLDS.items() if faces.get(key) is not None}
    return {"faces": True, **defaults, **given}


def resource_name(session_id: int, number: int) -> str:
    """`number` counts the names before it that somebody else has taken."""
    return f"session-{session_id}-{number}" if number else f"session-{session_id}"


def resource_manifest(row: Requested, namespace: str, number: int) -> dict[str, Any]:
    """The resource of a session that came by the API."""
    session_id, created = row.maker
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {
            "name": resource_name(session_id, number),
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "trainyard", SESSION_LABEL: str(session_id)},
            "annotations": {CREATED_ANNOTATION: created},
        },
        "spec": _spec(row),
    }


def _spec(row: Requested) -> dict[str, Any]:
    spec: dict[str, Any] = {"rootPath": row.root_path}
    if row.subdirectories:
        spec["subdirectories"] = list(row.subdirectories)
    if row.category is not None:
        spec["category"] = row.category
    thresholds = {key: row.options[name] for key, name in THRESHOLDS.items() if name in row.options}
    return {**spec, "faceDetection": {"enabled": bool(row.options.get("faces", True)), **thresholds}}
