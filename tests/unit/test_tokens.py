"""Tokens: a file that may change while it is served from, and the cookies that stand for its tokens."""

import errno
import hmac
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from api import tokens as module
from api.tokens import SIGNED_IN_SECONDS, Tokens, TokensUnusable

OPERATOR = "operators-own-token"
READER = "a-token-of-readers!"
NOW = 1_800_000_000.0


def write(path: Path, text: str) -> Path:
    """Replaced at once by a file of its own, as editors do."""
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "tokens", f"# who may call\n\noperator {OPERATOR}\n  reader\t{READER}\n")


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.ERROR, "api.tokens"):
        yield caplog


def test_each_token_has_its_role_and_others_have_none(path: Path) -> None:
    tokens = Tokens(path)

    assert tokens.needed
    assert tokens.role_of_token(OPERATOR) == "operator"
    assert tokens.role_of_token(READER) == "reader"
    for other in ("", OPERATOR[:-1], OPERATOR + "x", OPERATOR.upper(), f"operator {OPERATOR}", "tökén", "\ud800"):
        assert tokens.role_of_token(other) is None


def test_without_a_file_no_tokens_are_needed() -> None:
    assert not Tokens(None).needed


def test_a_file_with_a_byte_order_mark_and_carriage_returns_is_read(path: Path) -> None:
    path.write_bytes(f"\ufeffoperator {OPERATOR}\r\nreader {READER}".encode())

    assert Tokens(path).role_of_token(OPERATOR) == "operator"
    assert Tokens(path).role_of_token(READER) == "reader"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no token"),
        ("# nobody yet\n\n", "names no token"),
        (f"operator {OPERATOR}\nwriter secret-secret-secret\n", "Line 2 of"),
        (f"operator {OPERATOR}\nsecret-secret-secret\n", "Line 2 of"),
        ("operator secret-15-long\n", "Line 1 of"),
        ("operator secret-secret-secret # of Ada\n", "Line 1 of"),
        ("operator secret-secret-sécret\n", "Line 1 of"),
        ("operator secret-secret-secret\nreader secret-secret-secret\n", "Line 2 of"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_without_telling_what_it_holds(path: Path, text: str, said: str) -> None:
    write(path, text)

    with pytest.raises(TokensUnusable) as refused:
        Tokens(path)

    assert said in str(refused.value)
    assert str(path) in str(refused.value)
    assert "TRAINYARD_TOKENS_FILE" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokensUnusable, match="cannot be read: No such file"):
        Tokens(tmp_path / "tokens")
    with pytest.raises(TokensUnusable, match="cannot be read: Is a directory"):
        Tokens(tmp_path)


def test_a_changed_file_counts_at_once(path: Path) -> None:
    tokens = Tokens(path)

    write(path, f"operator {READER}\n")

    assert tokens.role_of_token(OPERATOR) is None
    assert tokens.role_of_token(READER) == "operator"


def test_a_folder_of_secrets_swapped_by_its_link_counts_at_once(tmp_path: Path) -> None:
    """As Kubernetes does it: tokens → ..data/tokens, and ..data leads to another folder each time."""
    for name, token in (("first", OPERATOR), ("second", READER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokens").write_text(f"operator {token}\n")
    os.utime(tmp_path / "second" / "tokens", ns=(0, (tmp_path / "first" / "tokens").stat().st_mtime_ns))
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "tokens").symlink_to("..data/tokens")
    tokens = Tokens(tmp_path / "tokens")
    assert tokens.role_of_token(OPERATOR) == "operator"

    (tmp_path / "..next").symlink_to("second")
    (tmp_path / "..next").replace(tmp_path / "..data")

    assert tokens.role_of_token(OPERATOR) is None
    assert tokens.role_of_token(READER) == "operator"


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "cannot be read"), ("", "names no token"), (f"# operator {OPERATOR}\n", "names no token")],
)
def test_a_file_that_is_removed_or_emptied_lets_nobody_in_and_is_told_of_once(
    path: Path, text: str | None, said: str, errors: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens(path)
    cookie = tokens.sign_in(OPERATOR)
    assert cookie is not None

    path.unlink() if text is None else write(path, text)

    for _ in range(3):
        assert tokens.role_of_token(OPERATOR) is None
        assert tokens.role_of_token(READER) is None
        assert tokens.role_of_cookie(cookie) is None
        assert tokens.sign_in(OPERATOR) is None
    (told,) = errors.messages
    assert f"{path} (TRAINYARD_TOKENS_FILE)" in told
    assert said in told
    assert "Nobody is let in" in told
    assert OPERATOR not in told

    write(path, f"operator {OPERATOR}\n")
    assert tokens.role_of_cookie(cookie) == "operator"
    path.unlink()
    assert tokens.role_of_token(OPERATOR) is None
    assert len(errors.records) == 2


def test_bad_lines_are_left_out_and_told_of_once_by_their_numbers(path: Path, errors: pytest.LogCaptureFixture) -> None:
    tokens = Tokens(path)

    write(path, f"operator half-writ\noperator {OPERATOR}\nwriter {READER}\nreader {OPERATOR}\n")

    for _ in range(3):
        assert tokens.role_of_token(OPERATOR) == "operator"
        assert tokens.role_of_token(READER) is None
        assert tokens.role_of_token("half-writ") is None
    (told,) = errors.messages
    assert told.startswith(f"Lines 1, 3, 4 of {path} (TRAINYARD_TOKENS_FILE)")
    for secret in (OPERATOR, READER, "half-writ"):
        assert secret not in told

    write(path, f"operator half-written-before\nreader {READER}\n")
    assert tokens.role_of_token("half-written-before") == "operator"
    assert tokens.role_of_token(READER) == "reader"
    assert tokens.role_of_token(OPERATOR) is None
    assert len(errors.records) == 1


def test_a_file_that_could_not_be_read_for_a_moment_counts_again_though_it_is_the_same(
    path: Path, errors: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(path)

    def unreadable(*_: object, **__: object) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    os.utime(path, ns=(0, 0))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", unreadable)
        assert tokens.role_of_token(OPERATOR) is None
        assert tokens.role_of_token(OPERATOR) is None
    assert tokens.role_of_token(OPERATOR) == "operator"
    assert len(errors.records) == 1


@pytest.mark.parametrize("token", [OPERATOR, READER, "nobody's token at all"])
def test_every_token_is_compared_whichever_matches(path: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(path)
    cookie = tokens.sign_in(token) or f"{NOW:.0f}.seal"
    compared: list[object] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append(left)
        return hmac.compare_digest(left, right)

    monkeypatch.setattr(module, "hmac", type("Counting", (), {"compare_digest": compare, "digest": hmac.digest}))
    tokens.role_of_token(token)
    assert len(compared) == 2
    tokens.sign_in(token)
    assert len(compared) == 4
    tokens.role_of_cookie(cookie)
    assert len(compared) == 6


def test_a_cookie_stands_for_its_token_on_every_replica_for_twelve_hours(path: Path) -> None:
    cookie = Tokens(path, lambda: NOW).sign_in(READER)

    assert cookie is not None
    assert READER not in cookie
    assert Tokens(path, lambda: NOW + SIGNED_IN_SECONDS - 1).role_of_cookie(cookie) == "reader"
    assert Tokens(path, lambda: NOW + SIGNED_IN_SECONDS).role_of_cookie(cookie) is None
    assert Tokens(path, lambda: NOW).sign_in("nobody's token at all") is None


def test_a_cookie_ends_with_its_token_and_follows_its_role(path: Path) -> None:
    tokens = Tokens(path)
    cookie = tokens.sign_in(READER)
    assert cookie is not None

    write(path, f"operator {READER}\n")
    assert tokens.role_of_cookie(cookie) == "operator"
    write(path, f"operator {OPERATOR}\n")
    assert tokens.role_of_cookie(cookie) is None


def test_a_cookie_that_was_tampered_with_is_none(path: Path) -> None:
    tokens = Tokens(path, lambda: NOW)
    cookie = tokens.sign_in(OPERATOR)
    assert cookie is not None
    end, _, seal = cookie.partition(".")

    for forged in (
        "",
        ".",
        end,
        f"{end}.",
        f"{int(end) + 1}.{seal}",
        f"0{cookie}",
        f"{end}.{seal}0",
        f".{seal}",
        "é.ü",
    ):
        assert tokens.role_of_cookie(forged) is None
