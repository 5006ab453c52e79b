"""What is read from the folders of options without composing a config."""

from lmlab.config.options import chosen_by_keys, search_folders, without_nulls


def test_a_key_of_one_option_alone_chooses_it_unless_another_choice_sets_the_group():
    folders = search_folders()
    assert chosen_by_keys("evaluate", ["formulation.separator=x"], folders) == ["formulation=likelihood"]
    assert chosen_by_keys("evaluate", ["corruption.max_n=2"], folders) == ["corruption=ngram"]
    assert chosen_by_keys("evaluate", ["objective=mlm", "corruption.max_n=2"], folders) == []
    assert chosen_by_keys("pretrain", ["corruption.max_n=2"], folders) == []


def test_null_leaves_out_a_group_that_may_be_left_out():
    given = ["suite=null", "template=null", "model=null", "template.source=null", "seed=1"]
    assert without_nulls("finetune", given) == ["~suite", "~template", *given[2:]]
