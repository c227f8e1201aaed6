"""The file that says how this installation's Jobs look: one YAML file, named by TRAINYARD_KUBERNETES_SETTINGS.

`defaults` hold for every step; what `steps.<step>` names replaces the default's value, and `env` is added to it.
What Kubernetes alone can judge (whether a claim, a class or a node exists) is left to it.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from trainyard.settings import BadSetting
from trainyard.steps import STEPS

VARIABLE = "TRAINYARD_KUBERNETES_SETTINGS"

# Set by other keys of the file, or by Kubernetes: a second value would win over those without a word.
RESERVED_ENV = frozenset(
    {
        "TRAINYARD_DATABASE_URL",
        "TRAINYARD_QDRANT_URL",
        "TRAINYARD_QDRANT_API_KEY",
        "PGSSLMODE",
        "PGSSLROOTCERT",
        "JOB_COMPLETION_INDEX",
    }
)

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_QUANTITY = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")


def _check_step(name: str) -> str:
    if name not in STEPS:
        raise ValueError(f"is no step; the steps are {', '.join(STEPS)}")
    return name


def _check_env_name(name: str) -> str:
    if name in RESERVED_ENV:
        raise ValueError("is set by Kubernetes or by another key of this file; leave it out")
    return name


def _check_path(path: str) -> str:
    if not path.startswith("/") or path.strip("/") == "" or ":" in path or {"", ".", ".."} & set(path[1:].split("/")):
        raise ValueError("takes an absolute, plain path without a colon, such as /photos")
    return path


def _quantity(value: object) -> object:
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _QUANTITY.fullmatch(text):
        raise ValueError("takes a quantity, such as 2, 500m or 8Gi")
    return text


Name = Annotated[str, Field(pattern=rf"^{_LABEL}$")]
Subdomain = Annotated[str, Field(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
StepName = Annotated[str, AfterValidator(_check_step)]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"), AfterValidator(_check_env_name)]
Key = Annotated[str, Field(pattern=rf"^({_LABEL}(\.{_LABEL})*/)?{_WORD}$")]  # of a label or an annotation
Word = Annotated[str, Field(pattern=rf"^({_WORD})?$")]  # a label's value
MountPath = Annotated[str, AfterValidator(_check_path)]
Quantity = Annotated[str, BeforeValidator(_quantity)]
UserId = Annotated[int, Field(ge=1, le=2**31 - 1)]  # 0 is root, which workers never are
GroupId = Annotated[int, Field(ge=0, le=2**31 - 1)]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class Volume(_Part):
    """A PersistentVolumeClaim of the namespace, mounted read-only in every worker."""

    claim_name: Subdomain
    mount_path: MountPath


class SecretKey(_Part):
    secret_name: Subdomain
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]


class Resources(_Part):
    requests: dict[Key, Quantity] = {}
    limits: dict[Key, Quantity] = {}


class Toleration(_Part):
    """As of a pod; what is not named stands for all."""

    key: Key | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: Word | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class Affinity(_Part):
    """As of a pod."""

    node_affinity: dict[str, Any] | None = None
    pod_affinity: dict[str, Any] | None = None
    pod_anti_affinity: dict[str, Any] | None = None


class StepSettings(_Part):
    """How the Jobs of a step look."""

    image: Annotated[str, Field(min_length=1)] | None = None  # as the installation's
    env: dict[EnvName, str] = {}
    resources: Resources = Resources()
    parallelism: int = Field(default=1, ge=1, le=10_000, description="most workers at once")
    shared_memory: Quantity | None = Field(default=None, description="size of /dev/shm, part of the memory limit")
    node_selector: dict[Key, Word] = {}
    tolerations: tuple[Toleration, ...] = ()
    affinity: Affinity | None = None
    runtime_class_name: Subdomain | None = None
    priority_class_name: Subdomain | None = None
    kueue_queue: Name | None = Field(default=None, description="LocalQueue of Kueue that admits the Jobs")
    termination_grace_period_seconds: int = Field(default=120, ge=1, description="time to finish and commit a batch")
    pending_deadline_seconds: int | None = Field(default=None, ge=1, description="longest wait for a first worker")


class KubernetesSettings(_Part):
    namespace: Name
    image: Annotated[str, Field(min_length=1)]
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[Subdomain, ...] = ()

    photos: Volume
    models: Volume
    database: SecretKey  # its value is TRAINYARD_DATABASE_URL
    database_ca: SecretKey | None = Field(default=None, description="certificates that vouch for PostgreSQL's")
    qdrant: SecretKey
    qdrant_api_key: SecretKey | None = None

    labels: dict[Key, Word] = Field(default={}, description="of Jobs and pods; Trainyard's own win")
    annotations: dict[Key, str] = {}
    run_as_user: UserId = 65532
    run_as_group: GroupId = 65532
    fs_group: GroupId | None = None
    service_account_name: Subdomain | None = Field(default=None, description="of the workers, who mount no token of it")
    supplemental_groups: tuple[GroupId, ...] = Field(default=(), description="groups that may read the photos")

    defaults: StepSettings = StepSettings()
    steps: dict[StepName, StepSettings] = {}

    @model_validator(mode="after")
    def _check_mounts(self) -> "KubernetesSettings":
        photos, models = (Path(volume.mount_path) for volume in (self.photos, self.models))
        if photos.is_relative_to(models) or models.is_relative_to(photos):
            raise ValueError(f"photos ({photos}) and models ({models}) may not be mounted inside one another")
        return self

    def step(self, name: str) -> StepSettings:
        """How the Jobs of this step look: its own settings over the defaults, the image always named."""
        own = self.steps.get(name, StepSettings())
        named = {field: getattr(own, field) for field in own.model_fields_set}
        merged = self.defaults.model_copy(update={**named, "env": {**self.defaults.env, **own.env}})
        return merged.model_copy(update={"image": merged.image or self.defaults.image or self.image})


def load_kubernetes_settings(path: Path) -> KubernetesSettings:
    """The settings in a file. Raises BadSetting with a sentence for each key that does not fit."""
    try:
        return KubernetesSettings.model_validate(_read(path))
    except ValidationError as error:
        raise BadSetting("\n".join(f"{VARIABLE}={path}: {_sentence(problem)}" for problem in error.errors())) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise BadSetting(f"{VARIABLE}={path} cannot be read: {error.strerror}. Name the settings' file.") from error
    except yaml.YAMLError as error:
        raise BadSetting(f"{VARIABLE}={path} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise BadSetting(f"{VARIABLE}={path} does not fit: it takes keys and values, beginning with namespace.")
    return content


def _sentence(problem: ErrorDetails) -> str:
    key = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    match problem["type"]:
        case "missing":
            return f"{key} is missing; name it."
        case "extra_forbidden":
            return f"{key} is not known; correct its spelling or leave it out."
        case "value_error":
            return f"{key} {problem['ctx']['error']}.".lstrip()
        case _:
            return f"{key}={problem['input']!r} does not fit: {problem['msg']}."
