"""Whatever people do, in whatever order: no answer but those described, lists that agree, and a way back."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.people_rows import forget_all
from tests.served_people import ServedPeople, served_people

FACES, CLUSTERS, PERSONS, SUGGESTED = 8, 2, 2, 4
ANSWERS = {200, 404, 409, 422}


@pytest.fixture(scope="module")
def server(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(module_database_url, tmp_path_factory.mktemp("people")) as found:
        yield found


class People:
    """A library that is new for each run of calls."""

    def __init__(self, server: ServedPeople) -> None:
        forget_all(server.library.engine)
        self.server, self.client = server, server.rows.client
        self.library = server.begin_anew()
        made = [self.library.cluster(FACES // CLUSTERS) for _ in range(CLUSTERS)]
        self.clusters = [cluster for cluster, _ in made]
        self.faces = [str(face) for _, faces in made for face in faces]
        self.persons = [self.library.person(name) for name in ("Anna", "Bert")]
        self.known = [str(self.library.face(person_id=person, assigned_by="engine")) for person in self.persons]
        for number, face in enumerate(made[0][1][:SUGGESTED]):
            self.library.suggest(face, self.persons[number % PERSONS])

    def call(self, drawn: tuple[str, list[int], int, str]) -> httpx.Response:
        what, picked, number, name = drawn
        faces = [(self.faces + self.known)[i % (FACES + PERSONS)] for i in picked]
        person, cluster = self.persons[number % PERSONS], self.clusters[number % CLUSTERS]
        pairs = [{"faceId": face, "personId": self.persons[i % PERSONS]} for i, face in enumerate(faces, number)]
        whose: dict[str, Any] = {"name": name} if number % 2 else {"personId": person}
        body: dict[str, tuple[str, Any]] = {
            "assign": ("/faces/assign", {"faceIds": faces, **whose}),
            "unassign": ("/faces/unassign", {"faceIds": faces}),
            "ignore": ("/faces/ignore", {"faceIds": faces, "ignored": number % 3 > 0}),
            "name": (f"/clusters/{cluster}/name", whose),
            "dismiss": (f"/clusters/{cluster}/dismiss", None),
            "accept": ("/suggestions/accept", {"suggestions": pairs}),
            "reject": ("/suggestions/reject", {"suggestions": pairs}),
            "merge": (f"/persons/{person}/merge", {"personIds": self.persons}),
        }
        if what == "undo":
            changes = self.server.every("/changes", 100) or [{"id": 1}]
            return self.server.post(f"/changes/{changes[number % len(changes)]['id']}/undo")
        if what == "delete":
            return self.client.delete(f"/api/v1/persons/{person}")
        if what == "rename":
            return self.client.patch(f"/api/v1/persons/{person}", json={"name": name})
        address, given_body = body[what]
        return self.client.post(f"/api/v1{address}", json=given_body)

    def owners(self) -> dict[str, int | None]:
        faces = [self.server.get(f"/faces/{face}") for face in self.faces + self.known]
        return {face["id"]: (face["person"] or {}).get("id") for face in faces}

    def check_lists(self) -> None:
        """Lists and faces tell the same."""
        faces = [self.server.get(f"/faces/{face}") for face in self.faces + self.known]
        persons = self.server.every("/persons", 100)
        assert sum(person["faces"] for person in persons) == sum(face["person"] is not None for face in faces)
        named = {person["id"]: person["name"] for person in persons}
        assert all(named[face["person"]["id"]] == face["person"]["name"] for face in faces if face["person"])
        grouped = [face for face in faces if face["clusterId"] is not None]
        assert not any(face["person"] or face["ignored"] for face in grouped)
        groups = [self.server.get(f"/clusters/{cluster}") for cluster in self.clusters]
        assert sum(group["size"] for group in groups) == len(grouped)
        suggestions = self.server.every("/suggestions", 100)
        assert all(item["face"]["person"] is None and item["person"]["id"] in named for item in suggestions)
        assert sum(person["suggestions"] for person in persons) == len(suggestions)


VERBS = ("assign", "unassign", "ignore", "name", "dismiss", "accept", "reject", "merge", "undo", "delete", "rename")
CALLS = st.lists(
    st.tuples(
        st.sampled_from(VERBS),
        st.lists(st.integers(0, 15), min_size=1, max_size=4),
        st.integers(0, 7),
        st.sampled_from(("Anna", "BERT", "Cleo", " ")),
    ),
    min_size=1,
    max_size=8,
)


@given(calls=CALLS)
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_calls_leave_lists_that_agree_and_can_be_taken_back(server: ServedPeople, calls: list[Any]) -> None:
    people = People(server)
    before = people.owners()
    for call in calls:
        answer = people.call(call)
        assert answer.status_code in ANSWERS, answer.text
    people.check_lists()
    for change in server.every("/changes", 100):
        if change["undoneAt"] is None:
            undone = server.post(f"/changes/{change['id']}/undo")
            assert undone.status_code in ANSWERS, undone.text
    people.check_lists()
    if "undo" not in {what for what, *_ in calls}:  # an undo cannot be undone
        assert people.owners() == before
