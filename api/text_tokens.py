"""A text as the tokens that CLIP was trained with: open_clip's cleaning and its byte pairs, without torch.

`tokenizers` does the byte pairs; what a text is cleaned of before is Python, as in open_clip.
"""

import html
from pathlib import Path

import ftfy
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

START, END = "<start_of_text>", "<end_of_text>"


class ClipTokens:
    """Threads may share it."""

    def __init__(self, tokenizer_json: Path, context_length: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer_json))
        self._start, self._end = _id(self._tokenizer, START), _id(self._tokenizer, END)
        self._length = context_length

    def __call__(self, text: str) -> NDArray[np.int64]:
        """(1, context_length), filled with zeros; a longer text is cut off. Marks in a text are plain text."""
        ids = self._tokenizer.encode(cleaned(text), add_special_tokens=False).ids[: self._length - 2]
        tokens = np.zeros((1, self._length), np.int64)
        tokens[0, : len(ids) + 2] = [self._start, *ids, self._end]
        return tokens


def _id(tokenizer: Tokenizer, mark: str) -> int:
    """Raises ValueError."""
    found = tokenizer.token_to_id(mark)
    if found is None:
        raise ValueError(f"the tokenizer has no {mark}")
    return found


def cleaned(text: str) -> str:
    """Mended, without HTML's entities (twice, as they come), in lower case, with single spaces."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()).lower()
