"""What the routes are given: settings, the stores, and what is shared between requests."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.follow_up import FollowUp
from api.stream import ProgressStream
from api.text_tower import TextTower
from api.thumbnails import Thumbnails
from api.tokens import Tokens
from trainyard.database import Database
from trainyard.settings import Settings
from trainyard.vectors import Vectors


@dataclass(frozen=True)
class Services:
    settings: Settings
    database: Database  # a pool of the API's own: a lost server is a 503, not ridden out
    vectors: Vectors
    tokens: Tokens
    stream: ProgressStream
    thumbnails: Thumbnails
    text: TextTower
    follow_up: FollowUp


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _given(request: Request) -> Services:  # not async, it would take a thread of its own each time
    return services_of(request)


Given = Annotated[Services, Depends(_given)]
