"""Every test here asks helm, which `make test-cluster` builds; where it is not built, they are skipped in one line."""

from pathlib import Path

import pytest

from tests.charts.cases import CASES
from tests.charts.rendering import Rendering, render
from tests.cluster.binaries import is_built


class WithoutHelm(pytest.Module):
    def collect(self) -> list[pytest.Item]:
        pytest.skip("helm is not built here; `make test-cluster` builds it", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return None if is_built("helm") else WithoutHelm.from_parent(parent, path=module_path)


@pytest.fixture(params=CASES)
def rendering(request: pytest.FixtureRequest) -> Rendering:
    """Of every case there is."""
    return render(CASES[request.param])
