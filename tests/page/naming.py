"""What tests of people on the page share: who is shown, naming, and faces that wait for an answer."""

from dataclasses import replace

from playwright.sync_api import Locator, Page, expect

from tests.local_runs import Run
from tests.page.gallery import faces_of
from tests.served import Served


def open_people(page: Page, server: Served) -> Locator:
    """The groups without a name, once they are there."""
    page.goto(f"{server.url}/#/people")
    groups = page.get_by_role("list", name="Unknown people").get_by_role("listitem")
    expect(groups.first).to_be_visible()
    return groups


def people(page: Page) -> Locator:
    return page.get_by_role("list", name="People", exact=True).get_by_role("listitem")


def name_field(group: Locator) -> Locator:
    return group.get_by_role("combobox")


def toast(page: Page) -> Locator:
    return page.locator("#toast")


def undo(page: Page) -> None:
    toast(page).get_by_role("button", name="Undo").click()


def name_by_api(server: Served, who: int, name: str) -> int:
    """Give all faces of one of the cast to somebody of this name; returns their id."""
    ids = [str(id) for id in faces_of(server.run, who)]
    answer = server.client.post("/api/v1/faces/assign", json={"faceIds": ids, "name": name})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["person"]["id"])


def suggest(server: Served, who: int, name: str) -> int:
    """Have the faces of one of the cast wait for an answer: are they of somebody of this name? Returns their id."""
    answer = server.client.post("/api/v1/persons", json={"name": name})
    person_id = int(answer.json()["id"])
    server.run.rows(
        """
        INSERT INTO face_suggestions (face_id, person_id, similarity)
        SELECT id, :person_id, 0.91 - 0.01 * number FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS f (id, number)
        RETURNING face_id
        """,
        person_id=person_id,
        ids=faces_of(server.run, who),
    )
    return person_id


def let_pass_end(server: Served) -> None:
    """Wait for the pass over unknown faces that follows naming; it takes suggestions away that it does not make."""
    ended = "SELECT 1 FROM training_sessions WHERE options ->> 'assign' = 'true' AND status = 'completed'"
    server.run.wait_for(lambda _: server.run.rows(ended), "the pass to end")


def ask_rather_than_assign(run: Run) -> None:
    """Faces that look like somebody are suggestions, however sure it is."""
    faces = run.engines.fake_faces
    assert faces.card.thresholds is not None
    faces.card = replace(faces.card, thresholds=replace(faces.card.thresholds, assign=0.99999))


def reread(page: Page) -> None:
    """What a browser does when somebody comes back to it."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
