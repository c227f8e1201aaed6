"""What people said of faces, out of the rows and into them again: by content and box, whatever network found the faces.

An import adds: what people said here stands. Doing it twice changes nothing, and one that is stopped is finished by
doing it again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TextIO, TypeAlias

import sqlalchemy as sa

from trainyard.database import Database
from trainyard.face_models import keep_active
from trainyard.people.exchange_export import read_people
from trainyard.people.exchange_import import Import, Imported, import_faces, import_group, names_in
from trainyard.people.exchange_records import (
    FaceRecord,
    GroupRecord,
    PersonRecord,
    read_records,
    write_records,
)

RECORDS_PER_COMMIT = 500

AnyRecord: TypeAlias = PersonRecord | FaceRecord | GroupRecord
Watch: TypeAlias = Callable[[int], object]


def export_people(database: Database, file: TextIO) -> int:
    """Write everything, as it is at one moment; returns the number of records."""
    return database.transact(lambda connection: _export(connection, file))


def _export(connection: sa.Connection, file: TextIO) -> int:
    connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    return write_records(read_people(connection), file)


def import_people(database: Database, file: TextIO, name: str, watch: Watch = lambda records: None) -> Imported:
    """Read the whole file, then change the rows, some hundred records a commit; `watch` is told how many so far.

    Raises BadExchange before anything is changed. Vectors and prototypes follow by the outbox.
    """
    for _ in read_records(file, name):
        pass
    file.seek(0)
    work, done = Import(), 0
    for batch in _commits(read_records(file, name)):
        work = database.transact(partial(_apply, before=work, batch=batch))
        done += len(batch)
        watch(done)
    return work.counts


def _apply(connection: sa.Connection, before: Import, batch: Sequence[AnyRecord]) -> Import:
    """What it has come to with this batch; the transaction may have to be done again."""
    keep_active(connection)
    work = Import(dict(before.persons), replace(before.counts))
    work.hold(connection, list(dict.fromkeys(name for record in batch for name in names_in(record))))
    for record in batch:
        if isinstance(record, GroupRecord):
            import_group(connection, work, record)
    import_faces(connection, work, [record for record in batch if isinstance(record, FaceRecord)])
    return work


def _commits(records: Iterable[AnyRecord]) -> Iterator[list[AnyRecord]]:
    """So many records together as are committed at once; the faces of a photo are not parted."""
    batch: list[AnyRecord] = []
    for record in records:
        if len(batch) >= RECORDS_PER_COMMIT and _photo(record) != _photo(batch[-1]):
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


def _photo(record: AnyRecord) -> object:
    return record.photo if isinstance(record, FaceRecord) else record
