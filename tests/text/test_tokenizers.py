"""Training is deterministic and learns what it should; mistakes are told; the cache holds what was trained."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from example_tokenizers import TEXT, TRAINERS, trained
from tokenizers import models

from lmlab.errors import UserError
from lmlab.text.tokenizers import BPE, SPECIAL_TOKENS, Byte, Char, Pretrained, Unigram, WordPiece, load_or_train

ROOT = Path(__file__).parents[2]
TRAIN_ALL = """
import sys; sys.path[:0] = [{root!r}, {tests!r}]
from example_tokenizers import TRAINERS, trained
print(*(f"{{name}}={{trained(name).hash}}" for name in TRAINERS))
"""


def test_training_is_the_same_in_every_process():
    script = TRAIN_ALL.format(root=str(ROOT), tests=str(Path(__file__).parent))
    processes = []
    for seed in range(5):
        environment = os.environ | {"PYTHONHASHSEED": str(seed), "RAYON_NUM_THREADS": str(1 + seed % 2)}
        command = [sys.executable, "-c", script]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    expected = " ".join(f"{name}={trained(name).hash}" for name in TRAINERS)
    assert [process.communicate()[0].strip() for process in processes] == [expected] * 5


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["WordPiece", "BPE", "Unigram"])
def test_training_on_books_is_the_same_in_every_process(name, data_dir):
    file = data_dir / "english-books" / "validation.jsonl.gz"
    script = (
        f"import sys, gzip, json; sys.path.insert(0, {str(ROOT)!r})\n"
        f"from lmlab.text.tokenizers import {name}\n"
        f"texts = [json.loads(line)['text'] for line in gzip.open({str(file)!r}, 'rt', encoding='utf-8')]\n"
        f"print({name}(vocab_size=8000).train(texts).hash)"
    )
    found = set()
    for seed in range(6):
        environment = os.environ | {"PYTHONHASHSEED": str(seed), "RAYON_NUM_THREADS": str(1 + seed % 2)}
        found.add(subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True).stdout)
    assert len(found) == 1 and found != {b""}


def test_order_of_documents_does_not_matter():
    for name, trainer in TRAINERS.items():
        shuffled = random.Random(0).sample(TEXT, len(TEXT))
        assert trainer.train(iter(shuffled)).hash == trained(name).hash, name


@pytest.mark.parametrize("name", TRAINERS)
def test_vocabulary_begins_with_special_tokens_and_has_the_size_asked_for(name):
    tokenizer = trained(name)
    sentinels = [f"<extra_id_{number}>" for number in range(100)]
    assert [tokenizer.token(id) for id in range(105)] == SPECIAL_TOKENS + sentinels
    ids = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]
    assert ids == [0, 1, 2, 3, 4]
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.sentinel_ids) == (2, 3, list(range(5, 105)))
    assert tokenizer.special_ids == set(range(105))
    assert len({tokenizer.token(id) for id in range(tokenizer.vocab_size)}) == tokenizer.vocab_size
    if name in ("wordpiece", "bpe", "unigram"):
        assert tokenizer.vocab_size == 1500
    assert tokenizer.id(tokenizer.token(150)) == 150
    assert tokenizer.token(10**6) == "" and tokenizer.id("no such token") is None


def test_wordpiece_learns_what_the_package_learns():
    """The fixed order of characters only breaks ties: nearly all pieces are those of the package."""
    backend = tokenizers.Tokenizer.from_str(trained("wordpiece").json)
    backend.model = models.WordPiece(unk_token="[UNK]")
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=1500, special_tokens=["[UNK]"], show_progress=False)
    backend.train_from_iterator(TEXT, trainer)
    package = {token for token in backend.get_vocab(with_added_tokens=False) if len(token) > 3}
    ours = {trained("wordpiece").token(id) for id in range(105, 1500)}
    assert len({token for token in ours if len(token) > 3} - package) < 0.05 * len(ours)


def test_chinese_and_rare_characters():
    text = ["我们在北京学习语言模型。" * 20 + "龘", "language models 语言 模型 are learnt"] * 3
    tokenizer = WordPiece(vocab_size=400, character_coverage=0.99).train(text)
    assert [tokenizer.token(id) for id in tokenizer.encode("北京龘")] == ["北", "京", "[UNK]"]
    tokenizer = Char(min_count=4).train(text)
    assert tokenizer.decode(tokenizer.encode("北京\n"), skip_special=False) == "北京[UNK]"
    unigram = Unigram(vocab_size=400, character_coverage=0.99).train(text)
    assert tokenizer.unk_id == 1 and unigram.encode("龘")[-1] == unigram.unk_id
    assert unigram.decode(unigram.encode("语言模型 models")) == "语言模型 models"


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"vocab_size=100 is too small.*need"):
        WordPiece(vocab_size=100).train(TEXT)
    for trainer in (BPE(vocab_size=300), Unigram(vocab_size=150), Char(vocab_size=105)):
        with pytest.raises(UserError, match="too small"):
            trainer.train(TEXT)
    for trainer in (WordPiece(), BPE(), Unigram(), Char()):
        for documents in ([], ["", " \n"]):
            with pytest.raises(UserError, match="no text"):
                trainer.train(iter(documents))


def test_mistakes_about_pretrained_ones(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"needs tokenizer\.path"):
        Pretrained().train()
    with pytest.raises(UserError, match=r"put a tokenizer.json into.*nowhere"):
        Pretrained(path=str(tmp_path / "nowhere")).train()
    with pytest.raises(UserError, match=r"holds no tokenizer.json.*put a tokenizer.json"):
        Pretrained(path=str(tmp_path)).train()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read as a tokenizer"):
        Pretrained(path=str(tmp_path)).train()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"no-such-owner/no-such-name.*cache"):
        Pretrained(path="no-such-owner/no-such-name").train()


def test_a_hub_name_is_found_in_the_local_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--owner--name", "a" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer_config.json").write_text(json.dumps({"mask_token": "<extra_id_3>"}))
    with pytest.raises(UserError, match=r"no tokenizer.json of that name"):
        Pretrained(path="owner/name").train()
    trained("byte").save(snapshot / "tokenizer.json")
    tokenizer = Pretrained(path="owner/name").train()
    assert tokenizer.hash == trained("byte").hash and tokenizer.token(tokenizer.mask_id) == "<extra_id_3>"


def test_cache_holds_settings_and_corpus_apart(tmp_path):
    calls = []

    def documents():
        calls.append(1)
        return iter(TEXT[:50])

    first = load_or_train(BPE(vocab_size=400), documents, "corpus 1", tmp_path)
    assert load_or_train(BPE(vocab_size=400), documents, "corpus 1", tmp_path).hash == first.hash
    assert len(calls) == 1
    load_or_train(BPE(vocab_size=400), documents, "corpus 2", tmp_path)
    assert load_or_train(BPE(vocab_size=401), documents, "corpus 1", tmp_path).vocab_size == 401
    assert len(calls) == 3 and len(list((tmp_path / "tokenizers").iterdir())) == 3
    load_or_train(Byte(), documents, "corpus 1", tmp_path)
    assert len(calls) == 3
