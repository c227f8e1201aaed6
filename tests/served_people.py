"""The API alone over HTTP, on a test's own faces and people: no worker is there, nobody but the test changes them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from tests.people_rows import Library
from tests.served_rows import ServedRows, served_rows

ROOT = "/photos"  # which tests.rows names photos below

READ = """
    UPDATE image_assets a SET content_sha256 = r.content
    FROM unnest(CAST(:ids AS bigint[]), CAST(:contents AS bytea[])) AS r (id, content) WHERE a.id = r.id
"""


@dataclass
class ServedPeople:
    rows: ServedRows
    library: Library

    def begin_anew(self) -> Library:
        """Where nothing is there."""
        self.library = Library.made(self.rows.services.database.engine)
        self.read_photos()
        return self.library

    def read_photos(self) -> None:
        """Photos with faces have been read."""
        contents = [hashlib.sha256(b"content %d" % number).digest() for number in range(len(self.library.photos))]
        self.sql(READ, ids=self.library.photos, contents=contents)

    def sql(self, statement: str, **parameters: Any) -> None:
        self.library.do(lambda connection: connection.execute(sa.text(statement), parameters))

    def get(self, address: str, **query: Any) -> Any:
        """The JSON of an answer that has to be good."""
        answer = self.rows.client.get(f"/api/v1{address}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, address: str, **body: Any) -> httpx.Response:
        return self.rows.client.post(f"/api/v1{address}", json=body)

    def done(self, address: str, **body: Any) -> Any:
        """The change that was made."""
        answer = self.post(address, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def code(self, address: str, method: str = "GET", **given: Any) -> tuple[int, str]:
        """Status and code of an answer that has to be a problem."""
        answer = self.rows.client.request(method, f"/api/v1{address}", **given)
        return answer.status_code, answer.json()["code"]

    def every(self, address: str, limit: int, **query: Any) -> list[Any]:
        """The items of all pages, each of which but the last has to be full."""
        items: list[Any] = []
        token: dict[str, str] = {}
        while True:
            page = self.get(address, limit=limit, **query, **token)
            items += page["items"]
            if page["nextPageToken"] is None:
                return items
            assert len(page["items"]) == limit
            token = {"pageToken": page["nextPageToken"]}


@contextmanager
def served_people(database_url: str, folder: Path, **settings: Any) -> Iterator[ServedPeople]:
    with served_rows(database_url, folder, image_roots=ROOT, **settings) as rows:
        served = ServedPeople(rows, Library.made(rows.services.database.engine))
        served.read_photos()
        yield served
