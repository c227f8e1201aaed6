"""What people change over HTTP: what is asked and answered, who may, and several at once."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.local_runs import LONGEST_WAIT_SECONDS
from tests.served_people import ServedPeople, served_people

OPERATOR, READER = "operators-own-token", "a-token-of-readers!"


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[ServedPeople]:
    with served_people(database_url, tmp_path) as found:
        yield found


def refused(server: ServedPeople, address: str, **body: Any) -> tuple[int, str]:
    return server.code(address, "POST", json=body)


def names(server: ServedPeople) -> list[str]:
    return [person["name"] for person in server.get("/persons")["items"]]


# Persons


def test_a_person_is_made_once_whatever_the_case(server: ServedPeople) -> None:
    made = server.post("/persons", name="  Anna ")
    assert made.status_code == 201
    assert made.headers["location"] == f"/api/v1/persons/{made.json()['id']}"
    nobody_yet = {"name": "Anna", "faces": 0, "photos": 0, "suggestions": 0, "cover": None}
    assert nobody_yet.items() <= made.json().items()
    assert server.get(f"/persons/{made.json()['id']}") == made.json()
    assert refused(server, "/persons", name="ANNA") == (409, "NameTaken")


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "two\nlines", "nul\0", None, 7])
def test_a_name_has_to_be_one(server: ServedPeople, name: Any) -> None:
    assert refused(server, "/persons", name=name) == (422, "InvalidRequest")


def test_a_person_is_renamed_unless_the_name_is_somebody_elses(server: ServedPeople) -> None:
    anna, bert = server.library.person("Anna"), server.library.person("Bert")
    renamed = server.rows.client.patch(f"/api/v1/persons/{anna}", json={"name": "Änne"})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Änne")
    taken = server.rows.client.patch(f"/api/v1/persons/{anna}", json={"name": "BERT"})
    assert (taken.status_code, taken.json()["code"], taken.json()["personId"]) == (409, "NameTaken", bert)
    assert server.rows.client.patch(f"/api/v1/persons/{anna}", json={"name": "änne"}).json()["name"] == "änne"
    assert server.rows.client.patch(f"/api/v1/persons/{anna}", json={}).json()["name"] == "änne"
    assert server.get("/changes")["items"][0]["sentence"] == "Änne is called änne now."


def test_only_a_persons_own_face_can_stand_for_it(server: ServedPeople) -> None:
    anna, bert = server.library.person("Anna"), server.library.person("Bert")
    face = str(server.library.face(person_id=bert))
    for cover in (face, str(uuid4())):
        body = {"name": "Änne", "coverFaceId": cover}
        assert server.code(f"/persons/{anna}", "PATCH", json=body) == (404, "NoSuchFace")
    assert names(server) == ["Bert", "Anna"]  # all of the request or nothing


def test_persons_are_merged_and_taken_apart_again(server: ServedPeople) -> None:
    anna, bert = server.library.person("Anna"), server.library.person("Bert")
    server.library.faces(2, person_id=anna, assigned_by="person")
    server.library.faces(3, person_id=bert, assigned_by="person")
    change = server.done(f"/persons/{anna}/merge", personIds=[bert, anna])
    assert (change["kind"], change["faces"], change["person"]) == ("merge", 3, {"id": anna, "name": "Anna"})
    assert (names(server), server.get(f"/persons/{anna}")["faces"]) == (["Anna"], 5)
    assert server.code(f"/persons/{bert}") == (404, "NoSuchPerson")
    undone = server.done(f"/changes/{change['id']}/undo")
    assert (undone["undoneAt"] is not None, undone["skipped"]) == (True, 0)
    assert names(server) == ["Bert", "Anna"]


def test_a_deleted_persons_faces_are_unknown_again_until_that_is_undone(server: ServedPeople) -> None:
    anna = server.library.person("Anna")
    [face] = server.library.faces(1, person_id=anna, assigned_by="person")
    change = server.rows.client.delete(f"/api/v1/persons/{anna}").json()
    assert (change["kind"], change["faces"]) == ("delete", 1)
    assert server.get(f"/faces/{face}")["person"] is None
    assert server.code(f"/persons/{anna}", "DELETE") == (404, "NoSuchPerson")
    server.done(f"/changes/{change['id']}/undo")
    assert server.get(f"/faces/{face}")["person"] == {"id": anna, "name": "Anna"}


# Groups, faces and suggestions


def test_a_named_group_leaves_the_list_and_undo_brings_it_back(server: ServedPeople) -> None:
    cluster, faces = server.library.cluster(3)
    change = server.done(f"/clusters/{cluster}/name", name="anna")
    assert (change["kind"], change["faces"], change["clusterId"]) == ("name", 3, cluster)
    assert server.get("/clusters")["items"] == []
    assert {server.get(f"/faces/{face}")["assignedBy"] for face in faces} == {"person"}
    server.done(f"/changes/{change['id']}/undo")
    assert [group["size"] for group in server.get("/clusters")["items"]] == [3]
    assert names(server) == []


def test_a_group_can_be_a_person_that_is_there(server: ServedPeople) -> None:
    anna = server.library.person("Anna")
    for body in ({"personId": anna}, {"name": "ANNA"}):
        cluster, _ = server.library.cluster(1)
        assert server.done(f"/clusters/{cluster}/name", **body)["person"] == {"id": anna, "name": "Anna"}
    assert server.get(f"/persons/{anna}")["faces"] == 2


def test_faces_are_assigned_unassigned_and_ignored(server: ServedPeople) -> None:
    cluster, made = server.library.cluster(3)
    faces = [str(face) for face in made]
    assigned = server.done("/faces/assign", faceIds=faces[:2] * 2, name="Anna")
    assert (assigned["sentence"], assigned["faces"]) == ("2 faces are now Anna.", 2)
    assert server.done("/faces/unassign", faceIds=faces[:1])["faces"] == 1
    assert server.done("/faces/ignore", faceIds=faces[2:])["kind"] == "ignore"
    assert server.get(f"/faces/{faces[2]}")["ignored"] is True
    assert server.get(f"/clusters/{cluster}")["size"] == 0
    server.done("/faces/ignore", faceIds=faces[2:], ignored=False)
    assert server.get(f"/faces/{faces[2]}")["ignored"] is False


def test_suggestions_are_accepted_and_refused_in_bulk(server: ServedPeople) -> None:
    anna = server.library.person("Anna")
    faces = server.library.faces(3)
    for face in faces:
        server.library.suggest(face, anna)
    pairs = [{"faceId": str(face), "personId": anna} for face in faces]
    accepted = server.done("/suggestions/accept", suggestions=pairs[:2])
    assert (accepted["kind"], accepted["faces"]) == ("accept", 2)
    refusal = server.done("/suggestions/reject", suggestions=pairs[1:])
    assert (refusal["faces"], refusal["skipped"]) == (1, 1)  # the second is Anna already
    assert server.get("/suggestions")["items"] == []
    assert refused(server, "/suggestions/accept", suggestions=pairs[2:]) == (404, "NoSuchSuggestion")
    server.done(f"/changes/{refusal['id']}/undo")
    assert [item["face"]["id"] for item in server.get("/suggestions")["items"]] == [str(faces[2])]


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("/faces/assign", {"faceIds": [], "name": "Anna"}),
        ("/faces/assign", {"faceIds": [str(uuid4())] * 1_001, "name": "Anna"}),
        ("/faces/assign", {"faceIds": ["no id"], "name": "Anna"}),
        ("/faces/assign", {"faceIds": [str(uuid4())]}),
        ("/faces/assign", {"faceIds": [str(uuid4())], "name": "Anna", "personId": 1}),
        ("/faces/unassign", {"faceIds": [str(uuid4())], "name": "Anna"}),
        ("/faces/ignore", {"faceIds": [str(uuid4())], "ignored": "perhaps"}),
        ("/clusters/1/name", {}),
        ("/clusters/0/name", {"name": "Anna"}),
        ("/suggestions/accept", {"suggestions": []}),
        ("/suggestions/reject", {"suggestions": [{"faceId": str(uuid4()), "personId": 2**31}]}),
        ("/persons/1/merge", {"personIds": []}),
        ("/face-sessions", {"assignOnly": True, "trainingSessionId": 1}),
    ],
)
def test_a_body_that_says_nothing_or_too_much_is_refused(
    server: ServedPeople, address: str, body: dict[str, Any]
) -> None:
    assert refused(server, address, **body) == (422, "InvalidRequest")


def test_what_is_not_there_is_not_found(server: ServedPeople) -> None:
    face = str(server.library.face())
    nobody = str(uuid4())
    cluster, _ = server.library.cluster(1)
    for address, body, code in (
        ("/faces/assign", {"faceIds": [face, nobody], "name": "Anna"}, "NoSuchFace"),
        ("/faces/assign", {"faceIds": [face], "personId": 99}, "NoSuchPerson"),
        (f"/clusters/{cluster}/name", {"personId": 99}, "NoSuchPerson"),
        ("/clusters/99/name", {"name": "Anna"}, "NoSuchCluster"),
        ("/clusters/99/dismiss", {}, "NoSuchCluster"),
        ("/suggestions/accept", {"suggestions": [{"faceId": face, "personId": 99}]}, "NoSuchPerson"),
        ("/persons/99/merge", {"personIds": [98]}, "NoSuchPerson"),
        ("/changes/99/undo", {}, "NoSuchChange"),
    ):
        assert refused(server, address, **body) == (404, code), address
    assert (names(server), server.get("/changes")["items"]) == ([], [])


# Undo


def test_changes_are_listed_newest_first_with_how_long_they_can_be_undone(server: ServedPeople) -> None:
    for name in ("Anna", "Bert", "Cleo"):
        server.done("/faces/assign", faceIds=[str(server.library.face())], name=name)
    for limit in (1, 2, 100):
        changes = server.every("/changes", limit)
        assert [change["person"]["name"] for change in changes] == ["Cleo", "Bert", "Anna"]
    assert changes[0]["undoneAt"] is None
    assert changes[0]["undoUntil"][:10] > changes[0]["createdAt"][:10]


def test_a_change_is_undone_once_and_within_a_day(server: ServedPeople) -> None:
    first, second = (
        server.done("/faces/assign", faceIds=[str(server.library.face())], name="Anna")["id"] for _ in range(2)
    )
    server.done(f"/changes/{first}/undo")
    assert refused(server, f"/changes/{first}/undo") == (409, "AlreadyUndone")
    server.sql("UPDATE people_changes SET created_at = created_at - interval '25 hours'")
    assert refused(server, f"/changes/{second}/undo") == (409, "TooLateToUndo")
    assert server.get("/changes")["items"] == []


# Several at once


def test_two_who_name_the_same_group_at_once_make_one_person(server: ServedPeople) -> None:
    for _ in range(5):
        cluster, faces = server.library.cluster(4)
        ready = threading.Barrier(2)

        def name(called: str, cluster: int = cluster, ready: threading.Barrier = ready) -> httpx.Response:
            with httpx.Client(base_url=server.rows.url, timeout=LONGEST_WAIT_SECONDS) as client:
                ready.wait()
                return client.post(f"/api/v1/clusters/{cluster}/name", json={"name": called})

        with ThreadPoolExecutor(2) as clients:
            answers = list(clients.map(name, ("Anna", "ANNA")))
        assert sorted(answer.status_code for answer in answers) == [200, 404]
        assert {answer.json().get("code") for answer in answers} == {None, "NoSuchCluster"}
        assert len({server.get(f"/faces/{face}")["person"]["id"] for face in faces}) == 1
    assert len(names(server)) == 1


def test_a_suggestion_answered_twice_at_once_is_answered_once(server: ServedPeople) -> None:
    anna = server.library.person("Anna")
    face = server.library.face()
    server.library.suggest(face, anna)
    ready = threading.Barrier(2)

    def answer(verb: str) -> int:
        with httpx.Client(base_url=server.rows.url, timeout=LONGEST_WAIT_SECONDS) as client:
            ready.wait()
            pairs = [{"faceId": str(face), "personId": anna}]
            return client.post(f"/api/v1/suggestions/{verb}", json={"suggestions": pairs}).status_code

    with ThreadPoolExecutor(2) as clients:
        assert sorted(clients.map(answer, ("accept", "reject"))) == [200, 404]


# Who may


def test_a_reader_sees_people_and_changes_nothing(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"operator {OPERATOR}\nreader {READER}\n")
    with served_people(database_url, tmp_path / "data", tokens_file=tmp_path / "tokens") as server:
        client = server.rows.client
        assert client.get("/api/v1/persons").status_code == 401
        client.headers["Authorization"] = f"Bearer {READER}"
        cluster, (face,) = server.library.cluster(1)
        for address in ("/persons", "/clusters", f"/clusters/{cluster}/faces", "/suggestions", f"/faces/{face}"):
            assert client.get(f"/api/v1{address}").status_code == 200
        ids = {"faceIds": [str(face)]}
        for method, address, body in (
            ("POST", "/persons", {"name": "Anna"}),
            ("PATCH", "/persons/1", {"name": "Anna"}),
            ("DELETE", "/persons/1", None),
            ("POST", "/persons/1/merge", {"personIds": [2]}),
            ("POST", "/faces/assign", {**ids, "name": "Anna"}),
            ("POST", "/faces/unassign", ids),
            ("POST", "/faces/ignore", ids),
            ("POST", f"/clusters/{cluster}/name", {"name": "Anna"}),
            ("POST", f"/clusters/{cluster}/dismiss", None),
            ("POST", "/suggestions/accept", {"suggestions": []}),
            ("POST", "/suggestions/reject", {"suggestions": []}),
            ("POST", "/changes/1/undo", None),
            ("POST", "/face-sessions", {"assignOnly": True}),
        ):
            assert server.code(address, method, json=body) == (403, "OperatorNeeded"), address
        client.headers["Authorization"] = f"Bearer {OPERATOR}"
        assert server.done(f"/clusters/{cluster}/name", name="Anna")["faces"] == 1
