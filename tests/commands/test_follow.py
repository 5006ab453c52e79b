"""What is done with a finished model (`then`), and sweeps that end in a table."""

import json
import shutil

import pytest
import yaml
from test_evaluate import book
from test_finetune import lmlab, only, place  # noqa: F401

from lmlab.commands.follow import followers
from lmlab.commands.session import run as run_command
from lmlab.config.build import to_plain
from lmlab.config.check import check
from lmlab.config.schema import compose
from lmlab.errors import UserError

TINY = [
    "model.hidden_size=16", "model.num_layers=1", "model.num_heads=2", "model.intermediate_size=32",
    "tokenizer.vocab_size=300", "trainer=debug", "trainer.max_steps=4", "trainer.device=cpu",
    "trainer.precision=fp32",
]  # fmt: skip
TOPIC = "finetune task=sst2 trainer=debug trainer.max_steps=2"


def pretraining(place, *words):  # noqa: F811
    """A command line on a small book, with a labelled task at hand."""
    return ["pretrain", *book(place), f"data_dir={place}/data", *TINY, *words]


def summaries(place, pattern):  # noqa: F811
    return [json.loads(path.read_text()) for path in sorted(place.glob(f"outputs/{pattern}/summary.json"))]


def test_the_figures_of_what_follows_join_those_of_the_run(place, lmlab):  # noqa: F811
    own = "evaluate objective=mlm_sop max_tokens=2048 seq_len=32"
    words = ["objective=mlm_sop", "seed=3", f"then.birds='{TOPIC}'", f"then.again='{own}'"]
    code, shown, told = lmlab(*pretraining(place, *words))
    assert code == 0 and shown == "", told
    (trained,), (tuned,) = summaries(place, "pretrain/*/*"), summaries(place, "finetune/*/*")
    assert trained["status"] == "finished"
    metrics = trained["metrics"]
    assert metrics["birds_accuracy"] == tuned["metrics"]["accuracy"] and tuned["seed"] == 3
    assert tuned["init"] == str(only("outputs/pretrain/*/*", place).relative_to(place))
    for name in ("loss", "perplexity", "mlm_loss", "sop_loss", "sop_accuracy"):
        assert metrics[f"again_{name}"] == pytest.approx(metrics[name], rel=1e-4)  # the run's own question
    typed = json.loads(only("outputs/finetune/*/*/environment.json", place).read_text())["command_line"]
    assert typed == f"lmlab {TOPIC} init={tuned['init']} seed=3"


def test_a_suite_follows_with_the_model_and_the_seed_of_the_run(place, lmlab):  # noqa: F811
    """Not with the newest model: another run may have finished in the meantime."""
    assert lmlab(*pretraining(place))[0] == 0
    shutil.copytree(only("outputs/pretrain/*/*", place), place / "outputs" / "pretrain" / "2099-01-01" / "later")
    (place / "my" / "suite").mkdir(parents=True)
    suite = {"_target_": "lmlab.tasks.suite.Suite", "name": "birds", "tasks": {"sst2": ["accuracy"]}, "apart": []}
    (place / "my" / "suite" / "birds.yaml").write_text("# Birds\n" + yaml.safe_dump(suite))
    follows = f"then.birds='{TOPIC.replace('task=sst2', 'suite=birds')}'"
    code, _, told = lmlab(*pretraining(place, "--config-dir", str(place / "my"), "seed=3", follows))
    assert code == 0, told
    (tuned,) = summaries(place, "finetune/*/*/sst2")
    trained = max(path.name for path in place.glob("outputs/pretrain/*/*") if path.name != "later")
    assert tuned["init"].endswith(trained) and tuned["seed"] == 3


def test_what_follows_may_fail_and_is_done_again_without_training(place, lmlab):  # noqa: F811
    data = place / "data" / "glue-sst2" / "validation.jsonl"
    rows = data.read_text()
    data.write_text('{"sentence": "a bird", "label": 7}\n')
    code, _, told = lmlab(*pretraining(place, f"then.birds='{TOPIC}'", "then.own=evaluate"))
    assert code == 1 and "then.birds: " in told and "Traceback" not in told
    (trained,) = summaries(place, "pretrain/*/*")
    assert trained["status"] == "finished" and "own_loss" in trained["metrics"]
    again = told.strip().splitlines()[-1].partition("lmlab ")[2].split()
    data.write_text(rows)
    code, _, told = lmlab(*again)
    assert code == 0, told
    (done,) = summaries(place, "pretrain/*/*")
    assert done["metrics"]["own_loss"] == trained["metrics"]["own_loss"] and "birds_accuracy" in done["metrics"]
    assert done["steps"] == trained["steps"]


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["then.x='trane task=sst2'"], ("then.x: 'trane' is not finetune or evaluate",)),
        (["then.x='finetune task=sst'"], ("then.x: task=sst", "sst2")),
        (
            ["then.x='finetune optimiser.lr=1'", "then.y='evaluate objective=sop'"],
            ("optimizer.lr", "it has vocabulary"),
        ),
        (["then.x='finetune init=latest'"], ("then.x: leave out init",)),
        (["then.x='finetune task=sst2 data_dir=nowhere'"], ("then.x: ", "nowhere")),
        (["then.x='evaluate task=sst2'"], ("then.x: ", "lmlab finetune")),
        (["then.x='evaluate corruption=deletion'"], ("then.x: ", "keep the length")),
        (["objective=mlm_nsp", "then.nsp=evaluate"], ("then.nsp: ", "another name")),
    ],
)
def test_what_cannot_follow_is_refused_before_training(place, lmlab, words, messages):  # noqa: F811
    code, _, told = lmlab(*pretraining(place, *words))
    assert code == 1 and "Traceback" not in told
    assert all(message in told for message in messages), told
    assert not (place / "outputs").exists()


@pytest.fixture
def experiment(place):  # noqa: F811
    """A folder of options with an experiment that is a list of grids; each model is asked its own and another rate."""
    sweeper = {
        "sentences": ["objective=mlm corruption.rate=0.1,0.5", "objective=mlm_nsp"],
        "params": {"seed": "0,1"},
    }
    content = {
        "then": {"low": "evaluate objective=mlm corruption.rate=0.1", "half": ["evaluate", "objective=mlm"]},
        "hydra": {"mode": "MULTIRUN", "sweeper": sweeper},
    }
    (place / "my" / "experiment").mkdir(parents=True)
    text = "# @package _global_\n# Two questions\n" + yaml.safe_dump(content, sort_keys=False)
    (place / "my" / "experiment" / "rates.yaml").write_text(text)
    return ["--config-dir", str(place / "my"), "experiment=rates"]


@pytest.mark.slow
def test_an_experiment_may_be_a_sweep_and_ends_in_a_table(place, lmlab, experiment):  # noqa: F811
    code, shown, told = lmlab(*pretraining(place, *experiment))
    assert code == 0, told
    assert [line for line in told.splitlines() if line.startswith("job 2")] == [
        line for line in told.splitlines() if "corruption.rate=0.5 seed=0 " in line
    ]
    first, *lines = [line for line in shown.splitlines() if line.strip()]
    assert first.startswith("lmlab compare outputs/pretrain/sweeps/") and lines[0] == "pretrain · 6 runs"
    columns = "run objective rate seeds low_accuracy half_accuracy best seed tokens/s time parameters"
    assert lines[1].split() == columns.split()  # not the losses: they answer different questions
    assert sum("n = 2 (0, 1)" in line for line in lines) == 3
    code, shown, _ = lmlab("compare", first.split()[-1], "format=json")
    table = json.loads(shown)["tables"][0]
    assert table["metric"] == "low_accuracy" and table["higher_is_better"]
    assert [row["settings"]["objective"] for row in table["rows"]].count("mlm") == 2
    assert all(len(row["metrics"]["half_perplexity"]["values"]) == 2 for row in table["rows"])


def test_the_command_line_is_stronger_than_the_sweep_of_an_experiment(place, command, capsys, experiment):  # noqa: F811
    from lmlab.cli import main

    jobs = []
    command("pretrain", lambda config: jobs.append((config.objective._target_, config.corruption.rate, config.seed)))
    assert main(["pretrain", *experiment, "corruption.rate=0.2", "seed=7"]) == 0
    assert jobs == [("lmlab.objectives.mlm.Mlm", 0.2, 7), ("lmlab.objectives.sum.Sum", 0.2, 7)]
    assert main(["pretrain", *experiment, "hydra.mode=RUN"]) == 0
    assert len(jobs) == 3 and "lmlab compare" not in capsys.readouterr().out
    with pytest.raises(UserError, match="is a sweep"):
        run_command("pretrain", ["hydra.mode=MULTIRUN"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "num_jobs"),
    [
        ("bart_noises", 7),
        ("masking_rate", 3),
        ("mw_transfer", 6),
        ("nsp_vs_sop", 3),
        ("t5_architectures", 8),
        ("t5_objectives", 14),
    ],
)
def test_every_job_of_the_experiments_is_a_sentence_that_fits(experiment, num_jobs, place, command):  # noqa: F811
    from lmlab.cli import main

    jobs = []

    def job(config):
        check(config)
        for entry in followers(config) if not jobs else ():
            check(compose(entry.command, list(entry.words)))
        jobs.append((to_plain(config.objective), to_plain(config.corruption), to_plain(config.model), config.trainer))

    command("pretrain", job)
    assert main(["pretrain", f"experiment={experiment}", "seed=0"]) == 0
    assert len(jobs) == num_jobs and all(jobs.count(each) == 1 for each in jobs)
