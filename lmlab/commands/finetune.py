"""lmlab finetune: put a task to a model, let it learn, score it; with several seeds, or a whole suite of tasks.

lmlab finetune task=pydocs_topic
LMLAB_DATA=data lmlab finetune task=sst2 init=outputs/pretrain/2026-01-31/12-00-00-bert-mlm seeds=3
LMLAB_DATA=data lmlab finetune suite=glue seeds=3
LMLAB_DATA=data lmlab finetune suite=fewglue formulation=cloze ensemble=pet seeds=3
LMLAB_DATA=data lmlab finetune task=squad evaluate_on=[xquad.de,xquad.zh]
"""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lmlab.commands.ensemble import check_ensemble
from lmlab.commands.scores import show_elsewhere
from lmlab.commands.series import finetune_seeds, folder_of
from lmlab.commands.suite import finetune_suite
from lmlab.commands.transfer import build_task, finetune, main_metric, with_source
from lmlab.config.check import check


def main(config: DictConfig) -> float:
    """Fine-tune. Returns the main metric of the task (its mean over seeds), or the average of the suite."""
    if config.suite is not None:
        return finetune_suite(config)
    check(config)
    config = with_source(config)
    if config.ensemble is not None:
        check_ensemble(config, build_task(config, config.task))
    if config.seeds > 1 or config.learning_rates is not None or config.ensemble is not None:
        return main_metric(finetune_seeds(config, folder_of(config)))
    run = finetune(config)
    show_elsewhere(config.evaluate_on, HydraConfig.get().runtime.choices.task, run.read_summary()["metrics"])
    return main_metric(run)
