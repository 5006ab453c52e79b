"""`lmlab <command> --help`: the words a command understands, from the comments in the YAML files."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from lmlab.config.options import (
    Key,
    first_comment,
    option_files,
    root_groups,
    root_keys,
    search_folders,
    top_keys,
)

HYDRA_FLAGS = {
    "-m, --multirun": "run every combination of the values given with commas: seed=0,1 model=bert,gpt",
    "--cfg job": "print the config of the run instead of starting it (-p model: a part of it)",
    "--config-dir FOLDER": "look for options in a folder of your own too: FOLDER/model/my_model.yaml",
    "--info": "how the config is put together: search path, defaults, plugins",
    "-sc install=bash": "shell completion; also install=zsh, install=fish",
    "--hydra-help": "all flags of Hydra, which composes the configs",
}


def print_help(command: str, summary: str, example: str, chosen: list[str], config_dir: str | None = None) -> None:
    """Print a command's usage, groups with all options, keys, and flags; and the keys of `chosen` options.

    `chosen` holds overrides such as `model=t5`: the help then also lists what that option's keys mean.
    """
    console = Console(highlight=False)
    folders = search_folders(config_dir)
    text = '"any text" ' if command in ("fill", "generate") else ""
    console.print(f"[bold]lmlab {command}[/] - {escape(summary)}\n")
    console.print(f"  lmlab {command} {escape(text)}\\[group=option ...] \\[key=value ...] \\[flags]")
    console.print(f"  for example: [cyan]{escape(example)}[/]\n", soft_wrap=True)
    groups = root_groups(command)
    if groups:
        console.print("[bold]Groups[/] (group=option; * is the default)")
        for group, default in groups.items():
            _print_group(console, group, default, folders)
    console.print("\n[bold]Keys[/] (key=value)")
    _print_keys(console, root_keys(command))
    for override in chosen:
        group, _, option = override.partition("=")
        path = option_files(group, folders).get(option) if group in groups else None
        if path:
            console.print(f"\n[bold]Keys of {escape(override)}[/] ({group}.key=value)")
            _print_keys(console, [key for key in top_keys(path) if key.name != "_target_"])
    if groups:
        console.print(f"\nThe keys of an option: lmlab {command} group=option --help")
    console.print("\n[bold]Flags[/]")
    _print_rows(console, [(flag, meaning) for flag, meaning in HYDRA_FLAGS.items()])


def _print_group(console: Console, group: str, default: str | None, folders: list[Path]) -> None:
    console.print(f"  [bold]{group}[/]")
    options = option_files(group, folders)
    rows = [(f"{'*' if name == default else ' '} {name}", first_comment(path)) for name, path in options.items()]
    _print_rows(console, rows or [("  (no options)", "")], indent=4)


def _print_keys(console: Console, keys: list[Key]) -> None:
    _print_rows(console, [(f"{key.name}={key.value or '...'}", key.comment) for key in keys])


def _print_rows(console: Console, rows: list[tuple[str, str]], indent: int = 2) -> None:
    """Two columns; on a terminal a long text goes on below itself, in a file each row is one line."""
    if not console.is_terminal:
        width = max(len(name) for name, _ in rows)
        for name, meaning in rows:
            print(f"{' ' * indent}{name:<{width}}  {meaning}".rstrip())
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column()
    for name, meaning in rows:
        table.add_row(escape(name), escape(meaning))
    console.print(Padding(table, (0, 0, 0, indent)))
