"""Likelihoods are those of a direct computation and of transformers; they depend on no batch; answers are honest."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing

from lmlab import load
from lmlab.corruptions.fragment import Fragment
from lmlab.corruptions.infilling import Infilling
from lmlab.corruptions.spans import Spans
from lmlab.corruptions.token_mask import TokenMask
from lmlab.errors import UserError
from lmlab.formulations.asking import best_of
from lmlab.formulations.likelihood import Likelihood
from lmlab.models.bart import Bart
from lmlab.models.bert import Bert
from lmlab.models.gpt import Gpt
from lmlab.models.t5 import T5
from lmlab.models.t5_decoder import T5Decoder
from lmlab.objectives.base import Learner
from lmlab.objectives.causal_lm import CausalLm
from lmlab.objectives.chosen import ChosenTokens
from lmlab.objectives.denoising import Denoising
from lmlab.objectives.drop_spans import DropSpans
from lmlab.objectives.field_lm import FieldLm
from lmlab.objectives.mass import Mass
from lmlab.objectives.mlm import Mlm
from lmlab.objectives.nsp import Nsp
from lmlab.objectives.prefix_lm import PrefixLm
from lmlab.objectives.rtd import Rtd
from lmlab.objectives.span_corruption import SpanCorruption
from lmlab.objectives.sum import Sum
from lmlab.tasks.metrics import TEXT_METRICS
from lmlab.text.tokenizers import BPE, WordPiece

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
TEXT = [" ".join(WORDS)] * 3
WORD_PIECES = WordPiece(vocab_size=100, num_sentinels=2).train(TEXT)  # most words are several pieces
BYTES = BPE(vocab_size=300, num_sentinels=2).train(TEXT)
SIZE = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64}
MARKS = {"cls_id": WORD_PIECES.cls_id, "sep_id": WORD_PIECES.sep_id}
MASK, END, SENTINELS = WORD_PIECES.mask_id, WORD_PIECES.eos_id, WORD_PIECES.sentinel_ids
NOISE = MASK, WORD_PIECES.vocab_size, frozenset(WORD_PIECES.special_ids)


def mlm():
    return Mlm(TokenMask(*NOISE), **MARKS)


def model(kind, vocab_size=WORD_PIECES.vocab_size, max_positions=64):
    """With large random weights, so that no two texts are alike to it."""
    torch.manual_seed(0)
    if kind is T5:
        made = T5(vocab_size, WORD_PIECES.pad_id, head_size=16, **SIZE)
    else:
        limits = {} if kind is T5Decoder else {"max_positions": max_positions}
        made = kind(vocab_size=vocab_size, **limits, **SIZE)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return made.eval()


def asker(kind, objective, tokenizer=WORD_PIECES, task=None, context=None, **options):
    """The formulation, its learner, and the pre-trained one behind it."""
    trained = Learner(model(kind, tokenizer.vocab_size), objective).eval()
    formulation = Likelihood(asks=ChosenTokens(objective, tokenizer), context=context, **options)
    task = task or SimpleNamespace(kind="choice", fields=["text"], name="t")
    return formulation, formulation.learner(trained.model, task, tokenizer, trained.heads), trained


def choices(n=12, fields=("text",)):
    """Rows with two or three choices of different lengths."""
    generator = np.random.default_rng(0)

    def words(count):
        return " ".join(generator.choice(WORDS, count))

    inputs = [
        {field: words(1 + i % 5) for field in fields} | {"choices": [words(1 + j) for j in range(2 + i % 2)]}
        for i in range(n)
    ]
    return [{"id": str(i), "inputs": each, "target": 0} for i, each in enumerate(inputs)]


def texts(n=12):
    rows = choices(n)
    return [
        {"id": r["id"], "inputs": {"text": r["inputs"]["text"]}, "target": r["inputs"]["choices"][1:]} for r in rows
    ]


def totals(learner, rows, budget=256, one_by_one=True):
    """Summed log-probabilities of all choices, in their order."""
    asked = learner.texts(rows, [row["inputs"]["choices"] for row in rows])
    sums = np.zeros(len(asked))
    for number, found in learner.ask(asked, budget, one_by_one):
        sums[number] += found.log_probabilities.sum()
    return sums


def log_probabilities(trained, *inputs):
    """(T, V) of one sequence, from the model and its head alone."""
    names = ["input_ids"] if len(inputs) == 1 else ["input_ids", "decoder_input_ids"]
    ids = {name: torch.tensor([[int(id) for id in each]]) for name, each in zip(names, inputs, strict=True)}
    with torch.no_grad():
        return trained.heads["vocabulary"](trained.model(**ids)).log_softmax(-1)[0].double().numpy()


def pieces(row, choice, tokenizer=WORD_PIECES):
    """Ids of the field and of a choice, as one text."""
    before = tokenizer.encode(row["inputs"]["text"]) if row["inputs"].get("text") else []
    whole = tokenizer.encode(" ".join(filter(None, [row["inputs"].get("text"), choice])))
    assert whole[: len(before)] == before
    return before, whole[len(before) :]


def pairs(rows, tokenizer=WORD_PIECES):
    return [pieces(row, choice, tokenizer) for row in rows for choice in row["inputs"]["choices"]]


# ---- each layout against a direct computation


@pytest.mark.parametrize("tokenizer", [WORD_PIECES, BYTES], ids=["word pieces", "bytes"])
def test_a_decoder_sums_what_it_predicts_after_the_fields(tokenizer):
    _, learner, trained = asker(Gpt, CausalLm(), tokenizer)
    rows, expected = choices(), []
    for before, choice in pairs(rows, tokenizer):
        ids = [tokenizer.eos_id, *before, *choice]
        table = log_probabilities(trained, ids[:-1])
        expected.append(sum(table[i - 1, ids[i]] for i in range(1 + len(before), len(ids))))
    np.testing.assert_allclose(totals(learner, rows), expected, rtol=1e-5)


def test_a_whole_sentence_is_asked_where_there_are_no_fields():
    task = SimpleNamespace(kind="choice", fields=[], name="t")
    _, learner, trained = asker(Gpt, CausalLm(), task=task)
    rows, expected = choices(fields=()), []
    for _, sentence in pairs(rows):
        table = log_probabilities(trained, [END, *sentence[:-1]])
        expected.append(table[np.arange(len(sentence)), sentence].sum())
    np.testing.assert_allclose(totals(learner, rows), expected, rtol=1e-5)


@pytest.mark.parametrize("objective", [mlm, lambda: Sum({"nsp": Nsp(**MARKS), "mlm": mlm()})], ids=["mlm", "mlm_nsp"])
def test_a_masked_model_is_asked_for_one_token_at_a_time(objective):
    _, learner, trained = asker(Bert, objective())
    rows, expected = choices(), []
    for before, choice in pairs(rows):
        ids, total = [MARKS["cls_id"], *before, *choice, MARKS["sep_id"]], 0.0
        for place in range(1 + len(before), len(ids) - 1):
            masked = [MASK if i == place else id for i, id in enumerate(ids)]
            total += log_probabilities(trained, masked)[place, ids[place]]
        expected.append(total)
    np.testing.assert_allclose(totals(learner, rows), expected, rtol=1e-5)


def t5_pair(before, choice):
    return [*before, SENTINELS[0], END], [SENTINELS[0], *choice, END], 1


def bart_pair(before, choice):
    whole = [END, *before, *choice, END]  # an end begins a text, as between two documents
    return [END, *before, MASK, END], whole, 1 + len(before)


def mass_pair(before, choice):
    return [*before, *[MASK] * len(choice)], choice, 0


def prefix_pair(before, choice):
    return [END, *before], choice, 0


def drop_pair(before, choice):
    return [*before, END], [*choice, END], 0


PAIRS = {
    "span_corruption": (lambda: SpanCorruption(Spans(MASK), SENTINELS, END), t5_pair),
    "denoising": (lambda: Denoising(Infilling(MASK), END), bart_pair),
    "mass": (lambda: Mass(Fragment(*NOISE)), mass_pair),
    "prefix_lm": (PrefixLm, prefix_pair),
    "drop_spans": (lambda: DropSpans(Spans(MASK), END), drop_pair),
}


@pytest.mark.parametrize("kind", [T5, Gpt, Bart], ids=["t5", "prefix decoder", "bart"])
@pytest.mark.parametrize("objective", PAIRS)
def test_what_reads_and_writes_is_asked_as_it_was_trained(objective, kind):
    make, pair_of = PAIRS[objective]
    _, learner, trained = asker(kind, make())
    rows, expected = choices(), []
    for before, choice in pairs(rows):
        inputs, targets, first = pair_of(before, choice)
        if kind is Gpt:
            ids = torch.tensor([inputs + targets])
            with torch.no_grad():
                hidden = trained.model(ids, prefix_mask=torch.arange(ids.shape[1])[None] < len(inputs))
            table = trained.heads["vocabulary"](hidden).log_softmax(-1)[0].detach().double().numpy()
            table = table[len(inputs) - 1 :]
        else:
            table = log_probabilities(trained, inputs, [trained.model.start_id, *targets[:-1]])
        expected.append(sum(table[first + i, id] for i, id in enumerate(choice)))
    np.testing.assert_allclose(totals(learner, rows), expected, rtol=1e-4)


def test_what_stands_before_a_text():
    framed = copy.deepcopy(WORD_PIECES)
    marks = [("[CLS]", MARKS["cls_id"]), ("[SEP]", MARKS["sep_id"])]
    framed.backend.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    denoising = PAIRS["denoising"][0]()
    assert ChosenTokens(denoising, WORD_PIECES).start == [END]  # as between two documents
    assert ChosenTokens(denoising, framed).start == [MARKS["cls_id"]]  # as BART's tokenizer does it
    assert ChosenTokens(mlm(), framed).start == []  # the objective has its own frame
    fields = FieldLm(["title", "text"], SENTINELS, END)
    assert ChosenTokens(fields, WORD_PIECES).start == [SENTINELS[1]]  # the marker of the body


LAYOUTS = {"encoder": (Bert, mlm), "decoder": (Gpt, CausalLm), "encoder-decoder": (T5, PAIRS["span_corruption"][0])}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_batches_and_their_padding_change_nothing(layout):
    kind, objective = LAYOUTS[layout]
    _, learner, _ = asker(kind, objective())
    np.testing.assert_allclose(totals(learner, choices(), 1), totals(learner, choices(), 4096), rtol=1e-4)


# ---- transformers


class Folder:
    """A model of transformers with random weights, saved with a tokenizer."""

    def __init__(self, path, name, tokenizer, **settings):
        transformers = pytest.importorskip("transformers")
        torch.manual_seed(0)
        config = getattr(transformers, f"{name[0]}Config")(vocab_size=tokenizer.vocab_size, **settings)
        self.model = getattr(transformers, f"{name[0]}{name[1]}")(config).eval()
        self.model.save_pretrained(path)
        tokenizer.save(path / "tokenizer.json")
        self.source = load(f"hf:{path}")

    def asker(self):
        source, task = self.source, SimpleNamespace(kind="choice", fields=["text"], name="t")
        formulation = Likelihood(asks=ChosenTokens(source.learner.objective, source.tokenizer), context=source.context)
        return formulation.learner(source.model, task, source.tokenizer, source.heads)


@pytest.mark.parity
def test_gpt2_of_transformers(tmp_path):
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "initializer_range": 0.5}
    folder, rows = Folder(tmp_path, ("GPT2", "LMHeadModel"), BYTES, **sizes), choices(6)
    expected = []
    for before, choice in pairs(rows, BYTES):
        ids = torch.tensor([[BYTES.eos_id, *before, *choice]])
        labels = ids.clone()
        labels[:, : 1 + len(before)] = -100
        with torch.no_grad():
            expected.append(-float(folder.model(ids, labels=labels).loss) * len(choice))
    np.testing.assert_allclose(totals(folder.asker(), rows), expected, rtol=1e-4)


@pytest.mark.parity
def test_bert_of_transformers(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    folder, rows = Folder(tmp_path, ("Bert", "ForMaskedLM"), WORD_PIECES, initializer_range=0.5, **sizes), choices(6)
    expected = []
    for before, choice in pairs(rows):
        ids = torch.tensor([MARKS["cls_id"], *before, *choice, MARKS["sep_id"]])
        places = torch.arange(1 + len(before), len(ids) - 1)
        masked = ids.repeat(len(places), 1)
        masked[torch.arange(len(places)), places] = MASK
        labels = torch.where(masked == MASK, ids, -100)
        with torch.no_grad():
            expected.append(-float(folder.model(masked, labels=labels).loss) * len(places))
    np.testing.assert_allclose(totals(folder.asker(), rows), expected, rtol=1e-4)


# ---- choices


def test_what_a_score_is_divided_by():
    rows = choices()
    sizes = {
        "none": lambda text: 1,
        "tokens": lambda text: len(WORD_PIECES.encode(text)),
        "bytes": lambda text: len(text.encode()),
    }
    for normalise, size in sizes.items():
        formulation, learner, _ = asker(Gpt, CausalLm(), normalise=normalise)
        flat, begin, losses, expected = totals(learner, rows), 0, [], []
        for row in rows:
            texts_of = row["inputs"]["choices"]
            scores = torch.tensor([flat[begin + i] / size(text) for i, text in enumerate(texts_of)])
            expected.append(int(scores.argmax()))
            losses.append(-float(scores.log_softmax(0)[0]))
            begin += len(texts_of)
        answers = formulation.answer(learner, rows, 512)
        assert answers.predictions == expected
        assert answers.loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_loss_of_several_right_choices_is_that_of_them_together():
    formulation, learner, _ = asker(Gpt, CausalLm())
    rows = [row | {"right": [0, 1]} for row in choices()]
    flat, begin, losses = totals(learner, rows), 0, []
    for row in rows:
        size = len(row["inputs"]["choices"])
        losses.append(-math.log(torch.tensor(flat[begin : begin + size]).softmax(0)[:2].sum()))
        begin += size
    assert formulation.answer(learner, rows, 512).loss == pytest.approx(np.mean(losses), abs=1e-5)


def test_what_stands_between_fields_is_given():
    task = SimpleNamespace(kind="choice", fields=["one", "two"], name="t")
    rows = choices(fields=("one", "two"))
    _, learner, _ = asker(Gpt, CausalLm(), task=task, separator=" iota ")
    _, joined, _ = asker(Gpt, CausalLm())
    as_one = []
    for row in rows:
        text = f"{row['inputs']['one']} iota {row['inputs']['two']} iota"
        as_one.append(row | {"inputs": {"text": text, "choices": row["inputs"]["choices"]}})
    np.testing.assert_allclose(totals(learner, rows), totals(joined, as_one), rtol=1e-5)


def test_a_tie_knows_nothing_of_the_order():
    names = [f"choice {number}" for number in range(200)]
    equal = np.zeros(2)
    firsts = sum(best_of(equal, pair) == 0 for pair in zip(names[::2], names[1::2], strict=True))
    assert 30 < firsts < 70
    assert names[:2][best_of(equal, names[:2])] == names[1::-1][best_of(equal, names[1::-1])]
    assert best_of(np.array([-1.0, -0.99]), names[:2]) == 1


def test_a_decoder_that_learnt_good_sentences_prefers_them():
    good = [f"{a} beta {b} kappa" for a in WORDS for b in WORDS]
    bad = [f"kappa {a} beta {b}" for a in WORDS for b in WORDS]
    task = SimpleNamespace(kind="choice", fields=[], name="t")
    formulation, learner, trained = asker(Gpt, CausalLm(), task=task)
    rows = [{"id": g, "inputs": {"choices": [b, g]}, "target": 1} for g, b in zip(good, bad, strict=True)]
    optimizer = torch.optim.Adam(trained.parameters(), 3e-3)
    for step in range(40):
        part = rows[step % 10 :: 10]
        texts_of = learner.texts(part, [row["inputs"]["choices"][1:] for row in part])
        batch, _ = learner.collate(*zip(*((text.ids, text.asked) for text in texts_of), strict=True))
        loss = trained.heads["vocabulary"].cross_entropy(trained.model(**batch.inputs), batch.targets["labels"])
        optimizer.zero_grad()
        (loss / len(batch.targets["labels"])).backward()
        optimizer.step()
    assert np.mean(formulation.answer(learner, rows, 2048).predictions) > 0.95


# ---- texts


def completed(tokenizer, rows, instead, kind=Gpt, objective=CausalLm, **options):
    """Answers of a model that is right about every token, but says `instead[token]` in place of some."""
    task = SimpleNamespace(kind="text", fields=["text"], name="t", metrics=["accuracy"])
    formulation, learner, _ = asker(kind, objective(), tokenizer, task, **options)

    def look_up(hidden, labels):
        best = np.array([instead.get(int(label), int(label)) for label in labels])
        return type(found)(np.where(best == labels.numpy(), np.log(0.5), np.log(0.125)), best)

    found = next(learner.ask(learner.texts(rows, [row["target"] for row in rows]), 64, False))[1]
    learner._look_up = look_up
    return formulation.answer(learner, rows, 64)


def test_a_last_word_is_right_if_all_its_tokens_are():
    rows = [
        {"id": "0", "inputs": {"text": "alpha beta"}, "target": ["epsilon"]},
        {"id": "1", "inputs": {"text": "Gamma"}, "target": ["Hatmi"]},
    ]
    first, second = (pieces({"inputs": row["inputs"]}, row["target"][0])[1] for row in rows)
    assert len(second) > 2
    right = completed(WORD_PIECES, rows, {})
    assert right.predictions == ["epsilon", "Hatmi"]  # letter by letter, though the tokenizer knows small ones alone
    assert right.loss == pytest.approx(math.log(2))
    assert right.metrics["perplexity"] == pytest.approx(2)
    assert right.metrics["word_perplexity"] == pytest.approx(2 ** ((len(first) + len(second)) / 2))
    other = WORD_PIECES.encode("iota")[0]
    wrong = completed(WORD_PIECES, rows, {second[1]: other})
    assert wrong.predictions[1] == WORD_PIECES.decode([second[0], other])  # nothing is shown after the first slip
    masked = completed(WORD_PIECES, rows, {second[1]: other}, Bert, mlm)
    assert masked.predictions[1] == WORD_PIECES.decode([second[0], other, *second[2:]])


def test_another_token_never_reads_like_the_right_one():
    row = {"id": "0", "inputs": {"text": "alpha"}, "target": ["b"]}
    space, letter = BYTES.encode(" b")
    assert completed(BYTES, [row], {space: letter}).predictions == ["…b"]  # "alphab"
    assert TEXT_METRICS["exact_match"](["…b"], [["b"]]) == 0


def test_what_the_tokenizer_does_not_know_is_never_right(caplog):
    row = {"id": "0", "inputs": {"text": "alpha"}, "target": ["beta \u2603"]}
    answers = completed(WORD_PIECES, [row, *texts(1)], {})  # the model says [UNK] where [UNK] stands
    assert answers.predictions[0] == "beta [UNK]" and answers.predictions[1] == texts(1)[0]["target"][0]
    known = len(WORD_PIECES.encode("beta")) + len(WORD_PIECES.encode(texts(1)[0]["target"][0]))
    assert answers.metrics["unknown"] == 1 / (known + 1)
    assert f"1 of {known + 1} asked tokens are unknown" in caplog.text


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_text_is_predicted_at_once_or_token_after_token(layout):
    kind, objective = LAYOUTS[layout]
    task = SimpleNamespace(kind="text", fields=["text"], name="t", metrics=["accuracy"])
    formulation, learner, trained = asker(kind, objective(), task=task)
    rows, total, count = texts(), 0.0, 0
    for row in rows:
        before, answer = pieces(row, row["target"][0])
        if layout == "encoder":
            table = log_probabilities(trained, [MARKS["cls_id"], *before, *[MASK] * len(answer), MARKS["sep_id"]])
            first = 1 + len(before)
        elif layout == "decoder":
            table, first = log_probabilities(trained, [END, *before, *answer]), len(before)
        else:
            inputs, targets, first = t5_pair(before, answer)
            table = log_probabilities(trained, inputs, [trained.model.start_id, *targets[:-1]])
        total -= table[first + np.arange(len(answer)), answer].sum()
        count += len(answer)
    answers = formulation.answer(learner, rows, 256)
    assert answers.loss == pytest.approx(total / count, rel=1e-4)
    assert answers.metrics["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-3)


def test_what_follows_the_asked_text_is_seen_by_those_who_see_it():
    task = SimpleNamespace(kind="text", fields=["text"], name="t", metrics=["accuracy"])
    losses = {}
    for name, (kind, objective) in LAYOUTS.items():
        made = (asker(kind, objective(), task=task, after=after) for after in ("", " iota"))
        losses[name] = [formulation.answer(learner, texts(), 256).loss for formulation, learner, _ in made]
    assert losses["decoder"][0] == pytest.approx(losses["decoder"][1])
    assert losses["encoder"][0] != pytest.approx(losses["encoder"][1])
    assert losses["encoder-decoder"][0] != pytest.approx(losses["encoder-decoder"][1])


# ---- long texts, and what cannot be asked


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_long_text_loses_its_beginning(layout, caplog):
    kind, objective = LAYOUTS[layout]
    task = SimpleNamespace(kind="text", fields=["text"], name="t", metrics=["accuracy"])
    formulation, learner, _ = asker(kind, objective(), task=task, context=12)
    long = {"id": "0", "inputs": {"text": " ".join(WORDS * 3)}, "target": ["eta theta"]}
    (text,) = learner.texts([long], [long["target"]])
    assert text.length == 12 and text.is_cut
    assert text.ids[text.asked].tolist() == WORD_PIECES.encode("eta theta")
    answers = formulation.answer(learner, [long, *texts(1)], 64)
    assert answers.metrics["truncated"] == 0.5
    assert "1 of 2 texts" in caplog.text


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sentence_longer_than_the_context_is_read_whole_and_told(layout, caplog):
    kind, objective = LAYOUTS[layout]
    task = SimpleNamespace(kind="choice", fields=[], name="t")
    formulation, learner, _ = asker(kind, objective(), task=task, context=12)
    long = [" ".join(WORDS * 2), " ".join(WORDS[::-1] * 2)]
    rows = [{"id": str(i), "inputs": {"choices": each}, "target": 0} for i, each in enumerate([long, WORDS[:2]])]
    (text, *_) = learner.texts(rows, [row["inputs"]["choices"] for row in rows])
    assert text.ids[text.asked].tolist() == WORD_PIECES.encode(long[0])  # no word of it is left out
    answers = formulation.answer(learner, rows, 64)
    assert answers.metrics == {"beyond_context": 0.5}
    assert "2 of 4 texts have positions" in caplog.text


def test_an_asked_text_longer_than_the_positions_is_told():
    _, learner, _ = asker(Gpt, CausalLm(), context=12)
    row = {"id": "row-7", "inputs": {"text": "alpha"}, "target": 0}
    with pytest.raises(UserError, match=r"row row-7: .* 64 positions"):
        learner.texts([row], [[" ".join(WORDS * 10)]])
    with pytest.raises(UserError, match=r"row row-7: ' ' has no token"):
        learner.texts([row], [[" "]])


def test_what_cannot_be_asked_is_told():
    formulation, learner, trained = asker(Bert, mlm())
    with pytest.raises(UserError, match="trains nothing; evaluate with: lmlab evaluate run="):
        formulation.batches(learner, choices(), 64, 0)
    with pytest.raises(UserError, match="no vocabulary head"):
        formulation.learner(trained.model, learner.task, WORD_PIECES, {})
    with pytest.raises(UserError, match="asks a pre-trained model"):
        Likelihood().learner(trained.model, learner.task, WORD_PIECES, trained.heads)
    writes = SimpleNamespace(kind="text", fields=["text"], name="t", metrics=["accuracy", "bleu", "chrf"])
    with pytest.raises(UserError, match=r"bleu, chrf of task 't' would score what is copied.*formulation=sequence"):
        formulation.learner(trained.model, writes, WORD_PIECES, trained.heads)
    with pytest.raises(UserError, match="Rtd, which asks for no tokens"):
        ChosenTokens(Rtd(TokenMask(*NOISE), model(Bert), **MARKS), WORD_PIECES)
