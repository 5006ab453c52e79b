"""Hydra's and OmegaConf's complaints about a command line, in one message a newcomer can act on."""

import re
import shlex
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import yaml
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lmlab.config.options import option_files, options_with, root_groups, search_folders
from lmlab.config.schema import compose
from lmlab.errors import nearest

CONFIG_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def explain(error: Exception, command: str, overrides: list[str], config_dir: str | None = None) -> str:
    """The message for an exception that composing `command` with `overrides` raised."""
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
    if isinstance(error, MissingConfigException):
        return _no_such_option(error)
    text, cause = str(error), error.__cause__
    if isinstance(error, ConfigCompositionException):
        if match := re.search(r"Could not override '([^']+)'", text):
            inside = re.match(r"In '([^']+)': ", text)
            return (f"in {inside[1]}.yaml: " if inside else "") + _unknown_key(match[1], command, overrides, config_dir)
        if match := re.match(r"Error merging override (.*)", text):
            return _wrong_type(match[1], cause)
        if match := re.match(r"In '([^']+)': (\w+) raised while composing config:\n", text):
            return f"in {match[1]}.yaml: {_of_omegaconf(text[match.end() :])}"
        if match := re.match(r"Ambiguous value for argument '([^=]+)=(.*)'", text):
            key, values = match[1], match[2]
            return (
                f"{key}={values} holds several values: add -m to run one job for each; a list is written"
                f" {key}=[{values}], as a text \"{key}='{values}'\""
            )
        if match := re.match(r"You must specify '([^']+)'", text):
            options = re.findall(r"\t(\S+)", text)
            return f"{match[1]} must be chosen: {match[1]}=<one of {', '.join(options)}>"
    if isinstance(error, OmegaConfBaseException):
        return _of_omegaconf(text)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}: not valid YAML: {error.problem}"
    if text.startswith("Config group override must be"):
        return _no_name(command, overrides, config_dir)
    return _without_links(text)


def unfinished_keys(config: DictConfig) -> list[str]:
    """What is wrong with the keys that are still `???` or that refer to a key that does not exist."""
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        return [_of_omegaconf(str(error))]
    return [f"{key} must be given: {key}=<value>" for key in missing]


def _unreadable(error: OverrideParseException) -> str:
    key, equals, value = error.override.partition("=")
    if not equals:
        return f"cannot read {error.override!r}: a setting is written key=value or group=option"
    return (
        f"cannot read the value of {error.override!r}: brackets, quotes, blanks, commas and '=' need"
        f" quotes that the shell leaves in place:\n  {_quoted(key, value)}"
    )


def _quoted(key: str, value: str) -> str:
    """The argument as it is typed: quotes for Hydra around the value, and others for the shell around it all."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    outer, inner = ("'", '"') if re.search(r'["$`!\\]', value) else ('"', "'")
    escaped = re.sub(rf"(\\*)({inner}|$)", lambda match: match[1] * 2 + (match[2] and "\\" + inner), value)
    argument = f"{key}={inner}{escaped}{inner}"
    return f"{outer}{argument}{outer}" if outer not in argument else shlex.quote(argument)


def _no_such_option(error: MissingConfigException) -> str:
    inside = re.match(r"In '([^']+)': ", str(error))
    prefix = f"in {inside[1]}.yaml: " if inside and "/" in inside[1] else ""
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    if error.options:
        hint = nearest(option, error.options)
        known = f"Options of {group}: {', '.join(error.options)}"
        return f"{prefix}{group}={option}: there is no such option{hint}\n{known}"
    if group:
        return f"{prefix}there is no config {error.missing_cfg_file!r}"
    return _without_links(str(error))


def _no_name(command: str, overrides: list[str], config_dir: str | None) -> str:
    """Say which group was given null or a number, alone or in a sweep."""
    given = [
        (group, value)
        for group, _, values in (each.partition("=") for each in overrides)
        for value in values.split(",")
    ]
    nameless = re.compile(r"null|true|false|[\d.]+", re.IGNORECASE)
    group, value = next(each for each in given if each[0] in root_groups(command) and nameless.fullmatch(each[1]))
    options = ", ".join(option_files(group, search_folders(config_dir)))
    return f"{group}={value}: the name of an option must stand there\nOptions of {group}: {options}"


def _unknown_key(key: str, command: str, overrides: list[str], config_dir: str | None) -> str:
    """Say which key is unknown, which ones are close, and what there is where it was looked for."""
    config = _config_without(key, command, overrides, config_dir)
    if config is None:
        return f"there is no key or group {key!r} in {command}"
    groups = [str(each) for each in config.hydra.runtime.choices if not str(each).startswith("hydra/")]
    (group, _, last), folders = key.partition("."), search_folders(config_dir)
    if group in groups and config.get(group) is None and (options := options_with(group, last, folders)):
        choices = " or ".join(f"{group}={option}" for option in options[:4])
        more = f" or another of {len(options)}" if len(options) > 4 else ""
        return f"{key}: nothing is chosen for {group}; {last!r} is a key of {choices}{more}"
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    plain.pop("hydra")
    parent, _, _ = key.rpartition(".")
    node: Any = plain
    for step in parent.split(".") if parent else []:
        node = node.get(step) if isinstance(node, dict) else None
    hint = _hint(key, parent, [*_dotted_keys(plain), *groups])
    if not isinstance(node, dict):
        parent, node = "", plain
    there = [str(each) for each in node if str(each) != "_target_"]
    where = f"{parent} has" if parent else f"{command} has"
    return f"there is no key or group {key!r}{hint}\n{where}: {', '.join(there) or 'no keys'}"


def _hint(key: str, parent: str, names: list[str]) -> str:
    """The key that was meant: one at the same place, the same name at another place, or one spelt alike."""
    last = key.rpartition(".")[2]
    beside = {name.rpartition(".")[2]: name for name in names if name.rpartition(".")[0] == parent}
    close = [name for leaf, name in beside.items() if leaf.startswith(last)] or [
        beside[leaf] for leaf in get_close_matches(last, beside, n=1, cutoff=0.6)
    ]
    elsewhere = [name for name in names if name.rpartition(".")[2] == last]
    found = close or elsewhere
    return f", did you mean {' or '.join(map(repr, found[:3]))}?" if found else nearest(key, names)


def _config_without(key: str, command: str, overrides: list[str], config_dir: str | None) -> DictConfig | None:
    """The config that the other overrides give; when one of those is wrong too, the config without any."""
    others = [each for each in overrides if each.lstrip("+~").partition("=")[0] != key and "," not in each]
    for attempt in (others, []):
        try:
            return compose(command, attempt, config_dir)
        except CONFIG_ERRORS:
            continue
    return None


def _dotted_keys(node: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        if name != "_target_":
            yield f"{prefix}{name}"
            if isinstance(value, Mapping):
                yield from _dotted_keys(value, f"{prefix}{name}.")


def _wrong_type(override: str, cause: BaseException | None) -> str:
    key, _, value = override.lstrip("+").partition("=")
    wanted = {
        "Integer": "an integer",
        "Float": "a number",
        "Boolean": "true or false",
        "bool": "true or false",
        "String": "a text",
    }
    match = re.search(r"could not be converted to (\w+)|is not a valid (\w+)", str(cause))
    if match and (kind := wanted.get(match[1] or match[2])):
        return f"{key} must be {kind}, not {value!r}"
    if "is not optional" in str(cause) or "not Optional" in str(cause):
        return f"{key} must not be null"
    return f"{key}={value}: {_of_omegaconf(str(cause))}"


def _of_omegaconf(text: str) -> str:
    """OmegaConf's message on one line, with the dotted key in front."""
    lines = [line.strip() for line in text.splitlines()]
    key = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    return f"{key}: {lines[0]}" if key and key not in lines[0] else lines[0]


def _without_links(text: str) -> str:
    """Hydra's own words, without the lines that point to its manual and list its search path."""
    head = text.partition("\nConfig search path:")[0].partition("\nSearch path:")[0]
    return "\n".join(line.strip() for line in head.splitlines() if line.strip() and "https://" not in line)
