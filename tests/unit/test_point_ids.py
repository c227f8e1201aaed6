from uuid import UUID

from trainyard.vectors import face_point, image_point

CONTENT = bytes(range(32))


def test_point_ids_are_the_ones_earlier_versions_wrote() -> None:
    assert image_point(7, CONTENT, "model") == UUID("6d6a1fdb-9aec-5b08-b065-4d43704bb86a")
    assert face_point(7, CONTENT, "model", 1) == UUID("f3d16777-e741-50fc-859d-b86135228117")


def test_every_part_of_a_point_id_counts() -> None:
    ids = {
        image_point(7, CONTENT, "model"),
        image_point(8, CONTENT, "model"),
        image_point(7, CONTENT[::-1], "model"),
        image_point(7, CONTENT, "other"),
        face_point(7, CONTENT, "model", 0),
        face_point(7, CONTENT, "model", 1),
    }
    assert len(ids) == 6
