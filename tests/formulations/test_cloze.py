"""Cloze: PET's rules against direct computations, brute force and transformers; what is asked is what should be."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

import lmlab
from lmlab.errors import UserError
from lmlab.formulations.blanks import Blank
from lmlab.formulations.cloze import LABELLED, UNLABELLED, Cloze
from lmlab.formulations.filling import fill
from lmlab.formulations.template import Template
from lmlab.models.bert import Bert
from lmlab.tasks.choice import Choice
from lmlab.tasks.classification import Classification
from lmlab.text.tokenizer import Tokenizer
from lmlab.text.tokenizers import BPE, WordPiece

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
LINES = [" ".join(WORDS), "it was a great, terrible or fine day? yes! no. so [great]"] * 3
TOKENIZER = WordPiece(vocab_size=400, num_sentinels=2).train(LINES)
BYTES = BPE(vocab_size=400, num_sentinels=2).train(LINES)
WHOLE, LONG = ["great", "terrible", "fine"], ["great", "terrible day", "finer"]  # of one token, of several
NAMES = {"name": "t", "source": "none"}


def model(tokenizer=TOKENIZER, max_positions=64):
    """With large random weights, so that no two texts are alike to it."""
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64}
    made = Bert(
        vocab_size=tokenizer.vocab_size, max_positions=max_positions, dropout=0.0, attention_dropout=0.0, **size
    )
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return made


# --- eight rows of each kind; the texts differ in length ---


def sentences():
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, 2 + i, replace=False)) for i in range(8)]


def rows_of(inputs, targets):
    return [{"id": str(i), "inputs": x, "target": y} for i, (x, y) in enumerate(zip(inputs, targets, strict=True))]


def single(words=WHOLE):
    task = Classification(labels=["a", "b", "c"], fields=["s"], metrics=["accuracy"], **NAMES)
    template = Template(patterns=["{s} It was {blank}."], verbalizers=words)
    return task, rows_of([{"s": s} for s in sentences()], [i % 3 for i in range(8)]), template


def pair():
    task = Classification(labels=["a", "b"], fields=["s", "t"], metrics=["accuracy"], **NAMES)
    inputs = [{"s": s, "t": WORDS[i]} for i, s in enumerate(sentences())]
    template = Template(patterns=["{s}? || {blank}, {t}"], verbalizers=[["yes", "no"]])
    return task, rows_of(inputs, [i % 2 for i in range(8)]), template


def several():
    return single(LONG)


def choice():
    """Rows of two to four choices, of different lengths; some have two right ones.

    None begins another one: the longer of such two is never the likelier one in one pass.
    """
    task = Choice(fields=["s"], choices=["c"], metrics=["accuracy"], **NAMES)
    inputs = [
        {"s": s, "choices": [" ".join((WORDS + WORDS)[i + n :][: 1 + n]) for n in range(2 + i % 3)]}
        for i, s in enumerate(sentences())
    ]
    rows = rows_of(inputs, [i % 2 for i in range(8)])
    rows = [row | ({"right": [0, 2]} if len(row["inputs"]["choices"]) == 4 else {}) for row in rows]
    return task, rows, Template(patterns=["{s} so {blank}"])


KINDS = (single, pair, several, choice)


def put(kind, tokenizer=TOKENIZER, heads=None, max_positions=64, **settings):
    task, rows, template = kind()
    cloze = Cloze(template=template, **{"mlm_weight": 0.0} | settings)
    return cloze, cloze.learner(model(tokenizer, max_positions), task, tokenizer, heads), rows


def learn(learner, batches, steps, lr=2e-3):
    """Train until the loss of a step is next to nothing, which is returned."""
    learner.train()
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        total = 0.0
        for batch in batches.step(step):
            for term, loss in learner(batch).items():
                (loss / batch.counts[term]).backward()
                total += loss.item()
        if total < 0.02:
            break
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
    return total


@pytest.mark.parametrize("kind", KINDS)
def test_eight_examples_can_be_learnt(kind):
    cloze, learner, rows = put(kind)
    assert learn(learner, cloze.batches(learner, rows, 2000, 0, batch_size=100), 300) < 0.02
    answers = cloze.answer(learner, rows, 100)
    records = [learner.task.record(*each) for each in zip(rows, answers.predictions, strict=True)]
    assert all(record["prediction"] in record["references"] for record in records)
    assert answers.loss < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_neither_padding_nor_company_changes_what_is_said(kind):
    cloze, learner, rows = put(kind)
    alone, together = (cloze.label_scores(learner, rows, tokens) for tokens in (1, 10_000))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert cloze.answer(learner, rows, 1).loss == pytest.approx(cloze.answer(learner, rows, 10_000).loss, rel=1e-5)


# --- PET's rules ---


def log_probabilities(learner, ids, segments=None):
    """(T, V) of one sequence, from the model and its head alone."""
    inputs = {"input_ids": torch.as_tensor(ids)[None].long()}
    if segments is not None:
        inputs["segment_ids"] = torch.as_tensor(segments)[None].long()
    with torch.no_grad():
        return learner.heads["vocabulary"](learner.model(**inputs)).log_softmax(-1)[0].double().numpy()


def test_single_tokens_are_a_softmax_over_the_label_words():
    cloze, learner, rows = put(pair)
    example = learner.prepared(rows)[3]
    shown = TOKENIZER.decode(example.ids, skip_special=False)
    assert shown == f"[CLS] {sentences()[3]}? [SEP] [MASK], delta [SEP]"
    said = log_probabilities(learner, example.ids, example.segments)[example.asked[0]]
    words = [said[TOKENIZER.id(word)] for word in ("yes", "no")]
    np.testing.assert_allclose(cloze.label_scores(learner, rows, 100)[3], words, rtol=1e-5)
    batch = learner.collate([example])
    with torch.no_grad():
        loss = learner(batch)["cloze"].item()
    assert loss == pytest.approx(np.logaddexp(*words) - words[rows[3]["target"]], rel=1e-5)
    assert "tokens" not in batch.targets  # only the columns of the label words are computed


@pytest.mark.parametrize("kind", [several, choice])
def test_training_multiplies_the_probabilities_at_each_place_of_one_pass(kind):
    _, learner, rows = put(kind)
    examples, expected = learner.prepared(rows), 0.0
    for example in examples:
        assert len(example.asked) == max(map(len, example.words)) > 1
        said = log_probabilities(learner, example.ids)
        scores = [sum(said[example.asked[i], token] for i, token in enumerate(word)) for word in example.words]
        wrong = [score for number, score in enumerate(scores) if number not in example.labels]
        expected += np.mean([sum(max(0, 1 - scores[r] + w) for w in wrong) for r in example.labels])
    with torch.no_grad():
        assert learner(learner.collate(examples))["cloze"].item() == pytest.approx(expected, rel=1e-5)


def brute_force(said, ids, masks, word):
    """The recursion of the paper: the score of the tokens of `word` at `masks`, the likeliest first."""
    if not len(word):
        return 0.0
    found = said(ids)
    best = max(range(len(word)), key=lambda i: found[masks[i], word[i]])
    filled = np.array(ids)
    filled[masks[best]] = word[best]
    rest = [i for i in range(len(word)) if i != best]
    return found[masks[best], word[best]] + brute_force(said, filled, [masks[i] for i in rest], [word[i] for i in rest])


def test_words_are_filled_in_the_most_confident_token_first():
    """By a table: the second token is surer than the first, and changes what is said of it."""
    mask, asked = 9, []
    table = {(mask, mask): [[0.1, 0.2], [0.4, 0.3]], (mask, 1): [[0.5, 0.6], [0, 0]], (mask,): [[0.7, 0.2]]}

    def ask(sequences, tokens):
        asked.append([tuple(example.ids.tolist()) for example in sequences])
        said = [
            np.log(np.array(table[key]) + 1e-9)[example.asked]
            for key, example in zip(asked[-1], sequences, strict=True)
        ]
        return [
            np.stack([of[range(len(word)), word] for word in words]) for of, words in zip(said, tokens, strict=True)
        ]

    example = Blank(np.array([mask, mask]), None, [0], asked=np.arange(2), words=[np.array([0, 1]), np.array([1])])
    table[0, mask] = table[mask, mask]
    scores = fill([example, example], ask)
    for each in scores:  # word 0 1: the 1 first, at 0.3, then the 0 beside it, at 0.5; word 1: one mask
        np.testing.assert_allclose(each, np.log([0.3 * 0.5, 0.2]), rtol=1e-6)
    assert asked == [[(mask, mask), (mask,)], [(mask, 1)]]  # equal sequences once


@pytest.mark.parametrize("kind", [several, choice])
def test_answers_are_those_of_the_papers_recursion(kind):
    cloze, learner, rows = put(kind)
    learner.eval()
    for example, scores in zip(learner.prepared(rows), cloze.label_scores(learner, rows, 50), strict=True):
        for word, score in zip(example.words, scores, strict=True):
            shown = example.with_masks(len(word))
            assert np.count_nonzero(shown.ids == TOKENIZER.mask_id) == len(word)
            expected = brute_force(lambda ids: log_probabilities(learner, ids), shown.ids, shown.asked, word)
            assert score == pytest.approx(expected, rel=1e-5)


@pytest.mark.parity
def test_a_bert_of_transformers_says_the_same(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config = transformers.BertConfig(vocab_size=TOKENIZER.vocab_size, initializer_range=0.5, **size)
    theirs = transformers.BertForMaskedLM(config).eval()
    theirs.save_pretrained(tmp_path)
    TOKENIZER.save(tmp_path / "tokenizer.json")
    ours = lmlab.load(f"hf:{tmp_path}")
    for kind in KINDS:
        task, rows, template = kind()
        cloze = Cloze(template=template)
        learner = cloze.learner(ours.model, task, ours.tokenizer, ours.heads)
        found = cloze.label_scores(learner, rows, 100)
        for example, scores in zip(learner.prepared(rows), found, strict=True):
            for word, score in zip(example.words, scores, strict=True):
                shown = example.with_masks(len(word))

                def said(ids, shown=shown):
                    segments = None if shown.segments is None else torch.as_tensor(shown.segments)[None].long()
                    with torch.no_grad():
                        logits = theirs(torch.as_tensor(ids)[None].long(), token_type_ids=segments).logits
                    return logits.log_softmax(-1)[0].double().numpy()

                assert score == pytest.approx(brute_force(said, shown.ids, shown.asked, word), rel=1e-4)


# --- unlabelled text ---


def with_text(kind=several, text=20, **settings):
    cloze, learner, rows = put(kind, **settings)
    unlabelled = [row | {"target": None} for row in rows * 3][:text]
    learner.task.unlabelled_rows = lambda: unlabelled
    return cloze, learner, rows


def test_alpha_weighs_the_two_losses():
    losses = {}
    for weight in (0.0, 0.25):
        cloze, learner, rows = with_text(mlm_weight=weight)
        with torch.no_grad():
            batches = cloze.batches(learner, rows, 2000, 0, batch_size=4).step(0)
            losses[weight] = [(batch, *learner(batch).items()) for batch in batches]
    ((_, alone),) = losses[0.0]
    (_, labelled), (text, (name, loss)) = losses[0.25]
    assert labelled == ("cloze", pytest.approx(0.75 * alone[1]))
    with torch.no_grad():
        entropy = learner.heads["vocabulary"].score(learner.model(**text.inputs), text.targets["labels"])[0]
    assert name == "mlm" and loss.item() == pytest.approx(0.25 * entropy.item(), rel=1e-5)


@pytest.mark.parametrize("kind", [pair, several, choice])
def test_a_step_has_three_unlabelled_rows_to_a_labelled_one_whose_blank_is_never_asked(kind):
    cloze, learner, rows = with_text(kind, mlm_weight=0.1)
    batches = cloze.batches(learner, rows, 100, 7, batch_size=4)
    for step in range(5):
        parts = batches.step(step)
        sizes = [sum(len(each.inputs["input_ids"]) for each in parts if each.part == part) for part in range(2)]
        assert sizes == [4, 12]
        for batch in (each for each in parts if each.part == UNLABELLED):
            ids, positions, labels = (
                batch.inputs["input_ids"].flatten(),
                batch.inputs["positions"],
                batch.targets["labels"],
            )
            assert batch.counts == {"mlm": len(labels)} and not set(labels.tolist()) & TOKENIZER.structural_ids
            assert set(ids[positions].tolist()) <= {TOKENIZER.mask_id, *range(TOKENIZER.vocab_size)}
            blank = (ids == TOKENIZER.mask_id).sum() - (ids[positions] == TOKENIZER.mask_id).sum()
            assert blank >= len(batch.inputs["input_ids"])  # the masks of each blank are still there
        again = batches.step(step)
        assert all(torch.equal(a.inputs["input_ids"], b.inputs["input_ids"]) for a, b in zip(parts, again, strict=True))
    texts = [[batch.inputs["input_ids"].tolist() for batch in batches.step(step) if batch.part] for step in range(2)]
    assert texts[0] != texts[1]


def test_a_task_without_unlabelled_rows_says_so_and_is_learnt_alone(caplog):
    cloze, learner, rows = with_text(text=0, mlm_weight=0.1)
    with caplog.at_level(logging.WARNING):
        batches = cloze.batches(learner, rows, 1000, 0, batch_size=8)
    assert "task 't' has no unlabelled rows" in caplog.text
    assert [batch.part for batch in batches.step(0)] == [LABELLED]


# --- sequences ---


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_comes_from_the_row_is_cut(kind):
    _, learner, rows = put(kind, max_positions=16)
    whole = put(kind)[1].prepared(rows)
    for full, example in zip(whole, learner.prepared(rows), strict=True):
        assert len(example.ids) == min(16, len(full.ids)) and len(example.asked) == len(full.asked)
        kept = iter(full.ids.tolist())
        assert all(token in kept for token in example.ids.tolist())  # in order, nothing else
        marks = [TOKENIZER.id(word) for word in ("?", "it", "was", "so", ",", ".")] + [TOKENIZER.sep_id]
        for mark in marks:
            assert np.count_nonzero(example.ids == mark) == np.count_nonzero(full.ids == mark)
    with pytest.raises(UserError, match=r"the words of the template take \d+ tokens.*max_length"):
        learner = put(kind, max_length=5)[1]
        learner.prepared(rows)


def in_pattern(pattern, words, tokenizer, s="alpha"):
    """What the model reads, and the tokens of the words."""
    task = Classification(labels=["a", "b"], fields=["s"], metrics=["accuracy"], **NAMES)
    cloze = Cloze(template=Template(patterns=[pattern], verbalizers=words))
    learner = cloze.learner(model(tokenizer), task, tokenizer)
    (example,) = learner.prepare([{"id": "0", "inputs": {"s": s}, "target": 0}])
    return example, [[tokenizer.token(id) for id in word] for word in example.words]


@pytest.mark.parametrize(
    ("pattern", "before"),
    [("{s} was {blank}, it", "Ġ"), ("{blank} {s}", ""), ('{s} "{blank}"', ""), ("{s} || {blank}. it", "")],
)
def test_words_have_the_tokens_that_they_have_in_running_text(pattern, before):
    """Of a tokenizer whose words carry the space before them, which the mask takes with it."""
    example, words = in_pattern(pattern, ["great", "zeta"], BYTES)
    first, second = pattern.format(s="alpha", blank="great"), pattern.format(s="alpha", blank="zeta")
    assert all(word[0].startswith("Ġ") == bool(before) for word in words)
    for text, word in ((first, example.words[0]), (second, example.words[1])):
        shown = example.with_masks(len(word))
        ids = shown.ids.copy()
        ids[shown.asked] = word
        texts = text.split(" || ")
        assert ids.tolist() == learner_frame(BYTES).join([np.array(BYTES.encode(each)) for each in texts]).ids.tolist()


def learner_frame(tokenizer):
    return put(single, tokenizer)[1].frame


def test_a_blank_at_the_end_of_the_first_segment_is_not_at_the_beginning_of_the_second():
    examples = [
        in_pattern(pattern, ["yes", "no"], TOKENIZER)[0] for pattern in ("{s} {blank} || no.", "{s} || {blank} no.")
    ]
    shown = [TOKENIZER.decode(example.ids, skip_special=False) for example in examples]
    assert shown == ["[CLS] alpha [MASK] [SEP] no. [SEP]", "[CLS] alpha [SEP] [MASK] no. [SEP]"]
    assert [example.segments[example.asked[0]] for example in examples] == [False, True]


@pytest.mark.parametrize(
    ("pattern", "tokenizer"),
    [("{s}{blank}", TOKENIZER), ("{s} it{blank}", TOKENIZER), ("{blank}{s}", BYTES), ("{blank}ly {s}", BYTES)],
)
def test_a_blank_that_shares_a_token_with_its_neighbour_is_refused(pattern, tokenizer):
    with pytest.raises(UserError, match="shares a token with what stands beside the blank"):
        in_pattern(pattern, ["great", "terrible"], tokenizer)


def test_a_mask_that_is_written_in_a_text_is_text():
    example, _ = in_pattern("{s} {blank}", ["yes", "no"], TOKENIZER, s="so [MASK] it")
    assert len(example.asked) == 1 and example.asked[0] == len(example.ids) - 2


def test_a_placeholder_in_a_column_is_the_blank():
    task = Choice(fields=["p", "q"], choices=["c"], metrics=["accuracy"], **NAMES)
    cloze = Cloze(template=Template(patterns=["{p} {q}"], placeholder="@x"), max_length=12)
    learner = cloze.learner(model(), task, TOKENIZER)
    inputs = {"p": " ".join(WORDS), "q": "so it was @x, great", "choices": ["eta", "iota kappa"]}
    (example,) = learner.prepare([{"id": "0", "inputs": inputs, "target": 1}])
    assert TOKENIZER.decode(example.ids, skip_special=False).endswith("it was [MASK] [MASK], great [SEP]")
    with pytest.raises(UserError, match=r"row 7: there is no '@x' \(template.placeholder\)"):
        learner.prepare([{"id": "7", "inputs": inputs | {"q": "so"}, "target": 1}])


# --- what is refused ---


@pytest.mark.parametrize(
    ("template", "settings", "message"),
    [
        (None, {}, r"task 't' has no patterns \(template.patterns\); take another with template="),
        ({"patterns": []}, {}, "has no patterns"),
        ({"patterns": ["{s} it was"]}, {}, r"template.patterns\[0\]: '\{s\} it was' must have 1 \{blank\}, and has 0"),
        ({"patterns": ["{x} {blank}"]}, {}, r"\{x\} is no slot of task 't'"),
        ({"patterns": ["{s} || so || {blank}"]}, {}, r"template.patterns\[0\]: .* has more than two segments"),
        ({}, {"pattern": 1}, "formulation.pattern=1: the template has the patterns 0 to 0"),
        ({}, {"pattern": -1}, "formulation.pattern=-1"),
        ({"verbalizers": None}, {}, "template.verbalizers: task 't' has no words for a, b, c"),
        ({"verbalizers": ["great", "fine"]}, {}, "has 2 texts for 3 labels: a, b, c"),
        ({"verbalizers": [WHOLE, WHOLE]}, {}, "2 lists of words for 1 patterns: give one for all patterns, or one for"),
        ({"verbalizers": ["great", "great", "fine"]}, {}, "labels 'a' and 'b' have the same word 'great'"),
        (
            {"verbalizers": ["great", "Great", "fine"]},
            {},
            "'Great' of label 'b' is to the tokenizer the same as that of",
        ),
        (
            {"verbalizers": [["great", "漢", "fine"]]},
            {},
            r"verbalizers\[0\]: the word '漢' of label 'b' is unknown to the",
        ),
        ({"verbalizers": ["great", " ", "fine"]}, {}, "the word ' ' of label 'b' is unknown to the tokenizer"),
        ({"verbalizers": [True, False, "fine"]}, {}, 'True is no word; in quotes it is: "Yes"'),
        (
            {"verbalizers": LONG},
            {"max_word_tokens": 1},
            r"'terrible day' of label 'b' has 2 tokens, more than formula",
        ),
        ({}, {"mlm_weight": 1.0}, "formulation.mlm_weight=1.0 must be at least 0 and below 1"),
        ({}, {"mlm_rate": 0.0}, "formulation.mlm_rate=0.0 must lie between 0 and 1"),
        ({}, {"unlabelled_ratio": 0}, "formulation.unlabelled_ratio=0 must be at least 1"),
        ({}, {"max_length": 65}, "formulation.max_length=65"),
    ],
)
def test_what_cannot_be_asked_is_told(template, settings, message):
    task = single()[0]
    usual = {"patterns": ["{s} It was {blank}."], "verbalizers": WHOLE}
    with pytest.raises(UserError, match=message):
        texts = None if template is None else Template(**usual | template)
        Cloze(template=texts, **settings).learner(model(), task, TOKENIZER)


def test_a_model_without_words_and_a_tokenizer_without_a_mask_are_refused():
    task, _, template = single()
    with pytest.raises(UserError, match="this one has the heads pooler, and no vocabulary head"):
        Cloze(template=template).learner(model(), task, TOKENIZER, {"pooler": nn.Identity()})
    no_mask = Tokenizer(TOKENIZER.backend)
    no_mask.mask_id = None
    with pytest.raises(UserError, match="needs a tokenizer with a mask token"):
        Cloze(template=template).learner(model(), task, no_mask)


def test_choices_that_do_not_fit_into_the_blank_are_told_with_their_row():
    for choices, message in ((["alpha", ""], "row 0: the choice '' has no token"), (["eta", "eta " * 40], "40 tokens")):
        _, learner, rows = put(choice)
        rows[0]["inputs"]["choices"] = choices
        with pytest.raises(UserError, match=message):
            learner.prepared(rows)


def test_parts_of_choices_that_the_tokenizer_does_not_know_are_told(caplog):
    _, learner, rows = put(choice)
    rows[0]["inputs"]["choices"] = ["eta", "漢"]
    with caplog.at_level(logging.WARNING):
        learner.prepared(rows)
    assert "task 't': 1 of 8 rows have a choice with a part unknown to the tokenizer" in caplog.text


def test_a_frozen_model_learns_by_its_head():
    cloze, learner, rows = put(single)
    learner.heads.requires_grad_(True)
    learner.model.requires_grad_(False)
    before = cloze.answer(learner, rows, 1000).loss
    frozen = learner.model.embeddings.tokens.weight.clone()
    learn(learner, cloze.batches(learner, rows, 2000, 0, batch_size=8), 30, lr=1e-2)
    assert cloze.answer(learner, rows, 1000).loss < before
    assert torch.equal(frozen, learner.model.embeddings.tokens.weight)


def test_the_pretrained_head_answers_within_the_context_of_the_pretraining():
    head = model().vocabulary_head()
    nn.init.normal_(head.bias)
    _, learner, rows = put(single, heads={"vocabulary": head}, context=14)
    assert torch.equal(learner.heads["vocabulary"].bias, head.bias)
    assert learner.longest_sequence(rows) == 14
