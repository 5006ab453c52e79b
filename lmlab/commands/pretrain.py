"""lmlab pretrain: train a model on plain text, by itself.

lmlab pretrain model=bert objective=mlm
lmlab pretrain model=t5 objective=span_corruption corpus=text corpus.path=book.txt trainer.max_minutes=10
"""

import torch
from omegaconf import DictConfig, OmegaConf

from lmlab import huggingface
from lmlab.audit.start import look_at_the_start
from lmlab.commands.follow import Follower, check_followers, follow, followers
from lmlab.commands.samples import samples
from lmlab.commands.session import Session, relative, say
from lmlab.commands.source import fields_of, refuse_other_fields, with_published
from lmlab.config.assemble import PretrainData, build_corpus, build_learner, build_tokenizer, tokenizer_facts
from lmlab.config.build import build, to_plain
from lmlab.config.check import check
from lmlab.engine.progress import Progress, final_panel
from lmlab.engine.trainer import Trainer
from lmlab.errors import UserError
from lmlab.formatting import duration, short_number
from lmlab.loading import LanguageModel, can, is_pretrained, load, load_weights, read_weights
from lmlab.objectives.base import Learner
from lmlab.runs import find
from lmlab.text.tokenizer import Tokenizer


def main(config: DictConfig) -> float:
    """Run the experiment that `config` describes, and what follows. Returns its best validation loss, for sweepers."""
    config = with_published(config)
    check(config)
    session = Session(config)
    then = followers(session.config)
    best = pretrain(session, then)
    follow(then, session.config, session.run)
    return best


def pretrain(session: Session, then: list[Follower]) -> float:
    """Train; the run is finished afterwards. Returns its best validation loss."""
    config, run = session.config, session.run
    progress = Progress(config.trainer.log_every, write_log=run.write_log)

    corpus = build_corpus(config)
    tokenizer = session.tokenizer() or build_tokenizer(config, corpus)
    torch.manual_seed(config.seed)  # of the initial weights
    learner = build_learner(config, tokenizer)
    check_followers(then, config, run, learner, tokenizer)
    if config.init is not None and not session.resumed:
        start_from(config, learner, tokenizer)
    data = PretrainData(config, corpus, tokenizer, learner.objective, learner.model, tokenizing(progress))
    hashes = {"data_hash": data.data_hash, "tokenizer_hash": tokenizer.hash}
    session.refuse_other_data(hashes["data_hash"])
    batches, validation = data.train_batches(), data.validation_batches()
    facts = tokenizer_facts(tokenizer)
    progress.message(look_at_the_start(batches, learner.objective, learner.model.layout, facts))

    trainer = Trainer(
        learner,
        batches,
        optimizer=build(config.optimizer),
        schedule=build(config.schedule),
        settings=session.settings(to_plain(config.trainer)),
        record=run,
        evaluate=lambda: learner.evaluate(validation),
        seed=config.seed,
        progress=progress,
    )
    run.save_tokenizer(tokenizer)
    metrics = session.train(trainer, **hashes)
    session.finish(trainer, metrics)

    language_model = LanguageModel(learner.eval(), tokenizer, config, run)
    lines = samples(language_model, corpus)
    for line in lines:
        progress.message(line)
    report(session, trainer, metrics)
    best = trainer.state.best_value
    return best if best is not None else metrics["loss"]


def start_from(config: DictConfig, learner: Learner, tokenizer: Tokenizer) -> None:
    """Give the learner the weights of an earlier run, which must have had the same tokenizer, or of a published model.

    Of a published model those heads are taken that it has; others start anew.
    """
    init = config.init
    if huggingface.is_named(init):
        source = load(init)
        learner.model.load_state_dict(source.model.state_dict())
        for name, head in learner.heads.items():
            if name in source.heads:
                head.load_state_dict(source.heads[name].state_dict())
            else:
                say(f"{init} has no head {name}: it starts with fresh weights")
        return
    run = find.resolve(init, is_pretrained, "a pre-trained model")
    refuse_other_fields(OmegaConf.create(run.config()), config)
    if Tokenizer.load(run.path / "tokenizer.json").hash != tokenizer.hash:
        raise UserError(
            f"init={relative(run.path)}: that model was trained with another tokenizer, whose ids mean other tokens; "
            f"use its own: tokenizer=pretrained tokenizer.path={relative(run.path)}/tokenizer.json"
        )
    load_weights(learner, read_weights(run))


def tokenizing(progress: Progress):
    """Report how far the tokenisation of a new corpus is, at most once in 20 million characters."""
    told = 0

    def report(documents: int, characters: int) -> None:
        nonlocal told
        if characters - told >= 20_000_000:
            told = characters
            progress.message(f"Tokenising: {documents:,} documents, {short_number(characters)} characters so far")

    return report


def report(session: Session, trainer: Trainer, metrics: dict[str, float]) -> None:
    """The short panel at the end: final figures, where the run lies, what to try next."""
    state, run = trainer.state, session.run
    summary = run.read_summary()
    rows = {
        **{name: metrics[name] for name in ("loss", "perplexity", "accuracy") if name in metrics},
        "steps": f"{state.step:,} ({short_number(state.tokens)} tokens)",
        "time": f"{duration(state.train_seconds)} ({short_number(summary['tokens_per_second'] or 0)} tokens/s)",
        "parameters": short_number(summary["parameters"]["total"]),
        "run": relative(run.path),
    }
    if state.best_step not in (None, state.step):
        rows["best"] = f"{trainer.settings.best_metric} {state.best_value:.4g} at step {state.best_step:,}"
    title = f"{summary['model']} · {summary['objective']}: finished"
    final_panel(title, rows, next_command(session), run.write_log)


def next_command(session: Session) -> str:
    """What a person may want to type next."""
    run = relative(session.run.path)
    if can(session.config, "fill"):
        return f'lmlab fill "Return a new [MASK] object." run={run}'
    if can(session.config, "generate"):
        fields = fields_of(session.config)
        prompt = f"<{fields[0]}>" if fields else "This function returns"
        return f'lmlab generate "{prompt}" run={run}'
    return f"lmlab finetune task=pydocs_topic init={run}"
