"""The category in each photo's point, which searches filter by: it follows the photo's row, by the outbox."""

import sqlalchemy as sa

# Photos without a point are told nothing, and get one that says it.
LEFT_BEHIND = sa.text("""
    INSERT INTO outbox (asset_id)
    SELECT a.id FROM discovered_files f JOIN image_assets a ON a.path_sha256 = sha256(f.path)
    WHERE f.session_id = :session_id AND a.category_id IS DISTINCT FROM CAST(:category_id AS integer)
        AND EXISTS (SELECT FROM training_evidence e WHERE e.asset_id = a.id)
    ORDER BY a.id
""")


def leave_word_of_category(connection: sa.Connection, session_id: int, category_id: int) -> int:
    """Enqueue the photos found that are about to be given this category; returns how many."""
    return connection.execute(LEFT_BEHIND, {"session_id": session_id, "category_id": category_id}).rowcount
