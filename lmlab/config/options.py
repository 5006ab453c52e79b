"""The options of a group as files: which there are, what their first line says, what they hold.

Read straight from the folders on Hydra's search path, without composing: `--help` lists sixty options at
once, and a refusal names the options that would fit.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from lmlab.config import conf_dir


@dataclass(frozen=True)
class Key:
    """A line `name: value  # comment` at the top level of a YAML file."""

    name: str
    value: str
    comment: str


def search_folders(config_dir: str | None = None) -> list[Path]:
    """Folders that hold options, first wins, as for Hydra: ours, then `config_dir` (flag `--config-dir`)."""
    return [conf_dir()] + ([Path(config_dir)] if config_dir else [])


def folders_of_job() -> list[Path]:
    """The folders on the search path of the job that runs, or ours alone outside of one."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return search_folders()
    sources = HydraConfig.get().runtime.config_sources
    return [Path(source.path) for source in sources if source.schema == "file" and source.path]


def option_files(group: str, folders: Iterable[Path]) -> dict[str, Path]:
    """Option name -> file for all options of a group, sorted by name; an earlier folder hides a later one."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((folder / group).rglob("*.yaml")):
            found.setdefault(path.relative_to(folder / group).with_suffix("").as_posix(), path)
    return dict(sorted(found.items()))


def first_comment(path: Path) -> str:
    """What the option is: its first line, after `# @package ...`; "" when that is no comment."""
    with open(path, encoding="utf-8") as file:
        line = next((line for line in file if not line.startswith("# @")), "").strip()
    return line.lstrip("# ") if line.startswith("#") else ""


def top_keys(path: Path) -> list[Key]:
    """The keys at the top level of a YAML with their comments, in order; not `defaults` and `hydra`.

    A comment stands behind its key, or on the line above it.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    keys = []
    for above, line in pairwise(["", "", *lines[1:]]):  # the first line speaks of the whole file
        match = re.match(r"([A-Za-z_]\w*):(?:\s+([^#\s].*?))?(?:\s+#\s*(.*))?$", line)
        if match and match[1] not in ("defaults", "hydra"):
            comment = match[3] or (above.lstrip("# ") if above.startswith("#") else "")
            keys.append(Key(match[1], match[2] or "", comment))
    return keys


def root_groups(command: str) -> dict[str, str | None]:
    """Group -> default option (None: none) of a command, in the order of its defaults list."""
    defaults = yaml.safe_load((conf_dir() / f"{command}.yaml").read_text(encoding="utf-8"))["defaults"]
    groups = {}
    for entry in defaults:
        if isinstance(entry, dict):
            ((name, option),) = entry.items()
            if not name.startswith("override "):
                groups[name.removeprefix("optional ")] = option
    return groups


def root_keys(command: str) -> list[Key]:
    """The keys of a command's root config that are no groups, with their comments."""
    groups = root_groups(command)
    return [key for key in top_keys(conf_dir() / f"{command}.yaml") if key.name not in groups]


def read_option(group: str, name: str, folders: list[Path]) -> dict[str, Any]:
    """An option's YAML as plain values, not resolved, with the options that it builds on merged in."""
    path = option_files(group, folders).get(name)
    content = (yaml.safe_load(path.read_text(encoding="utf-8")) if path else None) or {}
    merged: dict[str, Any] = {}
    for entry in content.pop("defaults", None) or []:
        if isinstance(entry, str) and entry != "_self_":
            base, _, package = entry.partition("@")
            part = read_option(group, base, folders)
            merged |= {package: part} if package else part
        elif isinstance(entry, dict):
            ((key, option),) = entry.items()
            merged |= _nested_part(group, key, option, folders)
    return merged | content


def _nested_part(group: str, key: str, option: str | None, folders: list[Path]) -> dict[str, Any]:
    """The node that a defaults entry `/group@package: option` puts below this one."""
    other, _, package = key.partition("@")
    if key.startswith(("override ", "optional ")) or not package or option is None:
        return {}
    node: Any = read_option(other.lstrip("/") if other.startswith("/") else f"{group}/{other}", option, folders)
    for step in reversed(package.split(".")):
        node = {step: node}
    return node


def options_with(group: str, key: str, folders: list[Path]) -> list[str]:
    """The names of a group's options that have a key."""
    return [name for name in option_files(group, folders) if key in read_option(group, name, folders)]


def chosen_by_keys(command: str, overrides: Iterable[str], folders: list[Path]) -> list[str]:
    """`group=option` for groups that nothing chooses, where a key is given that one option alone has."""
    given = dict(override.partition("=")[::2] for override in overrides)
    chosen = {group: given.get(group, option) for group, option in root_groups(command).items()}
    found = {}
    for group, _, key in (each.partition(".") for each in given):
        if key and chosen.get(group, "") is None and len(options := options_with(group, key, folders)) == 1:
            found[group] = options[0]
    brought = _brought_along(chosen, folders) if found else set()
    return [f"{group}={option}" for group, option in found.items() if group not in brought]


def without_nulls(command: str, overrides: Iterable[str]) -> list[str]:
    """`group=null` as Hydra has it, `~group`, for groups that may be left out."""
    optional = {f"{group}=null": f"~{group}" for group, option in root_groups(command).items() if option is None}
    return [optional.get(override, override) for override in overrides]


def _brought_along(chosen: dict[str, str | None], folders: list[Path]) -> set[str]:
    """The groups that options of other groups set, as an objective does its corruption."""
    brought = set()
    for group, option in chosen.items():
        path = option_files(group, folders).get(option or "")
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")).get("defaults", []) if path else []:
            names = entry if isinstance(entry, dict) else ()
            brought |= {
                name.removeprefix("override /").partition("@")[0] for name in names if name.startswith("override ")
            }
    return brought


def given_keys() -> list[str]:
    """The keys and groups that the command line sets, with dots."""
    from hydra.core.hydra_config import HydraConfig

    overrides = HydraConfig.get().overrides.task
    return [override.split("=")[0].lstrip("+~").split("@")[0].replace("/", ".") for override in overrides]
