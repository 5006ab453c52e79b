"""The embedded corpus: the documentation of the Python that runs, real English without any download.

Three kinds of text go in: the topics of `help("...")`; the docstrings of modules, classes and functions,
found by parsing the source files (they are not imported, so nothing runs); and comments of two lines or more.
Hard line breaks are joined, and what is no prose (doctests, listings, tables, signatures, argument lists) is
left out.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module, metadata
from itertools import chain
from pathlib import Path
from typing import Any

from lmlab.errors import UserError, nearest
from lmlab.files import atomic_write
from lmlab.text import sources
from lmlab.text.corpora import Rows

# Raise this number when the extraction changes, so that caches of the old text are not used again.
EXTRACTOR_VERSION = 2

SHORTEST = 200  # characters; shorter documents are a line like "Codec for ..."

LEFT_OUT = {"test", "tests", "testing", "idlelib", "turtledemo", "pydoc_data", "__pycache__"}
LEFT_OUT |= {"site-packages", "dist-packages", "_vendor", "vendor", "vendored", "third_party", "externals"}

# Modules written in C whose import has no side effect; their docstrings exist only at run time.
COMPILED = (
    "builtins",
    "sys",
    "itertools",
    "math",
    "time",
    "gc",
    "_io",
    "_thread",
    "_functools",
    "_collections",
)
COMPILED += ("_operator", "_weakref", "_signal", "atexit", "marshal", "errno", "faulthandler", "posix")


# --- what is prose --------------------------------------------------------------------------------------

BULLET = re.compile(r"^(?:[-*+•]|\(?\d{1,2}[.)]|\(?[a-z]\)|\[\d+\])\s+(?=\S)")
FIELD = re.compile(r"^(?::\w+[^:]*:|@\w+(?: \w+)?:|\*{0,2}[a-z_][\w.]*(?: ?\([^)]*\))?(?::| --?))\s+(?=[A-Za-z`'\"(])")
SIGNATURE = re.compile(r"^[\w.\[\]]+\([^)]*\)*\)?(?:\s*->.*|:)?$|^\S+\(.*\) ?->")
COMMENT_BLOCK = re.compile(r"(?:^[ \t]*#(?![!%])[^\n]*\n){2,}", re.MULTILINE)
RULE = re.compile(r"^[-=~^*#+_.|: ]{3,}$")
COLUMNS = re.compile(r"\S(?<![.!?:;])\s{3,}\S|^\||\s\|\s|::=")
CODE = re.compile(r"^(?:from \S+ )?import \w|^async |^def |^class \w+[(:]|^(?:if|for|with|while|else)\b.*:$")
ROLE = re.compile(r":[a-z]+(?::[a-z]+)*:`~?([^`]*)`")
EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}(?=\S)([^*\n]+?)(?<=\S)\*{1,2}(?![\w*])")
PLAIN_WORD = re.compile(r"^[\"'“(\[]*[A-Za-z]+(?:['’-][A-Za-z]+)*[\"'”)\],.;:!?]*$")
FUNCTION_WORD = re.compile(
    r"\b(?:an?|the|this|that|these|those|its?|is|are|was|be|been|has|have|of|to|in|on|at|for|from|by|with|as|if|when"
    r"|and|or|not?|than|then|into|only|may|can|must|should|will|which|who|you|we|they|there|so|but|any|all|each)\b",
    re.IGNORECASE,
)


def is_prose(text: str) -> bool:
    """Say whether `text`, one paragraph on one line, reads like an English sentence."""
    words = text.split()
    if len(words) < 3 or not (text[0].isalpha() or text[0] in "\"'“(") or CODE.match(text):
        return False
    plain = [word for word in words if PLAIN_WORD.match(word)]
    if len(plain) < 0.7 * len(words) or (text.isupper() and len(words) < 12):
        return False
    if sum(character.isalpha() or character == " " for character in text) < 0.82 * len(text):
        return False
    is_sentence = text[0].isupper() and text[-1] in ".!?" and len(plain) >= 0.75 * len(words)
    return is_sentence or bool(FUNCTION_WORD.search(text) and (len(words) >= 5 or text[-1] in ".!?"))


def without_markup(text: str) -> str:
    """Take the marks of reStructuredText and Markdown off one paragraph and collapse its white space."""
    text = ROLE.sub(r"\1", text)
    text = re.sub(r'""([^"]+)""', r"\1", text).replace("``", "").replace("`", "")
    text = EMPHASIS.sub(r"\1", text)
    text = re.sub(r"::$", ":", text)
    return re.sub(r"\s+", " ", text).strip()


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of prose in a docstring or topic, each on one line.

    A new paragraph begins after a blank line, at a list item, and where the indentation changes.
    """
    found: list[list[str]] = []  # the lines of each paragraph
    is_open = hanging = False  # whether the last paragraph can go on; whether it is a list item
    indent, listing, in_block = 0, None, False
    for line in inspect.cleandoc(text).expandtabs().splitlines():
        content = line.strip()
        if not content:
            is_open = in_block = False
            continue
        depth = len(line) - len(line.lstrip())
        if listing is not None and depth > listing:  # the listing that a paragraph ending in "::" announces
            continue
        listing = None
        is_rule = bool(RULE.match(content))
        in_block = in_block or content.startswith((">>>", "$ ", "% ")) or (is_rule and " " in content)
        if in_block or is_rule or COLUMNS.search(content) or SIGNATURE.match(content):
            is_open = False
            continue
        in_prose = is_open and not hanging and depth == indent  # there a word with a colon is no field
        bare = BULLET.sub("", content)
        bare = bare if in_prose else FIELD.sub("", bare)
        is_item = bare != content
        deeper = is_open and depth > indent and (hanging or _is_unfinished(found[-1][-1]))
        if is_open and not is_item and (depth == indent or deeper):
            found[-1].append(content)
            indent = indent if hanging else depth
        else:
            found.append([bare])
            indent, hanging, is_open = depth, is_item, True
        if content.endswith("::"):
            listing, is_open = indent, False
    joined = (without_markup(" ".join(lines)) for lines in found)
    return [paragraph for paragraph in joined if is_prose(paragraph)]


def _is_unfinished(line: str) -> bool:
    """Say whether a line is a sentence without its end, which an indented line may continue."""
    return len(line.split()) >= 6 and line[-1] not in ".!?:;"


# --- where it is found ----------------------------------------------------------------------------------


def _package_folder(name: str) -> Path:
    """The folder (or single file) of an installed package, found without importing it."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        known = sorted(metadata.packages_distributions())
        raise UserError(f"corpus.packages: package '{top}' is not installed{nearest(top, known)}")
    if spec.submodule_search_locations:
        place = Path(next(iter(spec.submodule_search_locations))).joinpath(*rest)
        if place.is_dir() or place.with_suffix(".py").is_file():
            return place if place.is_dir() else place.with_suffix(".py")
    elif spec.origin and spec.origin.endswith(".py") and not rest:
        return Path(spec.origin)
    raise UserError(f"corpus.packages: '{name}' has no Python source files to read docstrings from")


def _source_files(place: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Yield (module name, file) for every module below `place`, in order of name; tests are left out."""
    if place.is_file():
        yield prefix, place
        return
    for path in sorted(place.rglob("*.py")):
        parts = path.relative_to(place).with_suffix("").parts
        is_test = parts[-1].startswith("test_") or parts[-1].endswith("_test") or parts[-1] == "conftest"
        if LEFT_OUT.intersection(parts) or is_test or any("-" in part for part in parts):
            continue
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        yield ".".join(((prefix,) if prefix else ()) + parts), path


def _strings(tree: ast.AST, prefix: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, dotted name, docstring); also the texts given to `add_docstr` and `add_newdoc`."""
    if isinstance(tree, ast.Module) and (text := ast.get_docstring(tree)):
        yield 0, prefix, text
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.stmt | ast.excepthandler):
            continue
        name = prefix
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}.{node.name}"
            if text := ast.get_docstring(node):
                yield node.lineno, name, text
        elif isinstance(node, ast.Expr):
            if not isinstance(node.value, ast.Call) or _called(node.value) not in (
                "add_docstr",
                "add_newdoc",
            ):
                continue
            texts = [leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)]
            yield from ((node.lineno, name, text) for text in texts if isinstance(text, str) and " " in text)
        yield from _strings(node, name)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", None) or getattr(node.func, "id", "")


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of the comments that take whole lines, two at least."""
    for match in COMMENT_BLOCK.finditer(source):
        text = re.sub(r"^[ \t]*#+ ?", "", match.group(), flags=re.MULTILINE)
        yield source.count("\n", 0, match.start()) + 1, text


def _texts(place: Path, prefix: str, comments: bool = False) -> Iterator[tuple[str, str, str]]:
    """Yield (module, dotted name, text) of every docstring, and comment, of a folder in source order."""
    for module, path in _source_files(place, prefix):
        try:
            source = path.read_text("utf-8")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in other people's strings
                tree = ast.parse(source)
        except (
            OSError,
            SyntaxError,
            ValueError,
            RecursionError,
        ):  # templates, files for other versions of Python
            continue
        found = list(_strings(tree, module))
        if comments:
            found += [(line, module, text) for line, text in _comments(source)]
            found.sort(key=lambda entry: entry[0])
        yield from ((module, name, text) for _, name, text in found)


def _compiled_docstrings() -> Iterator[tuple[str, str, str]]:
    for compiled in COMPILED:
        if compiled not in sys.builtin_module_names and compiled not in ("math",):
            continue
        module, public = import_module(compiled), compiled.lstrip("_")
        owners = [(public, module)] + [(f"{public}.{k}", v) for k, v in vars(module).items() if isinstance(v, type)]
        for owner, thing in owners:
            for name, member in [("", thing), *sorted(vars(thing).items())]:
                text = getattr(member, "__doc__", None)
                is_own = callable(member) or thing is member or inspect.isdatadescriptor(member)
                if (
                    isinstance(text, str)
                    and is_own
                    and not isinstance(member, type) | (thing is not module and not name)
                ):
                    yield public, f"{owner}.{name}".rstrip("."), text


def docstrings(packages: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """Yield the prose of every docstring of the standard library and of `packages`.

    Args:
        packages: names of installed packages; they are read, not imported.

    Yields:
        `module` (dotted, for example "email.message"), `name` (dotted, for example
        "email.message.Message.get_payload") and `text` (paragraphs separated by "\\n", each on one line).
        A text that occurs twice is given once.

    Raises:
        UserError: a package is not installed or has no source files.
    """
    seen = set()
    for module, name, text in _all_texts(packages, comments=False):
        prose = "\n".join(paragraphs(text))
        if prose and prose not in seen:
            seen.add(prose)
            yield {"module": module, "name": name, "text": prose}


def _all_texts(packages: Sequence[str], comments: bool) -> Iterator[tuple[str, str, str]]:
    places = [(_package_folder(name), name) for name in packages]  # all first: a wrong name is told before the work
    yield from _compiled_docstrings()
    for place, prefix in [(Path(sysconfig.get_path("stdlib")), ""), *places]:
        yield from _texts(place, prefix, comments)


def _topics() -> Iterator[tuple[str, str, str]]:
    """Yield ("topic.<name>", name, text) of the topics that `help("...")` shows."""
    try:
        known = import_module("pydoc_data.topics").topics  # a dictionary of strings, nothing else
    except ImportError:  # some distributions of Python leave it out
        return
    for name in sorted(known):
        yield f"topic.{name}", name, known[name]


def extract(packages: Sequence[str] = (), comments: bool = True) -> list[dict[str, str]]:
    """Return the documents, one per topic and module: `module` and `text`. No paragraph comes twice."""
    documents: dict[str, list[str]] = {}
    seen = set()
    for module, _, text in chain(_topics(), _all_texts(packages, comments)):
        for paragraph in paragraphs(text):
            if paragraph not in seen:
                seen.add(paragraph)
                documents.setdefault(module, []).append(paragraph)
    texts = {module: "\n".join(found) for module, found in documents.items()}
    return [{"module": module, "text": text} for module, text in texts.items() if len(text) >= SHORTEST]


class PyDocs(Rows):
    """The documentation of the Python that runs and of installed packages; see the module.

    Args:
        packages: installed packages whose docstrings are read too (they are not imported).
        comments: read comments of two lines or more as well.
        rows: the arguments of `Rows`; the columns are `module` and `text`.
    """

    def __init__(self, packages: Sequence[str] = (), comments: bool = True, **rows: Any) -> None:
        super().__init__(**rows)
        sources.check_fields(("module", "text"), self.columns, "corpus pydocs")
        self.packages = [packages] if isinstance(packages, str) else list(packages)
        self.comments = comments
        self._rows: list[dict[str, str]] | None = None

    def __str__(self) -> str:
        return "corpus pydocs"

    def source(self, split: str) -> Iterator[str]:
        return self.texts(self.rows(), str(self))

    def rows(self) -> list[dict[str, str]]:
        """Return the documents with their origin: `module` and `text`. Kept in `cache_dir` once extracted."""
        if self._rows is None:
            key = hashlib.sha256(json.dumps(self.content()).encode()).hexdigest()[:16]
            cached = self.cache_dir / "pydocs" / f"{key}.jsonl" if self.cache_dir else None
            if cached and cached.is_file():
                self._rows = list(sources.read(cached))
            else:
                self._rows = extract(self.packages, self.comments)
                if cached:
                    atomic_write(cached, "".join(json.dumps(row) + "\n" for row in self._rows))
        return self._rows

    def content(self) -> list[Any]:
        folders = [str(_package_folder(name)) for name in self.packages]
        versions = [_version(name) for name in self.packages]
        library = [sys.version, sys.platform, sysconfig.get_path("stdlib")]
        return [EXTRACTOR_VERSION, self.comments, library, self.packages, versions, folders]


def _version(package: str) -> str:
    top = package.split(".")[0]
    return ", ".join(f"{name} {metadata.version(name)}" for name in metadata.packages_distributions().get(top, []))
