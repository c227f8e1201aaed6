"""A sharded step: read a batch, decode and infer it, commit it; the next batch is under way meanwhile."""

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from jobs.confinement import Confinement
from jobs.context import Context, Session
from jobs.outages import (
    MOUNT_ERRORS,
    SHORTAGES,
    DecodersUnavailable,
    StorageUnavailable,
    check_root,
    ride_out,
)
from jobs.streams import Streams
from jobs.telling import tell_stores
from trainyard import shards
from trainyard.decoders import ChildNotStarted, Decoder
from trainyard.photos import PhotoError, PhotoFacts
from trainyard.shards import Shard
from trainyard.vectors import VectorsUnavailable

LEAST_BATCHES = 2  # in flight: one is waited for and committed while the other is worked on
DEADLY = 2  # workers that an image may take down before it is failed
MAYBE_THE_MOUNT = frozenset({"not_found", "unreadable", "timed_out"})


@dataclass(frozen=True)
class Photo:
    """One row of the step's work."""

    position: int
    asset_id: int
    path: bytes
    content_sha256: bytes | None  # as it was last read
    done_before: bool  # what this step makes of that content is there already
    attempts: int
    failed_before: tuple[str, str] | None  # code and sentence, when an earlier step failed it
    category_id: int | None = None

    @property
    def suspect(self) -> bool:
        return self.attempts > 0


@dataclass(frozen=True)
class Outcome:
    """What became of a photo: an error, or facts and (unless unchanged) a result of the step's own kind."""

    photo: Photo
    error: tuple[str, str] | None = None
    facts: PhotoFacts | None = None
    result: Any = None
    seconds: float = 0.0
    size_and_mtime: tuple[int, int] | None = None  # of a photo that failed, from before it was read

    @property
    def unchanged(self) -> bool:
        return self.error is None and self.result is None


class ShardedStep(Protocol):
    """What makes embed differ from detect."""

    name: str
    batch_size: int
    chunk_size: int  # photos that one thread takes at a time
    read: sa.TextClause  # a batch's rows from :session_id, :step, :next, :last, :limit, and `parameters`
    parameters: dict[str, Any]

    def infer(self, photos: Sequence[Photo], decoder: Decoder) -> list[Outcome]:
        """Decode and run the networks; called from several threads."""
        ...

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        """Write vectors; doing it again changes nothing."""
        ...

    def counts(self, outcomes: Sequence[Outcome]) -> dict[str, int]:
        """What the shard counts of them, beside done and failed."""
        ...

    def store(self, connection: sa.Connection, outcomes: Sequence[Outcome]) -> None:
        """Write rows in the batch's transaction."""
        ...

    def committed(self) -> None:
        """What is to be done once the rows are there; a worker that dies before leaves it to `tidy`."""
        ...

    def tidy(self, shard: Shard) -> None:
        """Remove what a predecessor that died left without rows."""
        ...


@dataclass
class Batch:
    photos: list[Photo]
    futures: list[Future[list[Outcome]]]

    @property
    def last(self) -> int:
        return self.photos[-1].position

    @property
    def solo(self) -> bool:
        return self.photos[0].suspect


class BatchRun:
    """One claimed shard being worked off."""

    def __init__(self, context: Context, session: Session, step: ShardedStep, shard: Shard, streams: Streams) -> None:
        self.context = context
        self.session = session
        self.step = step
        self.shard = shard
        self.streams = streams
        self.confinement = Confinement(context.settings, session)
        self.window: deque[Batch] = deque()
        self.cursor = shard.next
        # As many as keep every stream busy while one batch is being committed.
        self.batches = max(LEAST_BATCHES, -(-streams.count * step.chunk_size // step.batch_size) + 1)
        self.blameless = True  # until the networks fail: no photo has to do with any other error

    def run(self) -> None:
        try:
            self._fill()
            while self.window:
                self._commit(self.window.popleft())
                self._fill()
        except Exception:
            if self.blameless:
                with suppress(Exception):  # what ended the run is what must be told
                    self.context.database.transact(lambda c: shards.beat(c, self.shard, in_flight=None))
            raise
        if self.shard.claim > 1 or self.shard.key.attempt > 1:
            self._ride_out_vectors(lambda: self.step.tidy(self.shard))
        tell_stores(self.context, self.shard)
        self.context.database.transact(lambda c: shards.finish(c, self.shard))

    def _fill(self) -> None:
        """Hand batches out until enough are under way; a suspect goes alone."""
        while len(self.window) < self.batches and not (self.window and self.window[0].solo):
            self.context.check_stop()
            photos = self.context.database.transact(self._hand_out)
            if not photos:
                return
            self.cursor = photos[-1].position + 1
            self.window.append(self._submit(photos))

    def _hand_out(self, connection: sa.Connection) -> list[Photo]:
        """The next photos, and their name in the shard's row before anything touches them."""
        rows = connection.execute(
            self.step.read,
            {
                **self.step.parameters,
                "session_id": self.session.id,
                "step": self.step.name,
                "next": self.cursor,
                "last": self.shard.last,
                "limit": self.step.batch_size,
            },
        )
        photos = up_to_suspect([_photo(row) for row in rows])
        if not photos or (photos[0].suspect and self.window):
            return []
        shards.beat(connection, self.shard, in_flight=photos[-1].position)
        return photos

    def _submit(self, photos: list[Photo]) -> Batch:
        size = self.step.chunk_size
        chunks = [photos[i : i + size] for i in range(0, len(photos), size)]
        return Batch(photos, [self.streams.submit(self._work, chunk) for chunk in chunks])

    def _work(self, photos: Sequence[Photo], decoder: Decoder) -> list[Outcome]:
        """The chunk's outcomes; those known beforehand need no decoding."""
        known = {photo.position: outcome for photo in photos if (outcome := self._failed_unopened(photo))}
        rest = [photo for photo in photos if photo.position not in known]
        try:
            inferred = {o.photo.position: o for o in self.step.infer(rest, decoder)} if rest else {}
        except Exception as error:
            self.blameless = self.blameless and of_the_machine(error)
            raise
        return [known.get(photo.position) or inferred[photo.position] for photo in photos]

    def _failed_unopened(self, photo: Photo) -> Outcome | None:
        if known := _known_failure(photo):
            return known
        refusal = self.confinement.refusal(photo.path)
        return failed_outcome(photo, refusal, None) if refusal else None

    def _commit(self, batch: Batch) -> None:
        outcomes = self._outcomes(batch)
        self._ride_out_vectors(lambda: self.step.publish(outcomes))
        in_flight = self.window[-1].last if self.window else None
        failed = sum(1 for outcome in outcomes if outcome.error)

        inherited = sum(1 for outcome in outcomes if outcome.photo.failed_before)

        def work(connection: sa.Connection) -> Shard:
            after, is_news = shards.advance(
                connection,
                self.shard,
                next=batch.last + 1,
                in_flight=in_flight,
                done=len(outcomes),
                failed=failed,
                counts={**self.step.counts(outcomes), "inherited": inherited},
            )
            if is_news:
                self.step.store(connection, outcomes)
            return after

        self.shard = self.context.database.transact(work)
        self._ride_out_vectors(self.step.committed)

    def _outcomes(self, batch: Batch) -> list[Outcome]:
        """The batch's outcomes, in order; again from the start while the folder or room for decoders is gone."""

        def gather() -> list[Outcome]:
            futures = batch.futures or self._submit(batch.photos).futures
            batch.futures = []
            try:
                outcomes = _results(futures)
                check_mount(self.session.folders, outcomes)
            except StorageUnavailable:
                for later in self.window:  # read while the folder was gone, too
                    later.futures = []
                raise
            return outcomes

        def gather_once_there() -> list[Outcome]:
            return ride_out(self.context, self.shard, "StorageUnavailable", gather, (StorageUnavailable,))

        return ride_out(self.context, self.shard, "DecodersUnavailable", gather_once_there, (DecodersUnavailable,))

    def _ride_out_vectors(self, work: Any) -> None:
        ride_out(self.context, self.shard, "VectorsUnavailable", work, (VectorsUnavailable,))


def of_the_machine(error: Exception) -> bool:
    """Whether an error of decoding and inferring is memory, disk or the system, whatever the photo."""
    return isinstance(error, (OSError, MemoryError, ChildNotStarted)) or type(error).__name__ == "OutOfMemoryError"


def _results(futures: Sequence[Future[list[Outcome]]]) -> list[Outcome]:
    try:
        return [outcome for future in futures for outcome in future.result()]
    except OSError as error:
        if error.errno not in MOUNT_ERRORS:
            raise
        raise StorageUnavailable(f"The photos cannot be read ({error.strerror}); mount their folder again.") from error
    except ChildNotStarted as error:
        if getattr(error.__cause__, "errno", None) not in SHORTAGES:
            raise
        raise DecodersUnavailable(f"{error} Free some, or raise the limit.") from error


def check_mount(folders: Sequence[str], outcomes: Sequence[Outcome]) -> None:
    """Raises StorageUnavailable where these errors may be the mount's: it is gone, or was when they arose."""
    doubtful = [o for o in outcomes if o.error and o.error[0] in MAYBE_THE_MOUNT and not o.photo.failed_before]
    if not doubtful:
        return
    for folder in folders:
        inside = os.fsencode(folder).rstrip(b"/") + b"/"
        if any(outcome.photo.path.startswith(inside) for outcome in doubtful):
            check_root(folder)
    if any(outcome.error[0] == "not_found" and look(outcome.photo.path) for outcome in doubtful if outcome.error):
        raise StorageUnavailable("The folder was away for a moment; its photos are read again.")


def _photo(row: sa.Row[Any]) -> Photo:
    failed_before = (row.error_code, row.error_message) if row.error_code else None
    return Photo(
        position=row.position,
        asset_id=row.asset_id,
        path=row.path,
        content_sha256=row.content_sha256,
        done_before=row.done_before,
        attempts=row.attempts,
        failed_before=failed_before,
        category_id=row.category_id,
    )


def up_to_suspect(photos: list[Photo]) -> list[Photo]:
    """A first photo that is suspect alone; else those before the first suspect."""
    if photos and photos[0].suspect:
        return photos[:1]
    end = next((i for i, photo in enumerate(photos) if photo.suspect), len(photos))
    return photos[:end]


def _known_failure(photo: Photo) -> Outcome | None:
    if photo.failed_before:
        return Outcome(photo, error=photo.failed_before)
    if photo.attempts >= DEADLY:
        sentence = f"{photo.attempts} workers in turn died while they held this photo; leave it out or repair it."
        return Outcome(photo, error=("worker_crashed", sentence))
    return None


def failed_outcome(photo: Photo, error: PhotoError, size_and_mtime: tuple[int, int] | None) -> Outcome:
    return Outcome(photo, error=(error.code, error.message), size_and_mtime=size_and_mtime)


def look(path: bytes) -> tuple[int, int] | None:
    """Size and time of a file from before it is read: if it is broken, that is what was broken."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


STORE_JOBS = sa.text("""
    UPDATE training_jobs j SET status = CASE WHEN r.code IS NULL THEN 'completed' ELSE 'failed' END,
        error_code = r.code, error_message = r.message
    FROM unnest(CAST(:positions AS bigint[]), CAST(:codes AS text[]), CAST(:messages AS text[]))
        AS r (position, code, message)
    WHERE j.session_id = :session_id AND j.step = :step AND j.position = r.position
""")


def store_jobs(connection: sa.Connection, session_id: int, step: str, outcomes: Sequence[Outcome]) -> None:
    connection.execute(
        STORE_JOBS,
        {
            "session_id": session_id,
            "step": step,
            "positions": [outcome.photo.position for outcome in outcomes],
            "codes": [outcome.error and outcome.error[0] for outcome in outcomes],
            "messages": [outcome.error and outcome.error[1] for outcome in outcomes],
        },
    )


STORE_FACTS = sa.text("""
    UPDATE image_assets a SET size_bytes = r.size_bytes, mtime_ns = r.mtime_ns, content_sha256 = r.sha256,
        width = r.width, height = r.height, taken_at = r.taken_at, broken_code = NULL, broken_message = NULL
    FROM unnest(CAST(:ids AS bigint[]), CAST(:sizes AS bigint[]), CAST(:mtimes AS bigint[]),
                CAST(:hashes AS bytea[]), CAST(:widths AS integer[]), CAST(:heights AS integer[]),
                CAST(:taken AS timestamptz[]))
        AS r (id, size_bytes, mtime_ns, sha256, width, height, taken_at)
    WHERE a.id = r.id
""")

# Faces that an older version's worker found do not say how large their photo was.
KEEP_SIZES = sa.text("""
    UPDATE face_instances f SET photo_width = a.width, photo_height = a.height
    FROM image_assets a WHERE a.id = ANY(:changed) AND f.asset_id = a.id AND f.photo_width IS NULL
""")

STORE_BROKEN = sa.text("""
    UPDATE image_assets a SET size_bytes = r.size_bytes, mtime_ns = r.mtime_ns,
        broken_code = r.code, broken_message = r.message
    FROM unnest(CAST(:ids AS bigint[]), CAST(:sizes AS bigint[]), CAST(:mtimes AS bigint[]),
                CAST(:codes AS text[]), CAST(:messages AS text[]))
        AS r (id, size_bytes, mtime_ns, code, message)
    WHERE a.id = r.id
""")

# What the bytes of a file decide; other failures may pass by themselves.
BROKEN_FOR_GOOD = frozenset({"truncated", "not_an_image", "unsupported", "too_large"})


def store_facts(connection: sa.Connection, outcomes: Sequence[Outcome]) -> None:
    """Each asset as it was read."""
    read = [(o.photo.asset_id, o.facts) for o in outcomes if o.facts is not None]
    changed = [o.photo.asset_id for o in outcomes if o.facts and o.photo.content_sha256 not in {None, o.facts.sha256}]
    if changed:
        connection.execute(KEEP_SIZES, {"changed": changed})
    if read:
        connection.execute(
            STORE_FACTS,
            {
                "ids": [asset_id for asset_id, _ in read],
                "sizes": [facts.size_bytes for _, facts in read],
                "mtimes": [facts.mtime_ns for _, facts in read],
                "hashes": [facts.sha256 for _, facts in read],
                "widths": [facts.width for _, facts in read],
                "heights": [facts.height for _, facts in read],
                "taken": [facts.taken_at for _, facts in read],
            },
        )


def store_broken(connection: sa.Connection, outcomes: Sequence[Outcome]) -> None:
    """Each asset that is broken for good, as it was: it is not read again until it changes."""
    broken = [o for o in outcomes if o.error and o.size_and_mtime and o.error[0] in BROKEN_FOR_GOOD]
    if broken:
        connection.execute(
            STORE_BROKEN,
            {
                "ids": [o.photo.asset_id for o in broken],
                "sizes": [o.size_and_mtime[0] for o in broken if o.size_and_mtime],
                "mtimes": [o.size_and_mtime[1] for o in broken if o.size_and_mtime],
                "codes": [o.error[0] for o in broken if o.error],
                "messages": [o.error[1] for o in broken if o.error],
            },
        )
