"""Where the API server keeps what the controller reads and writes, all of it in one namespace."""

from controller.kubernetes.names import GROUP, VERSION


def namespace_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}"


def jobs_path(namespace: str, name: str | None = None) -> str:
    return _path("/apis/batch/v1", namespace, "jobs", name)


def pods_path(namespace: str, name: str | None = None) -> str:
    return _path("/api/v1", namespace, "pods", name)


def events_path(namespace: str, name: str | None = None) -> str:
    return _path("/api/v1", namespace, "events", name)


def sessions_path(namespace: str, name: str | None = None, status: bool = False) -> str:
    """`status` is the resource's part that its own writers write, and they alone."""
    return _path(f"/apis/{GROUP}/{VERSION}", namespace, "trainingsessions", name) + ("/status" if status else "")


def resource_of(path: str) -> str:
    """What a Role calls it: `jobs`, or `trainingsessions/status`."""
    _, found, rest = path.partition("/namespaces/")
    if not found:
        return path
    _, *inside = rest.split("/")
    if not inside:
        return "namespaces"
    kind, *name_and_part = inside
    return "/".join([kind, *name_and_part[1:]])


def _path(group: str, namespace: str, kind: str, name: str | None) -> str:
    path = f"{group}/namespaces/{namespace}/{kind}"
    return f"{path}/{name}" if name else path
