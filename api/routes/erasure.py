"""Erasure: rows, vectors and thumbnails are removed for good; no file of a photo is touched."""

from fastapi import APIRouter

from api.erased import Erased, erased_of, stores_of
from api.image_rows import ImageId, read_row
from api.problems import ANY_ROUTE, documented
from api.services import Given
from trainyard import collection_erasure
from trainyard.photo_erasure import erase_photos, one_photo

router = APIRouter(prefix="/api/v1", tags=["erasure"], responses=ANY_ROUTE)


@router.delete("/images/{image_id}", responses=documented(404, 409))
def erase_image(image_id: ImageId, services: Given) -> Erased:
    """Of one photo, with its faces. While its file stays, a later session of the folder finds it again."""
    roots = services.settings.allowed_roots
    row = services.database.transact(lambda connection: read_row(connection, image_id, roots))
    return erased_of(erase_photos(stores_of(services), one_photo(row.id, row.path)))


@router.delete("/faces", responses=documented(409))
def erase_faces(services: Given) -> Erased:
    """All faces, groups and persons, of all networks. A later session that looks for faces finds them again."""
    return erased_of(collection_erasure.erase_faces(stores_of(services)))
