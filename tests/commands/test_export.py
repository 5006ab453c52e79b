"""lmlab export: what transformers loads from the folder says what the run says, from the text on."""

import json
from types import SimpleNamespace

import pytest
import torch

from lmlab import load
from lmlab.cli import main
from lmlab.commands.export import as_finetuned, as_writer, write
from lmlab.config.assemble import tokenizer_facts
from lmlab.config.build import build
from lmlab.errors import UserError
from lmlab.formulations.head import Head
from lmlab.formulations.sequence import TextGeneration
from lmlab.loading import load_run
from lmlab.runs import find
from lmlab.tasks.choice import Choice
from lmlab.tasks.classification import Classification
from lmlab.tasks.regression import Regression
from lmlab.tasks.span import SpanExtraction
from lmlab.tasks.tagging import Tagging
from lmlab.text.tokenizers import WordPiece

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
TEXTS = ["the red dog runs over the green field and sees a river", "the old bird sees a horse", "a small cat runs"]
SMALL = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "intermediate_size": 64, "max_positions": 40}
BERT = {"_target_": "lmlab.models.bert.Bert", **SMALL}
NODES = {
    "bert": BERT,
    "roberta": BERT | {"position_offset": 2, "num_segments": 1},
    "albert": BERT | {"num_groups": 1, "embedding_size": 8},
    "distilbert": BERT | {"num_segments": 0, "pooler_activation": "relu"},
    "electra": BERT | {"embedding_size": 8, "pooler_activation": "gelu"},
    "openai-gpt": {"_target_": "lmlab.models.gpt.Gpt", **SMALL, "pre_norm": False},
    "gpt2": {"_target_": "lmlab.models.gpt.Gpt", **SMALL},
    "t5": {
        "_target_": "lmlab.models.t5.T5",
        "hidden_size": 16,
        "num_layers": 2,
        "num_heads": 2,
        "intermediate_size": 32,
    },
    "bart": {"_target_": "lmlab.models.bart.Bart", **SMALL},
}
FOR = {"classification": "ForSequenceClassification", "regression": "ForSequenceClassification",
       "tagging": "ForTokenClassification", "span": "ForQuestionAnswering", "choice": "ForMultipleChoice"}  # fmt: skip
LACKING = {("openai-gpt", "tagging"), ("openai-gpt", "span"), ("t5", "classification"), ("t5", "regression"),
           ("bart", "tagging")} | {(name, "choice") for name in ("openai-gpt", "gpt2", "t5", "bart")}  # fmt: skip
PAIRS = [(model, kind) for model in NODES for kind in FOR]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece(vocab_size=150, num_sentinels=4).train(TEXTS * 20)


def task_of(kind):
    shared = {"name": "toy", "source": "toy", "metrics": ["accuracy"]}
    if kind == "classification":
        return Classification(**shared, fields=["a", "b"], labels=["no", "maybe", "yes"])
    if kind == "regression":
        return Regression(name="toy", source="toy", metrics=["pearson"], fields=["a", "b"], low=0.0, high=5.0)
    if kind == "choice":
        return Choice(**shared, fields=["a"], choices=["b"])
    if kind == "tagging":
        return Tagging(**shared, fields=["words"], labels=["DET", "NOUN", "VERB"])
    return SpanExtraction(name="toy", source="toy", metrics=["f1"], fields=["a", "b"])


def row_of(kind, a, b):
    """A row with the texts `a` and `b`, of which a task that tags reads the first."""
    if kind == "tagging":
        return {"id": "0", "inputs": {"words": a.split()}, "target": [0] * len(a.split())}
    if kind == "choice":
        return {"id": "0", "inputs": {"a": a, "choices": [b, a]}, "target": 1}
    target = {"text": [b.split()[1]], "answer_start": [b.index(b.split()[1])]} if kind == "span" else 1
    return {"id": "0", "inputs": {"a": a, "b": b}, "target": target}


def learner_of(node, kind, tokenizer, **settings):
    torch.manual_seed(0)
    model = build(node, **tokenizer_facts(tokenizer))
    learner = Head(max_length=40, max_question_tokens=16, **settings).learner(model, task_of(kind), tokenizer)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return learner.eval()


@pytest.mark.parametrize(("name", "kind"), [pair for pair in PAIRS if pair not in LACKING])
def test_a_fine_tuned_head_answers_the_same_from_the_text_on(name, kind, tokenizer, tmp_path):
    settings = {"decoder_input": "none"} if (name, kind) == ("t5", "tagging") else {}
    learner = learner_of(NODES[name], kind, tokenizer, **settings)
    written = write(as_finetuned(learner, tokenizer, NODES[name], task_of(kind)), tmp_path / "out")
    assert written.endswith(FOR[kind])
    theirs, report = getattr(transformers, written).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values()) and theirs.config.model_type == name
    if kind == "classification":
        assert theirs.config.id2label == {0: "no", 1: "maybe", 2: "yes"}
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    texts = [(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[0])]
    rows = [row_of(kind, *pair) for pair in texts]
    examples = list(learner.question.examples(rows))
    given = [(each[0],) if kind == "tagging" else each for each in texts]
    if kind == "choice":
        given = [(row["inputs"]["a"], choice) for row in rows for choice in row["inputs"]["choices"]]
    for example, texts_of_row in zip(examples, given, strict=True):  # alone: padding was held against theirs elsewhere
        inputs = reader(*texts_of_row, return_tensors="pt")
        assert inputs["input_ids"][0].tolist() == example.ids.tolist()
        if kind == "choice":
            inputs = {name: each[:, None] for name, each in inputs.items()}  # (rows, choices, tokens)
        with torch.no_grad():
            ours, found = learner.predict(learner.collate([example])), theirs.eval()(**inputs)
        if kind == "span":
            expected = torch.stack([found.start_logits, found.end_logits], dim=-1)
        else:
            expected = found.logits[0, example.asked] if kind == "tagging" else found.logits
        torch.testing.assert_close(ours, expected, **TOLERANCE)


TEXT = SimpleNamespace(kind="text", name="toy", fields=["a"])


@pytest.mark.parametrize("name", ["gpt2", "openai-gpt", "t5", "bart"])
def test_a_model_that_writes_texts_writes_the_same_from_the_text_on(name, tokenizer, tmp_path):
    formulation = TextGeneration(max_length=20, max_target_length=8)
    torch.manual_seed(0)
    learner = formulation.learner(build(NODES[name], **tokenizer_facts(tokenizer)), TEXT, tokenizer).eval()
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    written = write(as_writer(learner, tokenizer, NODES[name]), tmp_path / "out")
    theirs, report = getattr(transformers, written).from_pretrained(tmp_path / "out", output_loading_info=True)
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert not any(report.values())
    rows = [{"id": "0", "inputs": {"a": text}, "target": [text]} for text in TEXTS]
    for row, example in zip(rows, learner.prepare(rows), strict=True):
        (answer,) = formulation.answer(learner, [row], 1000).predictions
        inputs = reader(row["inputs"]["a"], return_tensors="pt")
        assert inputs["input_ids"][0].tolist() == example.ids.tolist()
        settings = {"max_new_tokens": 8, "do_sample": False, "suppress_tokens": learner.never}
        ids = theirs.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"], **settings)[0].tolist()
        new = ids[1:] if learner.model.layout == "encoder-decoder" else ids[len(example.ids) :]
        assert answer and tokenizer.decode(new) == answer


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("bert", {}, "an encoder that writes texts cannot be exported yet"),
        ("gpt2", {"sees_text_whole": True}, "transformers would read them from left to right"),
    ],
)
def test_what_transformers_would_write_otherwise_is_refused(name, settings, reason, tokenizer):
    model = build(NODES[name], **tokenizer_facts(tokenizer))
    learner = TextGeneration(max_length=20, max_target_length=8, **settings).learner(model, TEXT, tokenizer)
    with pytest.raises(UserError, match=reason):
        as_writer(learner, tokenizer, NODES[name])


@pytest.mark.parametrize(
    ("node", "kind", "settings", "reason"),
    [
        (BERT | {"pre_norm": True}, "classification", {}, "model.pre_norm=True, and bert has False only"),
        (BERT, "classification", {"pooling": "mean"}, "no class that is known here has the head"),
        (NODES["gpt2"], "classification", {"pooling": "mean"}, "formulation.pooling=mean, and GPT2"),
        (BERT | {"num_layers": 4}, "tagging", {"pooling": "last_four"}, "formulation.pooling=last_four, and Bert"),
        (BERT, "regression", {"pairs": "apart"}, "formulation.pairs=apart"),
        (BERT, "choice", {"pooling": "mean"}, "(BertForMultipleChoice has the heads output, pooler)"),
        (NODES["gpt2"], "choice", {}, "for choice (none is for choice)"),
        (NODES["gpt2"] | {"local_window": 4}, "classification", {}, "model.local_window=4: there is nothing like it"),
        (NODES["gpt2"], "classification", {"sees_text_whole": True}, "formulation.sees_text_whole=True"),
        (NODES["t5"], "classification", {}, "T5ForSequenceClassification cannot be written"),
        (NODES["t5"], "tagging", {}, "formulation.decoder_input=text, and T5ForTokenClassification has none only"),
        (NODES["t5"] | {"shared": True}, "span", {}, "model.shared=True, and t5 has False only"),
        (NODES["bart"], "classification", {"decoder_input": "start"}, "formulation.decoder_input=start"),
        (
            {"_target_": "lmlab.models.t5_decoder.T5Decoder", "num_layers": 1},
            "classification",
            {},
            "has no counterpart in transformers",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else None,
)
def test_what_transformers_cannot_say_is_refused(node, kind, settings, reason, tokenizer, tmp_path):
    learner = learner_of(node, kind, tokenizer, **settings)
    with pytest.raises(UserError) as error:
        write(as_finetuned(learner, tokenizer, node, task_of(kind)), tmp_path / "out")
    assert reason in str(error.value)
    assert not list(tmp_path.iterdir())


# --- the command ---


@pytest.fixture
def lmlab(tmp_path, monkeypatch, capsys):
    """`lmlab("export", ...)` in this process and an empty folder: (exit code, standard output, what it told)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LMLAB_DATA", raising=False)
    documents = (" ".join(f"{text.capitalize()}." for text in TEXTS) + f" Number {number}." for number in range(500))
    (tmp_path / "text.txt").write_text("\n\n".join(documents))

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["lmlab", *arguments])
        code = main(list(arguments))
        return code, *capsys.readouterr()

    return run


def pretraining(tmp_path, *words):
    return ["pretrain", *words, "corpus=text", f"corpus.path={tmp_path}/text.txt", "corpus.document=blank_line",
            "tokenizer.vocab_size=150", "tokenizer.num_sentinels=12", "model.hidden_size=16", "model.num_layers=2",
            "model.num_heads=2", "model.intermediate_size=64", "seq_len=24", "trainer.max_steps=3",
            "trainer.batch_tokens=128", "trainer.eval_every=null", "trainer.precision=fp32"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["model=bert", "objective=mlm"], "BertForMaskedLM"),
        (["model=bert", "objective=mlm_nsp"], "BertForPreTraining"),
        (["model=bert", "model.num_groups=1", "model.embedding_size=8", "objective=mlm_sop"], "AlbertForPreTraining"),
        (["model=bert", "objective=rtd", "objective.generator.hidden_size=8"], "ElectraForPreTraining"),
        (["model=gpt", "objective=causal_lm"], "LMHeadModel"),
        (["model=t5", "objective=span_corruption"], "T5ForConditionalGeneration"),
        (["model=bart", "objective=denoising"], "BartForConditionalGeneration"),
        (["model=roberta", "objective=mlm"], "RobertaForMaskedLM"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pretrained_run_there_and_back(words, written, lmlab, tmp_path):
    code, _, told = lmlab(*pretraining(tmp_path, *words))
    assert code == 0, told
    code, answer, told = lmlab("export", "to=out", "format=json")
    assert code == 0, told
    assert json.loads(answer)["class"].endswith(written) and json.loads(answer)["written_to"] == "out"
    run, back = load_run(find.resolve("latest")), load("hf:out")
    ids = torch.tensor([back.tokenizer.encode("the red [MASK] runs")])
    decoder_ids = {"decoder_input_ids": ids} if back.model.layout == "encoder-decoder" else {}
    theirs, report = getattr(transformers, json.loads(answer)["class"]).from_pretrained("out", output_loading_info=True)
    assert not any(report.values())
    with torch.no_grad():
        found = theirs.eval()(ids, **decoder_ids)
    if "vocabulary" in back.heads:
        expected = found["prediction_logits"] if "prediction_logits" in found else found["logits"]
        torch.testing.assert_close(run.logits(ids, **decoder_ids), expected, **TOLERANCE)
    for name, head in back.heads.items():
        own = dict(run.heads[name].named_parameters())
        assert all(torch.equal(weight, own[key]) for key, weight in head.named_parameters())
    ours, others = run.hidden_states(ids, **decoder_ids), back.hidden_states(ids, **decoder_ids)
    assert all(torch.equal(a, b) for a, b in zip(ours, others, strict=True))


def test_transformers_fills_the_same_blanks(lmlab, tmp_path):
    assert lmlab(*pretraining(tmp_path, "model=bert", "objective=mlm"))[0] == 0
    assert lmlab("export", "to=out")[0] == 0
    pipeline = transformers.pipeline("fill-mask", model="out", top_k=20)
    for text in ("the red [MASK] runs.", "A [MASK], the old bird, sees"):
        code, answer, told = lmlab("fill", text, "run=latest", "top_k=5", "format=json")
        assert code == 0, told
        ours = [each["text"].removeprefix("##") for each in json.loads(answer)["blanks"][0]]
        specials = {*pipeline.tokenizer.all_special_tokens, *pipeline.tokenizer.added_tokens_encoder}
        theirs = [each["token_str"].removeprefix("##") for each in pipeline(text) if each["token_str"] not in specials]
        assert ours == theirs[: len(ours)]


@pytest.mark.slow
def test_it_goes_on_here_without_the_folder(lmlab, tmp_path):
    """A run that starts from a folder keeps all that it needs."""
    assert lmlab(*pretraining(tmp_path, "model=bert", "objective=mlm"))[0] == 0
    assert lmlab("export", "to=out")[0] == 0
    words = ["task=pydocs_topic", "task.max_train_rows=40", "task.max_evaluation_rows=20", "trainer.precision=fp32"]
    code, _, told = lmlab("finetune", "init=hf:out", *words, "trainer.max_steps=3", "trainer.save_every=1")
    assert code == 0, told
    settings = ["trainer.max_steps=3", "trainer.eval_every=null", "trainer.precision=fp32", "trainer.batch_tokens=128"]
    corpus = ["corpus=text", f"corpus.path={tmp_path}/text.txt", "seq_len=24"]
    code, _, told = lmlab("pretrain", "init=hf:out", *corpus, *settings)
    assert code == 0 and "fresh weights" not in told, told
    (tmp_path / "out").rename(tmp_path / "gone")
    (finetuned,) = (run for run in find.runs() if run.read_summary()["command"] == "finetune")
    summary = finetuned.read_summary()
    assert (summary["model"], summary["init"]) == ("bert", "hf:out")
    assert lmlab("evaluate", f"run={finetuned.path}")[0] == 0
    assert lmlab("export", f"run={finetuned.path}", "to=classifier")[0] == 0
    assert json.loads((tmp_path / "classifier" / "config.json").read_text())["id2label"]["0"]
    code, _, told = lmlab("evaluate", "run=hf:classifier", *words[:1], "task.max_evaluation_rows=20")
    assert code == 0, told
    again = find.resolve("latest", lambda run: run.read_summary()["command"] == "evaluate", checkpoint=False)
    assert again.read_summary()["metrics"]["accuracy"] == pytest.approx(summary["metrics"]["accuracy"])


def test_mistakes(lmlab, tmp_path):
    code, _, told = lmlab("export")
    assert code == 1 and "to=<folder> must be given" in told
    code, _, told = lmlab("export", "to=out")
    assert code == 1 and "There is no run" in told
    assert lmlab(*pretraining(tmp_path, "model=bert", "objective=mlm"))[0] == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep")
    code, _, told = lmlab("export", "to=full")
    assert code == 1 and "is not empty" in told and [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_rows_beyond_the_vocabulary_are_never_drawn(tmp_path, tokenizer):
    """T5 has rows for 32,128 tokens and a vocabulary of 32,100."""
    config = transformers.GPT2Config(
        vocab_size=tokenizer.vocab_size + 50,
        n_embd=8,
        n_layer=1,
        n_head=1,
        n_positions=32,
        bos_token_id=3,
        eos_token_id=3,
    )
    theirs = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        theirs.transformer.ln_f.bias.fill_(1.0)
        theirs.transformer.wte.weight[tokenizer.vocab_size :] = 9.0  # likeliest by far
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.json")
    model = load(f"hf:{tmp_path}")
    ids = torch.stack(list(model.stream("the red", 20, 1.0, None, 1.0, 0, num_samples=8)))
    assert int(model.logits(torch.tensor([[20]])).argmax()) >= tokenizer.vocab_size > int(ids.max())
