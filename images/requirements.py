"""The packages that Trainyard and one extra of it need, a line each: an image installs them apart from the code."""

import sys
import tomllib
from pathlib import Path

PROJECT = Path("pyproject.toml")


def requirements(extra: str, project: Path = PROJECT) -> list[str]:
    """Raises KeyError for an extra that `project` does not have."""
    declared = tomllib.loads(project.read_text())["project"]
    return declared["dependencies"] + declared["optional-dependencies"][extra]


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
