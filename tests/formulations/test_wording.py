"""Long sources: what comes from the row is cut, longest first; the words around it never are."""

from types import SimpleNamespace

import numpy as np
import pytest

from lmlab.errors import UserError
from lmlab.formulations.sequences import truncate
from lmlab.formulations.template import Pattern
from lmlab.formulations.wording import Wording, shortened
from lmlab.text.tokenizers import BPE, Byte, WordPiece

TEXT = "the cat sat on the mat because a dog ran after it"
TOKENIZERS = [WordPiece(vocab_size=200).train([TEXT]), BPE(vocab_size=400).train([TEXT]), Byte().train()]
ROW = {"id": "0", "inputs": {"a": TEXT, "b": "a dog", "c": " ".join([TEXT] * 2)}}


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: type(each.backend.model).__name__)
def test_columns_lose_tokens_of_the_longest_first(tokenizer):
    texts = Wording(SimpleNamespace(fields=["a", "b", "c"])).source(ROW)
    whole = tokenizer.encode_batch([text.text for text in texts])
    for room in range(1, sum(map(len, whole))):
        for found, wanted in zip(shortened(texts, tokenizer, room), truncate(whole, room), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: type(each.backend.model).__name__)
def test_the_words_of_a_template_stay(tokenizer):
    text = Pattern("on the mat {a} because {b} after it").render(ROW)
    whole = tokenizer.encode(text.text)
    words = sum(map(len, tokenizer.encode_batch(["on the mat", " because", " after it"])))
    for room in range(words + 8, len(whole)):
        (ids,) = shortened([text], tokenizer, room)
        said = tokenizer.decode(ids).split()
        assert len(ids) == room
        assert said[:3] == ["on", "the", "mat"] and said[-2:] == ["after", "it"] and "because" in said[3:]
    (ids,) = shortened([text], tokenizer, len(whole))
    np.testing.assert_array_equal(ids, whole)
    with pytest.raises(UserError, match=rf"words of the template take \d+ tokens, and a source has room for {words}"):
        shortened([text], tokenizer, words)
