"""Every test here asks helm, which `make test-cluster` builds."""

import pytest

from tests.charts.cases import CASES
from tests.charts.rendering import Rendering, render
from tests.cluster.binaries import is_built


@pytest.fixture(autouse=True)
def _helm() -> None:
    if not is_built("helm"):
        pytest.skip("helm is not built here; `make test-cluster` builds it")


@pytest.fixture(params=CASES)
def rendering(request: pytest.FixtureRequest) -> Rendering:
    """Of every case there is."""
    return render(CASES[request.param])
