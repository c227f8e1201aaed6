"""KubernetesJobs: the Jobs of a cluster."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal
from uuid import UUID

from controller.backend import JobRefused, JobSpec, ObservedJob
from controller.kubernetes.client import Cluster
from controller.kubernetes.errors import Conflict, Forbidden, InternalError, NotFound, NotListed, Refused
from controller.kubernetes.job_states import JobStates
from controller.kubernetes.manifests import Manifest, Owner, job_manifest
from controller.kubernetes.names import job_name
from controller.kubernetes.own_writes import OwnWrites
from controller.kubernetes.paths import jobs_path
from controller.kubernetes.pods import Pods
from controller.kubernetes.seen_jobs import SAVED_LABEL, SeenJob, seen_job, unsaved_jobs
from controller.kubernetes.settings import KubernetesSettings
from controller.kubernetes.waiting import refused
from controller.kubernetes.watch import Watch

SMALLEST_SHARD = 1  # what a short shard costs is weighed where shards are cut
KEPT_SECONDS = 300  # an ended Job and its pods, for whoever wants to read their logs
MOST_NAMES = 20


@contextmanager
def of_one_job() -> Iterator[None]:
    """Raises JobRefused for what was refused of one Job, and says nothing of the others."""
    try:
        yield
    except (Forbidden, Refused, InternalError) as error:
        if error.reason == "Unauthorized":  # no word about this Job
            raise
        raise JobRefused(*refused(error.sentence)) from error


class KubernetesJobs:
    """A JobBackend. Its methods are called by one thread at a time, and raise ClusterError.

    `owner_of` says which TrainingSession a session's Jobs go with; `changed` is called, from another thread, when
    something became of a Job.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: KubernetesSettings,
        installation: UUID,
        owner_of: Callable[[int], Owner | None],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._installation = installation
        self._owner_of = owner_of
        self._watch = Watch(
            cluster,
            jobs_path(settings.namespace),
            labels=unsaved_jobs(installation),
            keep=seen_job,
            changed=changed,
        )
        self._own = OwnWrites(self._read, clock)
        self._states = JobStates(Pods(cluster), settings, clock)
        self._seen: dict[str, SeenJob] = {}  # by uid, as of the last look

    def start(self) -> None:
        """Watch the Jobs; `observe` has an answer once all of them were listed."""
        self._watch.start()

    def stop_watching(self) -> None:
        self._watch.stop()

    @property
    def synced(self) -> bool:
        return self._watch.synced

    def wait_synced(self, timeout: float) -> bool:
        return self._watch.wait_synced(timeout)

    def parallelism(self, step: str) -> int:
        return self._settings.step(step).parallelism

    def smallest_shard(self, step: str) -> int:
        return SMALLEST_SHARD

    def observe(self) -> list[ObservedJob]:
        """Raises ClusterUnavailable until there has been a full list: a Job not seen yet must not look gone."""
        if not self._watch.synced:
            path = jobs_path(self._settings.namespace)
            raise NotListed(f"list {path}", "not all Jobs have been listed yet")
        jobs = self._own.over(self._watch.snapshot())
        self._seen = {job.uid: job for job in jobs}
        return self._states.observe(jobs)

    def create(self, spec: JobSpec) -> str:
        """Also where it was made before and its answer was lost. Raises JobRefused."""
        owner = self._owner_of(spec.session_id)
        for number in range(MOST_NAMES):
            body = job_manifest(spec, self._settings, installation=self._installation, owner=owner, number=number)
            job = self._made(body) or self._ours(spec, job_name(spec, number))
            if job is not None:
                self._own.created(job)
                return job.uid
        raise JobRefused(
            "NamesTaken",
            f"Jobs of other attempts or installations have the names {job_name(spec, 0)} to "
            f"{job_name(spec, MOST_NAMES - 1)} in namespace {self._settings.namespace}: delete those not needed.",
        )

    def stop(self, job: ObservedJob) -> None:
        """The Job is seen as stopping until the last of its pods is gone."""
        self._delete(job, "Foreground")
        self._own.stopped(job.uid)

    def remove(self, job: ObservedJob) -> None:
        """A Job that ended stays for a while, marked; any other is deleted, be its pods gone or not."""
        seen = self._seen.get(job.uid)
        if seen is not None and seen.verdict is not None and job.state in {"succeeded", "failed"}:
            self._mark_saved(seen)
        else:
            self._delete(job, "Background")
        self._own.removed(job.uid)

    def _made(self, body: Manifest) -> SeenJob | None:
        """None where there is a Job of that name. Raises JobRefused."""
        try:
            with of_one_job():
                return seen_job(self._cluster.create(jobs_path(self._settings.namespace), body))
        except Conflict as error:
            if error.reason != "AlreadyExists":  # as when a quota was counted twice at once: another time
                raise JobRefused(*refused(error.sentence)) from error
            return None

    def _ours(self, spec: JobSpec, name: str) -> SeenJob | None:
        """None for a stranger's, and for one whose results were saved before the database was restored from a copy."""
        job = self._read(name)
        return job if job is not None and job.spec.token == spec.token and not job.saved else None

    def _read(self, name: str) -> SeenJob | None:
        try:
            return seen_job(self._cluster.get(jobs_path(self._settings.namespace, name)))
        except NotFound:
            return None

    def _delete(self, job: ObservedJob, propagation: Literal["Foreground", "Background"]) -> None:
        seen = self._seen.get(job.uid)
        if seen is None:
            return
        path = jobs_path(self._settings.namespace, seen.name)
        with of_one_job(), suppress(Conflict):  # it is gone, and another has its name
            self._cluster.delete(path, uid=job.uid, propagation=propagation)

    def _mark_saved(self, job: SeenJob) -> None:
        path = jobs_path(self._settings.namespace, job.name)
        mark = {
            "metadata": {"uid": job.uid, "labels": {SAVED_LABEL: "true"}},
            "spec": {"ttlSecondsAfterFinished": KEPT_SECONDS},
        }
        with of_one_job(), suppress(NotFound, Conflict):  # gone, and perhaps another has its name
            self._cluster.patch(path, mark)
