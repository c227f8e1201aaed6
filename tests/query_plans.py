"""What PostgreSQL reads to answer."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa


def rows_read(connection: sa.Connection, read: Callable[[], Any]) -> list[int]:
    """By statement that `read` sends: the most rows that a node of its plan looked at."""
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *rest: Any) -> None:
        sent.append((statement, parameters))

    sa.event.listen(connection, "before_cursor_execute", note)
    read()
    sa.event.remove(connection, "before_cursor_execute", note)
    plans = [connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {s}", p).scalar_one() for s, p in sent]
    return [_most_rows(plan[0]["Plan"]) for plan in plans]


def _most_rows(node: dict[str, Any]) -> int:
    here = int(node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0))
    return max([here, *(_most_rows(child) for child in node.get("Plans", []))])
