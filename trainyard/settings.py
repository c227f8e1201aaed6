"""Settings, all of them TRAINYARD_* environment variables; a bad value names the variable and what it takes."""

import json
import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

FaceEngineChoice = Literal["auto", "insightface", "dlib"]
DeviceChoice = Literal["auto", "cpu", "cuda", "mps"]

DEFAULT_WEIGHTS = {"training": 30.0, "faceDetection": 65.0, "clustering": 5.0}
DEFAULT_MIN_CONFIDENCE = 0.5
DEFAULT_MIN_FACE_SIZE_PX = 20.0

# Matched against the name of every file and folder on the way; case does not matter.
DEFAULT_EXCLUDE = (
    ".*",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbs.db",
    "thumbnails",
    "*.photoslibrary",
)


SECRET = frozenset({"database_url", "qdrant_url", "qdrant_api_key"})  # settings whose bad values are not shown


class BadSetting(Exception):
    """A TRAINYARD_* variable has a value it cannot take."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TRAINYARD_", extra="ignore", frozen=True)

    database_url: str | None = Field(None, description="PostgreSQL, e.g. postgresql://user@host/trainyard")
    qdrant_url: str | None = Field(None, description="Qdrant server, e.g. http://qdrant:6333")
    qdrant_api_key: SecretStr | None = None
    data_dir: Path = Field(
        Path("~/.local/share/trainyard"), description="where `run` keeps database, vectors and models"
    )
    model_dir: Path | None = Field(None, description="folder that holds model weights; <data dir>/models when unset")

    face_engine: FaceEngineChoice = "auto"
    untrained: bool = Field(False, description="CLIP weights from a fixed seed: for trying without internet")
    device: DeviceChoice = "auto"

    embed_batch: int = Field(32, ge=1, le=1024, description="photos a commit, embedding")
    detect_batch: int = Field(16, ge=1, le=1024, description="photos a commit, face detection")
    network_batch: int = Field(8, ge=1, le=256, description="photos in one forward pass of CLIP")
    loaders: int | None = Field(None, ge=1, le=256, description="processes that decode; one a core on CPU, else 4")
    photo_timeout_seconds: float = Field(30.0, gt=0, le=3600, description="longest a photo may take to decode")
    photo_memory_mib: int = Field(2048, ge=256, description="most memory a photo may take to decode")
    exclude: Annotated[tuple[str, ...], NoDecode] = Field(
        DEFAULT_EXCLUDE, description="JSON list of globs left out by discovery"
    )

    image_roots: str | None = Field(None, description="folders sessions may read, parted by colons; all when unset")
    tokens_file: Path | None = Field(None, description="who may call the API: lines of a role and its token")
    thumbnail_dir: Path | None = Field(None, description="where the API keeps thumbnails; in the data dir when unset")

    kubernetes_settings: Path | None = Field(None, description="file that says how the controller's Jobs look")

    progress_weights: str | None = Field(None, description="training/faceDetection/clustering, e.g. 30/65/5")
    outage_seconds: float = Field(
        900.0, ge=0, allow_inf_nan=False, description="longest a lost database or mount is waited for"
    )
    silence_seconds: float = Field(
        1500.0, gt=0, allow_inf_nan=False, description="an attempt that commits nothing for so long ends"
    )

    @field_validator("data_dir", "model_dir", "tokens_file", "thumbnail_dir", "kubernetes_settings")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value else None

    @field_validator("exclude", mode="before")
    @classmethod
    def _parse_exclude(cls, value: object) -> object:
        return parse_globs(value) if isinstance(value, str) else value

    @field_validator("database_url", "qdrant_url", "qdrant_api_key", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        """Secrets made from files end with a line break."""
        return value.strip() if isinstance(value, str) else value

    @field_validator("qdrant_api_key")
    @classmethod
    def _without_key(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value and value.get_secret_value() else None

    @field_validator("qdrant_url")
    @classmethod
    def _check_qdrant_url(cls, value: str | None) -> str | None:
        if value is not None:
            check_qdrant_url(value)
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str | None) -> str | None:
        if value is not None:
            check_postgres_url(value)
        return value

    @field_validator("progress_weights")
    @classmethod
    def _check_weights(cls, value: str | None) -> str | None:
        if value:
            parse_weights(value)
        return value

    @field_validator("image_roots")
    @classmethod
    def _check_roots(cls, value: str | None) -> str | None:
        if value is not None and not all(root.startswith("/") for root in value.split(":")):
            raise ValueError("takes absolute folders parted by colons, such as /photos:/archive")
        return value

    @property
    def allowed_roots(self) -> list[str]:
        """The folders that may be read, every link resolved; an empty list stands for all."""
        return [os.path.realpath(root) for root in self.image_roots.split(":")] if self.image_roots else []

    @property
    def thumbnails_path(self) -> Path:
        return self.thumbnail_dir or self.data_dir / "thumbnails"

    @property
    def models_path(self) -> Path:
        return self.model_dir or self.data_dir / "models"

    @property
    def pinned_weights(self) -> dict[str, float] | None:
        return parse_weights(self.progress_weights) if self.progress_weights else None


def check_postgres_url(value: str) -> None:
    """Raises ValueError unless it can be the address of a PostgreSQL database."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in {"postgresql", "postgresql+psycopg"} and parts.port != 0
    except ValueError:  # a port that is no number
        fits = False
    if not fits:
        raise ValueError("takes the address of a PostgreSQL database, such as postgresql://user@host:5432/trainyard")


def check_qdrant_url(value: str) -> None:
    """Raises ValueError unless it can be the address of a Qdrant server."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        fits = False
    if not fits or parts.query or parts.fragment:
        raise ValueError(
            "takes the address of a Qdrant server, such as http://qdrant:6333 or https://example.org/qdrant"
        )
    if parts.username is not None:  # the client would leave it out without a word
        raise ValueError("takes an address without a name and a password; the key is TRAINYARD_QDRANT_API_KEY")


def parse_globs(value: str) -> list[str]:
    """'["*.tmp", "drafts"]' as globs. Raises ValueError unless it is a JSON list of strings."""
    try:
        globs = json.loads(value)
    except json.JSONDecodeError:
        globs = None
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        raise ValueError('takes a JSON list of globs, such as ["*.tmp", "drafts"]')
    return globs


def parse_weights(value: str) -> dict[str, float]:
    """'30/65/5' as weights by phase. Raises ValueError unless three numbers, none negative, add up to 100."""
    try:
        numbers = [float(part) for part in value.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or min(numbers) < 0 or not abs(sum(numbers) - 100) <= 0.01:
        raise ValueError("takes three numbers that add up to 100, such as 30/65/5")
    return dict(zip(DEFAULT_WEIGHTS, numbers, strict=True))


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment; `overrides` that are not None win. Raises BadSetting."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise BadSetting(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        field = str(problem["loc"][0])
        value = "" if field in SECRET else f"={problem['input']!r}"
        lines.append(f"TRAINYARD_{field.upper()}{value} does not fit: {problem['msg']}.")
    return "\n".join(lines)
