"""What no comparison with a trained model shows: how T5 begins."""

import pytest
import torch

from lmlab.models.t5 import T5


@pytest.mark.parametrize("position_std, expected", [(None, 64**-0.5), (2.0, 2.0)])
def test_the_deviations_of_the_initial_weights(position_std, expected):
    """T5's (Mesh TensorFlow): 1 / sqrt(what goes in), the query without the scale of the scores, embeddings with 1."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_layers": 2, "num_heads": 16, "head_size": 32, "intermediate_size": 256}
    model = T5(500, **sizes, position_std=position_std)
    attention, feed_forward = model.encoder.blocks[0].attention, model.encoder.blocks[0].feed_forward
    query, key, _ = attention.query_key_value.weight.chunk(3)
    stds = {
        model.embeddings.tokens.weight: 1.0,
        query: (64 * 32) ** -0.5,
        key: 64**-0.5,
        attention.output.weight: 512**-0.5,
        feed_forward.contract.weight: 256**-0.5,
        model.encoder_positions.scores.weight: expected,
        model.decoder_positions.scores.weight: expected,
    }
    for weight, std in stds.items():
        assert weight.std().item() == pytest.approx(std, rel=0.1)
