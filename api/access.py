"""Who may ask for what, what every answer carries, and one line of log for each request.

What is not open here needs a token or the page's sign-in, whatever routes there are. A page of another site is kept
from changing anything, and, where no tokens are configured, from reaching this machine under a name of its own.
"""

import logging
import re
import time
from functools import partial
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, problem_response
from api.tokens import Role, Tokens

log = logging.getLogger(__name__)

COOKIE = "trainyard"
LARGEST_BODY_BYTES = 1 << 20
TOO_LARGE = f"a body may have {LARGEST_BODY_BYTES >> 20} MiB"

READS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_READS = frozenset({"/", "/livez", "/readyz"})
OPEN_WRITES = frozenset({"/api/v1/sign-in", "/api/v1/sign-out"})
LOOPBACK_HOST = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.ASCII | re.IGNORECASE)
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

BEHIND_A_PROXY = (
    "If this is the server's own page behind a proxy that ends TLS: set FORWARDED_ALLOW_IPS to the proxy's address, "
    "and let it pass Host and X-Forwarded-Proto on."
)

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
UNLESS_SET = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
UNLESS_SET_OF_API = {**UNLESS_SET, "Cache-Control": "no-store"}


class Access:
    """ASGI middleware: asks `tokens` about every request.

    It tells the routes the caller's role in `state.role`, and leaves them `state.still_allowed()`: whether the same
    request would be let in now. Who sends for longer than a moment asks that again.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(Request(scope, receive), send)
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})  # nothing here speaks it

    async def _answer(self, request: Request, send: Send) -> None:
        began = time.monotonic()
        answer = _Answer(request.scope["path"], send)
        try:
            await self._serve(request, answer)
        finally:
            _log(request, answer.status, time.monotonic() - began)

    async def _serve(self, request: Request, answer: "_Answer") -> None:
        """Everything is answered in here, failures too: what is answered further out lacks the headers."""
        try:
            request.state.role = self._allow(request)
            request.state.still_allowed = partial(self._is_allowed, request)
            _check_length(request)
            await self._app(request.scope, _limited(request.receive), answer.send)
        except Problem as problem:
            refusal = problem_response(problem.status, problem.code, problem.detail, headers=problem.headers)
            await refusal(request.scope, request.receive, answer.send)
        except Exception as error:
            if answer.status is not None:
                raise
            log.error("%s %s failed", request.method, quote(request.scope["path"]), exc_info=error)
            failure: Response = await request.app.exception_handlers[Exception](request, error)
            await failure(request.scope, request.receive, answer.send)

    def _allow(self, request: Request) -> Role | None:
        """The caller's role; None for a caller without one, where that is enough. Raises Problem."""
        if not self._tokens.needed:
            _check_host(request)
            _check_origin(request)
            return "operator"
        role = self._role(request)
        if not _bears_token(request):
            _check_origin(request)
        if role == "reader" and not _is_read(request) and not _is_open(request):
            raise Problem(403, "OperatorNeeded", "A reader may only look; this needs an operator's token.")
        return role

    def _is_allowed(self, request: Request) -> bool:
        try:
            self._allow(request)
        except Problem:
            return False
        return True

    def _role(self, request: Request) -> Role | None:
        """Raises Problem for a caller that has no role but needs one."""
        scheme, token = _authorization(request)
        cookie = request.cookies.get(COOKIE)
        if scheme == "bearer":
            role = self._tokens.role_of_token(token)
        else:
            role = self._tokens.role_of_cookie(cookie) if cookie else None
        if role is None and not _is_open(request):
            raise _unknown_token(request) if scheme == "bearer" or cookie else _no_token()
        return role


def _authorization(request: Request) -> tuple[str, str]:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return scheme.lower(), token.strip()


def _bears_token(request: Request) -> bool:
    """Such a request is no other site's: a browser sends the header only where this server allows it, and it never
    does."""
    return _authorization(request)[0] == "bearer"


def _is_read(request: Request) -> bool:
    return request.method in READS


def _is_open(request: Request) -> bool:
    path = request.scope["path"]  # what routes are found by; request.url is put together with the Host header
    if _is_read(request):
        return path in OPEN_READS or path.startswith("/page/")
    return request.method == "POST" and path in OPEN_WRITES


def _no_token() -> Problem:
    detail = "This needs a token: send it as `Authorization: Bearer TOKEN`, or sign in on the page."
    return Problem(401, "TokenNeeded", detail, headers={"WWW-Authenticate": "Bearer"})


def _unknown_token(request: Request) -> Problem:
    if _bears_token(request):
        detail = "The token is not, or no longer, one of this server's."
    else:
        detail = "The sign-in has ended, or its token is no longer one of this server's. Sign in again."
    return Problem(401, "TokenInvalid", detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def _check_host(request: Request) -> None:
    """A site can have its own name lead to this machine, and be let in by the browser as if it were ours."""
    host = request.headers.get("host", "")
    if not LOOPBACK_HOST.fullmatch(host):
        detail = f"Without tokens this server answers to localhost, 127.0.0.1 and [::1] only, not to {host!r}."
        raise Problem(403, "HostNotAllowed", detail)


def _check_origin(request: Request) -> None:
    """Whatever changes something must come from our own page, or from no page at all."""
    if _is_read(request):
        return
    origin = request.headers.get("origin")
    if origin is None:
        same, told = request.headers.get("sec-fetch-site", "none") in {"same-origin", "none"}, "another site"
    else:
        ours = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
        same, told = _with_port(origin) == _with_port(ours), f"{origin!r}, and this is {ours!r}"
    if not same:
        detail = f"A page of {told}: other sites' pages may change nothing here. {BEHIND_A_PROXY}"
        raise Problem(403, "CrossOrigin", detail)


def _with_port(origin: str) -> str:
    """'http://localhost:80' of 'http://localhost'."""
    scheme, _, host = origin.lower().partition("://")
    named = re.search(r":\d+$", host)
    return f"{scheme}://{host}{'' if named else DEFAULT_PORTS.get(scheme, '')}"


def _check_length(request: Request) -> None:
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said) > LARGEST_BODY_BYTES:
        raise Problem(413, "TooLarge", f"{request.method} {request.scope['path']}: {TOO_LARGE}.")


def _limited(receive: Receive) -> Receive:
    """For bodies that do not say how long they are."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > LARGEST_BODY_BYTES:
            raise HTTPException(413, TOO_LARGE)  # which FastAPI lets through; it takes others for a broken body
        return message

    return limited


class _Answer:
    """Sends an answer with the headers that all carry; `status` is None until it has begun."""

    def __init__(self, path: str, send: Send) -> None:
        self.status: int | None = None
        self._unless_set = UNLESS_SET_OF_API if path.startswith("/api/") else UNLESS_SET
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(ALWAYS)
            for name, value in self._unless_set.items():
                headers.setdefault(name, value)
        await self._send(message)


def _log(request: Request, status: int | None, seconds: float) -> None:
    """Of the API's; an event stream's would say nothing but when its page was closed."""
    path = request.scope["path"]
    if path.startswith("/api/") and not path.endswith("/events"):
        log.info("%s %s %s %.0f ms", request.method, quote(path), status or "unanswered", seconds * 1000)
