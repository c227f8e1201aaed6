"""What the API server would not do, or could not: one class for each way to go on from there."""

import json
from collections.abc import Mapping
from typing import Any

from controller.backend import BackendUnavailable

ABOUT_RIGHTS = "Grant it in the Role that the chart makes, or use credentials that have it."
ABOUT_AWAY = "It is asked again by itself; if this lasts, see whether the address and the network are right."


class ClusterError(BackendUnavailable):
    """A request that did not succeed. `code` is for machines, `message` says what was tried and what came of it.

    `sentence` is the API server's own, and `reason` its word for it (`AlreadyExists` and `Conflict` are both 409).
    `retry_after_seconds` is what it asked to be left alone for, if it did.
    """

    advice = ""

    def __init__(self, request: str, sentence: str, reason: str = "", retry_after_seconds: float | None = None) -> None:
        self.code = type(self).__name__
        self.sentence = sentence
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        self.message = " ".join(filter(None, [f"{request}: {_ended(sentence)}", self.advice]))
        super().__init__(self.message)


class NotFound(ClusterError):
    """404."""


class Conflict(ClusterError):
    """409: there is one of that name already, or it is no longer what the request says it is."""


class Gone(ClusterError):
    """410: that resource version, or that page, is no longer known. List again."""


class Throttled(ClusterError):
    """429: not handled, for now."""


class Forbidden(ClusterError):
    """401 or 403: these credentials may not do it, or an admission rule or quota does not let anyone."""

    advice = ABOUT_RIGHTS


class Refused(ClusterError):
    """Any other 4xx: the same request will never do."""


class ClusterUnavailable(ClusterError):
    """5xx, no answer, or none that can be read. What was asked for may have happened."""

    advice = ABOUT_AWAY


class NotListed(ClusterUnavailable):
    """Nothing is known yet: not all there is has been listed since the start."""

    advice = "It is listed again by itself; what kept it from being so stands in the log before."


class InternalError(ClusterUnavailable):
    """The API server is there, and could not do this one thing: mostly an admission webhook that does not answer."""


BY_STATUS: Mapping[int, type[ClusterError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: Throttled,
}


def refusal(request: str, status: int, body: bytes, retry_after: str | None = None) -> ClusterError:
    """The error that an answer other than 2xx stands for."""
    said = _status_object(body)
    kind = Conflict if _is_another_one(said) else _kind(status, said)
    sentence = said.get("message") or f"HTTP {status}"
    return kind(request, str(sentence), str(said.get("reason") or ""), _seconds(retry_after))


def _kind(status: int, said: Mapping[str, Any]) -> type[ClusterError]:
    if status == 500 and said.get("reason") == "InternalError":
        return InternalError
    return BY_STATUS.get(status, Refused if 400 <= status < 500 else ClusterUnavailable)


def _is_another_one(said: Mapping[str, Any]) -> bool:
    """A patch of an object with another uid is answered as if it were to change that: 422, and not 409 as a delete."""
    causes = (said.get("details") or {}).get("causes") or []
    return "metadata.uid" in [cause.get("field") for cause in causes]


def _status_object(body: bytes) -> dict[str, Any]:
    """The `Status` that the API server explains itself by; a proxy in between may say anything else."""
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
