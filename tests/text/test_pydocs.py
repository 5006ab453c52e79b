"""The embedded corpus: what is prose, and that the standard library gives enough of it."""

import sys

import pytest

from lmlab.errors import UserError
from lmlab.text import pydocs
from lmlab.text.pydocs import PyDocs, docstrings, paragraphs


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return PyDocs(cache_dir=tmp_path_factory.mktemp("cache")).rows()


def test_paragraphs_are_joined_and_all_that_is_no_prose_is_left_out():
    docstring = """Return the sum of two numbers, wrapped
    over two lines.

    >>> add(1, 2)
    3

    The following listing is an example::

        def f(x):
            return the value of x in the list

    Args:
        first (int): the number that comes first,
            continued on another line
        *others: ``all`` the *other* numbers, in any order

    Raises:
        ValueError: if the value is not a number.

    - an item of a list that goes on
      in the next line

    =======  =========
    name     meaning
    =======  =========
    the one  of a table

    add(first, second) -> int

    Heading
    -------
    See :class:`~numbers.Number` for the whole story.
    """
    assert paragraphs(docstring) == [
        "Return the sum of two numbers, wrapped over two lines.",
        "The following listing is an example:",
        "the number that comes first, continued on another line",
        "all the other numbers, in any order",
        "ValueError: if the value is not a number.",
        "an item of a list that goes on in the next line",
        "See numbers.Number for the whole story.",
    ]


def test_the_standard_library_gives_about_two_megabytes_of_english(rows):
    text = "\n".join(row["text"] for row in rows)
    assert len(rows) > 300
    assert len(text) > 1_500_000
    lines = text.split("\n")
    assert len(lines) == len(set(lines)), "a paragraph comes twice"
    assert not any(line.startswith((">>>", "def ", "import ")) for line in lines)
    words = text.lower().split()
    assert words.count("the") / len(words) > 0.05  # as in any English prose
    assert sum(character.isalpha() or character.isspace() for character in text) / len(text) > 0.9
    modules = {row["module"] for row in rows}
    assert {"builtins", "json", "email.message", "threading"} <= modules
    assert not any(part in ("test", "tests", "idlelib") for module in modules for part in module.split("."))


def test_both_splits_have_text_and_the_extraction_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(
        pydocs,
        "extract",
        lambda packages, comments: [{"module": "m", "text": f"Text {i}."} for i in range(99)],
    )
    corpus = PyDocs(cache_dir=tmp_path)
    train, validation = list(corpus.documents("train")), list(corpus.documents("validation"))
    assert train and validation and len(train) + len(validation) == 99
    monkeypatch.setattr(pydocs, "extract", None)
    assert PyDocs(cache_dir=tmp_path).rows() == corpus.rows()
    assert PyDocs(cache_dir=tmp_path, comments=False).fingerprint() != corpus.fingerprint()


@pytest.mark.slow
def test_docstrings_carry_their_origin_and_no_text_comes_twice():
    found = list(docstrings())
    by_name = {row["name"]: row for row in found}
    assert by_name["json.dumps"]["module"] == "json"
    assert by_name["json.dumps"]["text"].startswith("Serialize obj to a JSON formatted str")
    assert by_name["builtins.str.lower"]["text"] == "Return a copy of the string converted to lowercase."
    assert len(found) == len({row["text"] for row in found}) > 5000


def test_packages_are_read_without_being_imported(tmp_path, monkeypatch):
    package = tmp_path / "outside_docs"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text('"""This package says something useful."""\nraise SystemExit("imported")\n')
    (package / "part.py").write_text(
        "# This comment takes two whole lines and it is\n# therefore read as a paragraph.\n"
        'class A:\n    """A class that is described in this sentence."""\n'
        'add_docstr(f, """This text is given to a function of the library.""")\n'
    )
    (package / "broken.py").write_text("def (")
    (package / "tests" / "test_part.py").write_text('"""This is a test and should not be read."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pydocs, "COMPILED", ())
    monkeypatch.setattr(pydocs.sysconfig, "get_path", lambda name: str(tmp_path / "nowhere"))
    monkeypatch.setattr(pydocs, "_topics", lambda: iter(()))
    monkeypatch.setattr(pydocs, "SHORTEST", 0)
    assert [row["name"] for row in docstrings(["outside_docs"])] == [
        "outside_docs",
        "outside_docs.part.A",
        "outside_docs.part",
    ]
    (_, part) = PyDocs(packages=["outside_docs"]).rows()
    assert part["text"].split("\n") == [
        "This comment takes two whole lines and it is therefore read as a paragraph.",
        "A class that is described in this sentence.",
        "This text is given to a function of the library.",
    ]
    assert "outside_docs" not in sys.modules
    assert [row["module"] for row in docstrings(["outside_docs.part"])] == ["outside_docs.part"] * 2


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(UserError, match="package 'nunpy' is not installed, did you mean 'numpy'"):
        list(docstrings(["nunpy"]))
