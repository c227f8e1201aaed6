"""One request and its answer, over the connections that the kubernetes library keeps."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from controller.kubernetes.errors import ClusterUnavailable, refusal

CONNECT_SECONDS = 3.0
JSON = "application/json"
METADATA_ONLY = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METHODS = {"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE"}


@dataclass(frozen=True)
class Request:
    """`verb` is a Role's word for it; queries without a value are left out."""

    verb: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON
    accept: str = JSON

    @property
    def method(self) -> str:
        return METHODS[self.verb]

    @property
    def reads(self) -> bool:
        return self.method == "GET"

    @property
    def address(self) -> str:
        query = urlencode({key: value for key, value in self.query.items() if value != ""})
        return f"{self.path}?{query}" if query else self.path

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


def exchange(api: ApiClient, request: Request, read_seconds: float) -> urllib3.HTTPResponse:
    """The answer, its body yet unread; `read_seconds` is how long the server may say nothing.

    Raises ClusterError for anything but 2xx.
    """
    with outages(request):
        headers = {"Accept": request.accept, "Content-Type": request.content_type}
        method, url, sent_headers, body, _ = api.param_serialize(
            request.method, request.address, header_params=headers, body=request.body, auth_settings=["BearerToken"]
        )
        timeout = (CONNECT_SECONDS, read_seconds)
        answer = api.call_api(method, url, sent_headers, body, _request_timeout=timeout).response
        if 200 <= answer.status < 300:
            return answer
        raise refusal(str(request), answer.status, answer.data, answer.headers.get("Retry-After"))


def read_object(response: urllib3.HTTPResponse, request: Request) -> dict[str, Any]:
    """The answer's JSON object. Raises ClusterUnavailable when it breaks off, or is something else."""
    with outages(request):
        return parsed(response.data, request)


def parsed(text: bytes, request: Request) -> dict[str, Any]:
    """Raises ClusterUnavailable when this is no JSON object: a proxy's page, or the half of one."""
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise ClusterUnavailable(str(request), f"the answer is no JSON object, {error}") from error


@contextmanager
def outages(request: Request) -> Iterator[None]:
    """Raises ClusterUnavailable for whatever can become of a connection, or of the token that is sent over it."""
    try:
        yield
    except (urllib3.exceptions.HTTPError, ApiException, ConfigException, OSError) as error:
        raise ClusterUnavailable(str(request), f"no answer, {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    text = str(getattr(error, "reason", None) or error).strip()
    return text.splitlines()[-1] if text else type(error).__name__
