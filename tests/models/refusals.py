"""What every reader's refusal must be."""

from __future__ import annotations

import pytest

from shared_spec.errors import InterchangeError


def refused(load, path, content):
    """The sentence by which a file of this content is refused: one line, the file first, nothing a terminal obeys."""
    path.write_bytes(content)
    with pytest.raises(InterchangeError) as error:
        load(path)
    sentence = str(error.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    assert "\x1b" not in sentence
    return sentence
