"""Folders to choose a session's root from: those this installation may read, and what is in them."""

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.folder_counts import MOST_ENTRIES, ImageCount, count_images, together
from api.paging import Limit, PageToken, page, read_text
from api.problems import ANY_ROUTE, RETRY_SECONDS, Problem
from api.schemas import Out
from api.services import Given
from api.storage import in_storage_thread
from trainyard.folders import LONGEST_PATH, RootUnusable, is_allowed, is_excluded, is_text, lies_in, real_folder
from trainyard.settings import Settings

router = APIRouter(prefix="/api/v1/directories", tags=["directories"], responses=ANY_ROUTE)

EVERYWHERE = "/"

FolderPath = Annotated[
    str | None, Query(max_length=LONGEST_PATH, description="An absolute folder; none: the folders that may be read.")
]


class Directory(Out):
    name: str
    path: str
    images: ImageCount


class Directories(Out):
    """A folder and the folders in it, by name.

    Left out are those that discovery passes over (hidden and excluded ones, links) and those whose names are not
    UTF-8, which JSON cannot carry. Photos in the latter are counted, and a session of the folder above finds them.
    """

    path: Annotated[str | None, Field(description="Links resolved; null for the folders that may be read.")]
    parent: Annotated[str | None, Field(description="Null where there is none that may be read.")]
    readable: Annotated[bool, Field(description="Whether what lies in the folder may be entered.")]
    complete: Annotated[bool, Field(description="False: it holds so many entries that folders may be missing here.")]
    directories: list[Directory]
    images: ImageCount
    next_page_token: str | None


@router.get("")
async def list_directories(
    services: Given, path: FolderPath = None, limit: Limit = 100, token: PageToken = None
) -> Directories:
    """The folders in a folder, and how many photos each holds as far as a moment's look can tell."""
    after = read_text(token) or ""
    try:
        if path is None:
            return await in_storage_thread(_roots, services.settings)
        return await in_storage_thread(_inside, services.settings, path, limit, after)
    except OSError as error:
        detail = f"{path} cannot be read just now ({error.strerror}). Try again in a moment."
        raise Problem(503, "StorageUnavailable", detail, headers={"Retry-After": RETRY_SECONDS}) from error


def _roots(settings: Settings) -> Directories:
    roots = [root for root in settings.allowed_roots or [EVERYWHERE] if is_text(os.fsencode(root))]
    counts = count_images(roots, settings.exclude)
    outermost = [
        count
        for root, count in zip(roots, counts, strict=True)
        if not any(root != other and lies_in(root, other) for other in roots)
    ]
    return Directories(
        path=None,
        parent=None,
        readable=True,
        complete=True,
        directories=[Directory(name=r, path=r, images=c) for r, c in zip(roots, counts, strict=True)],
        images=together(outermost),
        next_page_token=None,
    )


def _inside(settings: Settings, path: str, limit: int, after: str) -> Directories:
    folder = _real(path, settings.allowed_roots)
    names, complete = _folders_in(folder, settings.exclude, after, limit + 1)
    shown = page(names, limit, lambda last: last)
    paths = [os.path.join(folder, name) for name in shown["items"]]
    own, *counts = count_images([folder, *paths], settings.exclude)
    return Directories(
        path=folder,
        parent=_parent(folder, settings.allowed_roots),
        readable=os.access(folder, os.R_OK | os.X_OK),
        complete=complete,
        directories=[
            Directory(name=n, path=p, images=c) for n, p, c in zip(shown["items"], paths, counts, strict=True)
        ],
        images=own,
        next_page_token=shown["next_page_token"],
    )


def _real(path: str, allowed: Sequence[str]) -> str:
    """Raises RootUnusable."""
    try:
        return real_folder(path, allowed)
    except RootUnusable as error:
        raise RootUnusable(error.code, error.message, "path") from error


def _folders_in(folder: str, exclude: Sequence[str], after: str, most: int) -> tuple[list[str], bool]:
    """The first names after `after`, and whether the whole folder was looked at for them."""
    with os.scandir(os.fsencode(folder)) as entries:
        names = heapq.nsmallest(most, _names(islice(entries, MOST_ENTRIES), exclude, after))
        return names, next(entries, None) is None


def _names(entries: Iterable[os.DirEntry[bytes]], exclude: Sequence[str], after: str) -> Iterator[str]:
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and is_text(entry.name) and not is_excluded(entry.name, exclude):
            name = entry.name.decode()
            if name > after:
                yield name


def _parent(folder: str, allowed: Sequence[str]) -> str | None:
    parent = os.path.dirname(folder)
    return parent if parent != folder and is_allowed(parent, allowed) else None
