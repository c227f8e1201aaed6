"""What one watch request brings: one JSON document a line, for as long as the server goes on."""

import json
from collections.abc import Iterator
from typing import Any

import urllib3

from controller.kubernetes.errors import ClusterUnavailable, refusal
from controller.kubernetes.transport import Request, outages, parsed


class WatchStream:
    """Iterate over (type, object), once. `close` gives the connection up; `interrupt` ends another thread's wait."""

    def __init__(self, response: urllib3.HTTPResponse, request: Request) -> None:
        self._response = response
        self._request = request

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ends when the server ends the watch. Raises Gone, or ClusterUnavailable when it breaks off."""
        with outages(self._request):
            for line in self._response:
                yield self._event(line)

    def interrupt(self) -> None:
        """Have an iteration end, or raise, now; callable from any thread."""
        try:
            self._response.shutdown()
        except (ValueError, RuntimeError, OSError):  # there is no connection any more
            return

    def close(self) -> None:
        self._response.close()

    def _event(self, line: bytes) -> tuple[str, dict[str, Any]]:
        match parsed(line, self._request):
            case {"type": "ERROR", "object": {"code": int(code)} as status}:
                raise refusal(str(self._request), code, json.dumps(status).encode())
            case {"type": str(kind), "object": {"metadata": dict()} as changed}:
                return kind, changed
            case other:
                raise ClusterUnavailable(str(self._request), f"no event of a watch, {str(other)[:200]}")
