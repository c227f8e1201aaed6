"""Why one photo cannot be used: a code for machines and a sentence for people."""

from typing import Final, Literal, get_args

PhotoErrorCode = Literal[
    "not_found",
    "unreadable",
    "truncated",
    "not_an_image",
    "unsupported",
    "too_large",
    "timed_out",
    "worker_crashed",
    "outside_roots",
]
PHOTO_ERROR_CODES: Final[frozenset[str]] = frozenset(get_args(PhotoErrorCode))


class PhotoError(Exception):
    """An error traced to one photo: it fails that photo and nothing else.

    `message` is one plain sentence that says what is wrong and what to do. It does not hold the photo's path,
    which is shown beside it.
    """

    def __init__(self, code: PhotoErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.code: PhotoErrorCode = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
