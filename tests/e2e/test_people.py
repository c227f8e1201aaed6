"""Somebody names a group: the faces are theirs, and a Job looks among the unknown ones for more of them."""

from typing import Any

from tests.e2e.client import Api
from tests.e2e.installation import WORKERS, Installation
from tests.local_runs import wait_until

FACE_SESSIONS = "/api/v1/face-sessions"
AFTERWARDS = {"training": "skipped", "faceDetection": "completed", "clustering": "skipped"}


def test_a_name_is_followed_by_a_look_for_more_of_them(installation: Installation) -> None:
    with installation.api() as api:
        before = _newest(api)["id"]
        group = api.get("/api/v1/clusters?limit=1")["items"][0]
        named = api.post(f"/api/v1/clusters/{group['id']}/name", name="Somebody")
        assert named.status_code == 200, named.text
        person = named.json()["person"]["id"]
        assert api.get(f"/api/v1/persons/{person}")["faces"] == group["size"]
        followed = wait_until(lambda: _after(api, before), "a session to assign faces again")
        api.completed(followed["id"])
        phases = api.progress(followed["id"])["phases"]
        assert {name: phase["status"] for name, phase in phases.items()} == AFTERWARDS
        assert _steps(installation, followed["id"]) == {"discover", "assign"}
        undone = api.post(f"/api/v1/changes/{named.json()['id']}/undo")
        assert undone.status_code == 200, undone.text
        assert group["id"] in [shown["id"] for shown in api.get("/api/v1/clusters?limit=100")["items"]]


def _newest(api: Api) -> dict[str, Any]:
    return dict(api.get(f"{FACE_SESSIONS}?limit=1")["items"][0])


def _after(api: Api, before: int) -> dict[str, Any] | None:
    newest = _newest(api)
    return newest if newest["id"] > before else None


def _steps(installation: Installation, session: int) -> set[str]:
    pods = installation.pods(f"{WORKERS},trainyard.dev/session={session}")
    return {pod["metadata"]["labels"]["trainyard.dev/step"] for pod in pods}
