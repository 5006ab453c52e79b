"""Blocks cover the text; sentence pairs are BERT's."""

from types import SimpleNamespace

import numpy as np
import pytest

from lmlab.errors import UserError
from lmlab.text.units import Blocks, Records, SentencePairs, _truncated


def store(documents):
    """A stand-in for a token store; `documents` holds the lengths of the sentences. Token i has the id i."""
    lengths = [length for document in documents for length in document]
    ends = np.cumsum([len(document) for document in documents])
    return SimpleNamespace(
        ids=np.arange(sum(lengths), dtype=np.uint32),
        piece_ends=np.cumsum(lengths).astype(np.int64),
        document_ends=ends.astype(np.int64),
    )


def random_store(num_documents=300, seed=0, longest=60):
    rng = np.random.default_rng(seed)
    return store([rng.integers(1, 40, size=rng.integers(1, longest)).tolist() for _ in range(num_documents)])


# --- blocks ---------------------------------------------------------------------------------------------


def test_blocks_of_validation_cover_the_text_in_order():
    blocks = Blocks(store([[1003]]), length=10)
    assert len(blocks) == 100
    assert np.array_equal(np.concatenate([blocks[i].tokens for i in range(100)]), np.arange(1000))
    assert np.array_equal(blocks.get(3, "validation").tokens, blocks[3].tokens)
    assert blocks[0].tokens.dtype == np.int64


def test_blocks_that_overlap_predict_every_token_once():
    blocks = Blocks(store([[1001]]), length=11, overlap=1)
    targets = np.concatenate([blocks[i].tokens[1:] for i in range(len(blocks))])
    assert np.array_equal(targets, np.arange(1, 1001))


@pytest.mark.parametrize("overlap", [0, 1])
def test_an_epoch_reads_every_token_at_most_once_at_an_offset_of_its_own(overlap):
    blocks = Blocks(store([[997]]), length=16, overlap=overlap, seed=5)
    firsts = set()
    for epoch in range(5):
        read = np.concatenate([blocks.get(i, epoch).tokens[: 16 - overlap] for i in range(len(blocks))])
        assert len(read) == len(np.unique(read)) > 997 - 16
        assert all(len(blocks.get(i, epoch)) == 16 for i in range(len(blocks)))
        firsts.add(int(blocks.get(0, epoch).tokens[0]))
    assert len(firsts) == 5
    again = Blocks(store([[997]]), length=16, overlap=overlap, seed=5)
    assert np.array_equal(again.get(7, 3).tokens, blocks.get(7, 3).tokens)


def test_a_text_shorter_than_a_block_is_one_block_and_an_empty_one_is_refused():
    blocks = Blocks(store([[7]]), length=10)
    assert len(blocks) == 1
    assert np.array_equal(blocks.get(0, 4).tokens, np.arange(7))
    with pytest.raises(IndexError):
        blocks[1]
    with pytest.raises(UserError, match="0 tokens"):
        Blocks(store([[]]), length=10)


def test_blocks_know_special_tokens_and_where_words_and_sentences_begin():
    data = store([[12]])
    data.marks = np.array([3, 0, 1, 0, 0, 3, 0, 1, 1, 0, 0, 3], np.uint8)
    block = Blocks(data, length=4, structural_ids={5, 90})[1]  # tokens 4 to 7
    assert block.ordinary.tolist() == [True, False, True, True]
    assert block.word_starts.tolist() == [True, True, False, True]  # a passage begins a word
    assert block.sentence_starts.tolist() == [True, True, False, False]
    assert Blocks(store([[12]]), length=4)[1].word_starts is None


# --- sentence pairs -------------------------------------------------------------------------------------


def pairs_of(units, epoch=0):
    return [units.get(i, epoch) for i in range(len(units))]


def place(tokens, data):
    """(document, first sentence, last sentence) of a run of tokens, which must be contiguous."""
    assert np.array_equal(tokens, np.arange(tokens[0], tokens[0] + len(tokens)))
    first, last = np.searchsorted(data.piece_ends, [tokens[0], tokens[-1]], side="right")
    document = np.searchsorted(data.document_ends, [first, last], side="right")
    assert document[0] == document[1], "a segment crosses the border of a document"
    return int(document[0]), int(first), int(last)


def test_random_segments_come_from_another_document_and_real_ones_follow():
    data = random_store()
    units = SentencePairs(data, length=64)
    for pair in pairs_of(units):
        assert len(pair.a.tokens) >= 1 and len(pair.b.tokens) >= 1
        assert len(pair.a.tokens) + len(pair.b.tokens) <= 61
        a, b = place(pair.a.tokens, data), place(pair.b.tokens, data)
        assert pair.documents == (a[0], b[0])
        if pair.is_random:
            assert a[0] != b[0]
        else:
            assert a[0] == b[0] and b[1] > a[2]
            if len(pair.a.tokens) + len(pair.b.tokens) < 61:  # nothing was cut off
                assert b[1] == a[2] + 1


def test_labels_are_even_in_long_documents_and_random_in_single_sentences():
    long = store([[10] * 500 for _ in range(60)])
    share = np.mean([pair.is_random for pair in pairs_of(SentencePairs(long, length=128))])
    assert abs(share - 0.5) < 0.03
    single = store([[10]] * 50)
    assert all(pair.is_random for pair in pairs_of(SentencePairs(single, length=128)))


def test_unused_sentences_are_put_back_so_that_all_text_is_read_in_order():
    """Where no segment loses tokens, the kept parts (a, and b where it is real) tile every document."""
    data = store([[3] * 40 for _ in range(50)])
    units = SentencePairs(data, length=1000, short_seq_prob=0.0)  # one chunk takes a whole document
    kept = [pair.a.tokens for pair in pairs_of(units)]
    kept += [pair.b.tokens for pair in pairs_of(units) if not pair.is_random]
    assert np.array_equal(np.sort(np.concatenate(kept)), data.ids)


def test_short_targets_are_drawn_for_a_tenth_of_the_documents():
    data = store([[1] * 97 for _ in range(4000)])  # exactly one full chunk each
    full = SentencePairs(data, length=100, short_seq_prob=0.0, random_next_prob=0.0)
    assert {len(p.a.tokens) + len(p.b.tokens) for p in pairs_of(full)} == {97}
    units = SentencePairs(data, length=100, random_next_prob=0.0)
    firsts = [p for p in pairs_of(units) if p.a.tokens[0] % 97 == 0]
    lengths = np.array([len(p.a.tokens) + len(p.b.tokens) for p in firsts])
    assert abs(np.mean(lengths < 97) - 0.1 * 95 / 96) < 0.02
    assert abs(lengths[lengths < 97].mean() - 49) < 5  # uniform on 2..96


def test_the_longer_segment_is_cut_as_if_token_by_token():
    rng = np.random.default_rng(0)
    grid = np.array([(a, b) for a in range(1, 25) for b in range(1, 25)])
    zeros = np.zeros(len(grid), dtype=np.int64)
    for limit in range(2, 30):
        a, b = _truncated(zeros, grid[:, 0], zeros, grid[:, 1], limit, rng)
        expected = []
        for left, right in grid.tolist():
            while left + right > limit:  # google-research/bert, truncate_seq_pair
                left, right = (left - 1, right) if left > right else (left, right - 1)
            expected.append((left, right))
        assert np.array_equal(np.stack([a[1], b[1]], axis=1), expected)
    fronts = _truncated(*(np.full(20_000, x) for x in (0, 100, 0, 10)), 60, rng)[0][0]
    assert abs(fronts.mean() - 25) < 0.2 and abs(fronts.std() - 50**0.5 / 2) < 0.2  # each end with chance 1/2


def test_a_pair_is_a_function_of_seed_epoch_and_index():
    data = random_store(50)

    def texts(seed, epoch):
        units = SentencePairs(data, length=64, seed=seed)
        return [(p.a.tokens.tolist(), p.b.tokens.tolist(), p.is_random) for p in pairs_of(units, epoch)]

    assert texts(1, 2) == texts(1, 2)
    assert texts(1, 0) == texts(1, None) == texts(1, "validation")
    assert len({str(texts(seed, epoch)) for seed in (1, 2) for epoch in (0, 1, 2)}) == 6
    assert len(texts(1, 5)) == len(texts(1, 0))  # every epoch has as many


def test_many_documents_in_several_groups_and_empty_sentences(monkeypatch):
    documents = [[0, 5, 0, 7, 3], [], [0, 0], [4, 4], [9]]
    with_empty = SentencePairs(store(documents), length=12)
    without = SentencePairs(store([[5, 7, 3], [4, 4], [9]]), length=12)
    assert [str(p) for p in pairs_of(with_empty)] == [str(p) for p in pairs_of(without)]

    import lmlab.text.units as module

    monkeypatch.setattr(module._groups, "__defaults__", (7,))
    data = random_store(40)
    for pair in pairs_of(SentencePairs(data, length=40)):
        assert (place(pair.a.tokens, data)[0] != place(pair.b.tokens, data)[0]) == pair.is_random


def test_without_random_partners_all_pairs_follow_each_other_and_lonely_sentences_are_left_out():
    data = random_store()
    pairs = pairs_of(SentencePairs(data, length=64, random_next_prob=0.0), epoch=3)
    assert not any(pair.is_random for pair in pairs)
    for pair in pairs:
        a, b = place(pair.a.tokens, data), place(pair.b.tokens, data)
        assert pair.documents == (a[0], b[0]) and a[0] == b[0] and b[1] > a[2]
    lengths = np.diff(data.document_ends, prepend=0)
    assert {pair.documents[0] for pair in pairs} == set(np.flatnonzero(lengths > 1))  # of all documents that have two
    long_sentences = store([[50, 60], [70]])
    (only,) = pairs_of(SentencePairs(long_sentences, length=20, random_next_prob=0.0))
    assert (len(only.a), len(only.b)) == (9, 8)  # one document is enough
    with pytest.raises(UserError, match="no document of this corpus has two"):
        SentencePairs(store([[5], [6], [7]]), length=64, random_next_prob=0.0)


def test_a_single_document_is_refused():
    with pytest.raises(UserError, match="at least two documents"):
        SentencePairs(store([[5, 6, 7]]), length=64)
    with pytest.raises(UserError, match="seq_len=4"):
        SentencePairs(random_store(3), length=4)


# --- records --------------------------------------------------------------------------------------------

FIELDS = ("title", "author", "text")


def field_store(num_documents=100, seed=0):
    """Titles and authors of 0 to 20 tokens, texts of 0 to 300; some documents have no field but one."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, [21, 21, 301], size=(num_documents, 3)) * (rng.random((num_documents, 3)) < 0.8)
    return store(lengths.tolist()), lengths


@pytest.mark.parametrize("length", [13, 33, 129])
def test_records_read_each_body_once_beside_all_other_fields(length):
    data, lengths = field_store()
    records = Records(data, length, FIELDS)
    starts = data.piece_ends.reshape(-1, 3) - lengths
    bodies = {}
    for index in range(len(records)):
        fields = [field.tokens for field in records[index].fields]
        *others, body = (number for number, field in enumerate(fields) if len(field))
        document = np.searchsorted(data.piece_ends, fields[body][0], side="right") // 3
        assert sum(len(fields[number]) + 1 for number in (*others, body)) <= length
        assert [*others, body] == np.flatnonzero(lengths[document]).tolist()
        for number in others:  # from its beginning, whole or cut at its share
            start, shown = starts[document, number], min(lengths[document, number], length // 4 - 1)
            assert fields[number].tolist() == list(range(start, start + shown))
        bodies.setdefault((document, body), []).append(fields[body])
    assert [document for document, _ in bodies] == np.flatnonzero(lengths.any(1)).tolist()
    for (document, body), parts in bodies.items():
        start = starts[document, body]
        assert np.concatenate(parts).tolist() == list(range(start, start + lengths[document, body]))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_stretches_of_records_are_those_of_their_fields():
    records = Records(field_store()[0], 33, FIELDS)
    texts = [field.tokens for index in range(len(records)) for field in records.get(index, 3).fields]
    starts, ends = records.segments(0)
    assert [text.tolist() for text in texts] == [list(range(a, b)) for a, b in zip(starts, ends, strict=True)]
    with pytest.raises(IndexError):
        records[len(records)]
