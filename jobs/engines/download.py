"""What can be downloaded, and downloading it: whole or not at all, with its hash kept and enforced.

Files land in `models_dir/FOLDER` by a rename, after their size and SHA-256 were right. The hash is written to
`sha256.json` beside them; every later load and download compares with it.
"""

import json
import os
import socket
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from jobs.engines.weights import (
    BUFFALO_FILES,
    BUFFALO_FOLDER,
    CLIP_FILE,
    CLIP_FOLDER,
    RECORD_NAME,
    WeightFile,
    file_sha256,
    read_record,
    verified_sha256,
)

CONNECT_TIMEOUT_SECONDS = 5.0
_READ_TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


@dataclass(frozen=True)
class Download:
    """A model that can be fetched. `archive` is set when `url` is a zip file holding `files` (and others)."""

    name: str
    title: str
    url: str
    folder: str
    files: tuple[WeightFile, ...]
    licence: str
    non_commercial: bool = False
    archive: WeightFile | None = None

    @property
    def size_bytes(self) -> int:
        """How much is transferred."""
        return self.archive.size_bytes if self.archive else sum(file.size_bytes for file in self.files)


CLIP = Download(
    name="clip",
    title="OpenCLIP ViT-B-32, laion2b_s34b_b79k",
    url=(
        "https://huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/"
        f"1a25a446712ba5ee05982a381eed697ef9b435cf/{CLIP_FILE.name}"
    ),
    folder=CLIP_FOLDER,
    files=(CLIP_FILE,),
    licence="MIT",
)
INSIGHTFACE = Download(
    name="insightface",
    title="InsightFace buffalo_l: SCRFD-10G and ArcFace ResNet-50",
    url="https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",
    folder=BUFFALO_FOLDER,
    files=BUFFALO_FILES,
    licence="non-commercial research use only",
    non_commercial=True,
    archive=WeightFile(
        "buffalo_l.zip", 288_621_354, "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f"
    ),
)
DOWNLOADS = {download.name: download for download in (CLIP, INSIGHTFACE)}


class DownloadFailed(Exception):
    """Nothing was put in place. `code` is for machines, `message` says what failed and the ways out.

    Codes: LicenceNotAccepted, NoInternet, HttpError, Truncated, HashMismatch, DiskError.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def is_downloaded(download: Download, models_dir: Path) -> bool:
    """Whether all its files are there; their bytes are checked when they are loaded."""
    return all((models_dir / download.folder / file.name).is_file() for file in download.files)


def fetch(
    download: Download,
    models_dir: Path,
    accept_non_commercial: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Download into `models_dir`, unless the same files are there already, and return their folder.

    Raises DownloadFailed; ModelMissing (ModelChanged) if a file is there with other bytes than recorded.
    """
    folder = models_dir / download.folder
    if is_downloaded(download, models_dir):
        _record(folder, {file.name: verified_sha256(folder / file.name) for file in download.files})
        return folder
    if download.non_commercial and not accept_non_commercial:
        raise DownloadFailed("LicenceNotAccepted", _licence_message(download))
    _check_reachable(download, folder)
    with _disk_errors(download, folder):
        folder.mkdir(parents=True, exist_ok=True)
        _record(folder, _transfer(download, folder, progress or _no_progress))
    return folder


def _transfer(download: Download, folder: Path, progress: Progress) -> dict[str, str]:
    """Hashes of the files by name, after all of them are in place."""
    wanted = download.archive or download.files[0]
    with _temporary(folder / wanted.name) as fetched:
        with _http_errors(download, folder):
            _fetch_bytes(download.url, wanted, fetched, progress)
        _check(download, wanted, fetched, folder)
        if download.archive is None:
            os.replace(fetched, folder / wanted.name)
            return {wanted.name: wanted.sha256}
        return _unpack(download, fetched, folder)


def _fetch_bytes(url: str, wanted: WeightFile, target: Path, progress: Progress) -> None:
    timeout = httpx.Timeout(_READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
    with (
        httpx.stream("GET", url, follow_redirects=True, timeout=timeout) as response,
        target.open("wb") as stream,
    ):
        response.raise_for_status()
        done = 0
        for chunk in response.iter_bytes(_CHUNK_BYTES):
            stream.write(chunk)
            done += len(chunk)
            progress(done, max(done, wanted.size_bytes))
        os.fsync(stream.fileno())


def _unpack(download: Download, archive: Path, folder: Path) -> dict[str, str]:
    """Only the files wanted, found in the archive by their names, in whatever folder of it."""
    with zipfile.ZipFile(archive) as members:
        by_name = {Path(member).name: member for member in members.namelist()}
        for file in download.files:
            with _temporary(folder / file.name) as unpacked:
                if file.name in by_name:
                    _copy_member(members, by_name[file.name], unpacked)
                _check(download, file, unpacked, folder)
                os.replace(unpacked, folder / file.name)
    return {file.name: file.sha256 for file in download.files}


def _copy_member(members: zipfile.ZipFile, name: str, target: Path) -> None:
    with members.open(name) as source, target.open("wb") as stream:
        while chunk := source.read(_CHUNK_BYTES):
            stream.write(chunk)
        os.fsync(stream.fileno())


def _check(download: Download, wanted: WeightFile, fetched: Path, folder: Path) -> None:
    """Raise DownloadFailed unless `fetched` has the published size and hash, and the one recorded here."""
    size_bytes = fetched.stat().st_size if fetched.exists() else 0
    if size_bytes < wanted.size_bytes:
        detail = f"{wanted.name} ended after {size_bytes:,} of {wanted.size_bytes:,} bytes"
        raise DownloadFailed("Truncated", _failed_message(download, folder, detail))
    actual = file_sha256(fetched)
    for expected in {wanted.sha256, read_record(folder).get(wanted.name, wanted.sha256)} - {actual}:
        detail = f"{wanted.name} has the SHA-256 {actual} instead of {expected}; it was not kept"
        raise DownloadFailed("HashMismatch", _failed_message(download, folder, detail))


def _record(folder: Path, hashes: dict[str, str]) -> None:
    """Write `sha256.json` whole or not at all; other entries stay. A read-only folder is left alone."""
    entries = read_record(folder) | hashes
    if entries == read_record(folder) or not os.access(folder, os.W_OK):
        return
    with _temporary(folder / RECORD_NAME) as written:
        written.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")
        os.replace(written, folder / RECORD_NAME)


def _check_reachable(download: Download, folder: Path) -> None:
    """Raise DownloadFailed if no connection is made in 5 s. Resolving a name has no time limit of its own, so
    it is tried in a thread that may be left behind."""
    host, port = _first_hop(download.url)
    problem = [f"no connection to {host} within {CONNECT_TIMEOUT_SECONDS:.0f} s"]
    attempt = threading.Thread(target=_connect, args=(host, port, problem), daemon=True)
    attempt.start()
    attempt.join(CONNECT_TIMEOUT_SECONDS)
    if problem:
        raise DownloadFailed("NoInternet", _failed_message(download, folder, problem[0]))


def _connect(host: str, port: int, problem: list[str]) -> None:
    """Empties `problem` on success, else says why."""
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_SECONDS).close()
        problem.clear()
    except OSError as error:
        problem[0] = f"no connection to {host}: {error}"


def _first_hop(url: str) -> tuple[str, int]:
    """The host and port this machine connects to first: the proxy's, where one is set."""
    target = urlsplit(url)
    proxy = urllib.request.getproxies().get(target.scheme)
    if proxy and not urllib.request.proxy_bypass(target.hostname or ""):
        target = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return target.hostname or "", target.port or (443 if target.scheme == "https" else 80)


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A name beside `target` for what is not yet whole; removed if still there."""
    path = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _http_errors(download: Download, folder: Path) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        detail = f"the server answered {error.response.status_code} to {error.request.url}"
        raise DownloadFailed("HttpError", _failed_message(download, folder, detail)) from error
    except httpx.RemoteProtocolError as error:
        raise DownloadFailed("Truncated", _failed_message(download, folder, str(error))) from error
    except httpx.HTTPError as error:
        detail = f"the connection failed: {error or type(error).__name__}"
        raise DownloadFailed("NoInternet", _failed_message(download, folder, detail)) from error


@contextmanager
def _disk_errors(download: Download, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{folder} cannot be written ({error}); {download.size_bytes:,} bytes must fit there"
        raise DownloadFailed("DiskError", message) from error


def _failed_message(download: Download, folder: Path, detail: str) -> str:
    names = " and ".join(file.name for file in download.files)
    without = "--untrained" if download.name == CLIP.name else "--face-engine dlib"
    return (
        f"{download.title} was not downloaded from {download.url}: {detail}. Try again; or download on a "
        f"machine with internet and copy {names} to {folder}; or set TRAINYARD_MODEL_DIR to a folder that "
        f"has {download.folder}/; or do without: {without}"
    )


def _licence_message(download: Download) -> str:
    return (
        f"{download.title} may be used for {download.licence}: add --accept-non-commercial if your use is, "
        "or use --face-engine dlib, whose weights are free"
    )


def _no_progress(done_bytes: int, total_bytes: int) -> None:
    """For callers that show nothing."""
