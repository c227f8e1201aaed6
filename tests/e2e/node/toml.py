"""containerd's configuration language, as far as it is needed; Python's own library only reads it."""

import json
from pathlib import Path
from typing import Any

Table = dict[str, Any]


def write(path: Path, table: Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_lines(table, ())) + "\n")
    return path


def _lines(table: Table, within: tuple[str, ...]) -> list[str]:
    """Values are written as JSON writes them."""
    values = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    header = [f"[{'.'.join(map(json.dumps, within))}]"] if within else []
    tables = [_lines(value, (*within, key)) for key, value in table.items() if isinstance(value, dict)]
    return [*header, *values, *(line for lines in tables for line in lines)]
