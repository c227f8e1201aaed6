"""The API of an installation, as a client on the internal network sees it."""

from collections.abc import Callable
from typing import Any, Self

import httpx

from tests.e2e.forwarding import Forward
from tests.local_runs import wait_until
from trainyard.lifecycle import ENDED

SESSIONS = "/api/v1/training/sessions"
LONGEST_SESSION_SECONDS = 600.0  # on two cores, with much else to do


class Api:
    """Requests with an operator's token. What only looks is asked again while no pod answers.

    `forward` is the way where there is no other; it ends with a pod, and is found anew.
    """

    def __init__(self, url: str, token: str, forward: Forward | None = None) -> None:
        self.url = url
        self.token = token
        self._forward = forward
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self._forward:
            self._forward.close()

    def get(self, path: str) -> Any:
        """The answer's JSON."""
        return wait_until(lambda: self._look(path), f"an answer to GET {path}")

    def _look(self, path: str) -> Any:
        try:
            answer = self.client.get(path)
        except httpx.TransportError:  # a pod that goes; its Service knows of it a moment later
            self.renew()
            return None
        if answer.status_code in (502, 503):
            return None
        assert answer.is_success, answer.text
        return answer.json()

    def renew(self) -> None:
        if self._forward:
            self.url = self._forward.renew()
            self.client.base_url = httpx.URL(self.url)

    def post(self, path: str, *, key: str | None = None, **body: Any) -> httpx.Response:
        return self.client.post(path, json=body or None, headers={"Idempotency-Key": key} if key else {})

    def begin(self, folder: str, **body: Any) -> int:
        """The id of a new session."""
        answer = self.post(SESSIONS, rootPath=folder, **body)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def ask(self, session: int, verb: str) -> int:
        """The status code of the answer to pause, resume, cancel or retry."""
        return self.post(f"{SESSIONS}/{session}/{verb}").status_code

    def session(self, session: int) -> dict[str, Any]:
        return dict(self.get(f"{SESSIONS}/{session}"))

    def progress(self, session: int) -> dict[str, Any]:
        return dict(self.get(f"{SESSIONS}/{session}/progress-unified"))

    def until(self, session: int, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """Its unified progress once this is true of it."""

        def look() -> dict[str, Any] | None:
            progress = self.progress(session)
            return progress if condition(progress) else None

        found = wait_until(look, f"session {session} {what}", LONGEST_SESSION_SECONDS)
        assert found is not None
        return found

    def is_under_way(self, session: int, phase: str, least: int = 1) -> dict[str, Any]:
        """Once so many photos of the phase are done, and not all of them."""
        seen = self.until(
            session, lambda shown: shown["phases"][phase]["progress"]["current"] >= least, f"to be in {phase}"
        )
        assert seen["phases"][phase]["status"] in {"running", "processing"}, f"{phase} was over before it was looked at"
        return seen

    def ended(self, session: int) -> dict[str, Any]:
        """The session as the API shows it, once it has ended."""
        self.until(session, lambda progress: progress["overallStatus"] in ENDED, "to end")
        return self.session(session)

    def completed(self, session: int) -> dict[str, Any]:
        ended = self.ended(session)
        assert ended["overallStatus"] == "completed", ended
        return ended
