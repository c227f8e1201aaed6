"""The API in OpenAPI: what FastAPI makes of the routes, and what `api.access` answers for them."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from api.problems import MEDIA_TYPE

PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
TOO_LARGE = {"description": HTTPStatus(413).phrase, "content": PROBLEM}


class DescribedAPI(FastAPI):
    """Says of every route that takes a body that one may be too large, and of problems in what form they come."""

    def openapi(self) -> dict[str, Any]:
        description = super().openapi()  # made once, and kept
        for operations in description["paths"].values():
            for operation in operations.values():
                if "requestBody" in operation:
                    operation["responses"].setdefault("413", TOO_LARGE)
                for answer in operation["responses"].values():
                    if MEDIA_TYPE in answer.get("content", {}):  # FastAPI gives every model as application/json
                        answer["content"] = PROBLEM
        return description
