"""What of an error reaches rows, statuses and the API."""

import psycopg
import pytest
import sqlalchemy as sa

from jobs.outcomes import WrongConfiguration
from trainyard.error_words import code_of, words_of

SAID = "column does not exist\nDETAIL: it is in /photos/private.jpg"


@pytest.mark.parametrize(
    "error",
    [
        psycopg.DataError(SAID),
        sa.exc.DataError("INSERT INTO image_assets", {"path": "/photos/private.jpg"}, psycopg.DataError(SAID)),
        sa.exc.StatementError("column does not exist", "INSERT", {"path": "/photos/private.jpg"}, ValueError(SAID)),
    ],
    ids=["driver", "statement", "before-it-was-sent"],
)
def test_a_databases_error_is_told_without_statement_parameters_and_details(error: Exception) -> None:
    assert words_of(error) == "column does not exist"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("It ends early.", "It ends early."),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("a\0NUL, \x1b[31mred\x1b[0m, \x7f and \x9b", "aNUL, [31mred[0m,  and"),
        ("Grüße aus Köln ☺", "Grüße aus Köln ☺"),
        ("", "ValueError"),
        ("\0\n", "ValueError"),
    ],
)
def test_an_error_is_told_in_one_line_of_plain_characters(said: str, words: str) -> None:
    assert words_of(ValueError(said)) == words


def test_an_error_for_people_is_told_by_its_message() -> None:
    assert words_of(WrongConfiguration("NoFolder", "There is no folder.")) == "There is no folder."


def test_the_code_is_the_errors_own_or_its_class() -> None:
    assert code_of(WrongConfiguration("NoFolder", "There is no folder.")) == "NoFolder"
    assert code_of(ValueError("x")) == "ValueError"
    assert code_of(sa.exc.DataError("INSERT", None, ValueError("x"))) == "DataError"
