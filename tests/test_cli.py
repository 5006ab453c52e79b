"""The command line: what it answers at once, what it hands on untouched, and how it tells a mistake."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmlab.cli import COMMANDS, main
from lmlab.config import conf_dir
from lmlab.config.options import first_comment, option_files, root_groups, root_keys, search_folders
from lmlab.errors import UserError

COMPOSED = [name for name, command in COMMANDS.items() if command.composed]


def files_under(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- answers without torch ---


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["pretrain", "--help"], ["pretrain", "--cfg", "job"], ["-sc", "query=bash"]],
    ids=" ".join,
)
def test_answers_without_importing_torch(arguments, tmp_path):
    code = (
        "import sys\nfrom lmlab.cli import main\n"
        f"code = main({arguments})\n"
        "heavy = [name for name in ('torch', 'numpy', 'datasets', 'tokenizers') if name in sys.modules]\n"
        "sys.exit(str(heavy) if heavy else code)"
    )
    environment = {**os.environ, "COMP_LINE": "lmlab pretrain model=", "PYTHONPATH": str(conf_dir().parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_help_is_fast_and_shows_every_command_with_an_example(run_lmlab):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = run_lmlab("--help")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
    for name, command in COMMANDS.items():
        assert command.example.startswith(f"lmlab {name} ")
        assert command.summary in done.stdout and command.example in done.stdout


@pytest.mark.parametrize("name", COMPOSED)
def test_help_of_a_command_lists_all_groups_options_and_keys(name, capsys):
    assert main([name, "--help"]) == 0
    told = capsys.readouterr().out
    for group in root_groups(name):
        assert re.search(rf"^  {group}$", told, re.M)
        for option, path in option_files(group, search_folders()).items():
            assert re.search(rf"^ +\*? *{re.escape(option)}  +{re.escape(first_comment(path))}$", told, re.M)
    for key in root_keys(name):
        assert key.comment and key.comment in told


def test_help_explains_the_keys_of_an_option(capsys):
    assert main(["pretrain", "optimizer=adafactor", "--help"]) == 0
    told = capsys.readouterr().out
    assert "clip_threshold=1.0" in told and "is scaled down" in told


def test_version(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"lmlab \d+\.\d+\.\d+\n", capsys.readouterr().out)


# --- Hydra's flags, and the run folder ---


def test_flags_and_settings_in_any_order(command, capsys, run_lmlab):
    seen = []
    command("pretrain", lambda config: seen.append((config.seed, config.trainer.max_steps)))
    assert main(["pretrain", "seed=1,2", "-m", "trainer.max_steps=5"]) == 0
    assert main(["pretrain", "--multirun", "trainer.max_steps=7", "seed=3"]) == 0
    assert seen == [(1, 5), (2, 5), (3, 7)]
    assert main(["generate", "seed=4", "--cfg", "job", "-p", "seed", "top_k=3"]) == 0
    assert capsys.readouterr().out == "4\n"
    assert "generate_schema" in run_lmlab("generate", "--info", "defaults", "top_k=3").stdout


def test_a_run_lies_where_its_words_can_be_read(command):
    from hydra.core.hydra_config import HydraConfig

    def write(config):
        Path(HydraConfig.get().runtime.output_dir, "summary.json").write_text("{}")

    command("pretrain", write)
    assert main(["pretrain"]) == 0
    assert main(["pretrain", "-m", "seed=0,1"]) == 0
    found = sorted(path.parent.as_posix() for path in Path("outputs").rglob("summary.json"))
    day, second = r"\d{4}-\d\d-\d\d", r"\d\d-\d\d-\d\d"
    assert re.fullmatch(rf"outputs/pretrain/{day}/{second}-bert-mlm", found[0])
    assert re.fullmatch(rf"outputs/pretrain/sweeps/{day}/{second}/0", found[1])
    assert found[2] == found[1][:-1] + "1"
    assert not list(Path("outputs").rglob("*.log"))


# --- the text of fill and generate ---

TEXTS = [
    "Return a new [MASK] object.",
    "x = [MASK]; y = {'a': 1}",
    'She said "[MASK]", didn\'t she?',
    "a=b=c, ${nowhere} $HOME \\n ~/*",
    "今天天气很[MASK]。",
    "model=[MASK]",
    "--not-a-flag",
    "- a list item",
    "one\ntwo\ttabs",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_reaches_the_command_as_it_is(text, command):
    seen = []
    command("fill", lambda config, text: seen.append((text, config.top_k)))
    for arguments in (["top_k=3", text], [text, "top_k=3"], ["top_k=3", "--", text]):
        assert main(["fill", *arguments]) == 0
    assert seen == [(text, 3)] * 3


def test_a_text_that_looks_like_a_setting_is_still_the_text(command):
    seen = []
    command("generate", lambda config, text: seen.append((text, config.seed)))
    assert main(["generate", "seed=5"]) == 0
    assert main(["generate", "seed=5", "seed=6"]) == 0
    assert main(["generate", "sead=5", "seed=6"]) == 0
    assert seen == [("seed=5", 0), ("seed=5", 6), ("sead=5", 6)]


def test_fill_leaves_nothing_behind(command, tmp_path):
    command("fill", lambda config, text: None)
    assert main(["fill", "a [MASK]"]) == 0
    assert main(["fill", "a [MASK]", "-m", "top_k=1,2"]) == 0
    assert files_under(tmp_path) == []


# --- mistakes ---

MISTAKES = {
    "unknown command": (["pretrian"], ["'pretrian'", "did you mean 'pretrain'"]),
    "command not first": (["-m", "pretrain"], ["the command comes first"]),
    "unknown flag": (["pretrain", "--multrun"], ["'--multrun'", "'--multirun'"]),
    "wrong flag value": (["pretrain", "--cfg", "jobs"], ["'jobs'", "'job'"]),
    "flag without value": (["pretrain", "--config-dir"], ["expected one argument"]),
    "two flags that exclude each other": (["pretrain", "-m", "--cfg", "job"], ["only one of"]),
    "resolve alone": (["pretrain", "--resolve"], ["--cfg"]),
    "no such folder of options": (["pretrain", "--config-dir", "nowhere"], ["nowhere"]),
    "unknown option": (
        ["pretrain", "schedule=lineer"],
        ["schedule=lineer", "did you mean 'linear'", "cosine"],
    ),
    "unknown option in a sweep": (
        ["pretrain", "-m", "schedule=linear,cosin"],
        ["schedule=cosin", "'cosine'"],
    ),
    "unknown group": (["pretrain", "modle=bert"], ["'modle'", "did you mean 'model'"]),
    "unknown key": (["pretrain", "trainer.maxsteps=3"], ["did you mean 'trainer.max_steps'", "max_minutes"]),
    "unknown key with a group": (
        ["pretrain", "optimizer=adafactor", "optimizer.clip=1"],
        ["'optimizer.clip_threshold'"],
    ),
    "key of a group without a choice": (
        ["evaluate", "formulation.max_length=8"],
        ["nothing is chosen for formulation", "formulation=head or formulation=sequence"],
    ),
    "key of another place": (["pretrain", "lr=1"], ["'optimizer.lr'"]),
    "text for a number": (
        ["pretrain", "trainer.max_steps=many"],
        ["trainer.max_steps must be an integer", "'many'"],
    ),
    "fraction for an integer": (["pretrain", "seq_len=1.5"], ["seq_len must be an integer"]),
    "word for yes or no": (["pretrain", "trainer.compile=maybe"], ["trainer.compile must be true or false"]),
    "null for a number": (["pretrain", "seed=null"], ["seed must not be null"]),
    "several values, no sweep": (["pretrain", "seed=1,2"], ["seed=1,2", "-m"]),
    "no setting at all": (["pretrain", "bert"], ["'bert'", "key=value"]),
    "value that needs quotes": (["pretrain", "resume=a=b"], ["resume='a=b'"]),
    "value with other letters": (["pretrain", "resume=跑 1"], ["resume='跑 1'"]),
    "key that refers to nothing": (["pretrain", "notes=${nokey}"], ["notes", "nokey"]),
    "key left open": (["pretrain", "notes=???"], ["notes must be given"]),
    "no text": (["fill"], ["fill needs a text"]),
    "two texts": (["generate", "one", "two"], ["'two'", "key=value"]),
    "setting of fill misspelt": (["fill", "a [MASK]", "topk=3"], ["did you mean 'top_k'"]),
    "completion for another shell": (["-sc", "install=tcsh"], ["bash"]),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_told_in_one_message_and_leaves_nothing(mistake, command, tmp_path, capsys):
    arguments, expected = MISTAKES[mistake]
    for name in COMPOSED:
        command(name, lambda *_: pytest.fail("the command was started"))
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ") and told.err.count("error: ") == 1
    assert "Traceback" not in told.err and "hydra.cc" not in told.err
    for part in expected:
        assert part in told.err
    assert files_under(tmp_path) == []


def test_the_proposed_quoting_works(command, capsys):
    seen = []
    command("pretrain", lambda config: seen.append(config.notes))
    for value in (
        "a=b",
        "跑 1",
        "it's (new), [x] {y} $z \\",
        'say "hi"',
        "C:\\new (1)",
        'it\'s "$5"',
        '"x y',
    ):
        assert main(["pretrain", f"notes={value}"]) == 1
        proposal = capsys.readouterr().err.strip().splitlines()[-1]
        assert main(["pretrain", *shlex.split(proposal)]) == 0
        assert seen.pop() == value


def test_a_broken_yaml_is_named_with_its_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "schedule").mkdir(parents=True)
    (tmp_path / "mine" / "schedule" / "odd.yaml").write_text("# odd\na: [1,\nb: 2\n")
    assert main(["pretrain", "--config-dir", "mine", "schedule=odd"]) == 1
    assert re.search(r"odd\.yaml, line \d: not valid YAML", capsys.readouterr().err)


def refuse_odd_seeds(config):
    """A command that refuses some runs, fails in some and is interrupted in some."""
    from hydra.core.hydra_config import HydraConfig

    if config.seed == 1:
        raise UserError("seed 1 is refused")
    if config.seed == 2:
        raise RuntimeError("a bug of ours")
    if config.seed == 3:
        raise KeyboardInterrupt
    if config.seed == 4:
        raise SystemExit(130)
    Path(HydraConfig.get().runtime.output_dir, "summary.json").write_text("{}")


def test_exit_codes_and_what_stays(command, tmp_path, capsys):
    command("pretrain", refuse_odd_seeds)
    assert main(["pretrain", "seed=1"]) == 1
    assert capsys.readouterr().err == "error: seed 1 is refused\n"
    with pytest.raises(RuntimeError, match="a bug of ours"):  # a bug keeps its traceback
        main(["pretrain", "seed=2"])
    assert main(["pretrain", "seed=3"]) == 130
    with pytest.raises(SystemExit) as ended:
        main(["pretrain", "seed=4"])
    assert ended.value.code == 130
    assert files_under(tmp_path) == []
    assert main(["pretrain", "seed=0"]) == 0
    assert [path.name for path in tmp_path.rglob("summary.json")] == ["summary.json"]


def test_a_sweep_goes_on_after_a_refused_job(command, tmp_path, capsys):
    command("pretrain", refuse_odd_seeds)
    assert main(["pretrain", "-m", "seed=1,0,2,7"]) == 1
    told = capsys.readouterr().err
    assert "error: job 0 (seed=1): seed 1 is refused" in told
    assert "Traceback" in told and "a bug of ours" in told  # the bug, told at once
    assert told.endswith("error: 2 of the jobs failed: job 0 (seed=1), job 2 (seed=2)\n")
    assert sorted(path.parent.name for path in tmp_path.rglob("summary.json")) == ["1", "3"]
    assert not [path for path in tmp_path.rglob("*") if path.name in ("0", "2")]


def test_a_sweep_of_refused_jobs_leaves_nothing(command, tmp_path):
    command("pretrain", refuse_odd_seeds)
    assert main(["pretrain", "-m", "seed=1", "trainer.max_steps=1,2"]) == 1
    assert files_under(tmp_path) == []


# --- shell completion ---

LINES = {
    "lmlab ": list(COMMANDS),
    "lmlab pre": ["pretrain"],
    "lmlab pretrain sche": ["schedule=", "schedule."],
    "lmlab pretrain schedule=": [
        "schedule=constant",
        "schedule=cosine",
        "schedule=inverse_sqrt",
        "schedule=linear",
    ],
    "lmlab pretrain -m schedule=cosine,linear trainer.max_": [
        "trainer.max_epochs=",
        "trainer.max_grad_norm=",
        "trainer.max_minutes=",
        "trainer.max_steps=",
        "trainer.max_tokens=",
    ],
    'lmlab fill "a = [MASK] b" to': ["top_k="],
    "python -m lmlab generate num": ["num_samples="],
    "lmlab compare ": [],
    "lmlab nonsense x": [],
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("line", LINES)
def test_completion(line, shell, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", line)
    assert main(["-sc", f"query={shell}"]) == 0
    told = capsys.readouterr()
    assert sorted(told.out.split()) == sorted(LINES[line])
    assert told.err == ""
    assert shell != "fish" or told.out.split() == told.out.splitlines()


def test_completion_offers_only_what_the_command_has(monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", "lmlab pretrain ")
    assert main(["-sc", "query=bash"]) == 0
    offered = {re.match(r"\w+", each)[0] for each in capsys.readouterr().out.split()}
    assert {"model", "trainer", "objective"} <= offered
    assert not {"task", "formulation", "tuning"} & offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell, capsys):
    assert main(["-sc", f"install={shell}"]) == 0
    script = capsys.readouterr().out
    assert "-sc query=" in script and "lmlab" in script
    assert main(["-sc", f"uninstall={shell}"]) == 0
    assert capsys.readouterr().out


def test_bash_completes(run_lmlab, tmp_path):
    """The script in a real bash: after `eval`, the completion function fills COMPREPLY."""
    program = tmp_path / "lmlab"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={conf_dir().parent} exec {sys.executable} -m lmlab "$@"\n')
    program.chmod(0o755)
    script = (
        f'PATH={tmp_path}:$PATH; eval "$(lmlab -sc install=bash)"; COMP_LINE="lmlab pretrain optimizer=ada";'
        ' COMP_WORDS=(lmlab pretrain optimizer=ada); COMP_CWORD=2; hydra_bash_completion; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["optimizer=adafactor", "optimizer=adamw"], done.stderr
