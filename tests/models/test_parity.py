"""Each family against an independent implementation: transformers, with the same random weights."""

import pytest
import torch

from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.t5 import T5
from lmlab.objectives.rtd import discriminator_head

transformers = pytest.importorskip("transformers")

B, T, V = 3, 20, 101
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randomize(module: torch.nn.Module) -> torch.nn.Module:
    """Move every weight, norms and biases too, off its initial value, so that a swapped one shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def packed(*linears: torch.nn.Linear) -> dict[str, torch.Tensor]:
    weights = {"weight": torch.cat([linear.weight for linear in linears])}
    if linears[0].bias is not None:
        weights["bias"] = torch.cat([linear.bias for linear in linears])
    return weights


def copy(target: torch.nn.Module, source: torch.nn.Module | dict[str, torch.Tensor]) -> None:
    target.load_state_dict(source if isinstance(source, dict) else source.state_dict())


def padded_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, V, (B, T))
    mask = torch.ones(B, T, dtype=torch.bool)
    mask[1, 15:] = mask[2, 7:] = False
    return ids, mask


def compare_states(ours: list[torch.Tensor], theirs: tuple[torch.Tensor, ...], mask: torch.Tensor) -> None:
    assert len(ours) == len(theirs)
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own[mask], other[mask], **TOLERANCE)


def copy_encoder(ours: Bert, body: torch.nn.Module) -> None:
    """Embeddings and blocks of a BERT or an ELECTRA."""
    copy(ours.embeddings.tokens, body.embeddings.word_embeddings)
    copy(ours.embeddings.positions, body.embeddings.position_embeddings)
    copy(ours.embeddings.segments, body.embeddings.token_type_embeddings)
    copy(ours.embeddings.norm, body.embeddings.LayerNorm)
    for block, layer in zip(ours.stack.blocks, body.encoder.layer, strict=True):
        attention = layer.attention
        copy(block.attention.query_key_value, packed(attention.self.query, attention.self.key, attention.self.value))
        copy(block.attention.output, attention.output.dense)
        copy(block.attention_norm, attention.output.LayerNorm)
        copy(block.feed_forward.expand, layer.intermediate.dense)
        copy(block.feed_forward.contract, layer.output.dense)
        copy(block.feed_forward_norm, layer.output.LayerNorm)


def test_bert_equals_transformers():
    config = transformers.BertConfig(
        vocab_size=V, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=24,
    )  # fmt: skip
    theirs = randomize(transformers.BertForPreTraining(config))
    ours = Bert(V, 32, 3, 4, 48, max_positions=24).eval()
    head = ours.vocabulary_head().eval()
    pooler = ours.pooler()
    body = theirs.bert
    copy_encoder(ours, body)
    prediction = theirs.cls.predictions
    copy(head.transform[0], prediction.transform.dense)
    copy(head.transform[2], prediction.transform.LayerNorm)
    head.bias.data.copy_(prediction.bias)
    copy(pooler[0], body.pooler.dense)

    ids, mask = padded_inputs()
    segments = torch.randint(0, 2, (B, T))
    expected = theirs(input_ids=ids, attention_mask=mask.long(), token_type_ids=segments, output_hidden_states=True)
    inputs = {"input_ids": ids, "segment_ids": segments, "attention_mask": mask}
    compare_states(ours.hidden_states(**inputs), expected.hidden_states, mask)
    hidden = ours(**inputs)
    torch.testing.assert_close(head(hidden)[mask], expected.prediction_logits[mask], **TOLERANCE)
    relation = torch.nn.functional.linear(
        pooler(hidden[:, 0]), theirs.cls.seq_relationship.weight, theirs.cls.seq_relationship.bias
    )
    torch.testing.assert_close(relation, expected.seq_relationship_logits, **TOLERANCE)


def electra(hidden_size: int) -> "transformers.ElectraConfig":
    return transformers.ElectraConfig(
        vocab_size=V, embedding_size=24, hidden_size=hidden_size, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=24,
    )  # fmt: skip


def test_electra_equals_transformers():
    theirs = randomize(transformers.ElectraForPreTraining(electra(32)))
    ours = Bert(V, 32, 3, 4, 48, max_positions=24, embedding_size=24).eval()
    head = discriminator_head(32)
    copy_encoder(ours, theirs.electra)
    copy(ours.embeddings.projection, theirs.electra.embeddings_project)
    copy(head[0], theirs.discriminator_predictions.dense)
    copy(head[2], theirs.discriminator_predictions.dense_prediction)
    ids, mask = padded_inputs()
    segments = torch.randint(0, 2, (B, T))
    expected = theirs(input_ids=ids, attention_mask=mask.long(), token_type_ids=segments, output_hidden_states=True)
    inputs = {"input_ids": ids, "segment_ids": segments, "attention_mask": mask}
    compare_states(ours.hidden_states(**inputs), expected.hidden_states, mask)
    torch.testing.assert_close(head(ours(**inputs)).squeeze(-1)[mask], expected.logits[mask], **TOLERANCE)


def test_electra_generator_reads_and_scores_by_the_embeddings_of_the_discriminator():
    theirs = randomize(transformers.ElectraForMaskedLM(electra(16)))
    model = Bert(V, 32, 1, 4, 48, max_positions=24, embedding_size=24).eval()
    ours = Bert(V, 16, 3, 4, 48, max_positions=10).eval()
    ours.share_embeddings(model)
    head = ours.vocabulary_head().eval()
    copy_encoder(ours, theirs.electra)
    assert torch.equal(model.embeddings.tokens.weight, theirs.electra.embeddings.word_embeddings.weight)
    copy(ours.embeddings.projection, theirs.electra.embeddings_project)
    copy(head.transform[0], theirs.generator_predictions.dense)
    copy(head.transform[2], theirs.generator_predictions.LayerNorm)
    head.bias.data.copy_(theirs.generator_lm_head.bias)
    ids, mask = padded_inputs()
    expected = theirs(input_ids=ids, attention_mask=mask.long())
    torch.testing.assert_close(head(ours(ids, attention_mask=mask))[mask], expected.logits[mask], **TOLERANCE)


def test_gpt2_equals_transformers():
    config = transformers.GPT2Config(vocab_size=V, n_embd=32, n_layer=3, n_head=4, n_positions=24)
    theirs = randomize(transformers.GPT2LMHeadModel(config))
    ours = Gpt(V, 32, 3, 4, max_positions=24).eval()
    body = theirs.transformer

    def transposed(conv: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {"weight": conv.weight.T, "bias": conv.bias}

    copy(ours.embeddings.tokens, body.wte)
    copy(ours.embeddings.positions, body.wpe)
    for block, layer in zip(ours.stack.blocks, body.h, strict=True):
        copy(block.attention_norm, layer.ln_1)
        copy(block.attention.query_key_value, transposed(layer.attn.c_attn))
        copy(block.attention.output, transposed(layer.attn.c_proj))
        copy(block.feed_forward_norm, layer.ln_2)
        copy(block.feed_forward.expand, transposed(layer.mlp.c_fc))
        copy(block.feed_forward.contract, transposed(layer.mlp.c_proj))
    copy(ours.stack.final_norm, body.ln_f)

    ids, mask = padded_inputs()
    expected = theirs(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True)
    compare_states(ours.hidden_states(input_ids=ids), expected.hidden_states, mask)
    torch.testing.assert_close(ours.vocabulary_head()(ours(ids))[mask], expected.logits[mask], **TOLERANCE)


@pytest.mark.parametrize("gated", [False, True], ids=["t5", "t5 v1.1"])
def test_t5_equals_transformers(gated):
    config = transformers.T5Config(
        vocab_size=V, d_model=32, d_kv=12, d_ff=48, num_layers=3, num_decoder_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu" if gated else "relu", tie_word_embeddings=True,
    )  # fmt: skip
    theirs = randomize(transformers.T5ForConditionalGeneration(config))
    ours = T5(V, 0, 32, 3, 2, 4, 12, 48, activation="gelu_tanh" if gated else "relu", gated=gated).eval()
    copy(ours.embeddings.tokens, theirs.shared)
    for stack, positions, their_stack in (
        (ours.encoder, ours.encoder_positions, theirs.encoder),
        (ours.decoder, ours.decoder_positions, theirs.decoder),
    ):
        copy(positions.scores, their_stack.block[0].layer[0].SelfAttention.relative_attention_bias)
        copy(stack.final_norm, their_stack.final_layer_norm)
        for block, their_block in zip(stack.blocks, their_stack.block, strict=True):
            attention = their_block.layer[0].SelfAttention
            copy(block.attention.query_key_value, packed(attention.q, attention.k, attention.v))
            copy(block.attention.output, attention.o)
            copy(block.attention_norm, their_block.layer[0].layer_norm)
            if block.cross_attention is not None:
                attention = their_block.layer[1].EncDecAttention
                copy(block.cross_attention.query_key_value, packed(attention.q, attention.k, attention.v))
                copy(block.cross_attention.output, attention.o)
                copy(block.cross_attention_norm, their_block.layer[1].layer_norm)
            last = their_block.layer[-1]
            copy(block.feed_forward_norm, last.layer_norm)
            copy(block.feed_forward.contract, last.DenseReluDense.wo)
            copy(block.feed_forward.expand, last.DenseReluDense.wi_0 if gated else last.DenseReluDense.wi)
            if gated:
                copy(block.feed_forward.gate, last.DenseReluDense.wi_1)

    ids, mask = padded_inputs()
    targets = torch.randint(1, V, (B, 9))
    expected = theirs(input_ids=ids, attention_mask=mask.long(), decoder_input_ids=targets, output_hidden_states=True)
    inputs = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": targets}
    everywhere = torch.ones_like(targets, dtype=torch.bool)
    compare_states(ours.hidden_states(**inputs), expected.decoder_hidden_states, everywhere)
    compare_states([ours.encode(ids, mask)], (expected.encoder_last_hidden_state,), mask)
    torch.testing.assert_close(ours.vocabulary_head()(ours(**inputs)), expected.logits, **TOLERANCE)
