"""Folders that are not what they should be: one clear message, exit code 1, and nothing half-loaded or written."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file

from lmlab import load
from lmlab.cli import main
from lmlab.config.build import build
from lmlab.errors import UserError
from lmlab.interop.bert import FAMILY
from lmlab.interop.files import write_folder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmno"]


@pytest.fixture
def folder(tmp_path):
    """A whole BERT with its head, ten numbers wide."""
    node = {"_target_": FAMILY.target, "vocab_size": 20, "hidden_size": 10, "num_layers": 2, "num_heads": 2,
            "intermediate_size": 12, "max_positions": 16, "num_segments": 2, "activation": "gelu", "dropout": 0.0,
            "attention_dropout": 0.0, "norm_eps": 1e-12, "init_std": 0.02}  # fmt: skip
    model = build(node)
    whole = torch.nn.ModuleDict({"model": model, "heads": torch.nn.ModuleDict({"vocabulary": model.vocabulary_head()})})
    architecture = FAMILY.chosen("mlm", {"vocabulary"})
    tensors = FAMILY.write(dict(whole.named_parameters()), node, architecture, pad_id=0)
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(dict(map(reversed, enumerate(WORDS))), unk_token="[UNK]")
    )
    backend.add_special_tokens(WORDS[:5])
    config = FAMILY.config(node, pad_id=0) | {"architectures": [architecture.name]}
    files = {"config.json": json.dumps(config), "tokenizer.json": backend.to_str()}
    write_folder(tmp_path / "bert", files, tensors)
    return tmp_path / "bert"


def tensors(folder):
    return load_file(folder / "model.safetensors")


def save(folder, tensors):
    save_file(tensors, folder / "model.safetensors")


def without_some(folder):
    save(folder, {name: each for name, each in tensors(folder).items() if "layer.1.output" not in name})


def with_more(folder):
    save(folder, tensors(folder) | {"bert.encoder.layer.7.output.dense.bias": torch.ones(10), "strange": torch.ones(1)})


def misshapen(folder):
    save(folder, tensors(folder) | {"bert.encoder.layer.0.attention.self.key.weight": torch.ones(10, 9)})


def untied(folder):
    save(folder, tensors(folder) | {"cls.predictions.decoder.weight": torch.ones(20, 10)})


def of_another_type(folder):
    change_config(folder, model_type="brt")


def of_no_type(folder):
    change_config(folder, model_type=None)


def unknown_activation(folder):
    change_config(folder, hidden_act="geluu")


def decoder(folder):
    change_config(folder, is_decoder=True)


def change_config(folder, **keys):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | keys))


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def truncated_at_the_start(folder):
    (folder / "model.safetensors").write_bytes(b"\x10\x00")


class Evil:
    """What a pickle may hold: a call that is made when it is read."""

    def __reduce__(self):
        return os.system, ("touch i-was-here",)


def code(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"bert.pooler.dense.bias": Evil()}, folder / "pytorch_model.bin")


def bare_code(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(), protocol=2))


def torn_pickle(folder):
    torch.save(tensors(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_tokenizer(folder):
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.add_tokens(["x1", "x2"])
    backend.save(str(folder / "tokenizer.json"))


def no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def sentencepiece(folder):
    (folder / "tokenizer.json").rename(folder / "spiece.model")


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def lost_shard(folder):
    weights = dict.fromkeys(tensors(folder), "model-00001-of-00002.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))


def no_config(folder):
    (folder / "config.json").unlink()


def torn_config(folder):
    (folder / "config.json").write_text('{"model_type": "bert"')


def broken_tokenizer_config(folder):
    (folder / "tokenizer_config.json").write_text("{broken")


def list_of_special_tokens(folder):
    (folder / "special_tokens_map.json").write_text("[1]")


def vocabulary_of_bytes(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_bytes(b"[PAD]\n\xff\xfe\n")


def empty_vocabulary(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text("{}")
    (folder / "merges.txt").write_text("")


def added_token_out_of_order(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "added_tokens.json").write_text('{"<new>": 30}')


def added_token_without_id(folder):
    added_token_out_of_order(folder)
    (folder / "added_tokens.json").write_text('{"<new>": "20"}')


def list_of_files(folder):
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ["a.safetensors"]}')


def list_for_a_word(folder):
    change_config(folder, hidden_act=["gelu"])


def word_for_a_number(folder):
    change_config(folder, hidden_size="10", layer_norm_eps="tiny")


def null_for_a_number(folder):
    change_config(folder, hidden_size=None)


def odd_padding(folder):
    change_config(folder, pad_token_id="0")


def pointer(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n")


def pointer_for_safetensors(folder):
    pointer(folder)
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")


def no_pickle(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_text("<html>Not found</html>")


FAULTS = {
    without_some: ["missing (4)", "bert.encoder.layer.1.output.dense.weight"],
    with_more: ["left over (2)", "bert.encoder.layer.7.output.dense.bias", "strange"],
    misshapen: ["bert.encoder.layer.0.attention.self.key.weight: (10, 9) in the file, (10, 10) by config.json"],
    untied: ["cls.predictions.decoder.weight differs from bert.embeddings.word_embeddings.weight"],
    of_another_type: ["model_type='brt' is not known, did you mean 'bert'?", "roberta", "gpt2"],
    of_no_type: ["does not say model_type", "distilbert"],
    unknown_activation: ["hidden_act='geluu' is not known, did you mean 'gelu'?"],
    decoder: ["is_decoder=True, where only False can be read"],
    truncated: ["model.safetensors cannot be read", "cut off"],
    truncated_at_the_start: ["model.safetensors cannot be read", "cut off"],
    code: ["pytorch_model.bin is refused", "run any code"],
    bare_code: ["pytorch_model.bin is refused", "run any code"],
    torn_pickle: ["pytorch_model.bin cannot be read", "cut off"],
    other_tokenizer: ["ids up to 21", "20 tokens"],
    no_tokenizer: ["holds no tokenizer.json", "save_pretrained"],
    sentencepiece: ["spiece.model", "SentencePiece", "save_pretrained"],
    no_weights: ["holds no weights", "model.safetensors"],
    lost_shard: ["model-00001-of-00002.safetensors"],
    no_config: ["holds no config.json"],
    torn_config: ["config.json cannot be read"],
    broken_tokenizer_config: ["tokenizer_config.json cannot be read"],
    list_of_special_tokens: ["special_tokens_map.json holds no JSON object"],
    vocabulary_of_bytes: ["vocab.txt cannot be read"],
    empty_vocabulary: ["vocab.json holds no tokens"],
    added_token_out_of_order: ["added_tokens.json: '<new>' is to have the id 30, and would have 20"],
    added_token_without_id: ["added_tokens.json: the id of '<new>' must be a whole number, not '20'"],
    list_of_files: ["model.safetensors.index.json: weight_map"],
    list_for_a_word: ["hidden_act=['gelu'] is not known"],
    word_for_a_number: ["hidden_size='10', where a whole number is wanted", "layer_norm_eps='tiny', where a whole"],
    null_for_a_number: ["hidden_size=None, where a whole number is wanted"],
    odd_padding: ["pad_token_id='0', where a whole number or null is wanted"],
    pointer: ["pytorch_model.bin is a pointer of git-lfs", "git lfs pull"],
    pointer_for_safetensors: ["model.safetensors is a pointer of git-lfs"],
    no_pickle: ["pytorch_model.bin cannot be read: it is no file of torch.save"],
}


@pytest.fixture
def lmlab(tmp_path, monkeypatch, capsys):
    """`lmlab("fill", ...)` in this process and an empty folder: (exit code, what it told)."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("LMLAB_DATA", raising=False)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["lmlab", *arguments])
        code = main(list(arguments))
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_faulty_folder_is_told_of(fault, folder, lmlab, tmp_path):
    fault(folder)
    returned, told = lmlab("fill", "a [MASK] b", f"run=hf:{folder}")
    assert returned == 1 and told.startswith(f"error: hf:{folder}") and "Traceback" not in told
    for part in FAULTS[fault]:
        assert part in told
    assert not list((tmp_path / "here").iterdir())  # nor has anything of a pickle been run


def test_the_whole_folder_can_be_asked(folder, lmlab, tmp_path):
    returned, told = lmlab("fill", "a [MASK] b", f"run=hf:{folder}")
    assert returned == 0, told
    assert lmlab("generate", "a", f"run=hf:{folder}") == (
        1, "error: this model continues no text; it was trained to fill blanks (lmlab fill)\n"
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("command", [["pretrain"], ["finetune", "task=pydocs_topic"], ["evaluate"]])
def test_every_command_refuses_it_and_writes_nothing(command, folder, lmlab, tmp_path):
    with_more(folder)
    key = "run" if command == ["evaluate"] else "init"
    returned, told = lmlab(*command, f"{key}=hf:{folder}", *([] if key == "run" else ["seq_len=16"]))
    assert returned == 1 and "left over" in told
    assert not [path for path in (tmp_path / "here").rglob("*") if path.is_file() and path.name != "multirun.yaml"]


@pytest.mark.parametrize("command", [["pretrain"], ["finetune", "task=pydocs_topic"]])
def test_words_that_the_folder_brings_itself_are_refused(command, folder, lmlab):
    returned, told = lmlab(*command, f"init=hf:{folder}", "model=bert")
    assert returned == 1 and "model: a pre-trained model brings its own" in told


def test_a_name_that_is_neither_here_nor_on_the_hub(lmlab, tmp_path):
    for name, part in (("no-such/model", "hub's cache"), ("./nowhere", "no such folder"), ("../bert/a/b", "no such"),
                       ("", "hf: names no model")):  # fmt: skip
        returned, told = lmlab("fill", "a [MASK]", f"run=hf:{name}")
        assert returned == 1 and part in told


@pytest.mark.parametrize("on_hub", ["model.safetensors", "pytorch_model.bin"])
def test_pickles_are_fetched_where_there_is_nothing_else(on_hub, folder, tmp_path, monkeypatch):
    asked = []

    def download(name, revision, allow_patterns):
        asked.append(allow_patterns)
        return folder

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    if on_hub == "pytorch_model.bin":
        torch.save(tensors(folder), folder / on_hub)
        (folder / "model.safetensors").unlink()
    assert load("hf:some/model").tokenizer.vocab_size == 20
    pickles = [["pytorch_model*.bin"]] if on_hub == "pytorch_model.bin" else []
    assert asked == [["*.json", "*.txt", "model*.safetensors"], *pickles]


# ---- the folder that is written


@pytest.mark.parametrize("there", ["new/er", "empty", ".", "link"])
def test_a_folder_is_written_where_none_or_an_empty_one_is(there, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    monkeypatch.chdir(tmp_path / "empty" if there == "." else tmp_path)
    write_folder(Path(there), {"config.json": "{}"}, {"weight": torch.ones(2)})
    assert sorted(os.listdir(there)) == ["config.json", "model.safetensors"]  # where the person stands, too
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["empty", "link", *(["new"] if there == "new/er" else [])]


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("file", "is a file"),
        ("file/x", "cannot be written"),
        ("full", "is not empty"),
    ],
)
def test_a_folder_that_cannot_be_written_is_told_of(to, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("text")
    (tmp_path / "full" / "inner").mkdir(parents=True)
    with pytest.raises(UserError, match=f"to={to} .*{told}"):
        write_folder(Path(to), {"config.json": "{}"}, {"weight": torch.ones(2)})
    assert sorted(os.listdir(tmp_path)) == ["file", "full"] and os.listdir("full") == ["inner"]


@pytest.mark.parametrize("is_there", [False, True])
def test_nothing_is_left_of_a_folder_that_fails_half_way(is_there, tmp_path):
    if is_there:
        (tmp_path / "new").mkdir()
    with pytest.raises(RuntimeError, match="Contiguous"):  # which a sparse matrix never is
        write_folder(tmp_path / "new", {"config.json": "{}"}, {"weight": torch.ones(2).to_sparse()})
    assert [path.name for path in tmp_path.rglob("*")] == (["new"] if is_there else [])


# ---- the same model in other files


def test_other_files_of_the_same_model(folder, lmlab, tmp_path):
    """Old pickles and names, half precision, shards, vocab.txt, and a network without a class around it."""
    import lmlab as package

    first = package.load(f"hf:{folder}")
    whole = tensors(folder)
    old = tmp_path / "old"
    shutil.copytree(folder, old, ignore=shutil.ignore_patterns("model.safetensors", "tokenizer.json"))
    renamed = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): each
               for name, each in whole.items()}  # fmt: skip
    torch.save(renamed | {"bert.embeddings.position_ids": torch.arange(16)[None]}, old / "pytorch_model.bin")
    (old / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    second = package.load(f"hf:{old}")
    ids = torch.tensor([second.tokenizer.encode("a [MASK] b")])
    assert ids.tolist() == [[5, 4, 6]] and torch.equal(first.logits(ids), second.logits(ids))

    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    change_config(bare, architectures=["BertModel"])
    body = {name.removeprefix("bert."): each.half() for name, each in whole.items() if name.startswith("bert.")}
    (bare / "model.safetensors").unlink()
    for number, names in enumerate((list(body)[::2], list(body)[1::2])):
        save_file({name: body[name] for name in names}, bare / f"model-{number}.safetensors")
    index = {name: f"model-{list(body).index(name) % 2}.safetensors" for name in body}
    (bare / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    third = package.load(f"hf:{bare}")
    assert not third.heads and third.model.embeddings.tokens.weight.dtype is torch.float32
    torch.testing.assert_close(third.hidden_states(ids)[-1], first.hidden_states(ids)[-1], rtol=0.02, atol=0.02)
