"""Downloads from a real HTTP server on this machine: whole or not at all, never other bytes than recorded."""

import hashlib
import io
import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobs.engines import download as downloads
from jobs.engines.download import DOWNLOADS, Download, DownloadFailed, fetch, is_downloaded
from jobs.engines.weights import ModelMissing, WeightFile

CLIP_BYTES = bytes(range(256)) * 5000
PARTS = {"det_10g.onnx": b"detector" * 1000, "w600k_r50.onnx": b"recogniser" * 1000}


def weight_file(name: str, content: bytes) -> WeightFile:
    return WeightFile(name, len(content), hashlib.sha256(content).hexdigest())


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `contents` by path, counts requests, and stops half way for the paths in `cut`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.requests: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        content = self.server.contents.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path in self.server.cut else content)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def clip(server: Server) -> Download:
    """The CLIP download, of a small file from the server here."""
    server.contents["/clip"] = CLIP_BYTES
    file = weight_file("open_clip_model.safetensors", CLIP_BYTES)
    return replace(DOWNLOADS["clip"], url=server.url("/moved/clip"), files=(file,))


@pytest.fixture
def faces(server: Server) -> Download:
    """buffalo_l, of small files from the server here."""
    archive = zipped({"buffalo_l/genderage.onnx": b"unwanted", **PARTS})
    server.contents["/buffalo_l.zip"] = archive
    files = tuple(weight_file(name, content) for name, content in PARTS.items())
    published = replace(DOWNLOADS["insightface"], archive=weight_file("buffalo_l.zip", archive))
    return replace(published, url=server.url("/buffalo_l.zip"), files=files)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_a_download_lands_whole_with_its_hash_and_shows_progress(clip: Download, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert not is_downloaded(clip, tmp_path)
    folder = fetch(clip, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert names_in(folder) == {"open_clip_model.safetensors", "sha256.json"}
    assert (folder / "open_clip_model.safetensors").read_bytes() == CLIP_BYTES
    assert json.loads((folder / "sha256.json").read_text()) == {clip.files[0].name: clip.files[0].sha256}
    assert seen == sorted(seen)
    assert seen[-1] == (len(CLIP_BYTES), len(CLIP_BYTES))
    assert is_downloaded(clip, tmp_path)


def test_what_is_there_is_not_downloaded_again(clip: Download, server: Server, tmp_path: Path) -> None:
    fetch(clip, tmp_path)
    server.requests.clear()
    fetch(clip, tmp_path)
    assert server.requests == []


def test_a_file_copied_by_hand_is_recorded(clip: Download, server: Server, tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / clip.files[0].name).write_bytes(CLIP_BYTES)
    folder = fetch(clip, tmp_path)
    assert json.loads((folder / "sha256.json").read_text()) == {clip.files[0].name: clip.files[0].sha256}
    assert server.requests == []


def test_only_the_two_networks_of_the_face_archive_are_kept(faces: Download, tmp_path: Path) -> None:
    folder = fetch(faces, tmp_path, accept_non_commercial=True)
    assert names_in(folder) == {*PARTS, "sha256.json"}
    assert {name: (folder / name).read_bytes() for name in PARTS} == PARTS


def test_non_commercial_weights_need_that_accepted(faces: Download, server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="--accept-non-commercial") as refused:
        fetch(faces, tmp_path)
    assert refused.value.code == "LicenceNotAccepted"
    assert server.requests == []


def test_a_truncated_download_leaves_nothing(clip: Download, server: Server, tmp_path: Path) -> None:
    server.cut.add("/clip")
    with pytest.raises(DownloadFailed) as failed:
        fetch(clip, tmp_path)
    assert failed.value.code == "Truncated"
    assert names_in(tmp_path / "clip") == set()


def test_a_file_that_ends_early_without_saying_so_leaves_nothing(
    clip: Download, server: Server, tmp_path: Path
) -> None:
    server.contents["/clip"] = CLIP_BYTES[:-1]
    with pytest.raises(DownloadFailed, match="ended after 1,279,999 of 1,280,000 bytes") as failed:
        fetch(clip, tmp_path)
    assert failed.value.code == "Truncated"
    assert names_in(tmp_path / "clip") == set()


def test_other_bytes_than_the_published_leave_nothing(clip: Download, server: Server, tmp_path: Path) -> None:
    server.contents["/clip"] = CLIP_BYTES[::-1]
    with pytest.raises(DownloadFailed, match=f"instead of {clip.files[0].sha256}") as failed:
        fetch(clip, tmp_path)
    assert failed.value.code == "HashMismatch"
    assert names_in(tmp_path / "clip") == set()


def test_an_archive_lacking_a_network_is_refused(faces: Download, server: Server, tmp_path: Path) -> None:
    archive = zipped({"det_10g.onnx": PARTS["det_10g.onnx"]})
    server.contents["/buffalo_l.zip"] = archive
    lacking = replace(faces, archive=weight_file("buffalo_l.zip", archive))
    with pytest.raises(DownloadFailed, match=r"w600k_r50\.onnx ended after 0 of") as failed:
        fetch(lacking, tmp_path, accept_non_commercial=True)
    assert failed.value.code == "Truncated"
    assert not is_downloaded(lacking, tmp_path)
    assert not any(name.endswith(".part") for name in names_in(tmp_path / "buffalo_l"))


def test_a_file_changed_since_its_download_is_not_overwritten(clip: Download, tmp_path: Path) -> None:
    path = fetch(clip, tmp_path) / clip.files[0].name
    path.write_bytes(b"changed")
    with pytest.raises(ModelMissing, match="delete the file and download it again") as changed:
        fetch(clip, tmp_path)
    assert changed.value.code == "ModelChanged"
    assert path.read_bytes() == b"changed"


def test_a_second_download_must_be_like_the_first(clip: Download, server: Server, tmp_path: Path) -> None:
    (fetch(clip, tmp_path) / clip.files[0].name).unlink()
    server.contents["/clip"] = b"new" + CLIP_BYTES
    republished = replace(clip, files=(weight_file(clip.files[0].name, b"new" + CLIP_BYTES),))
    with pytest.raises(DownloadFailed, match=f"instead of {clip.files[0].sha256}") as failed:
        fetch(republished, tmp_path)
    assert failed.value.code == "HashMismatch"


def test_a_missing_page_is_named(clip: Download, server: Server, tmp_path: Path) -> None:
    server.contents.clear()
    with pytest.raises(DownloadFailed, match="the server answered 404 to http://127") as failed:
        fetch(clip, tmp_path)
    assert failed.value.code == "HttpError"


def test_no_internet_names_the_ways_out(clip: Download, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DownloadFailed) as failed:
        fetch(replace(clip, url=f"http://127.0.0.1:{port}/clip"), tmp_path)
    assert failed.value.code == "NoInternet"
    for part in (f"copy {clip.files[0].name} to {tmp_path / 'clip'}", "TRAINYARD_MODEL_DIR", "--untrained"):
        assert part in failed.value.message


def test_a_name_that_never_resolves_is_given_up_on(
    clip: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()

    def resolve(*_args: object) -> None:
        given_up.wait()
        raise OSError("too late")

    monkeypatch.setattr(downloads, "CONNECT_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(socket, "create_connection", resolve)
    with pytest.raises(DownloadFailed, match="no connection to 127") as failed:
        fetch(clip, tmp_path)
    given_up.set()
    assert failed.value.code == "NoInternet"


def test_a_proxy_is_what_must_be_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert downloads._first_hop("https://huggingface.co/x") == ("proxy.example", 3128)
    monkeypatch.setenv("no_proxy", "huggingface.co")
    assert downloads._first_hop("https://huggingface.co/x") == ("huggingface.co", 443)


def test_a_folder_that_cannot_be_made_is_a_disk_error(clip: Download, tmp_path: Path) -> None:
    (tmp_path / "clip").write_text("a file where the folder should be")
    with pytest.raises(DownloadFailed, match="cannot be written") as failed:
        fetch(clip, tmp_path)
    assert failed.value.code == "DiskError"


def test_what_can_be_downloaded_says_its_size_and_licence() -> None:
    clip, faces = DOWNLOADS["clip"], DOWNLOADS["insightface"]
    assert (clip.size_bytes, clip.licence, clip.non_commercial) == (605_143_316, "MIT", False)
    assert (faces.size_bytes, faces.non_commercial) == (288_621_354, True)
