"""BART's sentence permutation (Lewis et al. 2019, arXiv:1910.13461, section 2.2)."""

import numpy as np

from lmlab.corruptions.base import Corrupted, Corruption, reordered
from lmlab.text.passage import Passage


class SentencePermutation(Corruption):
    """Put the sentences in random order, every order being equally likely. Special tokens keep their place,
    and sentences flow over the border of two documents that a block may hold (BART permutes one document).

    BART cuts sentences at full stops; here they are those of `lmlab.text.sentences`. What a passage has of its first
    and of its last sentence counts as a sentence, too.
    """

    selects = False
    reads = ("sentence_starts",)

    def __call__(self, text: Passage, generator: np.random.Generator) -> Corrupted:
        sentence = text.sentence_starts.cumsum()[text.ordinary]
        rank = generator.permutation(text.sentence_starts.sum() + 1)
        return reordered(text, rank[sentence].argsort(kind="stable"))
