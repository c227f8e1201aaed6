"""An export of people as text, and which of two words about a face stands."""

import io
import json
from typing import Any

import pytest

from trainyard.people import exchange_records
from trainyard.people.exchange_faces import Word, settle
from trainyard.people.exchange_records import (
    BadExchange,
    FaceRecord,
    GroupFace,
    GroupRecord,
    Header,
    PersonRecord,
    read_records,
    write_records,
)

PHOTO = "ab" * 32
FACE = FaceRecord(photo=PHOTO, box=(0.1, 0.2, 0.3, 0.4), person="Änne", by="person", rejected=("Bob",), cover=True)
RECORDS = [
    Header(version=1),
    PersonRecord(name="Änne"),
    PersonRecord(name='A "quoted" name, {with} [brackets]'),
    FACE,
    FaceRecord(photo=PHOTO, box=(0, 0, 1, 1), person="Bob", by="engine", similarity=0.5),
    FaceRecord(photo=PHOTO, box=(0, 0, 1, 1), ignored=True),
    GroupRecord(faces=(GroupFace(photo=PHOTO, box=(0.1, 0.2, 0.3, 0.4)),)),
]
BEGIN = '[{"kind": "trainyard-people", "version": 1}'


def written() -> str:
    file = io.StringIO()
    write_records(RECORDS, file)
    return file.getvalue()


def read(text: str) -> list[Any]:
    return list(read_records(io.StringIO(text), "people.json"))


# The file


def test_what_is_written_is_json_a_line_a_record_and_is_read_again() -> None:
    assert len(written().splitlines()) == len(RECORDS) + 2
    assert [record["kind"] for record in json.loads(written())] == [record.kind for record in RECORDS]
    assert read(written()) == RECORDS[1:]


@pytest.mark.parametrize("indent", [None, 2])
def test_it_may_be_laid_out_otherwise(indent: int | None) -> None:
    assert read("\n \n" + json.dumps(json.loads(written()), indent=indent) + "\n") == RECORDS[1:]


def test_it_is_read_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(io.StringIO):
        longest = 0

        def read(self, size: int | None = -1) -> str:
            self.longest = max(self.longest, size or 0)
            return super().read(size)

    monkeypatch.setattr(exchange_records, "CHUNK_CHARACTERS", 7)
    file = Watched(written() * 1)
    assert list(read_records(file, "people.json")) == RECORDS[1:]
    assert file.longest < len(written())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", r"line 1: '\[' is expected here, and the file ends"),
        ("{}", r"line 1: '\[' is expected here, and '{'"),
        ("[]", "line 1: this is no export of people"),
        ('[{"kind": "person", "name": "A"}]', "line 1: this is no export of people"),
        ('[\n{"kind": "trainyard-people", "version": 2}]', "line 2: this is version 2 .* this Trainyard reads 1"),
        (f"{BEGIN},\n\n{BEGIN[1:]}]", "line 3: a second beginning"),
        (BEGIN, "line 1: ',' is expected here, and the file ends"),
        (f"{BEGIN},\n", "line 2: the file is cut off here"),
        (f'{BEGIN},\n{{"kind": "per', r"line 2: this is no JSON \(.*\), or the file is cut off"),
        (f"{BEGIN},\n7]", "line 2: an object in braces is expected here"),
        (f"{BEGIN}] []", "line 1: there is more after the end of the list"),
        (f'{BEGIN},\n{{"kind": "cat"}}]', "line 2: Input tag 'cat'"),
        (f'{BEGIN},\n{{"kind": "person"}}]', "line 2: name: Field required"),
        (f'{BEGIN},\n{{"kind": "person", "name": " "}}]', "line 2: name: A name has 1 to 200 characters"),
        (f'{BEGIN},\n{{"kind": "person", "name": "A", "age": 3}}]', "line 2: age: Extra inputs"),
        (f'{BEGIN},\n{{"kind": "face", "photo": "../x", "box": [0, 0, 1, 1]}}]', "line 2: photo: "),
        (f'{BEGIN},\n{{"kind": "face", "photo": "{PHOTO}", "box": [0, 0, 1]}}]', "line 2: box.3: Field required"),
        (f'{BEGIN},\n{{"kind": "face", "photo": "{PHOTO}", "box": [0, 0, 1, 40]}}]', "line 2: box.3: .* equal to 1"),
        (f'{BEGIN},\n{{"kind": "face", "photo": "{PHOTO}", "box": [0, 0, 1, NaN]}}]', "line 2: box.3: "),
    ],
)
def test_a_bad_file_is_refused_by_what_and_where(text: str, why: str) -> None:
    with pytest.raises(BadExchange, match=f"^people.json, {why}"):
        read(text)


def test_bytes_that_are_no_text_are_refused() -> None:
    file = io.TextIOWrapper(io.BytesIO(BEGIN.encode() + b', {"kind": "person", "name": "\xff"}]'), encoding="utf-8")
    with pytest.raises(BadExchange, match="no UTF-8 text"):
        list(read_records(file, "people.json"))


# Which word stands

ANNA, BOB = 1, 2
UNKNOWN = Word()


def of(person: int, by: str = "person", **more: Any) -> Word:
    return Word(person, by, similarity=0.9 if by == "engine" else None, **more)


def refusing(*persons: int, **more: Any) -> Word:
    return Word(refused=frozenset(persons), **more)


@pytest.mark.parametrize(
    ("here", "file", "after", "outcome"),
    [
        # Nobody knew it here.
        (UNKNOWN, of(ANNA), of(ANNA), "changed"),
        (UNKNOWN, of(ANNA, "engine"), of(ANNA, "engine"), "changed"),
        (UNKNOWN, Word(ignored=True), Word(ignored=True), "changed"),
        (UNKNOWN, refusing(BOB), refusing(BOB), "changed"),
        # The engine thought something here.
        (of(BOB, "engine"), of(ANNA), of(ANNA), "changed"),
        (of(ANNA, "engine"), of(ANNA), of(ANNA), "changed"),
        (of(BOB, "engine"), of(ANNA, "engine"), of(BOB, "engine"), "kept"),
        (of(BOB, "engine"), of(BOB, "engine"), of(BOB, "engine"), "as_they_were"),
        (of(BOB, "engine"), refusing(BOB), refusing(BOB), "changed"),
        (of(BOB, "engine"), Word(ANNA, "engine", 0.9, refused=frozenset({BOB})),
         Word(ANNA, "engine", 0.9, refused=frozenset({BOB})), "changed"),
        (of(BOB, "engine"), Word(ignored=True), of(BOB, "engine", ignored=True), "changed"),
        # Somebody said something here.
        (of(BOB), of(ANNA), of(BOB), "kept"),
        (of(ANNA), of(ANNA), of(ANNA), "as_they_were"),
        (of(ANNA), of(ANNA, "engine"), of(ANNA), "as_they_were"),
        (of(BOB), Word(ignored=True), of(BOB), "kept"),
        (of(BOB), refusing(BOB), of(BOB), "as_they_were"),
        (of(BOB), refusing(ANNA), of(BOB, refused=frozenset({ANNA})), "changed"),
        (Word(ignored=True), of(ANNA), Word(ignored=True), "kept"),
        (Word(ignored=True), Word(ignored=True), Word(ignored=True), "as_they_were"),
        # It was refused here.
        (refusing(ANNA), of(ANNA), refusing(ANNA), "kept"),
        (refusing(ANNA), of(ANNA, "engine"), refusing(ANNA), "kept"),
        (refusing(ANNA), of(BOB), of(BOB, refused=frozenset({ANNA})), "changed"),
        (refusing(ANNA), refusing(ANNA), refusing(ANNA), "as_they_were"),
    ],
)  # fmt: skip
def test_people_stand_before_the_engine_and_this_place_before_the_file(
    here: Word, file: Word, after: Word, outcome: str
) -> None:
    assert settle(here, file) == (after, outcome)
    assert settle(after, file)[0] == after  # once more changes nothing
