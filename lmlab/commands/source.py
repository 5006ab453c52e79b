"""What `init` brings along, for the commands whose config describes a pre-training run, and for `finetune`."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict, read_write

from lmlab.config.build import to_plain
from lmlab.config.nodes import trait
from lmlab.config.options import given_keys
from lmlab.errors import UserError


def with_published(config: DictConfig) -> DictConfig:
    """The config with the model and the tokenizer of the published model that `init` names, if it names one."""
    if config.init is None or config.resume not in (None, "auto"):
        return config
    from lmlab import huggingface  # which takes a moment, and few runs start from anything

    if not huggingface.is_named(config.init):
        return config
    refuse_words(config.init, ("model", "tokenizer"), "init=null")
    source, config = huggingface.find(config.init), config.copy()
    config.model, config.tokenizer = source.node, source.tokenizer_node
    choices = HydraConfig.get().runtime.choices
    with read_write(choices), open_dict(choices):  # what messages and the summary call them
        choices.model, choices.tokenizer = source.name, "pretrained"
    return config


def fields_of(config: DictConfig) -> list[str] | None:
    """The fields by which an objective over documents made of fields is asked; None: it is another objective."""
    asks_for_fields = "record" in trait(to_plain(config.objective), "unit")
    return list(config.corpus.fields) if asks_for_fields else None


def refuse_other_fields(trained: DictConfig, config: DictConfig) -> None:
    """Raise UserError where `config` asks for other fields than those that a model was trained on.

    Fields are told apart by markers that follow their order.
    """
    known, wanted = fields_of(trained), fields_of(config)
    if known and wanted and known != wanted:
        raise UserError(
            f"corpus.fields=[{','.join(wanted)}]: the model was trained on [{','.join(known)}], and knows fields by"
            " their places in this list"
        )


def refuse_words(init: str, groups: tuple[str, ...], instead: str) -> None:
    """Raise UserError when the command line gives words that the model named by `init` brings itself."""
    if ignored := sorted({key.split(".")[0] for key in given_keys()} & set(groups)):
        raise UserError(
            f"{', '.join(ignored)}: a pre-trained model brings its own; these words go with {instead} "
            f"(and init={init} says which model)"
        )
