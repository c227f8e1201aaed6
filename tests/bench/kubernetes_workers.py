"""What workers do, played: the rows they write, and the ends of their pods."""

import json
from collections.abc import Collection, Iterable

import sqlalchemy as sa

from controller.kubernetes.names import SESSION_LABEL, STEP_LABEL
from controller.kubernetes.paths import pods_path
from tests.bench.kubernetes_stage import KubernetesStage, until
from tests.cluster.fake_nodes import EXIT_CODE
from tests.rows import add_model, add_photos
from trainyard.database import Database
from trainyard.sessions import NewSession, create
from trainyard.tables import training_sessions

PHOTOS = 4  # of a session
DEVICE = "none"

CLAIM = sa.text("""
    UPDATE shards SET claim = 1, worker = 'bench', claimed_at = clock_timestamp(), committed_at = clock_timestamp()
    WHERE session_id = ANY(:ids) AND step = :step AND claim = 0
""")

FINISH = sa.text("""
    UPDATE shards SET claim = 1, worker = 'bench', claimed_at = coalesce(claimed_at, clock_timestamp()),
        next = last + 1, done = total, committed_at = clock_timestamp(), finished_at = clock_timestamp()
    WHERE session_id = ANY(:ids) AND step = :step AND finished_at IS NULL AND index < :before
""")

FINISH_DISCOVER = sa.text("""
    UPDATE shards SET claim = 1, done = :photos, total = :photos, counts = cast(:counts AS jsonb),
        claimed_at = coalesce(claimed_at, clock_timestamp()),
        committed_at = clock_timestamp(), finished_at = clock_timestamp()
    WHERE session_id = ANY(:ids) AND step = 'discover'
""")

FIND = sa.text("""
    UPDATE shards SET done = done + 1, committed_at = clock_timestamp()
    WHERE session_id = ANY(:ids) AND step = 'discover'
""")

LIST_WORK = sa.text("""
    INSERT INTO training_jobs (session_id, step, asset_id, position)
    SELECT session_id, step, asset_id, asset.ordinality - 1
    FROM unnest(cast(:ids AS integer[])) session_id, unnest(cast(:steps AS text[])) step,
         unnest(cast(:assets AS bigint[])) WITH ORDINALITY asset (asset_id, ordinality)
""")


def request_session(database: Database, root: str, **options: object) -> int:
    """As the API does; its id."""
    return database.transact(lambda connection: create(connection, NewSession(root, options=options))[0])


def list_work(connection: sa.Connection, ids: Collection[int], steps: Collection[str], photos: int) -> None:
    """Photos 0…photos−1 for each of the sessions' steps."""
    assets = add_photos(connection, photos)
    connection.execute(LIST_WORK, {"ids": list(ids), "steps": list(steps), "assets": assets})


class Workers:
    """Of the sessions of one stage."""

    def __init__(self, stage: KubernetesStage) -> None:
        self._stage = stage
        self._database = stage.database
        clip = self._database.transact(lambda connection: add_model(connection, "clip"))
        face = self._database.transact(lambda connection: add_model(connection, "face"))
        self.models = {"clip": {"id": clip}, "face": {"id": face}, "device": DEVICE}

    def claim(self, ids: Collection[int], step: str) -> None:
        self._execute(CLAIM, ids, step=step)

    def find_one_more(self, ids: Collection[int]) -> None:
        """One more file, by each running discover."""
        self._execute(FIND, ids)

    def finish_discover(self, ids: Collection[int]) -> None:
        """All of it found, the work of embed and detect listed."""
        counts = json.dumps({"embed": PHOTOS, "detect": PHOTOS, "unclustered": 0})

        def write(connection: sa.Connection) -> None:
            session = training_sessions.c
            found = sa.update(training_sessions).where(session.id.in_(ids)).values(total=PHOTOS, models=self.models)
            connection.execute(found)
            list_work(connection, ids, ("embed", "detect"), PHOTOS)
            connection.execute(FINISH_DISCOVER, {"ids": list(ids), "photos": PHOTOS, "counts": counts})

        self._database.transact(write)

    def finish(self, ids: Collection[int], step: str, before: int = 1_000_000) -> None:
        """The shards before this index."""
        self._execute(FINISH, ids, step=step, before=before)

    def running_pods(self, ids: Collection[int], step: str) -> dict[int, str]:
        """The name of each session's pod, once all of them run."""
        return until(lambda: self._running_pods(ids, step), f"the pods of {step} to run")

    def end_pods(self, names: Iterable[str]) -> None:
        """With exit code 0."""
        for name in names:
            patch = {"metadata": {"annotations": {EXIT_CODE: "0"}}}
            self._stage.cluster.patch(pods_path(self._stage.namespace, name), patch)

    def _running_pods(self, ids: Collection[int], step: str) -> dict[int, str] | None:
        found = self._stage.cluster.list(
            pods_path(self._stage.namespace),
            labels=f"{STEP_LABEL}={step}",
            fields="status.phase=Running",
            keep=lambda pod: (int(pod["metadata"]["labels"][SESSION_LABEL]), pod["metadata"]["name"]),
        )
        running = dict(found.items)
        return {id: running[id] for id in ids} if set(ids) <= set(running) else None

    def _execute(self, statement: sa.TextClause, ids: Collection[int], **parameters: object) -> None:
        self._database.transact(lambda connection: connection.execute(statement, {"ids": list(ids), **parameters}))
