"""CLIP's text tower for the API: exported to ONNX from the same weights, with open_clip's tokenizer beside it.

`trainyard.clip_text` says what is written. Every file lands by a rename, the record last: a reader that finds the
record finds the files it names, or sees by their hashes that they are not.
"""

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.engines.openclip import ARCHITECTURE, missing_message
from jobs.engines.weights import CLIP_FILE, CLIP_FOLDER, ModelMissing, verified_sha256
from trainyard import clip_text
from trainyard.clip_text import TextRecord

DRAFT, DRAFT_SECONDS = ".draft-", 3600  # no export takes as long

INPUT, OUTPUT = "tokens", "features"  # (1, context length) int64; (1, dimension) float32
# What open_clip's pattern takes for a word, as `regex` reads it there without regard to case: U+0345 is in none.
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}\x{345}]+"


class ExportFailed(Exception):
    """Nothing usable was put in place. `message` says what failed and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def is_exported(models_dir: Path) -> bool:
    """Whether the text tower of the CLIP weights that are there is there, whole. Raises ModelMissing."""
    record = clip_text.read_record(models_dir)
    if record is None or record.clip_weights_sha256 != verified_sha256(_weights(models_dir)):
        return False
    return clip_text.is_whole(models_dir, record)


def export(models_dir: Path) -> Path:
    """Export the text tower of `models_dir/clip`'s weights and return its folder. Takes some 15 s and 350 MB.

    Raises ModelMissing without such weights, ExportFailed where nothing can be written.
    """
    path = _weights(models_dir)
    if not path.is_file():
        raise ModelMissing("ModelMissing", missing_message(path))
    sha256 = verified_sha256(path)
    return export_tower(_trained_tower(path), sha256, models_dir)


def export_tower(tower: Any, clip_weights_sha256: str, models_dir: Path) -> Path:
    """Export an open_clip TextTransformer as that of the weights of this identity. Raises ExportFailed."""
    folder = clip_text.folder_of(models_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _draft(folder) as draft:
            _write_network(tower, draft / clip_text.NETWORK)
            _write_tokenizer(draft / clip_text.TOKENIZER)
            record = _record(tower, clip_weights_sha256, draft)
            (draft / clip_text.RECORD).write_text(clip_text.record_json(record))
            for name in (*clip_text.FILES, clip_text.RECORD):
                os.replace(draft / name, folder / name)
    except OSError as error:
        raise ExportFailed(f"{folder} cannot be written ({error}); CLIP's text tower takes some 260 MB") from error
    return folder


def _weights(models_dir: Path) -> Path:
    return models_dir / CLIP_FOLDER / CLIP_FILE.name


def _trained_tower(path: Path) -> Any:
    tower = empty_tower()
    try:
        tower.load_state_dict(_text_weights(path, tower.state_dict().keys()), assign=True)
    except Exception as error:  # safetensors and torch raise several kinds, all meaning the same
        message = f"{path} does not hold the weights of {ARCHITECTURE}'s text tower: {error}"
        raise ModelMissing("ModelUnreadable", message) from error
    return tower


def empty_tower() -> Any:
    """The text tower, its weights without storage: they are about to be replaced."""
    import open_clip
    import torch
    from open_clip.model import _build_text_tower

    config = open_clip.get_model_config(ARCHITECTURE)
    with torch.device("meta"):
        tower = _build_text_tower(config["embed_dim"], config["text_cfg"])
    tower.attn_mask = _causal_mask(tower.num_pos)  # no weight, so that no file has it
    return tower


def _causal_mask(length: int) -> Any:
    """open_clip's own: what stands later in the text is not seen."""
    import torch

    return torch.full((length, length), float("-inf")).triu_(1)


def _text_weights(path: Path, names: Any) -> dict[str, Any]:
    """Only the text tower's tensors are read from the file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as weights:
        return {name: weights.get_tensor(name).float() for name in names}


def _write_network(tower: Any, path: Path) -> None:
    """Its numbers land beside it: in one file with the graph, 700 MB more are needed, and it is read, not mapped."""
    import torch

    tokens = torch.zeros((1, tower.context_length), dtype=torch.int64)
    names = {"input_names": [INPUT], "output_names": [OUTPUT]}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's are about itself
            torch.onnx.export(tower.eval(), (tokens,), path, **names, dynamo=True, external_data=True, verbose=False)
    except (torch.onnx.OnnxExporterError, ImportError) as error:
        raise ExportFailed(f"torch cannot export CLIP's text tower to ONNX: {error}") from error


def _write_tokenizer(path: Path) -> None:
    """open_clip's vocabulary and merges; how a text is cleaned before is `api.text_tokens`' part."""
    from open_clip.tokenizer import SimpleTokenizer
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    known = SimpleTokenizer()
    merges = sorted(known.bpe_ranks, key=known.bpe_ranks.__getitem__)
    tokenizer = Tokenizer(BPE(vocab=dict(known.encoder), merges=merges, end_of_word_suffix="</w>"))
    words = Split(Regex(WORDS), "removed", invert=True)
    tokenizer.pre_tokenizer = Sequence([words, ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.save(str(path), pretty=False)


def _record(tower: Any, clip_weights_sha256: str, folder: Path) -> TextRecord:
    return TextRecord(
        version=clip_text.VERSION,
        clip_weights_sha256=clip_weights_sha256,
        context_length=tower.context_length,
        dimension=tower.output_dim,
        files={name: clip_text.file_sha256(folder / name) for name in clip_text.FILES},
    )


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """A folder inside for what is not yet whole. One that a kill left behind goes when it is old."""
    for left in folder.glob(f"{DRAFT}*"):
        if time.time() - left.stat().st_mtime > DRAFT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=DRAFT, dir=folder) as draft:
        yield Path(draft)
