"""Signing in on the page: a token once, a cookie that scripts cannot read from then on."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field, SecretStr

from api.access import COOKIE
from api.problems import Problem, documented
from api.schemas import In
from api.services import Given
from api.tokens import SIGNED_IN_SECONDS

router = APIRouter(prefix="/api/v1", tags=["system"], responses=documented(403, 422))


class SignIn(In):
    token: Annotated[SecretStr, Field(max_length=10_000, description="One of the server's file of tokens.")]


@router.post("/sign-in", status_code=204, responses=documented(401))
def sign_in(wanted: SignIn, request: Request, services: Given) -> Response:
    """Have the browser carry a sign-in of 12 hours for the token. Without tokens configured there is nothing to do."""
    answer = Response(status_code=204)
    if not services.tokens.needed:
        return answer
    value = services.tokens.sign_in(wanted.token.get_secret_value().strip())
    if value is None:
        detail = "The token is not, or no longer, one of this server's."
        raise Problem(401, "TokenInvalid", detail, "token", headers={"WWW-Authenticate": "Bearer"})
    answer.set_cookie(
        COOKIE,
        value,
        max_age=SIGNED_IN_SECONDS,
        path="/",
        secure=request.scope["scheme"] == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@router.post("/sign-out", status_code=204)
def sign_out(request: Request) -> Response:
    """Have the browser forget the sign-in."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, path="/", secure=request.scope["scheme"] == "https", httponly=True, samesite="strict")
    return answer
