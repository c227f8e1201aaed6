"""helm's own opinion."""

import json

import pytest

from tests.charts.cases import EVALUATION, EXAMPLES, LEAST
from tests.charts.rendering import CHART, Values, helm
from tests.cluster.binaries import kubernetes_version


@pytest.mark.parametrize("values", [*EXAMPLES.values(), LEAST, EVALUATION], ids=[*EXAMPLES, "least", "evaluation"])
def test_lint_finds_nothing(values: Values) -> None:
    lint = ("lint", "--strict", str(CHART), "--values=-", f"--kube-version={kubernetes_version()}")
    assert "0 chart(s) failed" in helm(*lint, stdin=json.dumps(values))
