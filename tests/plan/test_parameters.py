"""Parameters by part, and the published counts."""

import sys

import pytest
import torch
from planned import LAPTOP, SMALL, skeleton, with_weights

from lmlab.config.options import read_option, search_folders
from lmlab.config.planning import objective_for
from lmlab.errors import UserError
from lmlab.plan.parts import depths_of, parameters_of, repeated_in
from lmlab.plan.published import Published
from lmlab.runs.record import defines_experiment

# The exact numbers of reference implementations; for ELECTRA those of the discriminator with its head.
EXACT = {
    "bert_large": 336_226_108,
    "electra_base": 109_483_009,
    "albert_xxlarge": 223_158_450,
    "gpt2_xl": 1_557_611_200,
    "gpt3_175b": 174_604_259_328,
    "t5_11b": 11_307_321_344,
    "bart_large": 406_291_456,
}


@pytest.mark.parametrize("family", LAPTOP)
def test_parts_make_up_the_whole_and_a_skeleton_has_the_shapes_of_the_real_one(family):
    words = (*SMALL, *LAPTOP[family])
    learner, bare = with_weights(*words)[0], skeleton(*words)
    assert parameters_of(bare) == parameters_of(learner)
    assert parameters_of(bare).total() == sum(weight.numel() for weight in learner.parameters())
    shapes = {name: weight.shape for name, weight in learner.named_parameters()}
    assert {name: weight.shape for name, weight in bare.named_parameters()} == shapes
    assert all(weight.is_meta for weight in bare.parameters())


@pytest.mark.parametrize("name", EXACT)
def test_presets_have_their_exact_number_of_parameters(name):
    node = read_option("model", name, search_folders())
    learner = skeleton(f"model={name}", f"objective={objective_for(node)}")
    published = Published.of(node)
    assert published.count(learner) == EXACT[name]
    assert published.parameters == pytest.approx(EXACT[name], rel=0.06)


def test_parts_are_named_for_what_they_do():
    parts = parameters_of(skeleton("model=t5_base", "objective=span_corruption"))
    assert parts["encoder: attention"] == parts["decoder: cross-attention"] == 12 * 4 * 768 * 768
    assert parts["decoder: feed-forward"] == 12 * 2 * 768 * 3072
    assert parts["decoder: norms"] == (3 * 12 + 1) * 768 and parts["relative positions"] == 2 * 32 * 12
    assert parts["embeddings"] == 32_128 * 768 and "head: vocabulary" not in parts
    assert depths_of(skeleton("model=t5_base", "objective=span_corruption").model) == "12+12"
    rtd = parameters_of(skeleton("model=electra_small", "objective=rtd"))
    assert rtd["head: rtd"] == 256 * 256 + 256 + 256 + 1 and rtd["head: generator"] > 0


def test_shared_layers_count_once_and_bottlenecks_have_a_name():
    albert = parameters_of(skeleton("model=albert_base", "objective=mlm_sop"))
    assert albert["encoder: attention"] == 4 * (768 * 768 + 768)
    mobile = parameters_of(skeleton("model=mobilebert_uncased", "objective=mlm"))
    assert mobile["encoder: other maps"] == 24 * ((512 * 128 + 128) + (128 * 512 + 512))


def test_a_shared_layer_is_repeated_as_often_as_it_is_used():
    albert = skeleton("model=albert_base", "objective=mlm_sop").model
    (layer,) = set(albert.stack.blocks)
    assert repeated_in(albert) == 11 * sum(weight.numel() for weight in layer.parameters())
    assert repeated_in(skeleton("model=bert", "objective=mlm").model) == 0
    t5 = [skeleton("model=t5", "objective=span_corruption", f"model.shared={each}").model for each in (True, False)]
    halves = [sum(weight.numel() for weight in model.parameters()) + repeated_in(model) for model in t5]
    assert halves[0] == pytest.approx(halves[1], rel=0.01)


def test_what_is_published_may_be_incomplete_but_not_misspelt():
    assert Published.of({"_target_": "x"}) == Published()
    assert Published.of({"_published_": {"heads": ["rtd"]}}).heads == ("rtd",)
    with pytest.raises(UserError, match=r"_published_\.token: there is no such fact, did you mean 'tokens'"):
        Published.of({"_published_": {"token": 3}})
    with pytest.raises(UserError, match="tokens must be null or a number above 0"):
        Published.of({"_published_": {"tokens": "3e9"}})  # which YAML reads as a text
    learner = skeleton("model=bert", "objective=mlm", "vocab_size=100")
    with pytest.raises(UserError, match="no head 'rtd'; it has vocabulary"):
        Published(heads=("rtd",)).count(learner)


def test_what_is_published_is_no_part_of_an_experiment():
    assert not defines_experiment("model._published_.tokens") and defines_experiment("model.num_layers")


def test_an_objective_is_found_for_every_model():
    assert objective_for(read_option("model", "electra_small", search_folders())) == "rtd"
    assert objective_for({"_target_": "lmlab.models.bert.Bert"}) == "mlm"
    assert objective_for({"_target_": "lmlab.models.gpt.Gpt"}) == "causal_lm"
    with pytest.raises(UserError, match="no objective 'mlm_nps', did you mean 'mlm_nsp'"):
        objective_for({"_published_": {"objective": "mlm_nps"}})


def test_nothing_is_drawn_and_the_generator_of_random_numbers_is_left_alone():
    before = torch.random.get_rng_state()
    skeleton("model=bert", "objective=mlm", "vocab_size=100")
    assert torch.equal(before, torch.random.get_rng_state())
    assert "matplotlib.pyplot" not in sys.modules
