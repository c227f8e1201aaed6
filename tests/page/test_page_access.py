"""Signing in on the page, being signed out, and what readers see."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.browsing import Gate, hold_embedding, shoot
from tests.page.conftest import SETTINGS
from tests.page.naming import name_by_api, name_field, suggest
from tests.people_libraries import Library, copied
from tests.served import Served, served

OPERATOR = "operators-own-token"
READER = "a-token-of-readers!"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return write_tokens(tmp_path / "tokens", f"operator {OPERATOR}\nreader {READER}\n")


@pytest.fixture
def guarded(data_dir: Path, library: Path, tokens: Path) -> Iterator[Served]:
    with served(data_dir, library, tokens_file=tokens, **SETTINGS) as server:
        server.client.headers["Authorization"] = f"Bearer {OPERATOR}"
        yield server


def write_tokens(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def running_session(server: Served, library: Path) -> tuple[int, Gate]:
    gate = hold_embedding(server.run.engines, 8)
    return server.create(library), gate


def test_who_has_no_token_is_asked_and_gets_where_they_meant_to_go(
    page: Page, guarded: Served, library: Path, screenshots: Path
) -> None:
    session_id, gate = running_session(guarded, library)
    page.goto(f"{guarded.url}/#/sessions/{session_id}")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("link", name="API documentation")).to_be_hidden()
    sign_in(page, "not-one-of-the-tokens")
    expect(page.get_by_label("Token")).to_have_accessible_description(re.compile("not, or no longer"))
    shoot(page, screenshots, "sign-in")
    sign_in(page, OPERATOR)
    expect(page.locator("#phase-training")).to_have_text("Training: 20%")
    expect(page.get_by_role("link", name="API documentation")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("link", name="API documentation")).to_be_hidden()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    gate.open()


def test_who_watches_is_asked_again_once_the_token_is_taken_away(
    page: Page, guarded: Served, library: Path, tokens: Path
) -> None:
    session_id, gate = running_session(guarded, library)
    page.goto(f"{guarded.url}/#/sessions/{session_id}")
    sign_in(page, OPERATOR)
    expect(page.locator("#phase-training")).to_have_text("Training: 20%")
    write_tokens(tokens, "operator another-token-altogether\n")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_text("Sign in again")).to_be_visible()
    sign_in(page, "another-token-altogether")
    expect(page.locator("#phase-training")).to_have_text("Training: 20%")
    gate.open()
    expect(page.get_by_role("heading", name="Completed: 100%")).to_be_visible()


def test_a_reader_sees_everything_and_no_buttons(page: Page, guarded: Served, library: Path) -> None:
    session_id, gate = running_session(guarded, library)
    page.goto(f"{guarded.url}/#/sessions/{session_id}")
    sign_in(page, READER)
    expect(page.locator("#phase-training")).to_have_text("Training: 20%")
    expect(page.get_by_role("button")).to_have_text(["Sign out"])
    expect(page.get_by_role("link", name="New session")).to_be_hidden()
    page.goto(f"{guarded.url}/#/new")
    expect(page.get_by_text("sign in with an operator's token")).to_be_visible()
    expect(page.get_by_role("button", name="Begin")).to_have_count(0)
    page.get_by_role("link", name="Sessions").click()
    expect(page.get_by_role("list", name="Sessions").get_by_role("listitem")).to_have_count(1)
    gate.open()


@pytest.fixture
def guarded_people(original: Library, tmp_path: Path, tokens: Path) -> Iterator[Served]:
    with (
        copied(original, tmp_path) as here,
        served(here.data_dir, here.photos, tokens_file=tokens, **SETTINGS) as server,
    ):
        server.client.headers["Authorization"] = f"Bearer {OPERATOR}"
        yield server


def test_who_names_people_is_asked_again_and_goes_on_where_they_were(
    page: Page, guarded_people: Served, tokens: Path
) -> None:
    name_by_api(guarded_people, 0, "Anna")
    page.goto(f"{guarded_people.url}/#/people/1/faces")
    sign_in(page, OPERATOR)
    faces = page.get_by_role("list", name="Faces of Anna").get_by_role("listitem")
    expect(faces.first).to_be_visible()
    write_tokens(tokens, "operator another-token-altogether\n")
    faces.first.get_by_role("checkbox").check()
    page.get_by_role("button", name="Not Anna").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_text("Sign in again")).to_be_visible()
    sign_in(page, "another-token-altogether")
    expect(faces.first).to_be_visible()
    expect(page).to_have_url(re.compile("#/people/1/faces$"))


def test_who_scrolls_is_asked_again_and_goes_on_with_what_they_looked_for(
    page: Page, guarded_people: Served, tokens: Path
) -> None:
    page.goto(f"{guarded_people.url}/#/photos?takenTo=2050-01-01")
    sign_in(page, OPERATOR)
    expect(page.get_by_role("heading", name="No photo matches all of this")).to_be_visible()
    write_tokens(tokens, "operator another-token-altogether\n")
    page.get_by_label("Taken to").fill("2051-01-01")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(page, "another-token-altogether")
    expect(page.get_by_label("Taken to")).to_have_value("2051-01-01")


def test_a_reader_sees_people_and_photos_and_changes_nothing(page: Page, guarded_people: Served) -> None:
    anna = name_by_api(guarded_people, 0, "Anna")
    suggest(guarded_people, 1, "Ben")
    page.goto(f"{guarded_people.url}/#/people")
    sign_in(page, READER)
    expect(page.get_by_role("list", name="Unknown people").get_by_role("listitem")).to_have_count(5)
    expect(page.get_by_role("button")).to_have_text(["Sign out"])
    expect(name_field(page.locator("main"))).to_have_count(0)
    page.get_by_role("region", name="Suggestions").get_by_role("link", name="Look").click()
    expect(page.get_by_role("heading", name="Is this Ben?")).to_be_visible()
    page.keyboard.press("y")
    expect(page.get_by_role("button")).to_have_text(["Sign out", re.compile("^Skip")])
    page.get_by_role("button", name="Skip").click()
    assert guarded_people.client.get("/api/v1/changes").json()["items"][0]["sentence"].endswith("now Anna.")
    for address, shown in (
        (f"people/{anna}", "Photos of Anna"),
        (f"people/{anna}/faces", "Faces of Anna"),
        ("people/history", "Changes"),
        ("people/groups/2", "Faces of this group"),
    ):
        page.goto(f"{guarded_people.url}/#/{address}")
        expect(page.get_by_role("list", name=shown).get_by_role("listitem").first).to_be_visible()
        expect(page.get_by_role("button")).to_have_text(["Sign out"])
    page.goto(f"{guarded_people.url}/#/photos/1")
    expect(page.locator(".boxes .box").first).to_be_visible()
    expect(page.get_by_role("button")).to_have_text(["Sign out"])
