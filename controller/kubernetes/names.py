"""What resources and Jobs are called and labelled: a Job's labels say whose it is and what it runs."""

from uuid import UUID

from controller.backend import JobSpec

GROUP = "trainyard.dev"
VERSION = "v1alpha1"
KIND = "TrainingSession"

INSTALLATION_LABEL = f"{GROUP}/installation"
SESSION_LABEL = f"{GROUP}/session"
STEP_LABEL = f"{GROUP}/step"
ATTEMPT_LABEL = f"{GROUP}/attempt"
TOKEN_LABEL = f"{GROUP}/token"


def job_name(spec: JobSpec, number: int) -> str:
    """The Job's name; `number` counts the names before it that a stranger's Job has taken.

    At most 58 characters with the index that Kubernetes adds for a pod's host name, which may have 63.
    """
    name = f"trainyard-s{spec.session_id}-{spec.step}-a{spec.attempt}"
    return f"{name}-{number}" if number else name


def job_labels(spec: JobSpec, installation: UUID) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "trainyard",
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/managed-by": "trainyard",
        INSTALLATION_LABEL: str(installation),
        SESSION_LABEL: str(spec.session_id),
        STEP_LABEL: spec.step,
        ATTEMPT_LABEL: str(spec.attempt),
        TOKEN_LABEL: spec.token,
    }
