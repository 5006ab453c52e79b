"""What all tests share: no network, one thread, a cache of their own, and the command line as a function."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: several test processes share few cores
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

REPOSITORY = Path(__file__).resolve().parent.parent
OUTSIDE = REPOSITORY / "tests" / "outside_package"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what reads real data where LMLAB_DATA names no folder."""
    if os.environ.get("LMLAB_DATA"):
        return
    for item in items:
        if item.get_closest_marker("real_data"):
            item.add_marker(pytest.mark.skip(reason="LMLAB_DATA is not set: no folder of data sets to read"))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trained tokenizers and token ids go to a folder of this test session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data sets, for tests marked `real_data`."""
    return Path(os.environ["LMLAB_DATA"])


@pytest.fixture
def run_lmlab(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_lmlab("pretrain", "model=bert", ...)` in a process of its own, by default in an empty folder.

    The outside package of `tests/outside_package` is on its Python path.
    """

    def run(*arguments: str, cwd: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(REPOSITORY), str(OUTSIDE)])
        return subprocess.run(
            [sys.executable, "-m", "lmlab", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=500,
        )

    return run


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, Callable], None]:
    """`command("pretrain", function)` puts a stand-in in a command's place, in an empty current folder."""
    from types import SimpleNamespace

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LMLAB_DATA", raising=False)

    def replace(name: str, function: Callable) -> None:
        monkeypatch.setitem(sys.modules, f"lmlab.commands.{name}", SimpleNamespace(main=function))

    return replace
