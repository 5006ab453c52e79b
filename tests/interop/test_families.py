"""Each family against an independent implementation: transformers, through a saved folder in both directions."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import tokenizers
import torch
from torch import Tensor, nn

import lmlab
from lmlab.commands.export import Trained, settings_of, write
from lmlab.errors import UserError
from lmlab.huggingface import find
from lmlab.interop import electra, t5
from lmlab.models.bert import Bert

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

B, T, V = 3, 20, 101
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
SPECIALS = ["<pad>", "<s>", "</s>", "<unk>", "<mask>", "<extra_id_0>", "<extra_id_1>"]

NARROW = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
ENCODER = {**NARROW, "max_position_embeddings": 26}
MOBILE = {**ENCODER, "embedding_size": 12, "intra_bottleneck_size": 16, "num_feedforward_networks": 3}
TINY_MOBILE = {"classifier_activation": False, "num_feedforward_networks": 1, "trigram_input": False,
               "key_query_shared_bottleneck": False, "use_bottleneck_attention": True}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 24}
T5 = {"d_model": 32, "d_kv": 12, "d_ff": 48, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4,
      "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12}  # fmt: skip
BART = {"d_model": 32, "encoder_layers": 3, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_position_embeddings": 24}  # fmt: skip


@dataclass
class Case:
    """A family of transformers at toy size.

    Attributes:
        name: what the names of its classes begin with.
        classes: what they end with.
        settings: of its config.
        segments: it tells two segments apart.
        others: heads of classes that have others than `HEADS` says.
    """

    name: str
    classes: list[str]
    settings: dict[str, Any]
    segments: bool = False
    others: dict[str, set[str]] = field(default_factory=dict)

    def heads(self, ending: str) -> set[str]:
        """Those that a class has."""
        return self.others.get(ending, HEADS[ending])


HEADS = {
    "Model": {"pooler"},
    "ForMaskedLM": {"vocabulary"},
    "LMHeadModel": {"vocabulary"},
    "ForConditionalGeneration": {"vocabulary"},
    "ForPreTraining": {"vocabulary", "pooler", "pair_answer"},
    "ForNextSentencePrediction": {"pooler", "pair_answer"},
    "ForSequenceClassification": {"pooler", "output"},
    "ForTokenClassification": {"output"},
    "ForQuestionAnswering": {"output"},
    "ForMultipleChoice": {"pooler", "output"},
}
TIED = {"Model": {"vocabulary"}}  # the embedding, which scores in other classes
NO_POOLER = {"Model": set(), "ForNextSentencePrediction": {"pair_answer"}}
NO_POOLER |= {ending: {"output"} for ending in ("ForSequenceClassification", "ForMultipleChoice")}
# What a class has and does not tell: a pooler is told by what reads it, the vocabulary of a network alone by nothing.
UNTOLD = {
    "Model": {"vocabulary"},
    "ForPreTraining": {"pooler"},
    "ForNextSentencePrediction": {"pooler"},
    "ForSequenceClassification": {"pooler"},
    "ForMultipleChoice": {"pooler"},
}
TASKS = ["ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"]
ALL_TASKS = [*TASKS, "ForMultipleChoice"]
CASES = [
    Case("Bert", ["Model", "ForMaskedLM", "ForPreTraining", "ForNextSentencePrediction", *ALL_TASKS], ENCODER, True),
    Case("Roberta", ["Model", "ForMaskedLM", *ALL_TASKS], {**ENCODER, "type_vocab_size": 1}),
    Case("XLMRoberta", ["ForMaskedLM", "ForSequenceClassification"], {**ENCODER, "type_vocab_size": 1}),
    Case("Albert", ["Model", "ForMaskedLM", "ForPreTraining", *ALL_TASKS],
         {**ENCODER, "embedding_size": 24, "num_hidden_groups": 2}, True),
    Case("DistilBert", ["Model", "ForMaskedLM", *ALL_TASKS],
         {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 24},
         others={"Model": set()}),
    Case("Electra", ["Model", "ForMaskedLM", "ForPreTraining", *ALL_TASKS], {**ENCODER, "embedding_size": 24}, True,
         {"Model": set(), "ForPreTraining": {"rtd"}}),
    Case("MobileBert", ["Model", "ForMaskedLM", "ForPreTraining", "ForNextSentencePrediction", *ALL_TASKS],
         MOBILE, True),
    Case("MobileBert", ["Model", "ForNextSentencePrediction", "ForSequenceClassification", "ForMultipleChoice"],
         {**MOBILE, **TINY_MOBILE}, True, NO_POOLER),
    Case("MobileBert", ["ForMaskedLM"], {**MOBILE, "intra_bottleneck_size": 32, "key_query_shared_bottleneck": False,
                                         "normalization_type": "layer_norm", "layer_norm_eps": 1e-5}, True),
    Case("OpenAIGPT", ["Model", "LMHeadModel", "ForSequenceClassification"], GPT, others=NO_POOLER | TIED),
    Case("GPT2", ["Model", "LMHeadModel", *TASKS], {**GPT, "n_inner": 48}, others=NO_POOLER | TIED),
    Case("T5", ["Model", "ForConditionalGeneration", "ForTokenClassification", "ForQuestionAnswering"], T5,
         others=NO_POOLER),
    Case("T5", ["ForConditionalGeneration"],
         {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    Case("Bart", ["Model", "ForConditionalGeneration", "ForSequenceClassification", "ForQuestionAnswering"], BART,
         others=TIED),
]  # fmt: skip
OF_TEXTS = ("ForSequenceClassification", "ForMultipleChoice")  # classes that read one state of a text
ENCODERS = {"T5ForTokenClassification", "T5EncoderModel"}  # classes of T5 without its decoder
CLASSES = [
    pytest.param(case, ending, id=f"{case.name}{ending}{'-v1.1' * ('feed_forward_proj' in case.settings)}")
    for case in CASES
    for ending in case.classes
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randomize(module: nn.Module) -> nn.Module:
    """Move every weight, norms and biases too, off its initial value, so that a swapped one shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def save_tokenizer(folder, size: int = V) -> None:
    words = {word: id for id, word in enumerate([*SPECIALS, *(f"w{i}" for i in range(size - len(SPECIALS)))])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    backend.add_special_tokens(SPECIALS)
    backend.save(str(folder / "tokenizer.json"))


def make(case: Case, name: str) -> nn.Module:
    """A model of transformers with random weights; its vocabulary has rows to spare."""
    config = getattr(transformers, f"{case.name}Config")(
        **case.settings, vocab_size=V + 3, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=0
    )
    model = randomize(getattr(transformers, name)(config))
    if not config.to_dict().get("tie_word_embeddings", True) or not getattr(config, "scale_decoder_outputs", True):
        model.lm_head.weight = nn.Parameter(torch.randn(V + 3, 32) * 0.1)  # of its own, as in T5 v1.1
    return model


def inputs_of(case: Case) -> dict[str, Tensor]:
    """A padded batch, each text with one end token."""
    ids = torch.randint(len(SPECIALS), V, (B, T))
    mask = torch.ones(B, T, dtype=torch.long)
    mask[1, 15:] = mask[2, 7:] = 0
    ids[torch.arange(B), mask.sum(1) - 1] = 2
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    return inputs | {"token_type_ids": torch.randint(0, 2, (B, T))} if case.segments else inputs


def shifted(ids: Tensor, start: int = 0) -> Tensor:
    return torch.cat([torch.full((len(ids), 1), start), ids[:, :-1]], dim=1)


def their_answers(model: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The hidden states, (layers, B, T, H), and what each head of a model of transformers says."""
    name = type(model).__name__
    makes_own = name.endswith(("ForSequenceClassification", "ForQuestionAnswering")) or name in ENCODERS
    if model.config.is_encoder_decoder and not makes_own:
        inputs = inputs | {"decoder_input_ids": shifted(inputs["input_ids"])}
    if name.endswith("ForMultipleChoice"):  # one choice a row
        inputs = {key: each[:, None] for key, each in inputs.items()}
    with torch.no_grad():
        found = model.eval()(**inputs, output_hidden_states=True)
    if "start_logits" in found:
        found["logits"] = torch.stack([found["start_logits"], found["end_logits"]], dim=-1)
    names = {
        "vocabulary": ("prediction_logits", "logits"),
        "pair_answer": ("seq_relationship_logits", "sop_logits", "logits"),
        "rtd": ("logits",),
        "output": ("logits",),
        "pooler": ("pooler_output",),
    }
    answers = {head: next((found[name] for name in kinds if name in found), None) for head, kinds in names.items()}
    answers = {head: answer for head, answer in answers.items() if answer is not None}
    return answers | {"states": torch.stack(found.get("decoder_hidden_states") or found["hidden_states"])}


def our_answers(source: lmlab.loading.LanguageModel, name: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same of a model of ours."""
    model, heads, mask = source.model, source.heads, inputs["attention_mask"].bool()
    given = {"input_ids": inputs["input_ids"], "attention_mask": mask}
    if "token_type_ids" in inputs:
        given["segment_ids"] = inputs["token_type_ids"]
    if model.layout == "encoder-decoder" and name not in ENCODERS:
        given["decoder_input_ids"] = shifted(inputs["input_ids"], model.start_id)
    with torch.no_grad():
        states = torch.stack(model.hidden_states(**given))
        last, of_all = states[-1], mask.sum(1) - 1 if model.layout != "encoder" else torch.zeros(B, dtype=torch.long)
        pooled = last[torch.arange(B), of_all]
        pooled = heads["pooler"](pooled) if "pooler" in heads else pooled
        of_texts = {"pair_answer", "pooler"} | ({"output"} if name.endswith(OF_TEXTS) else set())
        answers = {each: heads[each](pooled if each in of_texts else last) for each in heads if each != "pooler"}
    if "rtd" in answers:
        answers["rtd"] = answers["rtd"].squeeze(-1)
    return answers | {"states": states} | ({"pooler": pooled} if "pooler" in heads else {})


def compare(ours: dict[str, Tensor], theirs: dict[str, Tensor], heads: set[str], mask: Tensor) -> None:
    """The hidden states and what the heads say, at real positions."""
    mask = mask.bool()
    for name in ("states", *heads):
        answer, other = ours[name], theirs[name]
        assert answer.shape == other.shape
        chosen = mask if answer.shape[:2] == mask.shape else slice(None)
        chosen = (slice(None), mask) if name == "states" else chosen
        torch.testing.assert_close(answer[chosen], other[chosen], **TOLERANCE)


@pytest.mark.parametrize(("case", "ending"), CLASSES)
def test_through_a_folder_and_back(case, ending, tmp_path):
    """Every hidden state and every head: theirs read by us, and what we write of it read by them."""
    name, told = f"{case.name}{ending}", case.heads(ending) - UNTOLD.get(ending, set())
    theirs, inputs = make(case, name), inputs_of(case)
    theirs.save_pretrained(tmp_path / "theirs")
    save_tokenizer(tmp_path / "theirs")
    ours = lmlab.load(f"hf:{tmp_path}/theirs")
    assert set(ours.heads) == case.heads(ending)
    expected = their_answers(theirs, inputs)
    compare(our_answers(ours, name, inputs), expected, told, inputs["attention_mask"])

    source = find(f"hf:{tmp_path}/theirs")
    named = source.family.architecture(source.config, source.node) or source.family.architectures[0]
    settings = settings_of(source.node, ours.model)
    trained = Trained(ours.learner, ours.tokenizer, source.node["_target_"], named.asks, settings, (1, 2))
    written = write(trained, tmp_path / "ours")
    again, report = getattr(transformers, written).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not told or written == name.removeprefix("XLM")
    assert not any(report.values())
    compare(their_answers(again, inputs), expected, told, inputs["attention_mask"])


def test_the_encoder_of_t5_alone(tmp_path, caplog):
    """It is read with a decoder, which has the weights of a new one, the same every time."""
    case = next(case for case in CASES if case.name == "T5")
    theirs, inputs = make(case, "T5EncoderModel"), inputs_of(case)
    theirs.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    ours, again = lmlab.load(f"hf:{tmp_path}"), lmlab.load(f"hf:{tmp_path}")
    assert "T5EncoderModel has no decoder" in caplog.text and not ours.heads
    found, expected = our_answers(ours, "T5EncoderModel", inputs), their_answers(theirs, inputs)
    compare(found, expected, set(), inputs["attention_mask"])
    for weight, other in zip(ours.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(weight, other)
    assert ours.model.decoder.blocks[0].feed_forward.expand.weight.std() > 0.05


@pytest.mark.parametrize("name", ["RobertaForMaskedLM", "ElectraForMaskedLM", "ElectraForPreTraining"])
def test_a_head_that_has_gelu_whatever_the_config_says_is_refused(name, tmp_path):
    """Ours has the activation of the network; without the head there is nothing to refuse."""
    case = next(case for case in CASES if name.startswith(case.name))
    case = replace(case, settings=case.settings | {"hidden_act": "relu"})
    save_tokenizer(tmp_path)
    make(case, name).save_pretrained(tmp_path)
    for names in ([name], [f"{case.name}Model"], None):
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": names}))
        with pytest.raises(UserError, match=rf"model\.activation=relu, and {name} has gelu only"):
            lmlab.load(f"hf:{tmp_path}")
    make(case, f"{case.name}Model").save_pretrained(tmp_path)
    assert lmlab.load(f"hf:{tmp_path}").model


def test_a_classifier_of_t5_is_refused_in_both_directions(tmp_path):
    case = next(case for case in CASES if case.name == "T5")
    make(case, "T5ForSequenceClassification").save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    with pytest.raises(UserError, match="T5ForSequenceClassification cannot be read: its head has a dense layer"):
        lmlab.load(f"hf:{tmp_path}")
    settings = t5.FAMILY.settings({}) | {"num_decoder_layers": 6}
    (reason,) = t5.FAMILY.reasons(settings, "classification", {"output"})
    assert reason.startswith("T5ForSequenceClassification cannot be written: its head has a dense layer")


def test_an_albert_without_a_projection_is_refused_by_name(tmp_path):
    case = next(case for case in CASES if case.name == "Albert")
    make(replace(case, settings=case.settings | {"embedding_size": 32}), "AlbertModel").save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"config\.json cannot be read: model\.embedding_size is that of the hidden"):
        lmlab.load(f"hf:{tmp_path}")


def test_electra_generator_reads_and_scores_by_the_embeddings_of_the_discriminator(tmp_path):
    config = transformers.ElectraConfig(**{**ENCODER, "hidden_size": 16}, embedding_size=24, vocab_size=V)
    theirs = randomize(transformers.ElectraForMaskedLM(config))
    model = Bert(V, 32, 1, 4, 48, max_positions=26, embedding_size=24)
    ours = Bert(V, 16, 4, 4, 48, max_positions=10)
    ours.share_embeddings(model)
    whole = nn.ModuleDict({"model": ours, "heads": nn.ModuleDict({"vocabulary": ours.vocabulary_head()})}).eval()
    settings, heads = electra.FAMILY.settings(config.to_dict()), {"vocabulary": electra.VOCABULARY}
    tensors = electra.FAMILY.named(theirs.state_dict(), settings)
    shapes = {name: weight.shape for name, weight in whole.named_parameters()}
    read = electra.FAMILY.read(shapes, tensors, settings, heads)
    with torch.no_grad():
        for name, weight in whole.named_parameters():
            weight.copy_(read[name])
    assert torch.equal(model.embeddings.tokens.weight, theirs.electra.embeddings.word_embeddings.weight)
    inputs = inputs_of(CASES[1])
    expected = theirs(**inputs).logits
    mask = inputs["attention_mask"].bool()
    scores = whole["heads"]["vocabulary"](ours(inputs["input_ids"], attention_mask=mask))
    torch.testing.assert_close(scores[mask], expected[mask], **TOLERANCE)
