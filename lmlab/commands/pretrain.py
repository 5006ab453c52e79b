"""lmlab pretrain: train a model on plain text, by itself.

lmlab pretrain model=bert objective=mlm
lmlab pretrain model=t5 objective=span_corruption corpus=text corpus.path=book.txt trainer.max_minutes=10
"""

import torch
from omegaconf import DictConfig

from lmlab.commands.samples import samples
from lmlab.commands.session import Session, relative
from lmlab.config.assemble import PretrainData, build_corpus, build_learner, build_tokenizer
from lmlab.config.build import build, to_plain
from lmlab.config.check import check
from lmlab.engine.progress import Progress, final_panel
from lmlab.engine.trainer import Settings, Trainer
from lmlab.formatting import duration, short_number
from lmlab.loading import LanguageModel, load_weights, read_weights
from lmlab.runs import find


def main(config: DictConfig) -> float:
    """Run the experiment that `config` describes. Returns its best validation loss, for sweepers."""
    check(config)
    session = Session(config)
    config, run = session.config, session.run
    progress = Progress(config.trainer.log_every, write_log=run.write_log)

    corpus = build_corpus(config)
    tokenizer = build_tokenizer(config, corpus)
    torch.manual_seed(config.seed)  # of the initial weights
    learner = build_learner(config, tokenizer)
    if config.init is not None:
        load_weights(learner, read_weights(find.resolve(config.init, None, "a pre-trained model")))
    data = PretrainData(config, corpus, tokenizer, learner.objective, learner.model.layout, tokenizing(progress))
    batches, validation = data.train_batches(), data.validation_batches()

    trainer = Trainer(
        learner,
        batches,
        optimizer=build(config.optimizer),
        schedule=build(config.schedule),
        settings=Settings.of(to_plain(config.trainer)),
        record=run,
        evaluate=lambda: learner.evaluate(validation),
        seed=config.seed,
        progress=progress,
    )
    run.save_tokenizer(tokenizer)
    hashes = {"data_hash": data.store("train").data_hash, "tokenizer_hash": tokenizer.hash}
    metrics = session.train(trainer, **hashes)
    session.finish(trainer, metrics)

    language_model = LanguageModel(learner.eval(), tokenizer, config, run)
    lines = samples(language_model, corpus)
    for line in lines:
        progress.message(line)
    report(session, trainer, metrics)
    best = trainer.state.best_value
    return best if best is not None else metrics["loss"]


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
    final_panel(title, rows, next_command(trainer, run), run.write_log)


def next_command(trainer: Trainer, run) -> str:
    """What a person may want to type next."""
    answers = {ability for _, ability in trainer.learner.objective.answers}
    if "fill" in answers:
        return f'lmlab fill "Return a new [MASK] object." run={relative(run.path)}'
    if "generate" in answers:
        return f'lmlab generate "This function returns" run={relative(run.path)}'
    return f"lmlab finetune task=pydocs_topic init={relative(run.path)}"
