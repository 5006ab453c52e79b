"""The arrows between the rooms: who may import whom, read from the source."""

import ast
import sys
from pathlib import Path

import pytest

import lmlab

PACKAGE = Path(lmlab.__file__).parent
NEUTRAL = {"errors", "batch", "files", "formatting", ""}  # "" is lmlab itself: its version
WORDS = {"text", "corruptions", "objectives", "tasks", "formulations", "tuning"}
WORLD = {"microworld"}  # the generated world: a source of texts and of tasks

# A room may import itself, the neutral modules, and these.
ARROWS = {
    "cli": {"commands", "config"},
    "__main__": {"cli"},
    "commands": {"loading", "huggingface", "config", "audit", "plan", "engine", "runs", "interop", "models"}
    | WORDS
    | WORLD,
    "loading": {"huggingface", "config", "engine", "runs", "models"} | WORDS,
    "huggingface": {"config", "interop", "models"} | WORDS,
    "config": {"models", "plan"} | WORDS,
    "plan": {"models", "objectives", "engine"},
    "microworld": set(),
    "text": WORLD,
    "corruptions": {"text"},
    "objectives": {"text", "corruptions"},
    "audit": {"text", "corruptions", "objectives"},
    "tasks": {"text"} | WORLD,
    "formulations": {"text", "corruptions", "tasks", "models"},
    "tuning": {"models"},
    "models": set(),
    "engine": {"runs"},
    "runs": {"engine"},
    "interop": {"models"},
}
STANDARD = set(sys.stdlib_module_names)


def imports_of(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_arrows(path):
    room = room_of(path)
    if room in NEUTRAL:
        allowed = NEUTRAL
    else:
        assert room in ARROWS, f"the room {room} has no place in the picture; give it one here and in the design"
        allowed = ARROWS[room] | NEUTRAL | {room}
    imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("lmlab.")}
    rooms = {each for each in imported if (PACKAGE / each).is_dir() or (PACKAGE / f"{each}.py").exists()}
    assert rooms <= allowed


def test_models_need_torch_only():
    for path in (PACKAGE / "models").rglob("*.py"):
        others = {name.split(".")[0] for name in imports_of(path)} - STANDARD - {"lmlab"}
        assert others <= {"torch"}, path


def test_nothing_in_the_package_needs_what_only_the_tests_have():
    for path in PACKAGE.rglob("*.py"):
        names = {name.split(".")[0] for name in imports_of(path)}
        assert not names & {"transformers", "accelerate", "pytest"}, path


def test_classes_take_plain_values():
    """OmegaConf stays where configs are composed, checked and built, and with the commands."""
    for path in MODULES:
        if room_of(path) not in ("config", "commands", "loading", "huggingface", "cli"):
            names = {name.split(".")[0] for name in imports_of(path)}
            assert not names & {"omegaconf", "hydra"}, path
