"""Published sizes: every preset has exactly the parameters of the original, heads included where named."""

import pytest
import torch
import yaml

from lmlab.config import conf_dir
from lmlab.config.build import build

# Model alone; with the head over the vocabulary; vocabulary. The figures are computed from the published
# definitions; a decoder and T5 score the vocabulary by their embedding, so both columns agree for them.
SIZES = {
    "bert_tiny": (4_385_920 - 16_512, None, 30_522),
    "bert_base": (109_482_240 - 590_592, 109_514_298, 30_522),
    "bert_large": (335_141_888 - 1_049_600, 335_174_458, 30_522),
    "gpt1": (116_534_784, 116_534_784, 40_478),
    "gpt2": (124_439_808, 124_439_808, 50_257),
    "gpt2_medium": (354_823_168, 354_823_168, 50_257),
    "gpt2_large": (774_030_080, 774_030_080, 50_257),
    "gpt2_xl": (1_557_611_200, 1_557_611_200, 50_257),
    "electra_small": (13_483_008, None, 30_522),
    "electra_base": (108_891_648, None, 30_522),
    "electra_large": (334_092_288, None, 30_522),
    "t5_small": (60_506_624, 60_506_624, 32_128),
    "t5_base": (222_903_552, 222_903_552, 32_128),
    "t5_large": (737_668_096, 737_668_096, 32_128),
    "t5_3b": (2_851_598_336, 2_851_598_336, 32_128),
    "t5_11b": (11_307_321_344, 11_307_321_344, 32_128),
}

# BERT as it was trained: masked words and next sentence, pooler and both heads.
PRETRAINING = {
    "bert_tiny": 4_433_468,
    "bert_mini": 11_267_900,
    "bert_small": 29_058_876,
    "bert_medium": 41_668_412,
    "bert_base": 110_106_428,
    "bert_large": 336_226_108,
}

# ELECTRA's discriminator with its head.
REPLACED_TOKEN_DETECTION = {"electra_small": 13_549_057, "electra_base": 109_483_009, "electra_large": 335_142_913}


def preset(name: str, vocab_size: int, **keys) -> torch.nn.Module:
    node = yaml.safe_load((conf_dir() / "model" / f"{name}.yaml").read_text())
    with torch.device("meta"):
        return build(node | keys, "model", vocab_size=vocab_size, pad_id=0)


def count(*modules: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in torch.nn.ModuleList(modules).parameters())


@pytest.mark.parametrize("name", SIZES)
def test_preset_has_the_published_number_of_parameters(name):
    alone, with_head, vocab_size = SIZES[name]
    model = preset(name, vocab_size)
    assert count(model) == alone
    if with_head is not None:
        with torch.device("meta"):
            assert count(model, model.vocabulary_head()) == with_head


@pytest.mark.parametrize("name", PRETRAINING)
def test_bert_with_both_heads(name):
    from lmlab.objectives.nsp import Nsp

    model = preset(name, 30_522)
    with torch.device("meta"):
        heads = Nsp(cls_id=2, sep_id=3).heads(model)
        assert count(model, model.vocabulary_head(), *heads.values()) == PRETRAINING[name]


@pytest.mark.parametrize("name", REPLACED_TOKEN_DETECTION)
def test_electra_with_its_head(name):
    from lmlab.objectives.rtd import discriminator_head

    model = preset(name, 30_522)
    with torch.device("meta"):
        assert count(model, discriminator_head(model.hidden_size)) == REPLACED_TOKEN_DETECTION[name]


def test_every_preset_is_counted():
    families = {"t5_decoder"}  # not a published size
    presets = {path.stem for path in (conf_dir() / "model").glob("*_*.yaml")} - families | {"gpt1", "gpt2"}
    assert presets == SIZES.keys() | PRETRAINING.keys()


def test_the_architectures_of_the_t5_paper_compare_in_parameters():
    width, inner, vocab_size = 256, 1024, 8_192
    attention, feed_forward = 4 * width * width, 2 * width * inner
    encoder, decoder = attention + feed_forward + 2 * width, 2 * attention + feed_forward + 3 * width
    around = vocab_size * width + 32 * 4 + width  # of one stack: embedding, relative positions, last norm
    second = 32 * 4 + width
    assert count(preset("t5", vocab_size)) == around + second + 3 * encoder + 3 * decoder
    assert count(preset("t5", vocab_size, shared=True)) == around + second + 3 * decoder
    assert count(preset("t5_decoder", vocab_size)) == around + 6 * encoder


def test_t5_v1_1_has_an_output_matrix_of_its_own():
    with torch.device("meta"):
        from lmlab.models.t5 import T5

        model = T5(32_128, 0, 768, 12, None, 12, 64, 2048, activation="gelu_tanh", gated=True, tied=False)
        assert count(model, model.vocabulary_head()) == 247_577_856
