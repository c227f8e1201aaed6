"""Persons, faces, groups and suggestions as lists: what is in them, in which order, and what is never shown."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from tests.integration.test_query_counts import statements
from tests.rows import add_model
from tests.served_people import ServedPeople, served_people

LISTS = ("/persons", "/clusters", "/suggestions", "/persons/1/faces", "/persons/1/photos", "/persons/1/prototypes")
PROTOTYPE = """
    INSERT INTO person_prototypes (person_id, model_id, face_id, embedding) VALUES (:person, :model, :face, '')
"""


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[ServedPeople]:
    with served_people(database_url, tmp_path) as found:
        yield found


def add_prototype(server: ServedPeople, person_id: int, face_id: UUID) -> None:
    server.sql(PROTOTYPE, person=person_id, model=server.library.model, face=face_id)


def names(items: list[Any]) -> list[str]:
    return [item["name"] for item in items]


def ids(items: list[Any]) -> list[Any]:
    return [item["id"] for item in items]


# Persons


def test_persons_come_by_their_faces_a_page_at_a_time(server: ServedPeople) -> None:
    for name, faces in {"Dora": 0, "Cleo": 1, "Bert": 1, "Anna": 3}.items():
        server.library.faces(faces, person_id=server.library.person(name))
    for limit in (1, 2, 4, 100):
        assert names(server.every("/persons", limit)) == ["Anna", "Cleo", "Bert", "Dora"]


def test_a_person_is_counted_in_faces_photos_and_suggestions(server: ServedPeople) -> None:
    library = server.library
    anna = library.person("Anna")
    library.face(photo=0, person_id=anna)
    library.face(photo=0, ordinal=1, person_id=anna)
    library.face(photo=1, person_id=anna)
    for face in library.faces(2):
        library.suggest(face, anna)
    library.suggest(library.face(ignored_at=sa.func.now()), anna)
    library.suggest(library.face(person_id=library.person("Bert")), anna)
    person = server.get(f"/persons/{anna}")
    assert (person["faces"], person["photos"], person["suggestions"]) == (3, 2, 2)


@pytest.mark.parametrize(("query", "found"), [("ann", ["Anna"]), ("É", ["René"]), ("%", []), ("", ["Anna", "René"])])
def test_persons_are_found_by_a_part_of_their_name_whatever_the_case(
    server: ServedPeople, query: str, found: list[str]
) -> None:
    for name in ("Anna", "René"):
        server.library.person(name)
    assert names(server.every("/persons", 1, query=query)) == found


def test_the_best_face_stands_for_a_person_unless_one_was_chosen(server: ServedPeople) -> None:
    anna = server.library.person("Anna")
    faces = [str(server.library.face(person_id=anna, quality=quality)) for quality in (0.5, 0.9, 0.7)]
    assert server.get(f"/persons/{anna}")["cover"]["faceId"] == faces[1]
    changed = server.rows.client.patch(f"/api/v1/persons/{anna}", json={"coverFaceId": faces[0]})
    assert changed.json()["cover"]["faceId"] == server.get("/persons")["items"][0]["cover"]["faceId"] == faces[0]
    server.done("/faces/unassign", faceIds=[faces[0]])
    assert server.get(f"/persons/{anna}")["cover"]["faceId"] == faces[1]


def test_a_persons_photos_come_newest_first_with_that_persons_faces(server: ServedPeople) -> None:
    library = server.library
    anna, bert = library.person("Anna"), library.person("Bert")
    for photo in range(3):
        library.face(photo=photo, box_left=50.0, person_id=anna)
        library.face(photo=photo, ordinal=1, box_left=10.0, person_id=anna)
        library.face(photo=photo, ordinal=2, person_id=bert)
    for photo, moment in {0: "2019-07-21T16:05:09Z", 1: "2024-01-02T03:04:05.000006Z"}.items():
        taken_at = "UPDATE image_assets SET taken_at = :moment WHERE id = :id"
        server.sql(taken_at, moment=moment, id=library.photos[photo])

    order = [library.photos[photo] for photo in (2, 1, 0)]  # the third was found today, and says nothing of itself
    for limit in (1, 2, 100):
        photos = server.every(f"/persons/{anna}/photos", limit)
        assert [photo["image"]["id"] for photo in photos] == order
        faces = server.every(f"/persons/{anna}/faces", limit)
        assert [face["imageId"] for face in faces] == [image for image in order for _ in range(2)]
    assert [face["box"]["left"] for face in photos[0]["faces"]] == [10.0, 50.0]
    assert {face["person"]["name"] for photo in photos for face in photo["faces"]} == {"Anna"}


def test_a_persons_prototypes_are_those_that_stand(server: ServedPeople) -> None:
    anna = server.library.person("Anna")
    faces = server.library.faces(3, person_id=anna, assigned_by="person")
    for face in faces:
        add_prototype(server, anna, face)
    server.sql("UPDATE person_prototypes SET retired_at = now() WHERE face_id = :face", face=faces[1])
    shown = server.every(f"/persons/{anna}/prototypes", 1)
    assert [prototype["faceId"] for prototype in shown] == [str(faces[0]), str(faces[2])]
    assert shown[0]["thumbnailUrl"].startswith(f"/api/v1/faces/{faces[0]}/thumbnail?v=")


# Faces


def test_faces_of_a_photo_come_from_left_to_right(server: ServedPeople) -> None:
    made = [
        server.library.face(photo=0, ordinal=ordinal, box_left=left, box_right=left + 40)
        for ordinal, left in enumerate((200.0, 10.0, 10.0, 90.0))
    ]
    image = server.library.photos[0]
    for limit in (1, 3, 100):
        shown = ids(server.every(f"/images/{image}/faces", limit))
        assert shown == [str(made[place]) for place in (1, 2, 3, 0)]
    assert server.get(f"/images/{server.library.photos[1]}/faces")["items"] == []
    assert server.code("/images/999999/faces") == (404, "NoSuchImage")


def test_a_face_is_shown_with_all_that_is_known_of_it(server: ServedPeople) -> None:
    anna = server.library.person("Anna")
    face_id = server.library.face(person_id=anna, assigned_by="engine", similarity=0.625)
    face = server.get(f"/faces/{face_id}")
    address = face.pop("thumbnailUrl")
    assert face == {
        "id": str(face_id),
        "imageId": server.library.photos[0],
        "box": {"left": 0.0, "top": 0.0, "right": 100.0, "bottom": 100.0},
        "confidence": 0.9,
        "quality": 0.8,
        "person": {"id": anna, "name": "Anna"},
        "assignedBy": "engine",
        "similarity": 0.625,
        "clusterId": None,
        "ignored": False,
    }
    server.sql("UPDATE face_instances SET box_left = 5")
    assert server.get(f"/faces/{face_id}")["thumbnailUrl"] != address  # clients may keep a picture for ever


# Groups


def test_groups_come_by_size_and_count_only_who_waits_for_a_name(server: ServedPeople) -> None:
    made = [server.library.cluster(count) for count in (2, 4, 2, 3, 1)]
    named = [made[3][1][0], *made[4][1]]
    anna = server.library.person("Anna")
    server.sql("UPDATE face_instances SET person_id = :anna WHERE id = ANY(:named)", anna=anna, named=named)
    server.sql("UPDATE face_instances SET ignored_at = now() WHERE id = :id", id=made[1][1][0])

    order = [made[place][0] for place in (1, 0, 2, 3)]
    for limit in (1, 2, 100):
        found = server.every("/clusters", limit)
        assert (ids(found), [group["size"] for group in found]) == (order, [3, 2, 2, 2])
    assert server.get(f"/clusters/{made[4][0]}")["size"] == 0


def test_a_group_shows_its_representative_and_then_its_best(server: ServedPeople) -> None:
    cluster, made = server.library.cluster(10)
    for place, face in enumerate(made):
        server.sql("UPDATE face_instances SET quality = :quality WHERE id = :id", quality=1 - place / 20, id=face)
    server.sql("UPDATE face_clusters SET representative_face_id = :id", id=made[4])
    faces = [str(face) for face in made]
    shown = server.get(f"/clusters/{cluster}")
    assert shown["representative"]["id"] == faces[4]
    assert ids(shown["samples"]) == [faces[4], *faces[:4], *faces[5:8]]
    assert ids(server.every(f"/clusters/{cluster}/faces", 3)) == faces


def test_a_dismissed_group_is_in_no_list_and_a_closed_one_is_none(server: ServedPeople) -> None:
    cluster, _ = server.library.cluster(2)
    assert server.done(f"/clusters/{cluster}/dismiss")["kind"] == "dismiss"
    assert server.get("/clusters")["items"] == []
    assert server.get(f"/clusters/{cluster}")["dismissed"] is True
    server.sql("UPDATE face_clusters SET closed_at = now()")
    for address in (f"/clusters/{cluster}", f"/clusters/{cluster}/faces"):
        assert server.code(address) == (404, "NoSuchCluster")


# Suggestions


def test_suggestions_come_by_person_the_most_similar_first(server: ServedPeople) -> None:
    library = server.library
    anna, bert = library.person("Anna"), library.person("Bert")
    faces = library.faces(3)
    for face, similarity in zip(faces, (0.5, 0.7, 0.6), strict=True):
        library.suggest(face, anna, similarity)
    library.suggest(faces[0], bert, 0.9)

    order = [(anna, str(faces[1])), (anna, str(faces[2])), (anna, str(faces[0])), (bert, str(faces[0]))]
    for limit in (1, 2, 100):
        found = server.every("/suggestions", limit)
        assert [(item["person"]["id"], item["face"]["id"]) for item in found] == order
    assert [item["similarity"] for item in server.every("/suggestions", 1, personId=anna)] == [0.7, 0.6, 0.5]
    assert [item["person"]["name"] for item in server.get("/suggestions", personId=bert)["items"]] == ["Bert"]
    assert server.get("/suggestions", personId=999)["items"] == []


# What is not shown


def of_another_network(server: ServedPeople) -> None:
    """A network of another kind stands in for one that is not active."""
    other = server.library.do(add_model, "clip")
    for table in ("face_instances", "face_clusters"):
        server.sql(f"UPDATE {table} SET model_id = :id", id=other)


def outside_the_roots(server: ServedPeople) -> None:
    server.sql("UPDATE image_assets SET path = convert_to('/photos-beside/1.jpg', 'UTF8')")


def of_earlier_content(server: ServedPeople) -> None:
    server.sql("UPDATE image_assets SET content_sha256 = 'another'")


@pytest.mark.parametrize("spoil", [of_another_network, outside_the_roots, of_earlier_content])
def test_a_face_that_is_not_to_be_shown_is_as_if_it_were_not_there(
    server: ServedPeople, spoil: Callable[[ServedPeople], None]
) -> None:
    anna = server.library.person("Anna")
    known = str(server.library.face(person_id=anna, assigned_by="person"))
    cluster, (unknown,) = server.library.cluster(1)
    server.library.suggest(unknown, anna)
    assert server.get("/persons/1")["faces"] == 1
    assert len(server.get("/clusters")["items"]) == len(server.get("/suggestions")["items"]) == 1
    spoil(server)

    person = server.get(f"/persons/{anna}")
    assert (person["faces"], person["photos"], person["suggestions"], person["cover"]) == (0, 0, 0, None)
    for address in ("/clusters", "/suggestions", f"/persons/{anna}/faces", f"/persons/{anna}/photos"):
        assert server.get(address)["items"] == []
    for address in (f"/faces/{known}", f"/faces/{known}/thumbnail"):
        assert server.code(address) == (404, "NoSuchFace")
    pair = {"faceId": str(unknown), "personId": anna}
    for address, body in {
        "/faces/assign": {"faceIds": [known], "name": "Bert"},
        "/faces/unassign": {"faceIds": [known]},
        "/faces/ignore": {"faceIds": [known]},
        "/suggestions/accept": {"suggestions": [pair]},
        "/suggestions/reject": {"suggestions": [pair]},
    }.items():
        assert server.code(address, "POST", json=body) == (404, "NoSuchFace")
    assert server.code(f"/persons/{anna}", "PATCH", json={"coverFaceId": known}) == (404, "NoSuchFace")
    assert server.code(f"/clusters/{cluster}/name", "POST", json={"name": "Bert"}) == (404, "NoSuchCluster")
    assert names(server.get("/persons")["items"]) == ["Anna"]  # nobody was made on the way


def test_faces_of_photos_that_are_gone_stay_a_persons_and_are_in_no_group(server: ServedPeople) -> None:
    anna = server.library.person("Anna")
    for quality in (0.9, 0.5):
        server.library.face(person_id=anna, quality=quality)
    _, faces = server.library.cluster(2)
    server.library.suggest(faces[0], anna)
    gone = [server.library.photos[photo] for photo in (0, 2)]
    server.sql("UPDATE image_assets SET missing_since = now() WHERE id = ANY(:gone)", gone=gone)

    photos = server.get(f"/persons/{anna}/photos")["items"]
    assert sorted(photo["image"]["missingSince"] is not None for photo in photos) == [False, True]
    person = server.get(f"/persons/{anna}")
    assert (person["faces"], person["suggestions"]) == (2, 0)
    assert server.get(f"/faces/{person['cover']['faceId']}")["quality"] == 0.5  # of a photo that is there
    assert [group["size"] for group in server.get("/clusters")["items"]] == [1]


def test_before_any_face_was_searched_for_there_is_nothing(server: ServedPeople) -> None:
    server.sql("DELETE FROM models")
    for address in ("/persons", "/clusters", "/suggestions", "/changes"):
        assert server.get(address) == {"items": [], "nextPageToken": None}


# Pages


@pytest.mark.parametrize("token", ["", "x", "bnVsbA", "W10", "WyJhIiwgMiwgM10", "W251bGwsIG51bGxd", "MTA"])
def test_a_token_of_another_list_is_refused(server: ServedPeople, token: str) -> None:
    server.library.person("Anna")
    for address in LISTS:
        assert server.code(address, params={"pageToken": token}) == (422, "BadPageToken")


# Statements


@pytest.fixture
def many(server: ServedPeople) -> None:
    """Of everything five, and five of each that belong to the first person."""
    library = server.library
    for number in range(5):
        person = library.person(f"Person {number}")
        add_prototype(server, person, library.face(person_id=person, assigned_by="person"))
        _, faces = library.cluster(2)
        library.suggest(faces[0], person)
    server.sql("UPDATE face_instances SET person_id = 1 WHERE person_id IS NOT NULL")
    server.sql("UPDATE person_prototypes SET person_id = 1")
    server.sql("UPDATE face_suggestions SET person_id = 1")
    for ordinal in range(1, 6):
        server.done("/faces/assign", faceIds=[str(library.face(photo=0, ordinal=ordinal))], name="Anna")


@pytest.mark.usefixtures("many")
def test_a_list_costs_as_many_statements_however_long_it_is(server: ServedPeople) -> None:
    for address in (*LISTS, "/images/1/faces", "/clusters/1/faces", "/changes"):
        counts = set()
        for limit in (1, 2, 5):
            with statements(server.rows.services.database) as sent:
                assert server.get(address, limit=limit)["items"]
            counts.add(len(sent))
        assert len(counts) == 1, address
        assert counts.pop() <= 5, address
