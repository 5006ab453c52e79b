"""A model goes on from a prompt as it was trained to: what it reads in both directions, and what it writes."""

import pytest
import torch
from omegaconf import OmegaConf

from lmlab.errors import UserError
from lmlab.loading import LanguageModel
from lmlab.models.decoding import decoder_steps
from lmlab.models.gpt import Gpt
from lmlab.models.t5 import T5
from lmlab.objectives.base import Learner
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.field_lm import FieldLm
from lmlab.objectives.prefix_lm import PrefixLm
from lmlab.objectives.sum import Sum
from lmlab.text.tokenizers import Char

PROMPT = "the model reads"
TOKENIZER = Char(num_sentinels=4).train(["the model reads a prompt and writes what follows"])


def language_model(make_model, objective) -> LanguageModel:
    torch.manual_seed(3)
    model = make_model(TOKENIZER.vocab_size)
    learner = Learner(model, objective).eval()
    for parameter in learner.parameters():  # far from the start, where all tokens are as likely
        parameter.data.mul_(2)
    kind, path = type(model), type(objective)
    nodes = {"model": kind, "objective": path}
    config = {name: {"_target_": f"{each.__module__}.{each.__name__}"} for name, each in nodes.items()}
    if isinstance(objective, Sum):
        config["objective"]["parts"] = {
            name: {"_target_": f"{type(part).__module__}.{type(part).__name__}"}
            for name, part in objective.parts.items()
        }
    return LanguageModel(learner, TOKENIZER, OmegaConf.create(config | {"seq_len": 64}))


def field_lm() -> FieldLm:
    return FieldLm(["title", "author", "text"], TOKENIZER.sentinel_ids, TOKENIZER.eos_id)


def gpt(vocab_size: int, **settings) -> Gpt:
    return Gpt(vocab_size, 32, 2, 2, max_positions=64, init_std=0.2, **settings)


def t5(vocab_size: int) -> T5:
    return T5(vocab_size, 0, 32, 2, 2, 2, 16, 64, tied=False)


def written(model: LanguageModel, next_logits, start: list[int], num_tokens: int = 12) -> str:
    """The likeliest token, step by step, each from whole forward passes."""
    never = sorted(model.tokenizer.special_ids - {model.tokenizer.eos_id})
    ids = list(start)
    for _ in range(num_tokens):
        logits = next_logits(torch.tensor([ids]))
        logits[never] = -torch.inf
        ids.append(int(logits.argmax()))
        if ids[-1] == model.tokenizer.eos_id:
            break
    return model._text(ids[len(start) :])


def decoder_logits(model: LanguageModel, prompt: list[int], prefix: bool):
    def next_logits(ids):
        mask = (torch.arange(ids.shape[1]) < len(prompt))[None] if prefix else None
        with torch.no_grad():
            return model.heads["vocabulary"](model.model(ids, prefix_mask=mask))[0, -1]

    return next_logits


@pytest.mark.parametrize(("objective", "prefix"), [
    (CausalLm(), False), (PrefixLm(), True), (Sum({"prefix": PrefixLm()}), True),
], ids=["causal_lm", "prefix_lm", "sum"])  # fmt: skip
def test_a_decoder_reads_the_prompt_as_it_was_trained(objective, prefix):
    model = language_model(gpt, objective)
    ids = model.tokenizer.encode(PROMPT)
    expected, other = (written(model, decoder_logits(model, ids, each), ids) for each in (prefix, not prefix))
    assert model.generate(PROMPT, max_new_tokens=12, temperature=0) == [expected]
    assert expected != other


def test_a_decoder_without_bidirectional_prefix_reads_it_from_left_to_right():
    model = language_model(lambda size: gpt(size, bidirectional_prefix=False), PrefixLm())
    ids = model.tokenizer.encode(PROMPT)
    expected = written(model, decoder_logits(model, ids, prefix=False), ids)
    assert model.generate(PROMPT, max_new_tokens=12, temperature=0) == [expected]


def test_an_encoder_decoder_encodes_the_prompt_and_writes_what_follows():
    model = language_model(t5, PrefixLm())
    read = torch.tensor([model.tokenizer.encode(PROMPT)])
    expected = written(model, lambda ids: model.logits(read, decoder_input_ids=ids)[0, -1], [model.model.start_id])
    assert expected
    assert model.generate(PROMPT, max_new_tokens=12, temperature=0, num_samples=2) == [expected] * 2
    assert model.generate("reads", max_new_tokens=12, temperature=0) != [expected]


def test_a_window_that_is_read_anew_is_a_prefix_again():
    torch.manual_seed(0)
    model = Gpt(50, 16, 2, 2, max_positions=8).eval()
    tokens = torch.randint(50, (1, 12))
    step = decoder_steps(model, 8, sees_prompt_whole=True)
    with torch.no_grad():
        for length in range(5, 13):
            hidden = step(tokens[:, :length])
            start, prefix = (0, 5) if length <= 8 else (5, 4)  # at 9 tokens, the last four are read anew
            seen = tokens[:, start:length]
            mask = (torch.arange(seen.shape[1]) < prefix)[None]
            torch.testing.assert_close(hidden, model(seen, prefix_mask=mask)[:, -1])


# --- fields ---


def test_a_prompt_of_fields_is_laid_out_as_in_training():
    title, author, text = TOKENIZER.sentinel_ids[:3]
    tea, end = TOKENIZER.encode("tea"), TOKENIZER.eos_id
    cases = {
        "<title>tea<author>": [title, *tea, end, author],
        " <text> tea <title> tea": [text, *tea, end, title, *tea],
        "tea": [text, *tea],
        "tea<author>tea": [text, *tea, end, author, *tea],
        "": [text],
    }
    for prompt, expected in cases.items():
        assert field_lm().prompt(prompt, TOKENIZER) == expected
    with pytest.raises(UserError, match="<titel> is no field; this model knows <title>, <author>, <text>, did you"):
        field_lm().prompt("<titel>tea<text>", TOKENIZER)


def test_a_model_goes_on_from_the_fields_that_are_given():
    model = language_model(gpt, field_lm())
    for prompt in ("<title>the model<text>", "<text>the model<title>"):
        ids = model.learner.objective.prompt(prompt, model.tokenizer)
        expected = written(model, decoder_logits(model, ids, prefix=False), ids)
        assert model.generate(prompt, max_new_tokens=12, temperature=0) == [expected]
