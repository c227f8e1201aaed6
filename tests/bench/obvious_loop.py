"""The loop one would write first, and torch at all cores for it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.bench.results import wall_seconds
from trainyard.cores import cpu_count

BATCH = 8


def with_torch_threads(count: int, work: Callable[[], float]) -> float:
    """`work` in a thread of its own in which torch uses `count` threads; one again for threads made later."""
    import torch

    found: list[float] = []

    def run() -> None:
        torch.set_num_threads(count)
        try:
            found.append(work())
        finally:
            torch.set_num_threads(1)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


class Obvious:
    """What one would write first: open, preprocess, encode eight, upsert, commit, one after another."""

    def __init__(self, url: str, folder: Path, name: str) -> None:
        import open_clip
        from qdrant_client import QdrantClient, models

        self.model = open_clip.create_model("ViT-B-32", pretrained=None).eval()
        self.preprocess = open_clip.image_transform(self.model.visual.image_size, is_train=False)
        self.qdrant = QdrantClient(path=str(folder / name))
        self.qdrant.create_collection("images", models.VectorParams(size=512, distance=models.Distance.COSINE))
        self.database = sa.create_engine(url)
        self.name = name
        with self.database.begin() as connection:
            connection.execute(sa.text(f"CREATE TABLE {name} (id bigint, path text)"))
        self.done = 0

    def seconds(self, paths: list[bytes]) -> float:
        return with_torch_threads(cpu_count(), lambda: wall_seconds(lambda: self._all(paths)))

    def _all(self, paths: list[bytes]) -> None:
        for at in range(0, len(paths), BATCH):
            self._batch([path.decode() for path in paths[at : at + BATCH]])

    def _batch(self, paths: list[str]) -> None:
        ids = list(range(self.done, self.done + len(paths)))
        self.done += len(paths)
        self._upsert(ids, paths, self._encode(paths))
        with self.database.begin() as connection:
            rows = [{"id": id, "path": path} for id, path in zip(ids, paths, strict=True)]
            connection.execute(sa.text(f"INSERT INTO {self.name} VALUES (:id, :path)"), rows)

    def _encode(self, paths: list[str]) -> Any:
        import torch
        from PIL import Image

        batch = torch.stack([self.preprocess(Image.open(path)) for path in paths])
        with torch.inference_mode():
            features = self.model.encode_image(batch)
        return features / features.norm(dim=-1, keepdim=True)

    def _upsert(self, ids: list[int], paths: list[str], features: Any) -> None:
        from qdrant_client import models

        points = [
            models.PointStruct(id=id, vector=vector, payload={"path": path})
            for id, path, vector in zip(ids, paths, features.tolist(), strict=True)
        ]
        self.qdrant.upsert("images", points)
