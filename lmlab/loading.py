"""A trained model with its tokenizer, ready to be asked: `lmlab.load(run)`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from torch import Tensor, nn

from lmlab import huggingface
from lmlab.config.assemble import as_trained, build_formulation, build_learner, tokenizer_facts
from lmlab.config.build import build
from lmlab.config.check import trait
from lmlab.engine.checkpoint import WEIGHTS, verify
from lmlab.errors import UserError
from lmlab.formulations.base import Formulation
from lmlab.models.decoding import continue_tokens, decoder_steps, encoder_decoder_steps
from lmlab.objectives.base import Learner
from lmlab.runs import find
from lmlab.runs.record import RunFolder
from lmlab.tasks.base import Task
from lmlab.text.tokenizer import Tokenizer

BLANK = re.compile(r"\[MASK\]|<mask>|<extra_id_\d+>")  # what people write for a blank, whatever the tokenizer calls it
MAX_FILL_TOKENS = 12  # of one blank, for models that fill it with several


class Candidate(NamedTuple):
    """What may stand in a blank, and how likely it is."""

    text: str
    probability: float


@dataclass
class LanguageModel:
    """A model, the heads it was trained with, and its tokenizer.

    Attributes:
        learner: model, heads and objective.
        tokenizer: text to ids and back.
        config: of the run that trained it.
        run: its folder, or None where there is none, or while it is still training.
        source: "hf:..." for a model in the Hugging Face format.
        name: what summaries and tables call that.
        labels: names of the classes that its head for a task tells apart, where it has one.
    """

    learner: Learner
    tokenizer: Tokenizer
    config: DictConfig
    run: RunFolder | None = None
    source: str | None = None
    name: str | None = None
    labels: list[str] | None = None

    @property
    def model(self) -> nn.Module:
        """The network without heads."""
        return self.learner.model

    @property
    def heads(self) -> nn.ModuleDict:
        """The heads by name."""
        return self.learner.heads

    @property
    def origin(self) -> str:
        """Where it was loaded from."""
        return self.source or str(self.run.path)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.learner.parameters()).device

    @property
    def context(self) -> int | None:
        """The longest sequence whose learned positions were trained; None for models with relative positions."""
        if self.model.max_positions is None:
            return None
        trained = self.learner.objective.sequence_length(self.config.seq_len, self.model.layout)
        return min(self.model.max_positions, trained)

    @torch.no_grad()
    def logits(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, decoder_input_ids: Tensor | None = None
    ) -> Tensor:
        """Scores of the vocabulary at every position: (B, T, V)."""
        return self._head()(self.model(**_given(input_ids, attention_mask, decoder_input_ids)))

    @torch.no_grad()
    def hidden_states(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, decoder_input_ids: Tensor | None = None
    ) -> list[Tensor]:
        """One (B, T, H) a layer, the embeddings first."""
        return self.model.hidden_states(**_given(input_ids, attention_mask, decoder_input_ids))

    # ---- filling blanks

    def fill(self, text: str, top_k: int = 5) -> list[list[Candidate]]:
        """The `top_k` most likely contents of every blank of `text`, best first.

        A blank is written [MASK]; <mask> and <extra_id_0> mean the same. An encoder fills each blank with one token,
        all other blanks being blank too; an encoder-decoder writes as many tokens as it likes and gives one answer.

        Raises UserError when there is no blank, the text is too long, or the model was not trained for it.
        """
        if not can(self.config, "fill"):
            raise UserError(f"this model fills no blanks; it was trained to {_abilities(self.config)}")
        if not BLANK.search(text):
            raise UserError("the text has no blank: write [MASK] where one is, as in 'Return a new [MASK] object.'")
        return self._fill_one_token(text, top_k) if self.model.layout == "encoder" else self._fill_spans(text)

    @torch.no_grad()
    def _fill_one_token(self, text: str, top_k: int) -> list[list[Candidate]]:
        tokenizer = self.tokenizer
        blank = tokenizer.token(tokenizer.mask_id)
        ids = [tokenizer.cls_id, *tokenizer.encode(BLANK.sub(lambda _: blank, text)), tokenizer.sep_id]
        self._refuse_too_long(ids)
        input_ids = torch.tensor([ids], device=self.device)
        positions = (input_ids[0] == tokenizer.mask_id).nonzero().squeeze(1)
        logits = self._head()(self.model(input_ids, positions=positions)).float()
        logits[:, sorted(self._no_text)] = -torch.inf
        best = logits.softmax(dim=-1).topk(min(top_k, logits.shape[-1]))
        return [
            [Candidate(self._piece(id), p) for id, p in zip(row_ids, row, strict=True)]
            for row_ids, row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _piece(self, id: int) -> str:
        """A token as a person reads it; a WordPiece that goes on a word keeps its ##."""
        token = self.tokenizer.token(id)
        return token if token.startswith("##") else self.tokenizer.decode([id]).strip() or token

    @torch.no_grad()
    def _fill_spans(self, text: str) -> list[list[Candidate]]:
        sentinels = iter(self.tokenizer.sentinel_ids)
        texts = BLANK.split(text)
        if len(texts) - 1 > len(self.tokenizer.sentinel_ids):
            raise UserError(f"the text has {len(texts) - 1} blanks, the tokenizer {len(self.tokenizer.sentinel_ids)}")
        ids = self.tokenizer.encode(texts[0])
        asked = []
        for part in texts[1:]:
            asked.append(next(sentinels))
            ids += [asked[-1], *self.tokenizer.encode(part)]
        ids.append(self.tokenizer.eos_id)
        self._refuse_too_long(ids)
        input_ids = torch.tensor([ids], device=self.device)
        written = torch.tensor([[self.model.start_id]], device=self.device)
        answers = []
        for sentinel in asked:
            # The sentinel is put down for the model; what it writes up to the next one, or the end, is the answer.
            written = torch.cat([written, torch.tensor([[sentinel]], device=self.device)], dim=1)
            answer, probability = self._write_span(input_ids, written)
            written = torch.cat([written, torch.tensor([answer], dtype=torch.long, device=self.device)], dim=1)
            answers.append([Candidate(self.tokenizer.decode(answer).strip(), probability)])
        return answers

    def _write_span(self, input_ids: Tensor, written: Tensor) -> tuple[list[int], float]:
        step = encoder_decoder_steps(self.model, input_ids)
        answer, log_probability, no_text = [], 0.0, self._no_text
        while len(answer) < MAX_FILL_TOKENS and self._has_room(written):
            log_probabilities = self._head()(step(written)).float().log_softmax(dim=-1)[0]
            best = int(log_probabilities.argmax())
            if best in no_text:
                break
            answer.append(best)
            log_probability += float(log_probabilities[best])
            written = torch.cat([written, torch.tensor([[best]], device=self.device)], dim=1)
        return answer, float(torch.tensor(log_probability).exp())

    # ---- continuing a text

    def generate(
        self,
        prompt: str,
        max_new_tokens: int = 64,
        temperature: float = 0.8,
        top_k: int | None = 40,
        top_p: float = 1.0,
        seed: int = 0,
        num_samples: int = 1,
    ) -> list[str]:
        """`num_samples` continuations of `prompt`, without the prompt itself; temperature 0 takes the likeliest.

        Raises UserError when the model was not trained to continue text.
        """
        rows = list(self.stream(prompt, max_new_tokens, temperature, top_k, top_p, seed, num_samples))
        tokens = torch.stack(rows, dim=1).tolist() if rows else [[]] * num_samples
        return [self._text(row) for row in tokens]

    def _text(self, ids: list[int]) -> str:
        """Up to the end token."""
        end = self.tokenizer.eos_id
        return self.tokenizer.decode(ids[: ids.index(end)] if end in ids else ids)

    @torch.no_grad()
    def stream(
        self,
        prompt: str,
        max_new_tokens: int,
        temperature: float,
        top_k: int | None,
        top_p: float,
        seed: int,
        num_samples: int,
    ) -> Iterator[Tensor]:
        """Yield the next token of each sample, (num_samples,), as soon as it is drawn."""
        if not can(self.config, "generate"):
            raise UserError(f"this model continues no text; it was trained to {_abilities(self.config)}")
        ids = self.learner.objective.prompt(prompt, self.tokenizer)
        ids = ids or [self.tokenizer.eos_id]  # after an end, a new document begins
        never = self._no_text - {self.tokenizer.eos_id}
        read = torch.tensor([ids] * num_samples, device=self.device)
        if self.model.layout == "decoder":
            steps, written = decoder_steps(self.model, self.context, self.learner.objective.sees_inputs_whole), read
        else:
            self._refuse_too_long(ids)
            steps, written = encoder_decoder_steps(self.model, read), torch.full_like(read[:, :1], self.model.start_id)
            max_new_tokens = min(max_new_tokens, self.context or max_new_tokens)
        return continue_tokens(
            steps,
            self._head(),
            written,
            max_new_tokens,
            stop_id=self.tokenizer.eos_id,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generator=torch.Generator(self.device).manual_seed(seed),
            banned_ids=torch.tensor(sorted(never), dtype=torch.long, device=self.device),
        )

    @property
    def _no_text(self) -> set[int]:
        """Ids that stand for no text: special tokens, and rows of the embedding beyond the vocabulary."""
        return self.tokenizer.special_ids | set(range(self.tokenizer.vocab_size, self.model.vocab_size))

    def _head(self) -> nn.Module:
        if "vocabulary" not in self.heads:
            raise UserError(f"this model does not predict words; it has the heads {', '.join(self.heads) or 'none'}")
        return self.heads["vocabulary"]

    def _has_room(self, written: Tensor) -> bool:
        """Whether the decoder has a position for one more token than those in `written` (B, T)."""
        return self.context is None or written.shape[1] <= self.context

    def _refuse_too_long(self, ids: list[int]) -> None:
        if self.context is not None and len(ids) > self.context:
            raise UserError(
                f"the text has {len(ids)} tokens, but the model was trained on sequences of {self.context}: shorten it"
            )


def _given(input_ids: Tensor, attention_mask: Tensor | None, decoder_input_ids: Tensor | None) -> dict[str, Tensor]:
    inputs = {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "decoder_input_ids": decoder_input_ids,
    }
    return {name: tensor for name, tensor in inputs.items() if tensor is not None}


# ---- finding and reading runs


def load(source: str | Path | RunFolder = "latest") -> LanguageModel:
    """Load a pre-trained model, in fp32 and for evaluation.

    Args:
        source: the run of `lmlab pretrain` that trained it, its folder, or "latest"; "hf:<folder or hub name>" for a
            model in the Hugging Face format.

    Raises:
        UserError: there is no such run, or it has no checkpoint that is whole.
    """
    if huggingface.is_named(source):
        return load_published(str(source))
    reference = source.path if isinstance(source, RunFolder) else source
    return load_run(find.resolve(reference, is_pretrained, "a pre-trained model"))


def load_published(reference: str) -> LanguageModel:
    """Load a model in the Hugging Face format, with the heads that its folder holds."""
    found = huggingface.load(reference)
    return LanguageModel(
        found.learner, found.tokenizer, found.config, source=reference, name=found.name, labels=found.labels
    )


def load_run(run: RunFolder) -> LanguageModel:
    """Load the best checkpoint of a pre-training run, or its last one."""
    config = OmegaConf.create(run.config())
    tokenizer = Tokenizer.load(run.path / "tokenizer.json")
    learner = build_learner(config, tokenizer)
    load_weights(learner, read_weights(run))
    return LanguageModel(learner.eval(), tokenizer, config, run)


def load_finetuned(run: RunFolder, config: DictConfig, task: Task) -> tuple[nn.Module, Formulation, Tokenizer]:
    """The learner of a fine-tuned run with its best checkpoint, its formulation and its tokenizer.

    Args:
        config: of the run.
        task: what is asked of it: its own task, or one that its head can answer.
    """
    tokenizer = Tokenizer.load(run.path / "tokenizer.json")
    formulation = build_formulation(as_trained(config).formulation, config.get("template"))
    model = build(config.model, **tokenizer_facts(tokenizer))
    learner = formulation.learner(model, task, tokenizer)
    load_weights(learner, read_weights(run))
    return learner.eval(), formulation, tokenizer


def read_weights(run: RunFolder) -> dict[str, Tensor]:
    """The weights of a run's best checkpoint, or of its last one where none is marked."""
    for name in ("best", "last"):
        folder = run.checkpoints / name
        if (folder / WEIGHTS).exists():
            try:
                verify(folder)
            except ValueError as error:
                raise UserError(f"{folder.resolve()} is torn ({error}); name another run with run=") from error
            return load_file(folder / WEIGHTS)
    raise UserError(f"{run.path} has no checkpoint: it was stopped before the first one was saved")


def load_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy weights saved under a module's parameter names into it; a tied weight is saved under its first name.

    Raises UserError that names what is missing, left over, or of another shape.
    """
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    problems = [f"missing: {name}" for name in own.keys() - weights.keys()]
    problems += [f"left over: {name}" for name in weights.keys() - own.keys()]
    problems += [
        f"{name}: {tuple(weights[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own.keys() & weights.keys()
        if own[name].shape != weights[name].shape
    ]
    if problems:
        raise UserError("the weights do not fit the model:\n  " + "\n  ".join(sorted(problems)[:12]))
    with torch.no_grad():
        for name, target in own.items():
            target.copy_(weights[name])


def is_pretrained(run: RunFolder) -> bool:
    """Whether the run is one of `lmlab pretrain` with a checkpoint."""
    return run.read_summary()["command"] == "pretrain" and run.has_checkpoint()


def can(config: Any, ability: str) -> bool:
    """Whether a model trained by this config can "fill" or "generate"."""
    objective = OmegaConf.to_container(config.objective) if isinstance(config, DictConfig) else config["objective"]
    model = OmegaConf.to_container(config.model) if isinstance(config, DictConfig) else config["model"]
    layout = trait(model, "layout")[0]
    return any((layout, ability) in answers for answers in trait(objective, "answers"))


def run_that_can(ability: str, reference: str) -> LanguageModel:
    """The run that `reference` names; for "latest" the newest one with the ability."""

    def fits(run: RunFolder) -> bool:
        return is_pretrained(run) and can(run.config(), ability)

    wanted = {"fill": "a model that fills blanks (objective=mlm)", "generate": "a model that continues text"}[ability]
    if str(reference) == "latest":
        return load_run(find.resolve(reference, fits, wanted))
    return load(reference)


def _abilities(config: DictConfig) -> str:
    names = {"fill": "fill blanks (lmlab fill)", "generate": "continue text (lmlab generate)"}
    return " and ".join(text for ability, text in names.items() if can(config, ability)) or "neither fill nor generate"
