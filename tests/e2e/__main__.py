"""`python -m tests.e2e [pytest's arguments]`: the end-to-end tests, on a cluster that is made for them if need be.

KUBECONFIG names one; CLUSTER=kind makes one by kind; else, as root on Linux, this machine is made one of a single node.
What was made is gone afterwards, however this ends; the images stay in the cache.
"""

import os
import signal
import sys
from types import FrameType

from tests.cluster.binaries import BuildFailed
from tests.cluster.certificates import NoOpenssl
from tests.cluster.go_toolchain import NoGo
from tests.e2e import clusters
from tests.e2e.buildah import ImageNotBuilt
from tests.e2e.kind import NoKind
from tests.e2e.node.launch import NoNode

TESTS = "tests/e2e"
TOLD = (BuildFailed, ImageNotBuilt, NoGo, NoKind, NoNode, NoOpenssl, clusters.NoCluster)
INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, _stop)
    os.environ.pop("PYTEST_ADDOPTS", None)  # these tests share one cluster, and go one after another
    chosen = arguments if any(argument.startswith(TESTS) for argument in arguments) else [TESTS, *arguments]
    try:
        return clusters.call([sys.executable, "-m", "pytest", "-p", "tests.e2e.node.reporting", *chosen])
    except TOLD as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # on its way out everything is removed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
