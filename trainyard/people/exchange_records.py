"""People as a file that outlives a database: what is in it, and reading it without having all of it in memory.

JSON: a list of objects, each on a line of its own. The first says what the file is; persons follow, then faces by
photo, then groups. A face is known by the SHA-256 of its photo's file and by its box, in shares of the upright photo's
sides: both are the same in another installation, whichever network finds the face there.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Literal, TextIO

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from trainyard.people.errors import InvalidName
from trainyard.people.names import usable_name

VERSION = 1
HEADER = "trainyard-people"
CHUNK_CHARACTERS = 1 << 16
LONGEST_RECORD = 64 << 20  # characters
DECODER = json.JSONDecoder()

Photo = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Box = tuple[Share, Share, Share, Share]  # left, top, right, bottom


def _usable(name: str) -> str:
    try:
        return usable_name(name)
    except InvalidName as error:
        raise ValueError(error.sentence.rstrip(".")) from error


Name = Annotated[str, AfterValidator(_usable)]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Header(Record):
    kind: Literal["trainyard-people"] = "trainyard-people"
    version: int
    exported_at: datetime | None = None
    network: str | None = None  # whose faces these are; for people


class PersonRecord(Record):
    kind: Literal["person"] = "person"
    name: Name


class FaceRecord(Record):
    """`by` is who said that it is `person`; `rejected` are those who it is not, as somebody said."""

    kind: Literal["face"] = "face"
    photo: Photo
    box: Box
    person: Name | None = None
    by: Literal["person", "engine"] | None = None
    similarity: float | None = None
    ignored: bool = False
    rejected: tuple[Name, ...] = ()
    cover: bool = False


class GroupFace(Record):
    photo: Photo
    box: Box


class GroupRecord(Record):
    """A group that somebody dismissed."""

    kind: Literal["dismissed-group"] = "dismissed-group"
    faces: tuple[GroupFace, ...]


AnyRecord = Annotated[Header | PersonRecord | FaceRecord | GroupRecord, Field(discriminator="kind")]
RECORD: TypeAdapter[Header | PersonRecord | FaceRecord | GroupRecord] = TypeAdapter(AnyRecord)


class BadExchange(Exception):
    """The file is not one that `trainyard people export` has written; the sentence says where."""


def write_records(records: Iterable[Record], file: TextIO) -> int:
    """Returns how many there were. What has its default is left out."""
    count = 0
    for record in records:
        line = record.model_dump_json(exclude_defaults=True)
        kind = record.model_dump(include={"kind"})["kind"]
        file.write(f'{"," if count else "["}\n{{"kind":"{kind}"{"," if line != "{}" else ""}{line[1:]}')
        count += 1
    file.write("\n]\n")
    return count


def read_records(file: TextIO, name: str) -> Iterator[PersonRecord | FaceRecord | GroupRecord]:
    """All but the header, one after another. Raises BadExchange, which names the line."""
    objects = _objects(file, name)
    line, first = next(objects, (1, {"kind": "nothing"}))
    header = _record(name, line, first) if isinstance(first, dict) and first.get("kind") == HEADER else None
    if not isinstance(header, Header):
        raise BadExchange(f"{name}, line {line}: this is no export of people; it does not begin by saying so.")
    if header.version != VERSION:
        raise BadExchange(
            f"{name}, line {line}: this is version {header.version} of the file, and this Trainyard reads {VERSION}. "
            "Use the version of Trainyard that wrote it, or a later one."
        )
    for line, each in objects:
        record = _record(name, line, each)
        if isinstance(record, Header):
            raise BadExchange(f"{name}, line {line}: a second beginning; two files may have been joined. Import each.")
        yield record


def _record(name: str, line: int, value: object) -> Header | PersonRecord | FaceRecord | GroupRecord:
    try:
        return RECORD.validate_python(value, strict=False)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"][1:])
        why = problem["msg"].removeprefix("Value error, ")
        raise BadExchange(f"{name}, line {line}: {where + ': ' if where else ''}{why}.") from error


def _objects(file: TextIO, name: str) -> Iterator[tuple[int, object]]:
    """The objects of the list, each with the number of the line it begins in."""
    text = _Text(file, name)
    text.expect("[")
    while True:
        if text.peek() == "]":
            text.expect("]")
            break
        yield text.read()
        if text.peek() != "]":
            text.expect(",")
    if text.peek():
        raise text.bad("there is more after the end of the list")


class _Text:
    """The file's text, of which little more than one object is in memory."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file, self._name = file, name
        self._ahead, self._at, self._line = "", 0, 1

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self._at < len(self._ahead) and self._ahead[self._at].isspace():
                self._line += self._ahead[self._at] == "\n"
                self._at += 1
            if self._at < len(self._ahead) or not self._read():
                return self._ahead[self._at : self._at + 1]

    def expect(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise self.bad(f"{character!r} is expected here, and {repr(found) if found else 'the file ends'}")
        self._at += 1

    def read(self) -> tuple[int, object]:
        if self.peek() != "{":
            raise self.bad("an object in braces is expected here" if self.peek() else "the file is cut off here")
        while True:
            try:
                value, end = DECODER.raw_decode(self._ahead, self._at)
                break
            except json.JSONDecodeError as error:
                if len(self._ahead) > LONGEST_RECORD or not self._read():
                    raise self.bad(f"this is no JSON ({error.msg}), or the file is cut off") from error
        line = self._line
        self._line += self._ahead.count("\n", self._at, end)
        self._at = end
        return line, value

    def bad(self, why: str) -> BadExchange:
        return BadExchange(f"{self._name}, line {self._line}: {why}.")

    def _read(self) -> bool:
        """Twice as much as is left: an object that takes several reads is looked at few times."""
        rest = self._ahead[self._at :]
        try:
            more = self._file.read(max(CHUNK_CHARACTERS, 2 * len(rest)))
        except UnicodeDecodeError as error:
            raise self.bad("there are bytes that are no UTF-8 text") from error
        self._ahead, self._at = rest + more, 0
        return bool(more)
