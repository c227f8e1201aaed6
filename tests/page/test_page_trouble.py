"""What the page makes of a bad day: no events, no server; and how it stops asking."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from api.app import create_app
from api.server import listen, open_services, serving
from tests.libraries import write_photo
from tests.local_runs import Run
from tests.page.browsing import Gate, hold_embedding, shoot
from tests.page.conftest import SETTINGS
from tests.served import Served


def test_without_events_the_page_goes_on_by_asking(page: Page, server: Served, library: Path) -> None:
    page.route("**/events", lambda route: route.abort())
    gate = hold_embedding(server.run.engines, 8)
    page.goto(f"{server.url}/#/sessions/{server.create(library)}")
    label = page.locator("#phase-training")
    expect(label).to_have_text("Training: 20%")
    gate.let(8)
    expect(label).to_have_text("Training: 40%")
    gate.open()
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.locator("#connection")).to_be_empty()


def test_events_are_taken_up_again_once_they_are_to_be_had(page: Page, server: Served, library: Path) -> None:
    gate = hold_embedding(server.run.engines, 8)
    page.route("**/events", lambda route: route.abort())
    page.goto(f"{server.url}/#/sessions/{server.create(library)}")
    expect(page.locator("#phase-training")).to_have_text("Training: 20%")
    page.unroute("**/events")
    with page.expect_response("**/events") as stream:
        pass
    assert stream.value.status == 200
    gate.open()
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()


def test_the_speed_does_not_count_the_time_in_which_nothing_was_heard(
    page: Page, server: Served, library: Path
) -> None:
    page.route("**/events", lambda route: route.abort())
    gate = hold_embedding(server.run.engines, 8)
    session_id = server.create(library)
    page.goto(f"{server.url}/#/sessions/{session_id}")
    label, outlook = page.locator("#phase-training"), page.locator(".outlook")
    expect(label).to_have_text("Training: 20%")
    gate.let(8)
    expect(label).to_have_text("Training: 40%")
    expect(outlook).to_contain_text("photos/s")
    page.route("**/progress-unified", lambda route: route.abort())
    expect(page.locator("#connection")).to_contain_text("Connection lost")
    gate.let(8)
    server.run.wait_for(lambda _: server.session(session_id)["images"]["processed"] == 24, "another batch")
    page.unroute("**/progress-unified")
    expect(label).to_have_text("Training: 60%")
    expect(outlook).not_to_contain_text("photos/s")
    gate.let(8)
    expect(outlook).to_contain_text("photos/s")
    gate.open()


def test_a_retry_that_is_taken_up_late_is_watched_all_the_same(
    page: Page, server: Served, broken_library: Path
) -> None:
    session_id = server.create(broken_library)
    session = server.ended(session_id)
    page.clock.install()
    page.route("**/events", lambda route: route.abort())
    accepted = {"code": "Accepted", "message": "What failed is tried again, in a new attempt.", "session": session}
    page.route("**/retry", lambda route: route.fulfill(status=202, json=accepted))
    page.goto(f"{server.url}/#/sessions/{session_id}")
    page.get_by_role("button", name="Retry failed").click()
    expect(page.get_by_text("What failed is tried again")).to_be_visible()
    for _ in range(3):
        with page.expect_response("**/progress-unified"):
            page.clock.run_for(30_000)
    for name in ("cut off.jpg", "empty.png", "text.jpg"):
        (broken_library / name).unlink()
        write_photo(broken_library / name, 100)
    server.ask(session_id, "retry")
    expect(page.get_by_role("region", name="Failures")).to_be_hidden()
    expect(page.get_by_text("What failed is tried again")).to_be_hidden()


def test_a_session_that_has_ended_is_asked_about_no_more(page: Page, server: Served, library: Path) -> None:
    session_id = server.create(library, faceDetection={"enabled": False})
    server.ended(session_id)
    page.clock.install()
    page.goto(f"{server.url}/#/sessions/{session_id}")
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
    expect(page.get_by_text("Took")).to_be_visible()  # the session itself is the last that is read
    page.clock.run_for(60_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert asked == []


def test_a_view_that_is_left_gives_its_stream_back(page: Page, server: Served, library: Path) -> None:
    gate = hold_embedding(server.run.engines)
    session_id = server.create(library)
    page.goto(f"{server.url}/#/sessions/{session_id}")
    expect(page.get_by_role("heading", level=2).first).to_contain_text("Processing")
    server.run.wait_for(lambda _: server.services.stream.watchers == 1, "the page to watch")
    page.get_by_role("link", name="Sessions").click()
    server.run.wait_for(lambda _: server.services.stream.watchers == 0, "the page to leave")
    gate.open()


def test_the_page_outlives_a_restart_of_the_server(
    page: Page, data_dir: Path, library: Path, screenshots: Path
) -> None:
    with serving_at(0, data_dir, library) as (server, gate):
        port = int(server.url.rsplit(":", 1)[1])
        session_id = server.create(library)
        gate.let(8)
        page.goto(f"{server.url}/#/sessions/{session_id}")
        expect(page.locator("#phase-training")).to_have_text("Training: 20%")
    expect(page.locator("#connection")).to_contain_text("Connection lost, trying again…")
    shoot(page, screenshots, "connection-lost")
    with serving_at(port, data_dir, library) as (server, gate):
        expect(page.locator("#connection")).to_be_empty()
        expect(page.get_by_role("heading", level=2).first).to_contain_text("Processing Training Pipeline")
        gate.open()
        expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()
        expect(page.get_by_role("button", name="Delete")).to_be_enabled()


@contextmanager
def serving_at(port: int, data_dir: Path, library: Path) -> Iterator[tuple[Served, Gate]]:
    """As `served`, on a port of our choice, and its end leaves the session where the gate holds it."""
    with Run(data_dir, image_roots=str(library), **SETTINGS) as run:
        gate = hold_embedding(run.engines)
        run.start()
        with (
            listen("127.0.0.1", port, run.settings) as bound,
            open_services(run.settings, run.database.url, run.vectors) as services,
            serving(create_app(services), bound) as serves,
        ):
            server = Served(serves.url, run, services)
            with server.client:
                yield server, gate
        run.controller.stop()
        for job in run.jobs.observe():
            run.jobs.stop(job)
        gate.open()  # only now: the batch it held is the last


def test_what_one_view_cannot_reach_is_not_said_on_the_next(page: Page, server: Served) -> None:
    page.route("**/training/sessions?*", lambda route: route.abort())
    page.goto(server.url)
    expect(page.locator("#connection")).to_contain_text("Connection lost, trying again…")
    page.get_by_role("link", name="People").click()
    expect(page.get_by_role("heading", name="Nobody here yet")).to_be_visible()
    expect(page.locator("#connection")).to_be_empty()


def test_the_list_outlives_a_restart_too(page: Page, data_dir: Path, library: Path) -> None:
    with serving_at(0, data_dir, library) as (server, gate):
        port = int(server.url.rsplit(":", 1)[1])
        server.create(library)
        page.goto(server.url)
        expect(page.get_by_role("list", name="Sessions").get_by_role("listitem")).to_have_count(1)
    expect(page.locator("#connection")).to_contain_text("Connection lost, trying again…")
    with serving_at(port, data_dir, library) as (server, gate):
        expect(page.locator("#connection")).to_be_empty()
        gate.open()
        expect(page.get_by_text("100%")).to_be_visible()
