"""The pieces a cluster runs one by one: `migrate`, `job STEP` and `controller`, configured by TRAINYARD_* alone.

Both stores are named by settings (TRAINYARD_DATABASE_URL and TRAINYARD_QDRANT_URL), or neither is and both are the
data directory's: rows of one place and vectors of another do not belong together.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from trainyard.settings import BadSetting, Settings, load_settings

if TYPE_CHECKING:
    from jobs.context import Context
    from trainyard.shards import ShardKey
    from trainyard.vectors import Vectors

TERMINATION_LOG = Path("/dev/termination-log")
MOST_BYTES = 4_000  # Kubernetes keeps the last 4,096, and a word begins with its code
TRY_AGAIN_SECONDS = 2.0
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"  # set by Kubernetes in the pods of an Indexed Job

log = logging.getLogger(__name__)


def migrate(
    data_dir: Annotated[Path | None, typer.Option(help="Whose running PostgreSQL, without a URL.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Try until PostgreSQL answers, for TRAINYARD_OUTAGE_SECONDS (900) at most.")
    ] = False,
) -> None:
    """Bring the schema of TRAINYARD_DATABASE_URL, or of the data directory's running PostgreSQL, up to date.

    Several may run at once, also while workers work: migrations only add. A later version's schema is left alone.
    """
    from trainyard.database import migrate as migrate_schema

    settings = load_settings(data_dir=data_dir)
    url = settings.database_url or _running_postgres(settings)
    if wait:
        with stop_signals() as stop:
            later = _migrate_when_it_answers(url, settings.outage_seconds, stop)
    else:
        later = migrate_schema(url)
    typer.echo(
        f"The database's schema is at version {later}, which a later version of Trainyard made; it is left as it is."
        if later
        else "The database's schema is up to date."
    )


def _migrate_when_it_answers(url: str, longest_seconds: float, stop: threading.Event) -> str | None:
    """Says what it waits for, once for each time that this changes. Raises OperationalError after `longest_seconds`."""
    import sqlalchemy as sa

    from trainyard.database import connection_lost, first_line, lock_timed_out
    from trainyard.database import migrate as migrate_schema

    said, deadline = "", time.monotonic() + longest_seconds
    while True:
        try:
            return migrate_schema(url)
        except sa.exc.OperationalError as error:
            if not (connection_lost(error) or lock_timed_out(error)) or time.monotonic() > deadline:
                raise
            if first_line(error) != said:
                said = first_line(error)
                typer.echo(f"PostgreSQL cannot be migrated yet, trying again: {said}", err=True)
        if stop.wait(TRY_AGAIN_SECONDS):
            raise typer.Exit(1)


def job(
    step: Annotated[str, typer.Argument(help="discover, embed, detect, assign or cluster.")],
    session: Annotated[int, typer.Option(help="The session's id.")],
    attempt: Annotated[int, typer.Option(help="The attempt whose shards were cut.")],
) -> None:
    """Run one shard of a step, as a Job's pod does: shard JOB_COMPLETION_INDEX, 0 when unset.

    Exit 0: finished. 75: stopped (SIGTERM), overtaken, or an outage lasts; come back later. 78: no attempt can
    succeed before somebody changes something. 1: anything else, a failed attempt.
    """
    # Before the imports, which take seconds: a container's first process is not stopped by a signal it does not handle.
    with stop_signals() as stop:
        code, message = _outcome(step, session, attempt, stop)
        _say(code, message)
    raise typer.Exit(code)


def _outcome(step: str, session: int, attempt: int, stop: threading.Event) -> tuple[int, str]:
    """Exit code, and a sentence when it is not 0."""
    from jobs.outcomes import EXIT_WRONG_CONFIGURATION, WrongConfiguration
    from trainyard.logs import log_to_stderr

    log_to_stderr()
    try:
        with _leaving_word():
            return _run_shard(step, session, attempt, stop)
    except (BadSetting, WrongConfiguration) as error:
        return EXIT_WRONG_CONFIGURATION, str(error)


def _say(code: int, message: str) -> None:
    from jobs.outcomes import EXIT_COME_BACK

    if message:
        typer.secho(message, fg=typer.colors.RED if code != EXIT_COME_BACK else None, err=True)


@contextmanager
def _leaving_word() -> Iterator[None]:
    """Of an error, `Code: sentence` for the controller, where this runs in a pod."""
    try:
        yield
    except Exception as error:
        _leave_word(error)
        raise


def _leave_word(error: Exception) -> None:
    from trainyard.error_words import code_of, words_of

    word = f"{code_of(error)}: {words_of(error)}".encode("utf-8", "backslashreplace")
    with suppress(OSError), TERMINATION_LOG.open("r+b") as log_file:  # elsewhere there is no such file
        log_file.write(word[:MOST_BYTES].decode("utf-8", "ignore").encode())  # no part of a character


def _run_shard(step: str, session: int, attempt: int, stop: threading.Event) -> tuple[int, str]:
    """Exit code, and a sentence when it is not 0. Raises BadSetting and WrongConfiguration."""
    from jobs.engines.devices import DeviceMissing
    from jobs.outcomes import EXIT_COME_BACK, EXIT_WRONG_CONFIGURATION, ComeBackLater
    from jobs.worker import run_shard
    from trainyard.database import DatabaseUnavailable, SchemaMismatch
    from trainyard.logs import log_context
    from trainyard.shards import NoSuchShard, Overtaken
    from trainyard.vectors import VectorsBusy, VectorsUnavailable, VectorsUnusable

    key = _shard_key(step, session, attempt)
    try:
        with (
            log_context(session=key.session_id, step=key.step, shard=key.index),
            work_context(load_settings(), stop) as context,
        ):
            run_shard(context, key)
    except (ComeBackLater, Overtaken, DatabaseUnavailable, VectorsUnavailable, VectorsBusy) as error:
        _leave_word(error)
        return EXIT_COME_BACK, f"{key}: {error}"
    except (DeviceMissing, SchemaMismatch, NoSuchShard, VectorsUnusable) as error:
        _leave_word(error)
        return EXIT_WRONG_CONFIGURATION, f"{key}: {error}"
    return 0, ""


def _shard_key(step: str, session: int, attempt: int) -> "ShardKey":
    from trainyard.shards import ShardKey

    index = os.environ.get(INDEX_VARIABLE, "0")
    if not index.isdecimal():
        raise BadSetting(f"{INDEX_VARIABLE}={index!r} does not fit: it takes the shard's number, from 0.")
    return ShardKey(session, step, attempt, int(index))


@contextmanager
def work_context(settings: Settings, stop: threading.Event) -> "Iterator[Context]":
    """Everything a worker needs, from the settings. Raises BadSetting, SchemaMismatch, DeviceMissing, Vectors…."""
    from jobs.context import Context
    from jobs.engines.loading import Engines
    from jobs.worker import worker_name
    from trainyard.database import Database, check_schema

    database = Database(database_url(settings), outage_seconds=settings.outage_seconds, on_outage=say_outage, stop=stop)
    with closing(database), closing(open_vectors(settings)) as vectors:
        database.transact(check_schema)
        yield Context(database, vectors, settings, Engines(settings), stop, worker_name())


def database_url(settings: Settings) -> str:
    named = {"TRAINYARD_DATABASE_URL": settings.database_url, "TRAINYARD_QDRANT_URL": settings.qdrant_url}
    missing = [name for name, value in named.items() if value is None]
    if len(missing) == 1:
        raise BadSetting(
            f"{missing[0]} is not set: name both PostgreSQL and Qdrant, or neither (the data directory's)."
        )
    return settings.database_url or _running_postgres(settings)


def _running_postgres(settings: Settings) -> str:
    try:
        from local.postgres import EmbeddedPostgres
    except ModuleNotFoundError as error:  # an image lacks the extra `local`
        raise BadSetting("TRAINYARD_DATABASE_URL is not set, and no PostgreSQL is installed here.") from error

    url = EmbeddedPostgres.url_of_running(settings.data_dir)
    if url is None:
        raise BadSetting(
            f"TRAINYARD_DATABASE_URL is not set, and no PostgreSQL runs for the data directory {settings.data_dir}: "
            "set it, or name the data directory of a `trainyard run` that is under way (TRAINYARD_DATA_DIR)."
        )
    return url


def open_vectors(settings: Settings) -> "Vectors":
    from trainyard.vectors import Vectors

    if settings.qdrant_url is None:
        return Vectors.local(settings.data_dir / "qdrant")
    key = settings.qdrant_api_key
    return Vectors.server(settings.qdrant_url, key.get_secret_value() if key else None)


def say_outage(error: Exception) -> None:
    from trainyard.database import first_line

    log.warning("PostgreSQL is away, waiting for it: %s", first_line(error))


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; a second Ctrl-C ends the process as a kill would."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def calling(work: Callable[[], None], *, when: threading.Event) -> Iterator[None]:
    """Have `work` called once the event is set, at the latest when the block ends."""

    def wait() -> None:
        when.wait()
        work()

    thread = threading.Thread(target=wait, name="stop", daemon=True)
    thread.start()
    try:
        yield
    finally:
        when.set()
        thread.join()
