"""Naming on the page while sessions are at work: what was said stays, whatever they had read before."""

from threading import Event
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from jobs import cluster
from tests.page.browsing import hold_detection
from tests.page.gallery import faces_of, write_gallery
from tests.page.naming import name_field, open_people, people, reread, toast
from tests.people_libraries import Library
from tests.served import Served


def owners(server: Served, who: int) -> set[str | None]:
    """Whose the faces of one of the cast are, by name."""
    rows = server.run.rows(
        "SELECT p.name FROM face_instances f LEFT JOIN persons p ON p.id = f.person_id WHERE f.id = ANY(:ids)",
        ids=faces_of(server.run, who),
    )
    return {row.name for row in rows}


def test_groups_are_named_while_faces_are_being_grouped(
    page: Page, known: Served, original: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouping, go_on = Event(), Event()
    group = cluster.group_faces

    def held(*arguments: Any, **named: Any) -> Any:
        grouping.set()
        assert go_on.wait(120), "nobody let the grouping go on"
        return group(*arguments, **named)

    monkeypatch.setattr(cluster, "group_faces", held)
    write_gallery(original.photos, range(42, 48))
    session = known.create(original.photos)
    assert grouping.wait(120)
    groups = open_people(page, known)
    for name in ("Anna", "Ben"):
        name_field(groups.first).fill(name)
        page.keyboard.press("Enter")
        expect(toast(page)).to_contain_text(f"now {name}.")
    groups.first.get_by_role("button", name="Not a person I want").click()
    expect(toast(page)).to_contain_text("dismissed")
    go_on.set()
    known.ended(session)
    reread(page)
    expect(people(page)).to_have_count(2)
    expect(groups).to_have_count(3)
    known.run.wait_for(
        lambda _: sum(owners(known, who) in ({"Anna"}, {"Ben"}) for who in range(6)) == 2, "all faces of the two"
    )


def test_new_groups_appear_while_a_session_is_watched(page: Page, server: Served, library: Any) -> None:
    gate = hold_detection(server.run.engines, 20)
    session = server.create(library)
    page.goto(f"{server.url}/#/people")
    expect(page.get_by_text("A session is at work.")).to_be_visible()
    page.get_by_role("link", name="Watch it").click()
    expect(page.get_by_role("heading", level=2).first).to_contain_text("Processing")
    gate.open()
    server.ended(session)
    page.go_back()
    groups = page.get_by_role("list", name="Unknown people").get_by_role("listitem")
    expect(groups.first).to_be_visible()
    expect(page.get_by_text("Nobody here yet")).to_be_hidden()
