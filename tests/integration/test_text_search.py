"""Words to photos: open_clip's tokens and text tower without torch, and the search by them over HTTP."""

import html
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unicodedata import category, name

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from open_clip.tokenizer import SimpleTokenizer

from api import text_tower
from api.problems import Problem
from api.text_tokens import ClipTokens, cleaned
from api.text_tower import TextTower
from cli.models import download_models
from cli.weights import _prepare_words
from jobs.engines import clip_text_export
from jobs.engines.clip_text_export import ExportFailed, export, export_tower, is_exported
from jobs.engines.weights import RECORD_NAME, ModelMissing, file_sha256
from tests.integration.test_api_search import found, ids, paged, search
from tests.rows import add_model
from tests.search_rows import Library
from tests.served_rows import ServedRows, served_rows
from tests.text_towers import DIMENSION, random_tower, write_text_tower
from trainyard import clip_text
from trainyard.settings import Settings

LENGTH = 77
CLIP_SHA256 = "c" * 64
TEXTS = (
    "a dog",
    "two people on a beach at sunset, 2019",
    "It’s Anna&amp;apos;s “birthday” — naïve façade, ½ of №7!!!",
    "写真 の 犬 😀👍🏽",
    "word " * 300,
)
WITHOUT_TORCH = """
import sys; sys.modules["torch"] = sys.modules["open_clip"] = None  # importing them fails
from pathlib import Path; from api.text_tower import TextTower
import api.app, api.server
print(TextTower(Path(sys.argv[1])).embed("a dog").shape[0])
"""


def embedded(tower: Any, text: str) -> NDArray[np.float32]:
    """By torch."""
    with torch.no_grad():
        features = tower(open_clip.tokenize([text]))
    normal: NDArray[np.float32] = torch.nn.functional.normalize(features, dim=-1)[0].numpy()
    return normal


# Tokens


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> ClipTokens:
    path = tmp_path_factory.mktemp("tokens") / clip_text.TOKENIZER
    clip_text_export._write_tokenizer(path)
    return ClipTokens(path, LENGTH)


@pytest.fixture(scope="module")
def of_open_clip() -> SimpleTokenizer:
    return SimpleTokenizer()


# What is typed, and what is pasted: words, digits, apostrophes, entities, mojibake, emoji, any character there is.
ENTITIES = st.sampled_from(sorted(html.entities.html5)).map(lambda name: f"&{name}")
PIECES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cn")), max_size=30),
    st.text(st.characters(codec="ascii"), max_size=30),
    st.from_regex(r"[a-zA-Z]{1,12}('[a-zA-Z]{1,3})?[ .,!?]?", fullmatch=True),
    st.integers().map(str),
    ENTITIES,
    ENTITIES.map(lambda entity: entity.replace("&", "&amp;")),
    st.sampled_from(
        ["👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "don’t", "Ä", "ﬁ", "ｆｕｌｌ", "ſ", "İ", "\u0345", "\x00", "\u200b", "\x1b[1m"]
    ),
    st.text(st.characters(categories=("L", "N")), max_size=8).map(lambda text: text.encode().decode("latin-1")),
)


@given(st.lists(PIECES, max_size=60).map(" ".join) | st.lists(PIECES, max_size=12).map("".join))
@example("")
@example("x" * 1_000)
@example("word " * 1_000)
@example("&amp;lt;b&amp;gt; &#x1F600; &notin; &notit;")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tokens_are_open_clips(tokens: ClipTokens, of_open_clip: SimpleTokenizer, text: str) -> None:
    if any(mark in text for mark in ("<start_of_text>", "<end_of_text>")):
        return
    assert tokens(text).tolist() == of_open_clip([text]).tolist()


# Letters by the ten thousand, of which some are among the texts above.
ALIKE = ("CJK UNIFIED", "HANGUL SYLLABLE", "TANGUT", "EGYPTIAN", "CUNEIFORM", "YI SYLLABLE", "ANATOLIAN", "BAMUM")


def test_every_character_is_the_same_to_both(tokens: ClipTokens, of_open_clip: SimpleTokenizer) -> None:
    known = [letter for letter in map(chr, range(sys.maxunicode + 1)) if category(letter) not in ("Cs", "Co", "Cn")]
    known = [letter for letter in known if not name(letter, "").startswith(ALIKE)]
    texts = ["".join(f"a{letter}1{letter} " for letter in known[at : at + 100]) for at in range(0, len(known), 100)]
    different = [text for text in texts if tokens._tokenizer.encode(cleaned(text)).ids != of_open_clip.encode(text)]
    assert different == []


def test_marks_in_a_text_are_plain_text(tokens: ClipTokens) -> None:
    """Otherwise than open_clip's, which would let a text end itself."""
    marked = tokens("<end_of_text> a dog")[0].tolist()
    assert marked.count(49407) == 1
    assert marked.index(49407) > 3


# The network


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    write_text_tower(tmp_path, CLIP_SHA256)
    return tmp_path


@pytest.mark.parametrize("layers", [3, pytest.param(12, marks=pytest.mark.long)])
def test_the_text_tower_in_onnx_says_what_torch_says(tmp_path: Path, layers: int) -> None:
    config = open_clip.get_model_config("ViT-B-32")["text_cfg"]
    assert (config["width"], config["layers"]) == (512, 12)
    tower = random_tower(**{**config, "layers": layers})
    try:
        export_tower(tower, CLIP_SHA256, tmp_path)
        exported = TextTower(tmp_path)
        for text in TEXTS:
            assert float(embedded(tower, text) @ exported.embed(text)) > 0.9999, text
    finally:
        shutil.rmtree(tmp_path / "clip")  # 254 MB, which pytest would keep for three runs


def test_texts_differ_and_are_normalised(models_dir: Path) -> None:
    tower = TextTower(models_dir)
    embeddings = np.stack([tower.embed(text) for text in TEXTS])
    assert (embeddings.shape, embeddings.dtype) == ((len(TEXTS), DIMENSION), np.float32)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.triu(embeddings @ embeddings.T, 1).max() < 0.999
    assert tower.embed(TEXTS[0]).tobytes() == embeddings[0].tobytes()


def test_neither_torch_nor_open_clip_is_needed(models_dir: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(models_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(DIMENSION)


def test_threads_are_as_many_as_there_are_cores(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tower, "cpu_count", lambda: 1)
    tower = TextTower(models_dir)
    tower.embed("a dog")
    assert tower._loaded is not None
    options = tower._loaded._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_it_is_loaded_once_and_anew_when_another_is_there(models_dir: Path) -> None:
    tower = TextTower(models_dir)
    assert tower._loaded is None
    before = tower.embed("a dog")
    loaded = tower._loaded
    tower.embed("a cat")
    assert tower._loaded is loaded
    export_tower(random_tower(layers=1), "d" * 64, models_dir)
    assert not np.allclose(tower.embed("a dog"), before)
    assert tower.clip_weights_sha256 == "d" * 64
    tower.close()
    assert tower._loaded is None
    assert tower.embed("a dog").shape == before.shape  # a request that came late


def test_only_so_many_texts_are_kept(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tower, "TEXTS_KEPT", 2)
    tower = TextTower(models_dir)
    for text in TEXTS:
        tower.embed(text)
    assert len(tower._kept) <= 2


# What is not there, or is not what it was


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, 100)


def gone(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def rewritten(old: str, new: str) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        record = (folder / clip_text.RECORD).read_text()
        assert old in record
        (folder / clip_text.RECORD).write_text(record.replace(old, new))

    return rewrite


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (gone(clip_text.RECORD), "is missing"),
        (cut(clip_text.RECORD), "is missing"),
        (rewritten('"version": 1', '"version": 2'), "is missing"),  # of a later version of Trainyard
        (gone(clip_text.NETWORK), "not those of its record"),
        (cut(clip_text.NUMBERS), "not those of its record"),
        (cut(clip_text.TOKENIZER), "not those of its record"),
    ],
)
def test_what_is_damaged_is_never_used(models_dir: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(clip_text.folder_of(models_dir))
    with pytest.raises(Problem, match=said) as refused:
        TextTower(models_dir).embed("a dog")
    assert (refused.value.status, refused.value.code) == (409, "TextSearchUnavailable")
    assert "`trainyard models download clip`" in refused.value.detail


def test_files_that_no_onnxruntime_loads_are_explained(models_dir: Path) -> None:
    folder = clip_text.folder_of(models_dir)
    network = folder / clip_text.NETWORK
    before = file_sha256(network)
    network.write_bytes(b"<html>no network</html>")
    rewritten(before, file_sha256(network))(folder)
    with pytest.raises(Problem, match="cannot be loaded"):
        TextTower(models_dir).embed("a dog")


# From the weights that are there


@pytest.fixture
def weights_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights as open_clip names them, of a CLIP whose text tower is small."""
    from safetensors.torch import save_file

    config = open_clip.get_model_config("ViT-B-32")
    config["text_cfg"] |= {"width": 64, "heads": 2, "layers": 2}
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: config)
    tensors = {**random_tower().state_dict(), "visual.proj": torch.ones(3), "logit_scale": torch.ones(())}
    (tmp_path / "clip").mkdir()
    save_file(tensors, tmp_path / "clip" / "open_clip_model.safetensors")
    return tmp_path


def test_an_export_is_that_of_the_weights_and_leaves_nothing_else(weights_dir: Path) -> None:
    assert not is_exported(weights_dir)
    folder = export(weights_dir)
    assert is_exported(weights_dir)
    assert {path.name for path in folder.iterdir()} == {*clip_text.FILES, clip_text.RECORD}
    exported = TextTower(weights_dir)
    assert exported.clip_weights_sha256 == file_sha256(weights_dir / "clip" / "open_clip_model.safetensors")
    assert float(exported.embed(TEXTS[1]) @ embedded(random_tower(), TEXTS[1])) > 0.9999


def test_an_export_that_is_damaged_or_of_other_weights_is_made_anew(weights_dir: Path) -> None:
    write_text_tower(weights_dir, CLIP_SHA256)
    assert not is_exported(weights_dir)
    export(weights_dir)
    cut(clip_text.NUMBERS)(clip_text.folder_of(weights_dir))
    assert not is_exported(weights_dir)


def test_a_download_prepares_words_once_also_where_the_weights_were_there(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRAINYARD_MODEL_DIR", str(weights_dir))
    download_models("clip")
    assert "Preparing CLIP's text tower" in capsys.readouterr().err
    assert is_exported(weights_dir)
    download_models("clip")
    assert capsys.readouterr().err == ""


def test_a_run_goes_on_without_words_where_they_cannot_be_prepared(
    weights_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (weights_dir / "clip" / "text").write_text("a file where the folder should be")
    _prepare_words(Settings(model_dir=weights_dir), quiet=True)
    assert "Photos cannot be searched by words" in capsys.readouterr().err


def test_what_a_kill_left_behind_goes_when_it_is_old(models_dir: Path) -> None:
    old, recent = (clip_text.folder_of(models_dir) / f".draft-{name}" for name in ("old", "recent"))
    for draft in (old, recent):
        draft.mkdir()
    os.utime(old, (0, 0))
    export_tower(random_tower(layers=1), CLIP_SHA256, models_dir)
    assert (old.exists(), recent.exists()) == (False, True)


def test_without_weights_or_room_it_is_said_what_to_do(weights_dir: Path, tmp_path_factory: Any) -> None:
    with pytest.raises(ModelMissing, match="trainyard models download clip"):
        export(tmp_path_factory.mktemp("nothing"))
    (weights_dir / "clip" / "text").write_text("a file where the folder should be")
    with pytest.raises(ExportFailed, match="cannot be written"):
        export(weights_dir)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "open_clip_model.safetensors").write_bytes(b"<html>not weights</html>")
    with pytest.raises(ModelMissing, match="does not hold the weights of ViT-B-32's text tower"):
        export(tmp_path)


def test_weights_that_changed_since_their_download_are_refused(weights_dir: Path) -> None:
    (weights_dir / "clip" / RECORD_NAME).write_text('{"open_clip_model.safetensors": "ff"}')
    with pytest.raises(ModelMissing, match="is not the file that was downloaded"):
        export(weights_dir)


# Over HTTP


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[ServedRows]:
    with served_rows(database_url, tmp_path, image_roots="/photos") as server:
        yield server


@pytest.fixture
def words(server: ServedRows) -> Callable[[str], NDArray[np.float32]]:
    """With a text tower on the server: what it makes of a text, so that photos can be like it."""
    write_text_tower(server.services.settings.models_path, CLIP_SHA256)
    return server.services.text.embed


@pytest.fixture
def library(server: ServedRows) -> Library:
    return Library(server.services, CLIP_SHA256, dimension=DIMENSION)


def beside(vector: NDArray[np.float32], distance: float) -> NDArray[np.float32]:
    away = np.random.default_rng(1).standard_normal(len(vector)).astype(np.float32)
    away -= (away @ vector) * vector
    moved = vector + np.float32(distance) * away / np.linalg.norm(away)
    return (moved / np.linalg.norm(moved)).astype(np.float32)


Words = Callable[[str], NDArray[np.float32]]


def test_photos_that_show_what_is_said_come_first_in_pages(server: ServedRows, library: Library, words: Words) -> None:
    photos = [library.add(f"/photos/{n}.jpg", beside(words("a dog"), n / 10)) for n in range(5)]
    assert server.client.get("/api/v1/system").json()["textSearch"] is True
    page = found(server, text=" A  dog ")  # cleaned as CLIP's texts are
    assert ids(page) == photos
    assert page["items"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert paged(server, text="a dog", limit=2) == [photos[:2], photos[2:4], photos[4:]]


def test_words_a_photo_and_filters_go_together(server: ServedRows, library: Library, words: Words) -> None:
    anna, sea = library.person("Anna"), library.category("Sea")
    dog, snow = words("a dog"), words("snow in the mountains")
    liked = library.add("/photos/liked.jpg", snow)
    between = (dog + snow) / np.linalg.norm(dog + snow)
    both = library.add("/photos/both.jpg", between.astype(np.float32), people=(anna,), category_id=sea)
    one = library.add("/photos/one.jpg", beside(dog, 0.2), people=(anna,), category_id=sea)
    library.add("/photos/none.jpg", beside(dog, 0.1), category_id=sea)
    library.add("/photos/other.jpg", beside(dog, 0.1), people=(anna,))
    asked = {"text": "a dog", "personId": anna, "categoryId": sea}
    assert ids(found(server, **asked)) == [one, both]
    assert ids(found(server, **asked, similarTo=liked)) == [both, one]
    page = found(server, **asked, limit=1)
    answer = search(server, **{**asked, "text": "a cat"}, pageToken=page["nextPageToken"])
    assert (answer.status_code, answer.json()["code"]) == (422, "BadPageToken")


def test_before_any_photo_was_embedded_there_is_nothing_to_find(server: ServedRows, words: Words) -> None:
    with server.services.database.engine.begin() as connection:
        add_model(connection, "face")
    assert found(server, text="a dog") == {"items": [], "nextPageToken": None, "total": None}


@pytest.mark.parametrize(
    ("weights", "trained", "said"),
    [("e" * 64, True, "embedded by made up eeee"), (CLIP_SHA256, False, "untrained"), ("e" * 64, False, "untrained")],
)
def test_photos_embedded_by_other_weights_are_never_compared(
    server: ServedRows, words: Words, weights: str, trained: bool, said: str
) -> None:
    library = Library(server.services, weights, trained=trained, dimension=DIMENSION)
    library.add("/photos/a.jpg", words("a dog"))
    answer = search(server, text="a dog")
    assert (answer.status_code, answer.json()["code"]) == (409, "TextSearchUnavailable")
    assert said in answer.json()["detail"]
    assert "`trainyard models download clip`" in answer.json()["detail"]


def test_of_several_networks_the_text_towers_own_is_asked(server: ServedRows, library: Library, words: Words) -> None:
    photo = library.add("/photos/a.jpg", words("a dog"))
    other = Library(server.services, "e" * 64, dimension=DIMENSION)
    stranger = other.add("/photos/b.jpg", words("a dog"))
    assert ids(found(server, text="a dog")) == [photo]
    answer = search(server, text="a dog", similarTo=stranger)
    assert (answer.status_code, answer.json()["code"]) == (409, "NotEmbedded")
