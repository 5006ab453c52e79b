"""The wheel and the sdist: installed elsewhere, the command finds its configs from an empty folder."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.slow


def run(*arguments: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of the repository."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: pip install hatchling")
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder), cwd=REPOSITORY)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's content and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("site")
    (wheel,) = built.glob("*.whl")
    run("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(folder), str(wheel), cwd=folder)
    return folder


def test_help_and_configs_from_an_empty_folder(installed, tmp_path):
    path = {"PYTHONPATH": str(installed)}
    where = run("-c", "import lmlab.config as c; print(c.__file__, c.conf_dir())", cwd=tmp_path, **path).split()
    assert where == [str(installed / "lmlab/config/__init__.py"), str(installed / "lmlab/conf")]
    assert "pretrain" in run("-m", "lmlab", "--help", cwd=tmp_path, **path)
    assert "nanogpt_cpu" in run("-m", "lmlab", "pretrain", "--help", cwd=tmp_path, **path)
    config = run("-m", "lmlab", "pretrain", "model=gpt", "objective=causal_lm", "--cfg", "job", cwd=tmp_path, **path)
    assert "lmlab.models.gpt" in config
    assert list(tmp_path.iterdir()) == []


def test_the_script_is_installed(installed, tmp_path):
    script = installed / "bin" / "lmlab"
    assert "lmlab" in run(str(script), "--version", cwd=tmp_path, PYTHONPATH=str(installed))


def test_the_sdist_makes_the_same_wheel(built, tmp_path):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    run("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again"), cwd=source)
    names = [
        sorted(zipfile.ZipFile(wheel).namelist())
        for folder in (built, tmp_path / "again")
        for wheel in folder.glob("*.whl")
    ]
    assert names[0] == names[1]
    assert "lmlab/conf/pretrain.yaml" in names[0]
    assert not [name for name in names[0] if name.startswith(("conf/", "tests/", "outputs/"))]
