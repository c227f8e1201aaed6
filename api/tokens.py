"""Who may call: tokens, each with a role, from a file that may change while it is served from."""

import hmac
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, cast

log = logging.getLogger(__name__)

Role = Literal["operator", "reader"]
Version = tuple[int, ...]

SIGNED_IN_SECONDS = 12 * 60 * 60
LINE = re.compile(r"(operator|reader)\s+([!-~]{16,})")
TAKES = (
    "A line takes a role, operator or reader, and its token of at least 16 characters (ASCII, no spaces), such as: "
    "operator SOME-LONG-RANDOM-TEXT"
)
LEFT_OUT = "What is named there is left out; the other lines count."
NOBODY = "Nobody is let in until that is mended."


class TokensUnusable(Exception):
    """The file of tokens cannot be read, or cannot be begun with: it names none, or has a line that is none."""


@dataclass(frozen=True)
class _Account:
    role: Role
    digest: bytes  # SHA-256 of the token, which itself is not kept


class Tokens:
    """The tokens of a file; without one nobody needs any. Raises TokensUnusable.

    A changed file counts as it is from the next request on: what is no token's line is left out, and one that is
    gone, empty or cannot be read lets nobody in. The log says so, once for each change. So a token that is taken out
    of the file is revoked, whatever else is wrong there.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        # The accounts and what they are from: one thing, so that requests side by side never part them.
        self._read: tuple[Version | None, tuple[_Account, ...]] = (None, ())
        self._told: tuple[Version | None, str] = (None, "")
        if path is not None:
            self._read = (_version(path), _all_accounts(path))

    @property
    def needed(self) -> bool:
        return self._path is not None

    def role_of_token(self, token: str) -> Role | None:
        account = self._account_of(token)
        return account.role if account else None

    def sign_in(self, token: str) -> str | None:
        """The value of a cookie that stands for the token for 12 hours; None for a token that is none.

        It holds the time of its end and a seal that only somebody with the token can make. So it is good on every
        replica and after a restart, and no longer than its token is in the file.
        """
        account = self._account_of(token)
        if account is None:
            return None
        end = str(int(self._clock()) + SIGNED_IN_SECONDS)
        return f"{end}.{_seal(account, end)}"

    def role_of_cookie(self, value: str) -> Role | None:
        end, _, seal = value.partition(".")
        account = self._matching(lambda account: _equal(_seal(account, end), seal))
        return account.role if account and int(end) > self._clock() else None

    def _account_of(self, token: str) -> _Account | None:
        digest = _digest(token)
        return self._matching(lambda account: hmac.compare_digest(account.digest, digest))

    def _matching(self, matches: Callable[[_Account], bool]) -> _Account | None:
        """Looks at every account, whichever matches, so that the time taken tells nothing."""
        found = None
        for account in self._current():
            if matches(account):
                found = account
        return found

    def _current(self) -> tuple[_Account, ...]:
        if self._path is not None:
            version = _version(self._path)
            if version is None or version != self._read[0]:
                self._take(self._path, version)
        return self._read[1]

    def _take(self, path: Path, version: Version | None) -> None:
        try:
            accounts, fault = _read_accounts(path)
        except TokensUnusable as error:
            version, accounts, fault = None, (), str(error)  # to be read again for the next request
        self._read = (version, accounts)
        if fault and (version, fault) != self._told:
            log.error("%s %s", fault, LEFT_OUT if accounts else NOBODY)
        self._told = (version, fault)


def _version(path: Path) -> Version | None:
    """Changes whenever the file does, also when a link on the way to it is turned elsewhere; None: out of reach."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _all_accounts(path: Path) -> tuple[_Account, ...]:
    """Raises TokensUnusable unless every line is as it should be."""
    accounts, fault = _read_accounts(path)
    if fault:
        raise TokensUnusable(fault)
    return accounts


def _read_accounts(path: Path) -> tuple[tuple[_Account, ...], str]:
    """The accounts of the lines that are good, and what is wrong: numbers of lines, never what stands in them.

    Raises TokensUnusable for a file that cannot be read.
    """
    try:
        lines = path.read_text("utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise TokensUnusable(
            f"The tokens of {path} (TRAINYARD_TOKENS_FILE) cannot be read: {error.strerror}."
        ) from None
    accounts: dict[bytes, _Account] = {}
    bad = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        account = _parse(line)
        if account is None or account.digest in accounts:
            bad.append(number)
        else:
            accounts[account.digest] = account
    return tuple(accounts.values()), _fault(path, bad, none=not accounts)


def _fault(path: Path, bad: Sequence[int], *, none: bool) -> str:
    if bad:
        lines = f"{'Line' if len(bad) == 1 else 'Lines'} {', '.join(map(str, bad))} of"
        return f"{lines} {path} (TRAINYARD_TOKENS_FILE): no token's, or that of a line before. {TAKES}."
    return f"{path} (TRAINYARD_TOKENS_FILE) names no token. {TAKES}." if none else ""


def _parse(line: str) -> _Account | None:
    parts = LINE.fullmatch(line.strip())
    return _Account(cast(Role, parts[1]), _digest(parts[2])) if parts else None


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _seal(account: _Account, end: str) -> str:
    return hmac.digest(account.digest, b"signed in until " + end.encode("utf-8", "surrogatepass"), "sha256").hex()


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode("utf-8", "surrogatepass"))
