"""Text towers for tests: open_clip's own network with random weights, small ones that are quick to export."""

import atexit
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import copytree, rmtree
from tempfile import mkdtemp
from typing import Any

from jobs.engines.clip_text_export import export_tower
from trainyard import clip_text

DIMENSION = 512


def random_tower(**config: Any) -> Any:
    """With the vocabulary and the length of CLIP's, and small layers unless they are named."""
    import open_clip
    import torch
    from open_clip.model import _build_text_tower

    torch.manual_seed(7)
    wanted = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2, **config}
    return _build_text_tower(DIMENSION, open_clip.CLIPTextCfg(**wanted)).eval()


def write_text_tower(models_dir: Path, clip_weights_sha256: str) -> None:
    """A small tower, as if `trainyard models download` had exported it from the weights of this identity."""
    made, folder = _made(), clip_text.folder_of(models_dir)
    copytree(clip_text.folder_of(made), folder, dirs_exist_ok=True)
    record = clip_text.read_record(made)
    assert record is not None
    (folder / clip_text.RECORD).write_text(
        clip_text.record_json(replace(record, clip_weights_sha256=clip_weights_sha256))
    )


@cache
def _made() -> Path:
    """Exported once in a process, which takes seconds."""
    folder = Path(mkdtemp(prefix="trainyard-text-tower-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    export_tower(random_tower(), "0" * 64, folder)
    return folder
