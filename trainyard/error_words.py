"""What an error says where many read it: a session's row, its resource's status, events and the API."""

import psycopg
import sqlalchemy as sa

from trainyard.database import first_line

# Line ends and tabs become spaces; no row can hold NUL, and no terminal should be told the others.
PLAIN: dict[int, str | None] = {
    **dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)]),
    **dict.fromkeys(map(ord, "\t\n\v\f\r"), " "),
}


def code_of(error: Exception) -> str:
    """The code that the error was given, else its class's name; SQLAlchemy's codes are but of pages that explain."""
    code = getattr(error, "code", None)
    ours = isinstance(code, str) and not isinstance(error, sa.exc.SQLAlchemyError)
    return str(code) if ours else type(error).__name__


def words_of(error: Exception) -> str:
    """One line. Of a database's error the driver's sentence alone: statement and parameters hold paths of photos."""
    if isinstance(error, sa.exc.StatementError | psycopg.Error):
        said = first_line(error)
    else:
        said = str(getattr(error, "message", None) or error)
    return plain(said) or type(error).__name__


def plain(said: str) -> str:
    """In one line, without control characters."""
    return said.translate(PLAIN).strip()
