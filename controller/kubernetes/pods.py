"""The pods of one Job and what was reported of them: read when asked for, a page at a time, never watched.

A watch of all pods would hear of every one of thousands that begin and end; of them only those that wait, failed, or
should have ended decide anything.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from controller.kubernetes.client import Cluster
from controller.kubernetes.paths import events_path, pods_path

Pod = Mapping[str, Any]
Event = Mapping[str, Any]

JOB_LABEL = "batch.kubernetes.io/controller-uid"
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
ENOUGH = 20  # of pods that wait: any tells why
PAGE = 500


class Pods:
    """Of the Jobs with these uids. Methods raise ClusterError."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def pending(self, job_uid: str) -> Sequence[Pod]:
        """Some of those that no container of has begun."""
        return self._first_page(self._path, ENOUGH, labels=_of_job(job_uid), fields="status.phase=Pending")

    def terminating(self, job_uid: str) -> list[Pod]:
        """Those that were deleted and have not ended; their metadata alone, for all that run are looked through."""
        unended = "status.phase!=Succeeded,status.phase!=Failed"
        labels = _of_job(job_uid)
        pages = self._cluster.pages(self._path, labels=labels, fields=unended, page=PAGE, metadata_only=True)
        return [pod for page in pages for pod in page if "deletionTimestamp" in pod["metadata"]]

    def failed(self, job_uid: str, index: str | None, keep: Callable[[Pod], bool]) -> list[Pod]:
        """Those of one completion index, or of all."""
        labels = _of_job(job_uid) + (f",{INDEX_LABEL}={index}" if index else "")
        return self._all(labels, "status.phase=Failed", keep)

    def events(self, uid: str) -> Sequence[Event]:
        """Of the Job or pod with this uid."""
        return self._first_page(events_path(self._cluster.namespace), PAGE, fields=f"involvedObject.uid={uid}")

    @property
    def _path(self) -> str:
        return pods_path(self._cluster.namespace)

    def _all(self, labels: str, fields: str, keep: Callable[[Pod], bool]) -> list[Pod]:
        pages = self._cluster.pages(self._path, labels=labels, fields=fields, page=PAGE)
        return [pod for page in pages for pod in page if keep(pod)]

    def _first_page(self, path: str, page: int, *, labels: str = "", fields: str = "") -> Sequence[Mapping[str, Any]]:
        return next(self._cluster.pages(path, labels=labels, fields=fields, page=page), [])


def _of_job(uid: str) -> str:
    return f"{JOB_LABEL}={uid}"
