"""Decoders that hang, crash, run out of memory or lose their parent: each costs one photo at most."""

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests import pictures
from trainyard import decoder_child, decoder_process, photos
from trainyard.decoder_messages import LENGTHS, Message
from trainyard.decoder_process import CHILD_COMMAND
from trainyard.decoders import ChildNotStarted, Decoder
from trainyard.photos import PhotoError

Sabotage = Callable[[str], Sequence[str]]


@pytest.fixture
def photo(tmp_path: Path) -> bytes:
    return pictures.written(tmp_path / "good.jpg", pictures.encoded(pictures.rocket()))


@pytest.fixture
def bad(tmp_path: Path) -> bytes:
    """As good a photo, but the sabotaged children break down on it."""
    return pictures.written(tmp_path / "bad.jpg", pictures.encoded(pictures.rocket()))


@pytest.fixture
def sabotage(tmp_path: Path) -> Sabotage:
    """The command of a child that does `deed` before it decodes the CLIP view of a photo called bad."""

    def command(deed: str) -> Sequence[str]:
        script = tmp_path / "sabotaged.py"
        script.write_text(
            "import ctypes, os, signal, sys\n"
            "from trainyard import decoder_child, photos\n"
            "decode = photos.clip_view\n"
            "def sabotaged(path):\n"
            "    if path.endswith(b'bad.jpg'):\n"
            f"        {deed}\n"
            "    return decode(path)\n"
            "photos.clip_view = sabotaged\n"
            "decoder_child.main()\n"
        )
        return (sys.executable, "-P", str(script))

    return command


def failure(decoder: Decoder, path: bytes) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        decoder.clip_view(path)
    return caught.value


def test_a_child_returns_the_bytes_of_a_decode_in_this_process(tmp_path: Path) -> None:
    picture = pictures.enlarged(pictures.group_photo(), 4)
    path = pictures.written(tmp_path / "group.jpg", pictures.encoded(picture))
    landmarks = pictures.GROUP_LANDMARKS * np.float32(picture.width / 1280)
    with Decoder() as decoder:
        assert same(decoder.clip_view(path), photos.clip_view(path))
        assert same(decoder.detection_view(path, 640), photos.detection_view(path, 640))
        faces = (path, landmarks, pictures.CROP_LANDMARKS, 112)
        assert np.array_equal(decoder.aligned_faces(*faces), photos.aligned_faces(*faces))
        assert decoder.aligned_faces(path, landmarks[:0], pictures.CROP_LANDMARKS, 112).shape == (0, 112, 112, 3)
        assert decoder.thumbnail(path, 320) == photos.thumbnail(path, 320)


def test_messages_larger_than_a_pipe_pass(photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_process, "_PIPE_BYTES", 4096)
    landmarks = np.repeat(pictures.CROP_LANDMARKS[None] * 2, 3000, axis=0)
    with Decoder() as decoder:
        assert decoder.aligned_faces(photo, landmarks, pictures.CROP_LANDMARKS, 8).shape == (3000, 8, 8, 3)


def test_a_decoder_that_hangs_is_stopped_and_its_photo_not_tried_again(
    sabotage: Sabotage, photo: bytes, bad: bytes, tmp_path: Path
) -> None:
    deed = f"open({str(tmp_path / 'tries')!r}, 'a').write('x')\n        while True: pass"
    with Decoder(time_limit_seconds=1.0, command=sabotage(deed)) as decoder:
        assert failure(decoder, bad).code == "timed_out"
        assert decoder.clip_view(photo)[0].width == 640
    assert (tmp_path / "tries").read_text() == "x"


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("ctypes.string_at(0)", "signal 11"),
        ("os._exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "lack of memory"),
        ("os.write(2, b'free(): invalid pointer\\n'); os.abort()", r"signal 6.*free\(\): invalid pointer"),
        ("decoder_child._send = lambda sink, _: (sink.write(b'rubbish!' * 9), sink.flush())", "sent a message of"),
    ],
)
def test_a_photo_that_ends_two_decoders_has_crashed_them_and_the_next_is_decoded(
    sabotage: Sabotage, photo: bytes, bad: bytes, deed: str, reason: str
) -> None:
    with Decoder(command=sabotage(deed)) as decoder:
        error = failure(decoder, bad)
        assert error.code == "worker_crashed"
        assert re.search(reason, error.message)
        assert decoder.clip_view(photo)[0].width == 640


def test_a_photo_is_tried_once_more_when_its_decoder_dies(sabotage: Sabotage, bad: bytes, tmp_path: Path) -> None:
    first = str(tmp_path / "first try")
    deed = f"os.path.exists({first!r}) or (open({first!r}, 'w').close(), os.kill(os.getpid(), signal.SIGKILL))"
    with Decoder(command=sabotage(deed)) as decoder:
        assert decoder.clip_view(bad)[0].width == 640


def test_a_photo_that_needs_more_memory_than_allowed_is_too_large(tmp_path: Path, photo: bytes) -> None:
    path = pictures.written(tmp_path / "black.png", pictures.black_png(15_000, 16_000))
    with Decoder(memory_limit_bytes=600 << 20) as decoder:
        assert failure(decoder, path).code == "too_large"
        assert decoder.clip_view(photo)[0].width == 640


def test_what_libraries_print_neither_blocks_nor_breaks_the_answers(sabotage: Sabotage, bad: bytes) -> None:
    deed = "[os.write(descriptor, b'warning ' * 100_000) for descriptor in (1, 2)]"
    with Decoder(command=sabotage(deed)) as decoder:
        assert decoder.clip_view(bad)[0].width == 640


def test_an_error_of_the_system_fails_no_photo(sabotage: Sabotage, bad: bytes) -> None:
    with Decoder(command=sabotage(f"raise OSError({errno.ESTALE}, 'stale')")) as decoder:
        with pytest.raises(OSError, match="stale") as caught:
            decoder.clip_view(bad)
        assert caught.value.errno == errno.ESTALE


def test_a_child_knows_no_secrets_of_its_parent(
    sabotage: Sabotage, bad: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINYARD_DATABASE_URL", "postgresql://secret")
    with Decoder(command=sabotage("raise ValueError(str(dict(os.environ)))")) as decoder:
        with pytest.raises(ValueError, match="PYTHONPATH") as caught:
            decoder.clip_view(bad)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("command", [("/nowhere/python",), (sys.executable, "-c", "raise SystemExit('no libGL')")])
def test_a_child_that_never_comes_up_is_not_the_photos_fault(command: Sequence[str], photo: bytes) -> None:
    with pytest.raises(ChildNotStarted, match=r"/nowhere/python|no libGL"), Decoder(command=command) as decoder:
        decoder.clip_view(photo)


def test_faces_are_cut_from_the_photo_just_detected_without_reading_it_again(tmp_path: Path, photo: bytes) -> None:
    script = tmp_path / "reads_once.py"
    script.write_text(
        "from trainyard import decoder_child, photo_views\n"
        "read, seen = photo_views.read_photo_file, []\n"
        "def once(path):\n"
        "    seen.append(path)\n"
        "    if len(seen) > 1: raise ValueError('read twice')\n"
        "    return read(path)\n"
        "photo_views.read_photo_file = once\n"
        "decoder_child.main()\n"
    )
    faces = (photo, pictures.CROP_LANDMARKS[None], pictures.CROP_LANDMARKS, 112)
    with Decoder(command=(sys.executable, "-P", str(script))) as decoder:
        decoder.detection_view(photo, 640)
        assert np.array_equal(decoder.aligned_faces(*faces), photos.aligned_faces(*faces))
        with pytest.raises(ValueError, match="read twice"):
            decoder.aligned_faces(*faces)


def test_faces_of_a_photo_that_changed_after_detection_are_cut_from_the_new_one(photo: bytes) -> None:
    faces = (photo, pictures.CROP_LANDMARKS[None], pictures.CROP_LANDMARKS, 112)
    with Decoder() as decoder:
        decoder.detection_view(photo, 640)
        pictures.written(Path(os.fsdecode(photo)), pictures.encoded(pictures.chelsea()))
        assert np.array_equal(decoder.aligned_faces(*faces), photos.aligned_faces(*faces))
        decoder.detection_view(photo, 640)
        os.unlink(photo)
        with pytest.raises(PhotoError, match="gone"):
            decoder.aligned_faces(*faces)


def test_landmarks_in_one_point_are_refused_and_cost_no_decoder(photo: bytes) -> None:
    with Decoder() as decoder:
        with pytest.raises(ValueError, match="one point"):
            decoder.aligned_faces(photo, np.ones((1, 5, 2), np.float32), pictures.CROP_LANDMARKS, 112)
        assert decoder.clip_view(photo)[0].width == 640


def test_a_closed_decoder_leaves_no_process_and_can_be_used_again(photo: bytes) -> None:
    decoder = Decoder()
    decoder.clip_view(photo)
    decoder.close()
    decoder.close()
    assert decoder.clip_view(photo)[0].width == 640
    decoder.close()


def test_a_child_ignores_ctrl_c_and_ends_with_its_parent(photo: bytes) -> None:
    child = raw_child(CHILD_COMMAND, time_limit_seconds=30)
    child.send_signal(signal.SIGINT)
    assert child.stdin is not None
    child.stdin.write(Message({"call": "thumbnail", "side_px": 64}, photo).encode())
    child.stdin.flush()
    assert read_message(child)[1] == photos.thumbnail(photo, 64)
    child.stdin.close()
    assert child.wait() == 0


def test_a_child_that_hangs_after_its_parent_died_ends_itself(sabotage: Sabotage, bad: bytes) -> None:
    child = raw_child(sabotage("signal.pause()"), time_limit_seconds=-decoder_child._ORPHAN_GRACE_SECONDS + 1)
    assert child.stdin is not None
    child.stdin.write(Message({"call": "clip_view"}, bad).encode())
    child.stdin.close()
    assert child.wait() == -signal.SIGALRM


def raw_child(command: Sequence[str], time_limit_seconds: float) -> "subprocess.Popen[bytes]":
    """A child without a decoder around it, once it is ready."""
    child = subprocess.Popen(
        [*command, str(2 << 30), str(time_limit_seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(photos.__file__).parent.parent)},
    )
    read_message(child)
    return child


def read_message(child: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    assert child.stdout is not None
    header_bytes, body_bytes = LENGTHS.unpack(child.stdout.read(LENGTHS.size))
    return child.stdout.read(header_bytes), child.stdout.read(body_bytes) if body_bytes else b""


def same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))  # type: ignore[call-overload]
