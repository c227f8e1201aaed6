"""People as somebody meets them: photos go in, groups come out, and names, answers and regrets are given to them.

The real server, workers, decoders and stores; only the two networks are fakes, which know planted faces.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import api.server
from api.follow_up import FollowUp
from tests import libraries
from tests.local_runs import data_directory, wait_until
from tests.served import Served, served
from trainyard.lifecycle import ENDED

ANNA, BERT = 0, 1  # planted


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight photos of one person, six of another, and one of both."""
    root = (tmp_path / "photos").resolve()
    people = [(ANNA,)] * 8 + [(BERT,)] * 6 + [(ANNA, BERT)]
    for number, shown in enumerate(people):
        libraries.write_photo(root / f"photo {number:02}.png", number, shown)
    return root


@contextmanager
def serving(root: Path, quiet_seconds: float) -> Iterator[Served]:
    """Unknown faces are gone over again so long after the last change."""
    with pytest.MonkeyPatch.context() as patch, data_directory() as data_dir:
        patch.setattr(api.server, "FollowUp", partial(FollowUp, poll_seconds=0.2, quiet_seconds=quiet_seconds))
        with served(data_dir, root) as server:
            yield server


def get(server: Served, address: str, **query: Any) -> Any:
    answer = server.client.get(f"/api/v1{address}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def items(server: Served, address: str, **query: Any) -> list[Any]:
    return list(get(server, address, **query)["items"])


def done(server: Served, address: str, **body: Any) -> Any:
    answer = server.client.post(f"/api/v1{address}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def sizes(server: Served) -> list[int]:
    return [group["size"] for group in items(server, "/clusters")]


def gone_over_again(server: Served) -> dict[str, Any]:
    """The session that followed the last changes, once it has ended and no other is to follow."""

    def ended() -> list[Any]:
        server.run.check()
        found = server.run.rows("""
            SELECT id, status FROM training_sessions s WHERE options ->> 'asked_by' = 'changes'
                AND created_at > (SELECT max(greatest(created_at, retired_at)) FROM person_prototypes)
                AND NOT EXISTS (SELECT FROM outbox) ORDER BY id DESC LIMIT 1
        """)
        return [row for row in found if row.status in ENDED]

    [row] = wait_until(ended, "unknown faces to be gone over again")
    return server.session(row.id)


def pairs_of(suggestions: list[Any]) -> list[dict[str, Any]]:
    return [{"faceId": item["face"]["id"], "personId": item["person"]["id"]} for item in suggestions]


def test_a_person_is_named_once_and_found_in_what_comes_later(root: Path) -> None:
    with serving(root, quiet_seconds=0) as server:
        server.ended(server.create(root))
        groups = items(server, "/clusters")
        assert [group["size"] for group in groups] == [9, 7]
        picture = Image.open(BytesIO(server.client.get(groups[0]["representative"]["thumbnailUrl"]).content))
        assert picture.size == (129, 129)  # a face of 72 px and its margin

        named = done(server, f"/clusters/{groups[0]['id']}/name", name="Anna")
        assert (named["sentence"], sizes(server)) == ("9 faces are now Anna.", [7])
        [anna] = items(server, "/persons")
        assert (anna["faces"], anna["photos"], len(items(server, f"/persons/{anna['id']}/photos"))) == (9, 9, 9)
        again = gone_over_again(server)
        assert (again["overallStatus"], again["trainingStatus"]) == ("completed", "skipped")
        assert prototypes(server, anna["id"])

        for number in (50, 51):
            libraries.write_photo(root / f"later {number}.png", number, (ANNA,))
        server.ended(server.create(root))
        assert get(server, f"/persons/{anna['id']}")["faces"] == 11
        later = items(server, f"/persons/{anna['id']}/faces", limit=2)
        assert [face["assignedBy"] for face in later] == ["engine", "engine"]
        assert all(face["similarity"] > 0.9 for face in later)


def test_suggestions_are_asked_answered_and_taken_back(root: Path) -> None:
    """One person under two names: the engine cannot tell which, and asks."""
    with serving(root, quiet_seconds=3_600) as server:
        server.ended(server.create(root))
        group = items(server, "/clusters")[0]
        faces = [face["id"] for face in items(server, f"/clusters/{group['id']}/faces")]
        for name, chosen in {"Anna": faces[:3], "Anne": faces[3:6]}.items():
            done(server, "/faces/assign", faceIds=chosen, name=name)
        wait_until(lambda: all(prototypes(server, person) for person in (1, 2)), "prototypes of both")
        assert assigned_only(server)["facesAssignedToPersons"] == 0

        asked = items(server, "/suggestions")
        assert {item["face"]["id"] for item in asked} == set(faces[6:])
        assert {item["person"]["name"] for item in asked} <= {"Anna", "Anne"}
        accepted = done(server, "/suggestions/accept", suggestions=pairs_of(asked[:1]))
        done(server, "/suggestions/reject", suggestions=pairs_of(asked[1:2]))
        yes, no, _ = (get(server, f"/faces/{item['face']['id']}") for item in asked)
        assert (yes["person"], yes["assignedBy"], no["person"]) == (asked[0]["person"], "person", None)
        done(server, f"/changes/{accepted['id']}/undo")
        assert get(server, f"/faces/{yes['id']}")["person"] is None

        assigned_only(server)
        pairs = pairs_of(items(server, "/suggestions"))
        assert pairs_of(asked[:1])[0] in pairs  # asked again, as the yes was taken back
        assert pairs_of(asked[1:2])[0] not in pairs  # a no holds
        assert get(server, f"/faces/{no['id']}")["person"] != asked[1]["person"]


def prototypes(server: Served, person_id: int) -> list[Any]:
    return items(server, f"/persons/{person_id}/prototypes")


def assigned_only(server: Served) -> dict[str, Any]:
    """A face session that goes over unknown faces again, once it has ended."""
    made = server.client.post("/api/v1/face-sessions", json={"assignOnly": True})
    assert made.status_code == 201, made.text
    session = server.ended(made.json()["id"])
    assert (session["overallStatus"], session["trainingStatus"]) == ("completed", "skipped")
    return dict(get(server, f"/face-sessions/{session['id']}"))
