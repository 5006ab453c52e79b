"""Every option of every group: composed, found, bound to its class, explained; misfits refused."""

import re
from functools import cache
from pathlib import Path
from typing import Literal

import pytest
from omegaconf import OmegaConf

from lmlab.config import conf_dir
from lmlab.config.binding import binding_problems
from lmlab.config.build import build, target_of
from lmlab.config.check import check, check_formulation
from lmlab.config.explain import explain
from lmlab.config.fitting import layouts_of
from lmlab.config.nodes import nodes
from lmlab.config.options import first_comment, option_files, root_groups, search_folders, top_keys
from lmlab.config.schema import ROOTS, Trainer, allowed_words, compose
from lmlab.errors import UserError


def belongs_to(command, group, option, path):
    """Whether an option is tried with this command; an experiment says in its comments which one it is for."""
    if group == "experiment":
        return f"lmlab {command} experiment={option}" in path.read_text()
    return command == "pretrain" or group in ("task", "formulation", "ensemble", "tuning")


OPTIONS = [  # the many tasks only where time does not matter; tests/tasks builds them, too
    pytest.param((command, group, option), marks=[pytest.mark.slow] if group == "task" else [])
    for command in ("finetune", "pretrain")
    for group in root_groups(command)
    for option, path in option_files(group, search_folders()).items()
    if belongs_to(command, group, option, path)
]
YAMLS = sorted(path.relative_to(conf_dir()).as_posix() for path in conf_dir().rglob("*.yaml"))
ONE_OF_EACH_LAYOUT = ("bert", "gpt", "t5")
FIELDS = "corpus.fields=[module,text]"  # for the objective that reads fields; all others read them as one text


def named(case):
    return "=".join(case[1:])


# --- files ---


@pytest.mark.parametrize("yaml", YAMLS)
def test_a_file_says_what_it_is_and_what_its_keys_mean(yaml):
    path = conf_dir() / yaml
    assert first_comment(path)
    assert "\t" not in path.read_text()
    if not yaml.startswith("experiment/"):  # an experiment sets keys that are explained where they are defined
        bare = [key.name for key in top_keys(path) if not key.comment and key.value not in ("",)]
        assert not set(bare) - {"_target_", "name"}


def test_every_folder_is_a_group_of_some_command():
    groups = {group for command in ROOTS for group in root_groups(command)}
    assert {path.name for path in conf_dir().iterdir() if path.is_dir()} <= groups


@pytest.mark.parametrize("case", OPTIONS, ids=named)
def test_an_option_composes_and_binds_to_its_class(case):
    command, group, option = case
    config = compose(command, [f"{group}={option}"])
    problems = [
        problem
        for key in ([group] if group != "experiment" else root_groups(command))
        if key != "experiment" and config[key] is not None  # a group that may be left out
        for problem in binding_problems(OmegaConf.to_container(config[key], resolve=True), key)
    ]
    assert problems == []
    if group not in ("trainer", "experiment"):
        assert list(nodes(OmegaConf.to_container(config[group], resolve=True), group))


@pytest.mark.parametrize("command", ROOTS)
def test_a_root_composes_as_it_is(command):
    config = compose(command)
    assert config.hydra.job.name == command
    check(config)


def test_every_key_of_the_roots_and_the_trainer_is_read_somewhere():
    package = conf_dir().parent / "lmlab" if conf_dir().name == "conf" else conf_dir().parent
    source = "\n".join(
        path.read_text() for path in package.rglob("*.py") if path.parent.name != "config" and path.name != "cli.py"
    )
    keys = {name for schema in (*ROOTS.values(), Trainer) for name in schema.__dataclass_fields__} - {"notes"}
    assert not {key for key in keys if not re.search(rf"(\.|\")\b{key}\b|\b{key}=", source)}


def test_defaults_of_the_schema_are_those_of_the_yaml():
    """`trainer=default` leaves no key to a default that stands in Python only."""
    for option in ("default",):
        names = {key.name for key in top_keys(conf_dir() / "trainer" / f"{option}.yaml")}
        assert names == set(Trainer.__dataclass_fields__)


# --- how words find each other ---


def test_an_objective_brings_its_corruption_and_the_command_line_wins():
    assert compose("pretrain", ["objective=mlm"]).hydra.runtime.choices.corruption == "token_mask"
    assert compose("pretrain", ["model=t5", "objective=span_corruption"]).hydra.runtime.choices.corruption == "spans"
    assert compose("pretrain", ["objective=mlm", "corruption=none"]).hydra.runtime.choices.corruption == "none"
    assert compose("pretrain", ["model=gpt", "objective=causal_lm"]).hydra.runtime.choices.corruption == "none"


def test_an_experiment_sets_words_and_the_command_line_wins():
    config = compose("pretrain", ["experiment=nanogpt_cpu"])
    choices = config.hydra.runtime.choices
    assert (choices.model, choices.objective, choices.tokenizer) == ("gpt2", "causal_lm", "char")
    assert (config.trainer.max_steps, config.trainer.batch_size, config.trainer.batch_tokens) == (
        2000,
        12,
        None,
    )
    check(config)
    config = compose("pretrain", ["experiment=nanogpt_cpu", "tokenizer=byte", "trainer.max_steps=3"])
    assert (config.hydra.runtime.choices.tokenizer, config.trainer.max_steps) == ("byte", 3)


@pytest.mark.slow
def test_every_model_and_objective_fit_or_the_refusal_names_what_fits():
    """For one model of each layout: refused exactly where layouts differ, and each proposal is then accepted."""
    objectives = list(option_files("objective", search_folders()))

    @cache
    def fits(model: str, objective: str) -> bool:
        check(compose("pretrain", [f"model={model}", f"objective={objective}", FIELDS]))
        return True

    for model in ONE_OF_EACH_LAYOUT:
        for objective in objectives:
            config = compose("pretrain", [f"model={model}", f"objective={objective}", FIELDS])
            layout = target_of(config.model["_target_"]).layout
            if layout in layouts_of(OmegaConf.to_container(config.objective)):
                assert fits(model, objective)
                continue
            with pytest.raises(UserError) as refused:
                check(config)
            told = str(refused.value)
            proposals = [
                re.search(rf"{what} that fit .*: (.*)\.", told)[1].split(", ") for what in ("Objectives", "Models")
            ]
            assert all(fits(model, other) for other in proposals[0])
            assert all(fits(other, objective) for other in proposals[1][:3])


def refusal(*overrides: str) -> str:
    with pytest.raises(UserError) as refused:
        check(compose("pretrain", list(overrides)))
    return str(refused.value)


def test_a_corruption_that_misfits_is_refused_with_those_that_fit():
    wish = r"must hide or change something and keep the length[^$]*fit: .*token_mask"
    assert re.search(wish, refusal("objective=mlm", "corruption=none"))
    told = refusal("objective=mlm", "corruption=infilling")
    assert re.search("corruption=Infilling does not fit objective=Mlm.*" + wish, told)
    fitting = told.rpartition("fit: ")[2].rstrip(".").split(", ")
    assert {"whole_word", "spans"} <= set(fitting) and not {"infilling", "deletion", "drop", "none"} & set(fitting)
    told = refusal("model=t5", "objective=drop_spans", "corruption=rotation")
    assert "hide or change something and choose a part of the text" in told and "drop" in told.rpartition("fit: ")[2]
    told = refusal("model=gpt", "objective=causal_lm", "corruption=token_mask")
    assert told.endswith("must hide nothing.\nCorruptions that fit: none.")


DROP_DEFAULTS = ("~objective@objective.parts.span_corruption", "~objective@objective.parts.prefix_lm")


def test_a_sum_is_put_together_on_the_command_line():
    config = compose("pretrain", [
        "objective=sum", *DROP_DEFAULTS, "+objective@objective.parts.mlm=mlm", "+objective@objective.parts.sop=sop",
        "+objective.weights.sop=0.5",
    ])  # fmt: skip
    check(config)
    assert list(config.objective.parts) == ["mlm", "sop"] and config.objective.weights == {"sop": 0.5}
    assert config.hydra.runtime.choices.corruption == "token_mask"


def test_each_part_of_a_sum_is_held_against_its_own_corruption():
    ul2 = [
        "model=t5", "objective=sum", "corruption=none", "+objective@objective.parts.long=span_corruption",
        "+corruption@objective.parts.long.corruption=spans",
        "+corruption@objective.parts.span_corruption.corruption=spans",
    ]  # fmt: skip
    check(compose("pretrain", ul2))
    told = refusal(*ul2, "corruption@objective.parts.long.corruption=rotation")
    assert "objective.parts.long.corruption=Rotation does not fit objective.parts.long" in told
    told = refusal(*ul2[:-1])  # the last part is left to the corruption of the root, which is none
    assert "corruption=NoCorruption does not fit objective=Sum" in told
    told = refusal(*ul2, "objective.parts.long.corruption.rate=2")
    assert told == "objective.parts.long.corruption: rate=2 must lie in (0, 1)"


def test_parts_of_a_sum_that_disagree_are_refused():
    told = refusal("objective=mlm_nsp", "+objective@objective.parts.sop=sop")
    assert "objective.parts.nsp reads a sentence_pair, objective.parts.sop reads a consecutive_pair" in told
    told = refusal("objective=mlm_nsp", "+objective@objective.parts.lm=prefix_lm")
    assert "no model fits all parts" in told and "objective.parts.lm encoder-decoder or decoder" in told
    told = refusal("model=gpt", "objective=sum", DROP_DEFAULTS[0], "+objective@objective.parts.fields=field_lm", FIELDS)
    assert "objective.parts.prefix_lm reads a block, objective.parts.fields reads a record" in told


SIZE_MISTAKES = {
    ("objective=mlm", "corruption.rate=1.5"): "corruption: rate=1.5 must lie in (0, 1]",
    ("objective=mlm", "corruption.mask_share=-0.1"): "mask_share=-0.1 and random_share=0.1 must be shares of one whole",
    ("model=t5", "objective=span_corruption", "corruption.rate=0"): "corruption: rate=0 must lie in (0, 1)",
    ("model=t5", "objective=denoising", "corruption.parts.infilling.rate=-1"): "corruption.parts.infilling: rate=-1",
    ("model=t5", "objective=span_corruption", "corruption.mean_length=33"): "longer than a whole sequence, seq_len=32",
    ("model=t5", "objective=span_corruption", "corruption.mean_length=10"): "only 5 tokens are hidden, so that no span",
    ("objective=mlm_nsp", "corruption=rotation"): "must hide or change something, keep the length of the text and choo",
    ("objective=mlm", "corruption=geometric_spans", "corruption.max_length=50"): "corruption.max_length=50: such spans",
    ("model=t5", "objective=span_corruption", "tokenizer.num_sentinels=0"): "needs a tokenizer with sentinels",
    ("model=t5", "objective=span_corruption", "tokenizer.num_sentinels=1"): "2 spans need as many sentinels",
    ("model=t5", "objective=span_corruption", "corruption.mean_length=1", "seq_len=1024"): "tokenizer has 100: raise",
    ("model=t5", "objective=span_corruption", "corruption=token_mask", "seq_len=1024"): "130 spans need as many",
    ("model=gpt", "objective=span_corruption", "seq_len=512"): "sequences of up to 625 tokens, inputs and targets",
    ("model=gpt", "objective=denoising", "seq_len=300"): "has 512 positions: lower seq_len, or raise model.max_posit",
    ("model=gpt", "objective=field_lm"): "needs documents made of fields: name the columns with corpus.fields",
    ("model=gpt", "objective=field_lm", FIELDS, "tokenizer.num_sentinels=1"): "2 fields, each marked by a sentinel",
    ("model=gpt", "objective=field_lm", FIELDS, "objective.drop_rate=2"): "objective: drop_rate=2 must lie in [0, 1]",
    ("model=gpt", "objective=field_lm", FIELDS, "seq_len=5"): "seq_len=5 leaves no room for 2 fields: at least 6",
    ("objective=nsp", "objective.positive=first"): "objective.positive must be one of random, next",
    ("objective=sop", "objective.positive=first"): "objective.positive must be one of swapped, in_order",
}  # fmt: skip


@pytest.mark.parametrize("overrides", SIZE_MISTAKES, ids=" ".join)
def test_what_a_class_refuses_is_told_before_anything_is_built(overrides):
    assert SIZE_MISTAKES[overrides] in refusal(*overrides)


def test_sizes_that_misfit_are_all_told():
    with pytest.raises(UserError) as refused:
        check(compose("pretrain", ["model=bert", "seq_len=100000", "model.hidden_size=130", "model.num_heads=4"]))
    told = str(refused.value)
    assert "seq_len=100000" in told and "hidden_size=130" in told and "num_heads=4" in told


TRAINER_MISTAKES = {
    "trainer.max_steps=0": "trainer.max_steps must be above 0, and is 0",
    "trainer.max_minutes=-1": "trainer.max_minutes must be above 0, and is -1.0",
    "trainer.precision=fp33": "one of auto, fp32, bf16, not 'fp33', did you mean 'fp32'",
    "trainer.device=gpu": "trainer.device must be one of auto, cpu, cuda, mps",
    "trainer.best_mode=least": "trainer.best_mode must be one of auto, min, max",
    "trainer.batch_size=8": "batch_tokens and trainer.batch_size are both set",
    "trainer.batch_tokens=null": "batch_tokens or trainer.batch_size must be set",
    "trainer.max_steps=null": "would never end",
    "seq_len=0": "seq_len must be above 0",
    "seed=-1": "seed must not be negative",
}


@pytest.mark.parametrize("override", TRAINER_MISTAKES)
def test_numbers_and_words_of_the_trainer(override):
    with pytest.raises(UserError, match=re.escape(TRAINER_MISTAKES[override])):
        check(compose("pretrain", [override]))


def test_all_problems_are_told_together():
    overrides = [
        "trainer.max_steps=-1",
        "optimizer.lr=fast",
        "+model.depth=3",
        "schedule._target_=lmlab.nowhere.Flat",
    ]
    with pytest.raises(UserError) as refused:
        check(compose("pretrain", overrides))
    told = str(refused.value)
    assert told.startswith("4 problems:")
    for key in ("trainer.max_steps", "optimizer.lr must be", "model.depth", "schedule._target_"):
        assert key in told


def test_an_option_without_a_class_is_told(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "odd.yaml").write_text("hidden_size: 3\n")
    with pytest.raises(UserError, match="names no class: its YAML must have a line such as _target_"):
        check(compose("pretrain", ["model=odd"], config_dir=str(tmp_path)))


def test_formulation_of_a_task():
    config = compose("finetune", ["task=sst2"])
    check_formulation(config.task, config.formulation, "encoder")

    class Narrow:
        @staticmethod
        def serves(kind, layout):
            return layout == "decoder"

    with pytest.raises(UserError, match=r"Narrow does not put a classification task .*\n.*do: cloze, head"):
        check_formulation(config.task, Narrow, "encoder")


def test_words_of_fill_and_generate():
    check(compose("generate", ["temperature=0", "top_k=null"]))
    for override in ("format=xml", "top_k=0", "temperature=-1", "top_p=1.5", "max_new_tokens=0"):
        with pytest.raises(UserError, match=override.partition("=")[0]):
            check(compose("generate", [override]))


def test_words_that_the_schema_allows_are_explained():
    for command, schema in ROOTS.items():
        for key, words in (allowed_words(schema) | allowed_words(Trainer)).items():
            files = [conf_dir() / f"{command}.yaml", conf_dir() / "trainer" / "default.yaml"]
            comments = " ".join(each.comment for file in files for each in top_keys(file) if each.name == key)
            assert all(word in comments for word in words), (key, words)


# --- building ---


class Leaf:
    """Takes a size of its own and facts of the run."""

    def __init__(self, size: int, vocab_size: int, ratio: float = 0.5, mode: Literal["a", "b"] = "a"):
        if size > 9:
            raise ValueError("size must be at most 9")
        self.size, self.vocab_size, self.ratio, self.mode = size, vocab_size, ratio, mode


class Tree:
    """Holds leaves by name and in a list."""

    def __init__(self, parts: dict, more: list, **options):
        self.parts, self.more, self.options = parts, more, options


LEAF = {"_target_": f"{__name__}.Leaf", "size": 3}


def test_build_passes_plain_values_and_only_the_facts_that_are_taken():
    node = {
        "_target_": f"{__name__}.Tree",
        "parts": {"one": LEAF, "plain": {"n": [1, 2]}},
        "more": [LEAF, 7],
        "unit": "${length}",
    }
    config = OmegaConf.create({"length": 5, "tree": node})
    tree = build(config.tree, vocab_size=11, pad_id=0)
    assert (tree.parts["one"].vocab_size, tree.more[0].vocab_size, tree.more[1]) == (11, 11, 7)
    assert type(tree.parts) is dict and type(tree.parts["plain"]["n"]) is list
    assert tree.options == {"unit": 5}
    assert "vocab_size" not in OmegaConf.to_yaml(config)


def test_a_value_in_the_config_is_stronger_than_a_fact():
    assert build(LEAF | {"vocab_size": 5}, vocab_size=11).vocab_size == 5
    assert build(LEAF | {"vocab_size": None}, vocab_size=11).vocab_size == 11


def test_build_tells_where_a_class_refuses():
    config = OmegaConf.create(
        {"tree": {"_target_": f"{__name__}.Tree", "parts": {"one": LEAF | {"size": 10}}, "more": []}}
    )
    with pytest.raises(UserError, match=r"^tree\.parts\.one: size must be at most 9$"):
        build(config.tree, vocab_size=1)
    with pytest.raises(UserError, match=r"^leaf: .*vocab_size"):
        build(LEAF, "leaf")
    with pytest.raises(UserError, match=r"leaf\._target_: .*has no 'Leav', did you mean 'Leaf'"):
        build({"_target_": f"{__name__}.Leav"}, "leaf")
    with pytest.raises(UserError, match=r"there is no module 'nowhere'"):
        build({"_target_": "nowhere.at.All"}, "leaf")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"size": 3.0}, "leaf.size must be an integer, not 3.0"),
        ({"size": True}, "leaf.size must be an integer, not true"),
        ({"ratio": "high"}, "leaf.ratio must be a number, not 'high'"),
        ({"ratio": None}, "leaf.ratio must be a number, not null"),
        ({"mode": "c"}, "leaf.mode must be one of a, b, not 'c'"),
        ({"sise": 3}, "leaf.sise: Leaf takes no 'sise', did you mean 'size'?"),
        ({"ratio": 1, "mode": "b"}, None),
    ],
)
def test_keys_are_held_against_the_signature(keys, problem):
    problems = binding_problems(LEAF | keys, "leaf")
    assert problems == [] if problem is None else problems[0].startswith(problem)


def test_an_unexpected_error_of_hydra_is_still_one_message():
    from hydra.errors import ConfigCompositionException

    error = ConfigCompositionException("Something new.\nSee https://hydra.cc/docs\nConfig search path:\n\tx")
    assert explain(error, "pretrain", []) == "Something new."


def test_roots_name_no_machine():
    for path in Path(conf_dir()).rglob("*.yaml"):
        assert not re.search(r"(^|[\s\"'])/(home|work|tmp|root)/", path.read_text())
