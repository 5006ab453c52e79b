"""Published sizes: every preset has exactly the parameters of the original, heads included where named."""

import pytest
import torch
import yaml

from lmlab.config import conf_dir
from lmlab.config.build import build
from lmlab.objectives.nsp import Nsp
from lmlab.objectives.rtd import discriminator_head

# Computed from the published definitions, by closed forms or by transformers: the figures of each preset with
# "model": the model alone; "pooler", "vocabulary": with that head; "pretraining": with all heads of the original.
SIZES = {
    "bert_tiny": {"pooler": 4_385_920, "pretraining": 4_433_468},
    "bert_mini": {"pooler": 11_170_560, "pretraining": 11_267_900},
    "bert_small": {"pooler": 28_763_648, "pretraining": 29_058_876},
    "bert_medium": {"pooler": 41_373_184, "pretraining": 41_668_412},
    "bert_base": {"pooler": 109_482_240, "vocabulary": 109_514_298, "pretraining": 110_106_428},
    "bert_large": {"pooler": 335_141_888, "vocabulary": 335_174_458, "pretraining": 336_226_108},
    "bert_base_cased": {"pooler": 108_310_272, "vocabulary": 108_340_804, "pretraining": 108_932_934},
    "bert_large_cased": {"pooler": 333_579_264, "pretraining": 334_661_958},
    "bert_chinese": {"pooler": 102_267_648, "vocabulary": 102_290_312, "pretraining": 102_882_442},
    "bert_multilingual_cased": {"pooler": 177_853_440, "vocabulary": 177_974_523, "pretraining": 178_566_653},
    "bert_multilingual_uncased": {"pooler": 167_356_416, "pretraining": 168_055_961},
    "ernie_base": {"pooler": 99_866_112},
    "roberta_base": {"pooler": 124_645_632, "vocabulary": 124_697_433},
    "roberta_large": {"pooler": 355_359_744, "vocabulary": 355_412_057},
    "xlm_roberta_base": {"pooler": 278_043_648, "vocabulary": 278_295_186},
    "xlm_roberta_large": {"pooler": 559_890_432, "vocabulary": 560_142_482},
    "distilbert_base": {"model": 66_362_880, "vocabulary": 66_985_530},
    "tinybert_4": {"pooler": 14_350_248, "pretraining": 14_479_676},
    "tinybert_6": {"pooler": 66_955_008, "pretraining": 67_579_196},
    "albert_base": {"pooler": 11_683_584, "vocabulary": 11_221_680, "pretraining": 11_813_810},
    "albert_large": {"pooler": 17_683_968, "pretraining": 17_847_474},
    "albert_xlarge": {"pooler": 58_724_864, "pretraining": 59_021_490},
    "albert_xxlarge": {"pooler": 222_595_584, "pretraining": 223_158_450},
    "electra_small": {"model": 13_483_008, "rtd": 13_549_057},
    "electra_base": {"model": 108_891_648, "rtd": 109_483_009},
    "electra_large": {"model": 334_092_288, "rtd": 335_142_913},
    "mobilebert_uncased": {"model": 24_581_888, "vocabulary": 36_596_538},
    "gpt1": {"vocabulary": 116_534_784},
    "gpt2_small": {"vocabulary": 124_439_808},
    "gpt2_medium": {"vocabulary": 354_823_168},
    "gpt2_large": {"vocabulary": 774_030_080},
    "gpt2_xl": {"vocabulary": 1_557_611_200},
    "gpt3_small": {"vocabulary": 125_226_240},
    "gpt3_medium": {"vocabulary": 355_871_744},
    "gpt3_large": {"vocabulary": 760_300_032},
    "gpt3_xl": {"vocabulary": 1_315_723_264},
    "gpt3_2_7b": {"vocabulary": 2_651_553_280},
    "gpt3_6_7b": {"vocabulary": 6_658_404_352},
    "gpt3_13b": {"vocabulary": 12_853_386_240},
    "gpt3_175b": {"vocabulary": 174_604_259_328},
    "megatron_1_2b": {"vocabulary": 1_213_479_936},
    "megatron_2_5b": {"vocabulary": 2_490_408_960},
    "megatron_4_2b": {"vocabulary": 4_199_109_120},
    "megatron_8_3b": {"vocabulary": 8_317_040_640},
    "turing_nlg": {"vocabulary": 17_176_845_728},
    "grover_base": {"vocabulary": 124_449_792},
    "grover_large": {"vocabulary": 354_836_480},
    "grover_mega": {"vocabulary": 1_438_703_616},
    "t5_small": {"vocabulary": 60_506_624},
    "t5_base": {"vocabulary": 222_903_552},
    "t5_large": {"vocabulary": 737_668_096},
    "t5_3b": {"vocabulary": 2_851_598_336},
    "t5_11b": {"vocabulary": 11_307_321_344},
    "t5_v1_1_base": {"vocabulary": 222_903_552 + 32_128 * 768},
    "bart_base": {"vocabulary": 139_420_416},
    "bart_large": {"vocabulary": 406_291_456},
}
CASES = [(name, head) for name, figures in SIZES.items() for head in figures]

# Of these no exact figure is published; their sizes are closed forms of the same family.
UNPUBLISHED = {"t5_v1_1_small", "t5_v1_1_large", "t5_v1_1_xl", "t5_v1_1_xxl", "mass_base", "ib_bert_large"}


def node(name: str) -> dict:
    return yaml.safe_load((conf_dir() / "model" / f"{name}.yaml").read_text())


def preset(name: str, vocab_size: int | None = None, **keys) -> torch.nn.Module:
    """On no device: nothing is allocated."""
    config = node(name) | keys
    vocab_size = vocab_size or config["_published_"]["vocab_size"]
    with torch.device("meta"):
        return build(config, "model", vocab_size=vocab_size, pad_id=0)


def count(*modules: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in torch.nn.ModuleList(modules).parameters())


def heads(model: torch.nn.Module, kind: str) -> list[torch.nn.Module]:
    with torch.device("meta"):
        if kind == "pretraining":
            return [model.vocabulary_head(), *Nsp(cls_id=2, sep_id=3).heads(model).values()]
        makers = {
            "pooler": model.pooler,
            "vocabulary": model.vocabulary_head,
            "rtd": lambda: discriminator_head(model.hidden_size),
        }
        return [makers[kind]()] if kind in makers else []


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_preset_has_the_published_number_of_parameters(name, kind):
    model = preset(name)
    assert count(model, *heads(model, kind)) == SIZES[name][kind]


@pytest.mark.parametrize("name", sorted(SIZES))
def test_the_published_figure_is_near_the_exact_one(name):
    published = node(name)["_published_"].get("parameters")
    nearest = min(SIZES[name].values(), key=lambda exact: abs(exact - (published or exact)))
    # Papers round, and BERT's repository gives 110M for every vocabulary.
    assert published is None or abs(nearest / published - 1) < 0.07 or "multilingual" in name


def test_every_preset_is_counted():
    named = {path.stem for path in (conf_dir() / "model").glob("*.yaml") if "_published_" in node(path.stem)}
    assert named == SIZES.keys() | UNPUBLISHED


def test_layers_of_a_group_share_their_weights():
    block = count(preset("bert", 1000).stack.blocks[0])
    sizes = {groups: count(preset("bert", 1000, num_groups=groups)) for groups in (1, 2, None)}
    assert sizes[2] - sizes[1] == block and sizes[None] - sizes[2] == 2 * block
    with pytest.raises(Exception, match="num_layers=4 cannot be shared equally by num_groups=3"):
        preset("bert", 1000, num_groups=3)


def test_rows_of_the_embedding_are_rounded_up():
    assert preset("megatron_1_2b").vocab_size == 51_200
    assert preset("gpt2", 1000, vocab_multiple=128).vocab_size == 1024
    assert preset("gpt2", 1024, vocab_multiple=128).vocab_size == 1024


def test_the_architectures_of_the_t5_paper_compare_in_parameters():
    width, inner, vocab_size = 256, 1024, 8_192
    attention, feed_forward = 4 * width * width, 2 * width * inner
    encoder, decoder = attention + feed_forward + 2 * width, 2 * attention + feed_forward + 3 * width
    around = vocab_size * width + 32 * 4 + width  # of one stack: embedding, relative positions, last norm
    second = 32 * 4 + width
    assert count(preset("t5", vocab_size)) == around + second + 3 * encoder + 3 * decoder
    assert count(preset("t5", vocab_size, shared=True)) == around + second + 3 * decoder
    assert count(preset("t5_decoder", vocab_size)) == around + 6 * encoder
