"""Which folders a session may read: the ones it names, inside its root, inside the roots this installation allows.

The API asks before it makes a session, discovery asks before it walks: both answer with the same codes.
"""

import errno
import os
from collections.abc import Sequence
from fnmatch import fnmatch

MOST_SUBDIRECTORIES = 1_000
LONGEST_PATH = 4_096  # characters, of a root or a subdirectory
MOST_SUBDIRECTORY_CHARACTERS = 32_768  # of all subdirectories together


class RootUnusable(Exception):
    """A folder asked for cannot be read; `field` says which of the request's it is."""

    def __init__(self, code: str, message: str, field: str = "root_path") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


def selected_folders(root: str, subdirectories: Sequence[str], allowed: Sequence[str] = ()) -> list[bytes]:
    """The folders to walk: the selected ones without those that lie in another, or the root itself.

    `allowed` are the roots of this installation; none given, any folder will do. Raises RootUnusable for a folder
    that is missing, none, closed to us, or outside the root or the allowed ones.
    """
    _check_limits(subdirectories)
    real_root = real_folder(root, allowed)
    chosen = {_inside(real_root, name) for name in subdirectories} or {real_root}
    folders = sorted(chosen, key=lambda folder: folder.split(os.sep))  # what lies in a folder follows it at once
    outermost: list[str] = []
    for folder in folders:
        _check_folder(folder, "root_path" if folder == real_root else "subdirectories")
        if not outermost or not lies_in(folder, outermost[-1]):
            outermost.append(folder)
    return [os.fsencode(folder) for folder in outermost]


def real_folder(path: str, allowed: Sequence[str] = ()) -> str:
    """The folder with every link resolved. Raises RootUnusable; what lies outside `allowed` is not even looked for."""
    if not path.startswith("/"):
        raise RootUnusable("RootNotAbsolute", f"{path!r} is not absolute; name the folder from / on.")
    if ".." in path.split("/") or "\0" in path:
        raise RootUnusable("RootNotPlain", f"{path!r} is no plain path; name the folder itself, without '..'.")
    if len(path) > LONGEST_PATH:
        raise RootUnusable("PathTooLong", f"A path may have {LONGEST_PATH:,} characters; this one has {len(path):,}.")
    real = os.path.realpath(path)
    if not is_allowed(real, allowed):
        raise RootUnusable(
            "OutsideImageRoots", f"{path} is not inside the folders that may be read: {', '.join(allowed)}."
        )
    _check_folder(real, "root_path")
    if not is_text(os.fsencode(real)):
        raise RootUnusable(
            "RootNotText", f"{path!r} leads to a folder whose name is not UTF-8; rename it (files may have any name)."
        )
    return real


def lies_in(folder: str, root: str) -> bool:
    return os.path.commonpath([folder, root]) == root


def is_allowed(path: str, allowed: Sequence[str]) -> bool:
    """Whether a path, links resolved, lies in one of the roots of this installation; none given, any does."""
    return not allowed or any(lies_in(path, root) for root in allowed)


def path_range(folder: bytes) -> tuple[bytes, bytes]:
    """The paths inside a folder are those from the first on, below the second."""
    inside = folder.rstrip(b"/")
    return inside + b"/", inside + b"0"  # "0" follows "/"


def is_text(name: bytes) -> bool:
    """Whether it is UTF-8: rows and JSON name folders as text, files as bytes."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_excluded(name: bytes, globs: Sequence[str]) -> bool:
    """Whether a file or folder of this name is left out; case does not matter."""
    text = os.fsdecode(name).lower()
    return any(fnmatch(text, glob.lower()) for glob in globs)


def _check_limits(subdirectories: Sequence[str]) -> None:
    longest = max(map(len, subdirectories), default=0)
    together = sum(map(len, subdirectories))
    problem = None
    if len(subdirectories) > MOST_SUBDIRECTORIES:
        problem = f"At most {MOST_SUBDIRECTORIES:,} may be named; these are {len(subdirectories):,}."
    elif longest > LONGEST_PATH:
        problem = f"One may have {LONGEST_PATH:,} characters; one of these has {longest:,}."
    elif together > MOST_SUBDIRECTORY_CHARACTERS:
        problem = f"Together they may have {MOST_SUBDIRECTORY_CHARACTERS:,} characters; these have {together:,}."
    if problem:
        raise RootUnusable("TooManySubdirectories", f"{problem} Name a folder above them.", "subdirectories")


def _inside(root: str, name: str) -> str:
    plain = not name.startswith("/") and ".." not in name.split("/") and "\0" not in name
    folder = os.path.realpath(os.path.join(root, name)) if plain else ""
    if not plain or not lies_in(folder, root):
        raise RootUnusable(
            "OutsideRoot", f"The subdirectory {name!r} leads out of {root}; name one inside it.", "subdirectories"
        )
    return folder


def _check_folder(folder: str, field: str) -> None:
    try:
        with os.scandir(folder):
            return
    except FileNotFoundError:
        raise RootUnusable("RootNotFound", f"There is no folder {folder}; check its name or mount it.", field) from None
    except NotADirectoryError:
        raise RootUnusable("RootNotAFolder", f"{folder} is no folder; name the folder it is in.", field) from None
    except PermissionError:
        raise RootUnusable(
            "RootUnreadable", f"{folder} may not be read by this user; give it the right to read and enter.", field
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):  # a file server that is away is worth waiting for
            raise
        raise RootUnusable("RootNotFound", f"There can be no folder {folder}: {error.strerror}.", field) from None
