"""Replaced-token detection: what is replaced, what is asked and counted, and who learns from which loss."""

import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import lmlab
from lmlab.batch import Batch
from lmlab.corruptions.token_mask import TokenMask
from lmlab.engine.precision import Weights
from lmlab.errors import UserError
from lmlab.loading import load_weights
from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.t5 import T5
from lmlab.objectives.base import Learner
from lmlab.objectives.nsp import Nsp
from lmlab.objectives.rtd import Rtd
from lmlab.objectives.sum import Sum
from lmlab.runs.record import RunFolder
from lmlab.text.features import CONVERTERS
from lmlab.text.passage import Pair, plain

PAD, UNK, CLS, SEP, MASK = range(5)
VOCAB = 300
MARKS = {"cls_id": CLS, "sep_id": SEP}


def rtd(**options) -> Rtd:
    corruption = TokenMask(MASK, VOCAB, frozenset(range(5)), mask_share=1.0, random_share=0.0)
    return Rtd(corruption, Bert(VOCAB, 8, 2, 1, 16), **MARKS, **options)


def learner_of(objective, seed: int = 0) -> Learner:
    torch.manual_seed(seed)
    return Learner(Bert(VOCAB, 16, 2, 2, 32, max_positions=64, embedding_size=12), objective).eval()


def text(length: int, seed: int = 0):
    return plain(np.random.default_rng(seed).integers(5, VOCAB, length))


def pair(seed: int = 0, is_random: bool = False) -> Pair:
    return Pair(text(9, seed), text(12, seed + 1), is_random, (0, int(is_random)))


def batch_of(objective, units) -> Batch:
    (question,) = objective.passes
    examples = [question.example(unit, np.random.default_rng(i)) for i, unit in enumerate(units)]
    batch = CONVERTERS["encoder"](PAD, objective.pools)(examples)
    batch.counts = question.counts(batch)
    return batch


@contextmanager
def shown_to(model: torch.nn.Module):
    """Collect what a model is called with."""
    calls: list[dict] = []
    hook = model.register_forward_pre_hook(lambda module, args, inputs: calls.append(inputs), with_kwargs=True)
    yield calls
    hook.remove()


UNITS = [text(30, 0), text(30, 1), text(17, 2)]


def test_every_real_token_is_asked_and_only_the_noise_can_be_replaced():
    objective = rtd()
    learner, batch = learner_of(objective), batch_of(objective, UNITS)
    noise = batch.inputs["positions"]
    assert (batch.inputs["input_ids"].flatten()[noise] == MASK).all()
    assert batch.counts == {"rtd": 32 + 32 + 19, "generator": 5 + 5 + 3} and len(noise) == 13
    with shown_to(learner.model) as seen:
        hidden, targets = objective.ask(learner.model, learner.heads, batch)
    originals = batch.inputs["input_ids"].flatten().index_copy(0, noise, batch.targets["labels"]).view(3, 32)
    differs = (seen[0]["input_ids"] != originals) & batch.inputs["attention_mask"]
    assert hidden.shape == (83, 16)
    assert torch.equal(targets["replaced"], differs[batch.inputs["attention_mask"]].float())
    assert set(differs.flatten().nonzero().squeeze(1).tolist()) <= set(noise.tolist())


def test_a_draw_that_is_the_original_counts_as_original():
    objective = rtd()
    learner, batch = learner_of(objective), batch_of(objective, UNITS)
    truth = batch.targets["labels"].clone()
    truth[2] = 7 if truth[2] != 7 else 8
    learner.heads["generator_vocabulary"].sample = lambda hidden, generator: truth
    _, targets = objective.ask(learner.model, learner.heads, batch)
    assert targets["replaced"].sum() == 1


def test_the_loss_is_the_papers():
    objective = rtd()
    learner, batch = learner_of(objective), batch_of(objective, UNITS)
    torch.nn.init.normal_(learner.heads["rtd"][2].weight)
    with shown_to(learner.model) as seen:
        metrics = learner.evaluate([batch])
    mask, noise, labels = batch.inputs["attention_mask"], batch.inputs["positions"], batch.targets["labels"]
    shown = {"input_ids": seen[0]["input_ids"], "attention_mask": mask}
    originals = batch.inputs["input_ids"].flatten().index_copy(0, noise, labels).view(3, 32)
    replaced = (shown["input_ids"] != originals).float()[mask]
    logits = learner.heads["rtd"](learner.model(**shown)).squeeze(-1)[mask]
    detection = F.binary_cross_entropy_with_logits(logits, replaced).item()
    generator = learner.heads["generator"](batch.inputs["input_ids"], attention_mask=mask).flatten(0, 1)[noise]
    guess = F.cross_entropy(learner.heads["generator_vocabulary"](generator), labels).item()
    assert metrics["rtd_loss"] == pytest.approx(detection, rel=1e-5)
    assert metrics["generator_loss"] == pytest.approx(guess, rel=1e-5)
    assert metrics["loss"] == pytest.approx(guess + 50 * detection, rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(((logits > 0) == replaced.bool()).float().mean().item())
    assert "perplexity" not in metrics


def test_losses_at_initialisation_are_those_of_chance():
    torch.manual_seed(0)
    objective = Rtd(rtd().corruption, Bert(8192, 64, 2, 1, 256), **MARKS)
    learner = Learner(Bert(8192, 256, 2, 4, 512), objective)
    metrics = learner.evaluate([batch_of(objective, [text(126, seed) for seed in range(16)])])
    assert metrics["rtd_loss"] == pytest.approx(math.log(2), rel=1e-6)
    assert metrics["generator_loss"] == pytest.approx(math.log(8192), rel=0.02)


def test_the_generator_learns_from_its_own_loss_alone():
    objective = rtd()
    learner, batch = learner_of(objective), batch_of(objective, UNITS)
    torch.nn.init.normal_(learner.heads["rtd"][2].weight)
    proposing, scoring = learner.heads["generator"], learner.heads["generator_vocabulary"]
    of_generator = [*proposing.stack.parameters(), *scoring.transform.parameters()]
    losses = learner(batch)
    both = [*of_generator, *learner.model.stack.parameters()]
    from_rtd = torch.autograd.grad(losses["rtd"], both, retain_graph=True, allow_unused=True)
    from_generator = torch.autograd.grad(losses["generator"], both, retain_graph=True, allow_unused=True)
    count = len(of_generator)
    assert all(grad is None for grad in from_rtd[:count]) and all(grad is not None for grad in from_rtd[count:])
    assert all(grad is not None for grad in from_generator[:count]) and all(g is None for g in from_generator[count:])
    embedding = learner.model.embeddings.tokens.weight  # which all three share
    assert proposing.embeddings.tokens.weight is embedding is scoring.weight
    for loss in losses.values():
        assert torch.autograd.grad(loss, embedding, retain_graph=True)[0].abs().sum() > 0


def test_training_draws_anew_and_validation_always_the_same():
    learner, batch = learner_of(rtd()), batch_of(rtd(), UNITS)
    before = torch.get_rng_state()
    first = learner.evaluate([batch])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert learner.evaluate([batch]) == first
    learner.train()
    with shown_to(learner.model) as seen:
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            learner(batch)
    first, same, other = (each["input_ids"] for each in seen)
    assert torch.equal(first, same) and not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shared_weights_are_counted_saved_and_moved_once(dtype):
    objective = rtd()
    learner, batch = learner_of(objective), batch_of(objective, UNITS)
    weights = Weights(learner, dtype)
    proposing, scoring = learner.heads["generator"], learner.heads["generator_vocabulary"]
    own = [*proposing.stack.parameters(), *proposing.embeddings.projection.parameters()]
    own += [*scoring.transform.parameters(), scoring.bias]
    parts = [*learner.model.parameters(), *learner.heads["rtd"].parameters(), *own]
    assert sum(weight.numel() for weight in weights.masters.values()) == sum(part.numel() for part in parts)
    sum(learner.train()(batch).values()).backward()
    weights.absorb_gradients()
    for master in weights.trainable:
        master.data.sub_(0.1 * master.grad)
    weights.publish()
    assert proposing.embeddings.tokens.weight is learner.model.embeddings.tokens.weight
    published, master = (
        learner.model.embeddings.tokens.weight.float(),
        weights.masters["model.embeddings.tokens.weight"],
    )
    torch.testing.assert_close(published, master, rtol=0.01, atol=1e-3)
    other = learner_of(rtd(), seed=1)
    load_weights(other, weights.state_dict())
    for name, weight in other.state_dict().items():
        torch.testing.assert_close(weight, learner.state_dict()[name].float(), rtol=0.01, atol=1e-3)


def test_pairs_and_a_sum_with_next_sentence_prediction():
    objective = Sum({"rtd": rtd(), "nsp": Nsp(**MARKS)})
    learner = learner_of(objective)
    batch = batch_of(objective, [pair(0), pair(1, is_random=True)])
    assert batch.counts == {"nsp": 2, "rtd": 48, "rtd_generator": 8}
    with shown_to(learner.model) as seen:
        metrics = learner.evaluate([batch])
    shown = {name: seen[0][name] for name in ("input_ids", "segment_ids")}
    assert shown["segment_ids"].sum() == 2 * 13
    first_tokens, labels = learner.model(**shown)[:, 0], {"sentence_labels": torch.tensor([0, 1])}
    expected = Nsp(**MARKS).losses(first_tokens, learner.heads, labels)["nsp"].item() / 2
    assert metrics["nsp_loss"] == pytest.approx(expected, rel=1e-5)
    total = 50 * metrics["rtd_loss"] + metrics["rtd_generator_loss"] + metrics["nsp_loss"]
    assert metrics["loss"] == pytest.approx(total)
    losses = learner(batch)  # in evaluation too, so the draws are the same
    assert sum(loss.item() / batch.counts[term] for term, loss in losses.items()) == pytest.approx(total, rel=1e-5)


def test_generators_that_cannot_be_are_refused():
    corruption = rtd().corruption
    with pytest.raises(ValueError, match="must be an encoder, not a decoder"):
        Rtd(corruption, Gpt(VOCAB, 8, 1, 1), **MARKS)
    with pytest.raises(ValueError, match="discriminator_weight=0 must be above 0"):
        rtd(discriminator_weight=0)
    with pytest.raises(UserError, match="T5 has no embeddings"):
        rtd().heads(T5(VOCAB, hidden_size=8, num_layers=1, num_heads=1))


# ---- whole runs

TINY = (
    "model=bert",
    "objective=rtd",
    "model.hidden_size=32",
    "model.num_layers=1",
    "model.num_heads=2",
    "model.intermediate_size=64",
    "objective.generator.hidden_size=16",
    "objective.generator.num_layers=1",
    "objective.generator.intermediate_size=32",
    "tokenizer.vocab_size=500",
    "trainer=debug",
    "trainer.batch_tokens=256",
    "trainer.eval_tokens=512",
    "trainer.device=cpu",
    "schedule=constant",
    "schedule.warmup_steps=2",
)


def last_weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(run.path / "checkpoints" / "last" / "model.safetensors")


@pytest.mark.slow
def test_a_run_is_resumed_to_the_bit_and_leaves_the_discriminator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def pretrain(name: str, *words: str) -> RunFolder:
        return lmlab.run("pretrain", [*TINY, f"hydra.run.dir=outputs/pretrain/day/{name}", *words])

    whole = pretrain("whole", "trainer.max_steps=6")
    half = pretrain("half", "trainer.max_steps=3")
    resumed = pretrain("again", "trainer.max_steps=6", f"resume={half.path}")
    weights = last_weights(whole)
    assert all(torch.equal(weight, weights[name]) for name, weight in last_weights(resumed).items())
    summary = whole.read_summary()
    assert (summary["status"], summary["corruption"]) == ("finished", "mask_only")
    assert summary["parameters"]["total"] == sum(weight.numel() for weight in weights.values())
    model = lmlab.load(whole.path).model
    assert model.hidden_size == 32
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, weights[f"model.{name}"])
