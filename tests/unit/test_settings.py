"""Settings: a value that does not fit is told by the variable's name and by what it takes."""

import os
from pathlib import Path

import pytest

from trainyard.settings import DEFAULT_EXCLUDE, BadSetting, load_settings, parse_weights


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("TRAINYARD_")]:
        monkeypatch.delenv(name)


BAD = [
    ("DEVICE", "tpu", "'auto', 'cpu', 'cuda' or 'mps'"),
    ("FACE_ENGINE", "opencv", "'auto', 'insightface' or 'dlib'"),
    ("UNTRAINED", "perhaps", "valid boolean"),
    ("EMBED_BATCH", "many", "valid integer"),
    ("EMBED_BATCH", "0", "greater than or equal to 1"),
    ("DETECT_BATCH", "1025", "less than or equal to 1024"),
    ("NETWORK_BATCH", "257", "less than or equal to 256"),
    ("LOADERS", "0", "greater than or equal to 1"),
    ("PHOTO_TIMEOUT_SECONDS", "0", "greater than 0"),
    ("PHOTO_TIMEOUT_SECONDS", "3601", "less than or equal to 3600"),
    ("PHOTO_MEMORY_MIB", "255", "greater than or equal to 256"),
    ("OUTAGE_SECONDS", "-1", "greater than or equal to 0"),
    ("OUTAGE_SECONDS", "nan", "finite number"),
    ("SILENCE_SECONDS", "soon", "valid number"),
    ("SILENCE_SECONDS", "inf", "finite number"),
    ("EXCLUDE", "*.tmp", 'JSON list of globs, such as ["*.tmp", "drafts"]'),
    ("EXCLUDE", '"*.tmp"', "JSON list of globs"),
    ("EXCLUDE", "[1]", "JSON list of globs"),
    ("PROGRESS_WEIGHTS", "30/65", "three numbers that add up to 100, such as 30/65/5"),
    ("PROGRESS_WEIGHTS", "30/65/6", "add up to 100"),
    ("PROGRESS_WEIGHTS", "-5/100/5", "add up to 100"),
    ("PROGRESS_WEIGHTS", "a/b/c", "add up to 100"),
    ("PROGRESS_WEIGHTS", "nan/nan/nan", "add up to 100"),
    ("PROGRESS_WEIGHTS", "inf/0/0", "add up to 100"),
]


@pytest.mark.parametrize(("name", "value", "takes"), BAD, ids=[f"{name}={value}" for name, value, _ in BAD])
def test_a_bad_value_names_the_variable_and_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, takes: str
) -> None:
    monkeypatch.setenv(f"TRAINYARD_{name}", value)
    with pytest.raises(BadSetting) as refused:
        load_settings()
    assert str(refused.value).startswith(f"TRAINYARD_{name}={value!r} does not fit: ")
    assert takes in str(refused.value)


def test_every_bad_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_DEVICE", "tpu")
    monkeypatch.setenv("TRAINYARD_LOADERS", "none")
    with pytest.raises(BadSetting) as refused:
        load_settings()
    assert [line.partition("=")[0] for line in str(refused.value).splitlines()] == [
        "TRAINYARD_DEVICE",
        "TRAINYARD_LOADERS",
    ]


def test_a_bad_value_given_on_the_command_line_is_told_the_same_way() -> None:
    with pytest.raises(BadSetting, match="TRAINYARD_FACE_ENGINE='opencv' does not fit"):
        load_settings(face_engine="opencv")


def test_variables_are_read_whatever_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("trainyard_embed_batch", "8")
    monkeypatch.setenv("TRAINYARD_EXCLUDE", '["drafts", "*.tmp"]')
    monkeypatch.setenv("TRAINYARD_UNTRAINED", "true")
    settings = load_settings()
    assert (settings.embed_batch, settings.exclude, settings.untrained) == (8, ("drafts", "*.tmp"), True)


def test_what_is_given_wins_over_the_environment_and_none_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_DEVICE", "cuda")
    monkeypatch.setenv("TRAINYARD_FACE_ENGINE", "dlib")
    settings = load_settings(device="cpu", face_engine=None)
    assert (settings.device, settings.face_engine) == ("cpu", "dlib")


def test_folders_are_absolute_and_models_lie_in_the_data_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_settings().data_dir == tmp_path / "home/.local/share/trainyard"
    assert load_settings(data_dir="here").models_path == tmp_path / "here/models"
    assert load_settings(data_dir="here", model_dir="~/weights").models_path == tmp_path / "home/weights"


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(load_settings(qdrant_api_key="s3cret"))


@pytest.mark.parametrize("url", ["mysql://bob:s3cret@x/y", "sqlite:///s3cret", "postgresql://u:s3cret@h:port/x", ""])
def test_a_database_that_is_no_postgres_is_told_without_its_password(url: str) -> None:
    with pytest.raises(BadSetting, match="TRAINYARD_DATABASE_URL does not fit") as told:
        load_settings(database_url=url)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    "url",
    ["qdrant:6333", "qdrant", "grpc://qdrant", "http://", "http://qdrant:port", "http://qdrant?api-key=s3cret", ""],
)
def test_a_qdrant_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(BadSetting, match=r"TRAINYARD_QDRANT_URL does not fit.*such as http://qdrant:6333") as told:
        load_settings(qdrant_url=url)
    assert "s3cret" not in str(told.value)


def test_a_password_in_a_qdrant_address_is_not_left_out_without_a_word() -> None:
    with pytest.raises(BadSetting, match="the key is TRAINYARD_QDRANT_API_KEY") as told:
        load_settings(qdrant_url="https://bob:s3cret@qdrant")
    assert "s3cret" not in str(told.value)


def test_line_breaks_at_the_end_of_secrets_made_from_files_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_DATABASE_URL", "postgresql://u@h/trainyard\n")
    monkeypatch.setenv("TRAINYARD_QDRANT_URL", "http://qdrant:6333\n")
    monkeypatch.setenv("TRAINYARD_QDRANT_API_KEY", "s3cret\n")
    settings = load_settings()
    assert (settings.database_url, settings.qdrant_url) == ("postgresql://u@h/trainyard", "http://qdrant:6333")
    assert settings.qdrant_api_key is not None
    assert settings.qdrant_api_key.get_secret_value() == "s3cret"


def test_an_empty_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_QDRANT_API_KEY", "")
    assert load_settings().qdrant_api_key is None


def test_weights_are_pinned_by_phase() -> None:
    assert load_settings().pinned_weights is None
    assert load_settings(progress_weights="20/70.5/9.5").pinned_weights == {
        "training": 20.0,
        "faceDetection": 70.5,
        "clustering": 9.5,
    }
    assert parse_weights("100/0/0") == {"training": 100.0, "faceDetection": 0.0, "clustering": 0.0}


def test_hidden_files_and_thumbnails_are_left_out_by_default() -> None:
    assert load_settings().exclude == DEFAULT_EXCLUDE
    assert {".*", "@eadir", "thumbnails"} <= set(DEFAULT_EXCLUDE)
