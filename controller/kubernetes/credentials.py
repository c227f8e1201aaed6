"""Where the API server is and who asks it: from a kubeconfig, or from what every pod finds in its place."""

from pathlib import Path

from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_incluster_config, load_kube_config

USER_AGENT = "trainyard-controller"


class BadKubeconfig(Exception):
    """Neither a usable kubeconfig nor a pod's service account; the sentence says what to do."""


def api_client(kubeconfig: Path | None) -> ApiClient:
    """By the kubeconfig's current context; None: as the service account of the pod this runs in.

    Raises BadKubeconfig.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None:
            load_incluster_config(client_configuration=configuration)
        else:
            load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
    except Exception as error:  # the loader raises whatever a torn file makes it stumble over
        raise BadKubeconfig(_unusable(kubeconfig, error)) from error
    configuration.retries = False  # retries.py says which requests are repeated: urllib3 would repeat a DELETE
    client = ApiClient(configuration)
    client.user_agent = USER_AGENT
    return client


def _unusable(kubeconfig: Path | None, error: Exception) -> str:
    why = " ".join(f"{type(error).__name__}, {error}".split()).rstrip(".")
    if kubeconfig is None:
        return (
            f"The service account of this pod cannot be used: {why}. Outside of a pod, name a kubeconfig; "
            "in one, leave automountServiceAccountToken on."
        )
    return f"The kubeconfig {kubeconfig} cannot be used: {why}. `kubectl --kubeconfig {kubeconfig} version` says more."
