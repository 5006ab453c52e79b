"""`scripts/bench_finetune.py` compares like with like: its two sides read the same windows, labels and answers."""

import importlib.util
from collections import defaultdict
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("datasets")
pytest.importorskip("accelerate")

PATH = Path(__file__).resolve().parent.parent / "scripts" / "bench_finetune.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_finetune", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def words(bench, tmp_path_factory):
    """The config over made-up rows, and a random reader."""
    folder = tmp_path_factory.mktemp("bench")
    words = [
        f"data_dir={bench.write_stand_in(folder / 'data')}", f"seq_len={bench.LENGTH}", *bench.SPANS,
        "task.max_train_rows=100", "task.max_evaluation_rows=16", "trainer.precision=fp32", "trainer.device=cpu",
    ]  # fmt: skip
    reader = bench.with_new_head(bench.random_bert(folder / "random"), folder / "reader", words)
    return [*words, f"init=hf:{reader}"]


@pytest.mark.slow
@pytest.mark.parity
def test_windows_and_labels_are_the_same_on_both_sides(bench, words):
    config, task = bench.read_config(words)
    rows = task.rows("train")
    _, learner = bench.lmlab_learner(config, task)
    ours, theirs = defaultdict(list), defaultdict(list)
    for example in learner.question.examples(rows):
        ours[example.row].append((example.ids.tolist(), example.labels or (0, 0)))
    reader = bench.Reader(config, task)
    for row, feature in zip(reader.windows(rows)["row"], reader.training_features(rows), strict=True):
        ids = feature["input_ids"][: sum(feature["attention_mask"])]
        theirs[row].append((ids, (feature["start_positions"], feature["end_positions"])))
    assert ours == theirs
    assert max(map(len, ours.values())) > 1


@pytest.mark.slow
@pytest.mark.parity
def test_the_same_weights_give_the_same_answers_to_rows_of_one_window(bench, words, monkeypatch):
    monkeypatch.setattr(bench, "N_BEST", bench.LENGTH)  # lmlab tries all pairs of start and end
    ours, theirs = bench.evaluate_lmlab(words), bench.evaluate_transformers(words)
    single = [id for id, count in theirs.windows.items() if count == 1]
    assert single
    assert {id: ours.predictions[id] for id in single} == {id: theirs.predictions[id] for id in single}
