"""Walking real folders: what is a photo, what is passed over."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs.walk import Walk
from tests.conftest import passable_dir
from trainyard.folders import RootUnusable, selected_folders
from trainyard.settings import DEFAULT_EXCLUDE

NOBODY = 65534


def fill(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked into")


def walk(root: Path, *subdirectories: str, exclude: Sequence[str] = DEFAULT_EXCLUDE) -> tuple[list[str], Walk]:
    """Names found, relative to the root, sorted; and the walk, which has counted."""
    walked = Walk(selected_folders(str(root), subdirectories), exclude)
    base = os.fsencode(os.path.realpath(root)) + b"/"
    return sorted(os.fsdecode(found.path.removeprefix(base)) for found in walked), walked


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that users other than root can enter."""
    folder = passable_dir()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Permissions do not hold root back, so tests that run as root look through another user's eyes."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_photos_are_known_by_their_suffix_in_any_case(tmp_path: Path) -> None:
    photos = ["a.JPG", "b.Jpeg", "c.png", "d.WebP", "e.gif", "f.bmp", "g.TIF", "h.tiff", "i.HEIC", "j.heif", "k.avif"]
    fill(tmp_path, *photos, "film.mp4", "raw.CR2", "notes.txt", "jpg", "photo.jpg.bak")
    found, walked = walk(tmp_path)
    assert found == photos
    assert walked.skipped == 5


def test_size_and_time_are_those_of_the_file(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(0, 1_234_567_890_123_456_789))
    (found,) = Walk(selected_folders(str(tmp_path), []), ())
    assert (found.size_bytes, found.mtime_ns) == (15, 1_234_567_890_123_456_789)
    assert found.path == os.fsencode(tmp_path / "a.jpg")


def test_every_folder_below_is_walked(tmp_path: Path) -> None:
    fill(tmp_path, "b/2.jpg", "b/1.jpg", "z.jpg", "a/x/deep.jpg", "a/1.jpg", "B/1.jpg", "a.jpg")
    found, _ = walk(tmp_path)
    assert found == ["B/1.jpg", "a.jpg", "a/1.jpg", "a/x/deep.jpg", "b/1.jpg", "b/2.jpg", "z.jpg"]


def test_excluded_names_are_left_out_with_all_that_is_in_them(tmp_path: Path) -> None:
    fill(tmp_path, ".hidden.jpg", ".git/a.jpg", "@eaDir/a.jpg", "Thumbnails/a.jpg", "x/#recycle/a.jpg")
    fill(tmp_path, "Family.photoslibrary/a.jpg", "kept/a.jpg")
    assert walk(tmp_path)[0] == ["kept/a.jpg"]


def test_exclude_globs_of_ones_own_match_whatever_the_case(tmp_path: Path) -> None:
    fill(tmp_path, "Drafts/a.jpg", "a_COPY.jpg", ".hidden.jpg", "kept.jpg")
    assert walk(tmp_path, exclude=["drafts", "*_copy.*"])[0] == [".hidden.jpg", "kept.jpg"]


def test_the_root_itself_is_never_excluded(tmp_path: Path) -> None:
    fill(tmp_path, ".photos/a.jpg")
    assert walk(tmp_path / ".photos")[0] == ["a.jpg"]


def test_links_are_counted_and_not_followed(tmp_path: Path) -> None:
    fill(tmp_path, "outside/secret.jpg", "root/real/a.jpg")
    root = tmp_path / "root"
    (root / "loop").symlink_to(root)
    (root / "real/up").symlink_to("..")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "link.jpg").symlink_to("real/a.jpg")
    (root / "broken.jpg").symlink_to("nowhere.jpg")
    found, walked = walk(root)
    assert found == ["real/a.jpg"]
    assert walked.skipped == 5


def test_a_root_that_is_a_link_is_walked_where_it_really_is(tmp_path: Path) -> None:
    fill(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to("real")
    assert walk(tmp_path / "link")[0] == ["a.jpg"]


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "folder.jpg/inside.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    found, walked = walk(tmp_path)
    assert found == ["folder.jpg/inside.jpg"]
    assert walked.skipped == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are not UTF-8")
def test_names_are_bytes_whatever_they_spell(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    names = [b'a "quoted".jpg', b"line\nbreak.jpg", "\u00fcber.jpg".encode(), b"\xfc\xff.jpg", b"f\xfcnf/x.jpg"]
    os.mkdir(folder + b"/f\xfcnf")
    for name in names:
        with open(folder + b"/" + name, "wb"):
            pass
    found = [found.path.removeprefix(folder + b"/") for found in Walk([folder], DEFAULT_EXCLUDE)]
    assert sorted(found) == sorted(names)


def test_folders_in_folders_are_walked_to_the_last(tmp_path: Path) -> None:
    names = ["d/" * depth + "a.jpg" for depth in range(100)]
    fill(tmp_path, *names)
    assert walk(tmp_path)[0] == names


def test_folders_that_are_closed_are_counted_and_named(open_dir: Path) -> None:
    fill(open_dir, "closed/a.jpg", "open/a.jpg")
    (open_dir / "closed").chmod(0o000)
    with as_ordinary_user():
        found, walked = walk(open_dir)
    assert found == ["open/a.jpg"]
    assert (walked.skipped, walked.unreadable) == (1, [os.fsencode(open_dir / "closed")])


def test_folders_that_may_be_listed_but_not_entered_are_counted_and_named(open_dir: Path) -> None:
    fill(open_dir, "listed/a.jpg", "open/a.jpg")
    (open_dir / "listed").chmod(0o444)
    with as_ordinary_user():
        found, walked = walk(open_dir)
    assert found == ["open/a.jpg"]
    assert (walked.skipped, walked.unreadable) == (1, [os.fsencode(open_dir / "listed/a.jpg")])


def test_folders_and_files_that_go_while_they_are_walked_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    walked = Walk([os.fsencode(tmp_path)], ())
    found = iter(walked)
    begun = Path(os.fsdecode(next(found).path)).parent  # which of the two is the file system's choice
    (other,) = {tmp_path / "a", tmp_path / "b"} - {begun}
    shutil.rmtree(begun)
    shutil.rmtree(other)
    assert list(found) == []
    assert walked.unreadable == [os.fsencode(other)]


# Which folders


def folders(root: Path, *subdirectories: str) -> list[str]:
    base = os.path.realpath(root)
    return [os.path.relpath(os.fsdecode(folder), base) for folder in selected_folders(str(root), subdirectories)]


def test_without_subdirectories_the_root_is_walked(tmp_path: Path) -> None:
    assert folders(tmp_path) == ["."]


def test_selected_subdirectories_alone_are_walked(tmp_path: Path) -> None:
    fill(tmp_path, "2019/a.jpg", "2020/a.jpg", "2021/a.jpg", "top.jpg")
    assert walk(tmp_path, "2021", "2019")[0] == ["2019/a.jpg", "2021/a.jpg"]


def test_a_folder_is_walked_once_however_often_it_is_selected(tmp_path: Path) -> None:
    fill(tmp_path, "2020/05/a.jpg", "2020/b.jpg")
    found, _ = walk(tmp_path, "2020", "2020/05", "2020/", "2020/./05")
    assert found == ["2020/05/a.jpg", "2020/b.jpg"]


def test_a_folder_whose_name_sorts_between_another_and_its_subfolder_hides_neither(tmp_path: Path) -> None:
    """'-' and ' ' come before '/'."""
    fill(tmp_path, "2020/05/a.jpg", "2020-05/a.jpg", "2020 b/a.jpg")
    found, _ = walk(tmp_path, "2020", "2020-05", "2020 b", "2020/05")
    assert sorted(found) == ["2020 b/a.jpg", "2020-05/a.jpg", "2020/05/a.jpg"]


def test_the_root_among_the_subdirectories_is_the_whole(tmp_path: Path) -> None:
    fill(tmp_path, "a/x.jpg")
    assert folders(tmp_path, "a", ".") == ["."]


def test_a_selected_link_inside_the_root_is_walked_where_it_leads(tmp_path: Path) -> None:
    fill(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to("real")
    assert folders(tmp_path, "link", "real") == ["real"]


@pytest.mark.parametrize("name", ["..", "../other", "a/../../other", "a/../a", "/", "link"])
def test_a_subdirectory_that_leads_out_of_the_root_is_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    (tmp_path / "other").mkdir()
    (root / "a").mkdir(parents=True)
    (root / "link").symlink_to("../other")
    with pytest.raises(RootUnusable, match=r"leads out of .*root; name one inside it") as refused:
        selected_folders(str(root), [name])
    assert refused.value.code == "OutsideRoot"


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root-2").mkdir()
    with pytest.raises(RootUnusable, match="leads out of"):
        selected_folders(str(tmp_path / "root"), ["../root-2"])


@pytest.mark.parametrize(
    ("root", "subdirectories", "code", "named"),
    [
        ("gone", [], "RootNotFound", "gone"),
        ("gone", ["a"], "RootNotFound", "gone"),
        ("root", ["gone"], "RootNotFound", "root/gone"),
        ("root/a.jpg", [], "RootNotAFolder", "root/a.jpg"),
        ("root", ["a.jpg"], "RootNotAFolder", "root/a.jpg"),
    ],
)
def test_a_folder_that_cannot_be_walked_is_told_by_name(
    tmp_path: Path, root: str, subdirectories: list[str], code: str, named: str
) -> None:
    fill(tmp_path, "root/a.jpg")
    with pytest.raises(RootUnusable) as refused:
        selected_folders(str(tmp_path / root), subdirectories)
    assert refused.value.code == code
    assert str(tmp_path / named) in refused.value.message


def test_a_root_closed_to_us_is_told_by_name(open_dir: Path) -> None:
    (open_dir / "closed").mkdir(mode=0o000)
    with as_ordinary_user(), pytest.raises(RootUnusable, match="may not be read by this user") as refused:
        selected_folders(str(open_dir / "closed"), [])
    assert refused.value.code == "RootUnreadable"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are not UTF-8")
def test_a_root_that_leads_to_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/f\xfcnf")
    os.symlink(b"f\xfcnf", os.fsencode(tmp_path) + b"/link")
    with pytest.raises(RootUnusable, match="is not UTF-8; rename it") as refused:
        selected_folders(str(tmp_path / "link"), [])
    assert refused.value.code == "RootNotText"
