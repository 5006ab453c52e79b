"""Examples laid out for an encoder-decoder."""

import numpy as np

from lmlab.text.features import EncoderDecoderConverter

PAIRS = [
    {"inputs": np.array([5, 6, 7]), "targets": np.array([8, 9, 2])},
    {"inputs": np.array([5]), "targets": np.array([8, 2])},
]


def test_the_decoder_begins_with_the_models_own_token_or_with_padding():
    for start_id, first in ((None, 0), (2, 2)):
        batch = EncoderDecoderConverter(pad_id=0, start_id=start_id)(PAIRS)
        assert batch.inputs["decoder_input_ids"].tolist() == [[first, 8, 9], [first, 8, 0]]
        assert batch.targets["labels"].tolist() == [8, 9, 2, 8, 2]
        assert batch.inputs["positions"].tolist() == [0, 1, 2, 3, 4]
