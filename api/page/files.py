"""Static files: read once, sent with the policy of whoever serves them, and asked for again each time."""

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

TEXT_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml"}  # a machine may have other ideas, or none


@dataclass(frozen=True)
class StaticFile:
    content: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> "StaticFile":
        content = path.read_bytes()
        media_type = TEXT_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return cls(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')

    def answer(self, request: Request, policy: str) -> Response:
        """The file, or 304 to who has it; a new version of the server is seen with the next request."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache", "Content-Security-Policy": policy}
        if self._is_known(request):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)

    def _is_known(self, request: Request) -> bool:
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        return self.etag in known or "*" in known
