"""ELECTRA in the Hugging Face format (google/electra-small-discriminator, -generator): two models, kept apart."""

from lmlab.interop.bert import IGNORED, KEYS, NO_DECODER, TARGET, encoder, needs_segments
from lmlab.interop.family import Architecture, Family, Key

VOCABULARY = {
    "transform.0": "generator_predictions.dense",
    "transform.2": "generator_predictions.LayerNorm",
    "": "generator_lm_head",
}
DETECTOR = {"0": "discriminator_predictions.dense", "2": "discriminator_predictions.dense_prediction"}
GELU = {"activation": "gelu"}  # which the generator's head has there, and the discriminator's here, in any model
SUMMARY = {"summary_type": "first", "summary_use_proj": True, "summary_activation": "gelu"}  # of a choice

FAMILY = Family(
    model_types=("electra",),
    target=TARGET,
    prefix="electra.",
    keys=KEYS
    | {
        "hidden_size": Key("hidden_size", 256),
        "embedding_size": Key("embedding_size", 128),
        "num_heads": Key("num_attention_heads", 4),
        "intermediate_size": Key("intermediate_size", 1024),
    },
    body=encoder("electra") | {"embeddings.projection": "electra.embeddings_project"},
    architectures=(
        Architecture(
            "ElectraForPreTraining",
            "rtd",
            {"rtd": DETECTOR},
            fixed=GELU,
            left_out=("generator", "generator_vocabulary"),
        ),
        Architecture("ElectraForMaskedLM", "mlm", {"vocabulary": VOCABULARY}, fixed=GELU),
        Architecture("ElectraModel", "rtd", {}),
        Architecture(
            "ElectraForSequenceClassification",
            "classification",
            {"pooler": {"0": "classifier.dense"}, "output": {"": "classifier.out_proj"}},
            fixed={"pooler_activation": "gelu"},
        ),
        Architecture("ElectraForTokenClassification", "tagging", {"output": {"": "classifier"}}),
        Architecture("ElectraForQuestionAnswering", "span", {"output": {"": "qa_outputs"}}),
        Architecture(
            "ElectraForMultipleChoice",
            "choice",
            {"pooler": {"0": "sequence_summary.summary"}, "output": {"": "classifier"}},
            fixed={"pooler_activation": "gelu"},
        ),
    ),
    copies={"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"},
    ignored=IGNORED,
    fixed={"pre_norm": False, "position_offset": 0, "num_groups": None},
    theirs=NO_DECODER | SUMMARY,
    usual={"pooler_activation": "gelu"},
    reads=lambda config, settings: settings | {"pooler_activation": "gelu"},
    refuses=needs_segments,
)
