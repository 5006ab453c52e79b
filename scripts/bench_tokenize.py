"""Tokenising and packing text: lmlab's token store beside Hugging Face's `map` and `group_texts`.

    python scripts/bench_tokenize.py                     # the documentation of the running Python
    LMLAB_DATA=<folder> python scripts/bench_tokenize.py # its english-books
    python scripts/bench_tokenize.py --text FILE         # .txt (blank lines separate), .jsonl, .parquet

Both sides get the same documents, the same fast tokenizer and the same threads, write their result to disk,
and use no cache. The Hugging Face side has the shape of the example `run_mlm.py`: a batched `map` that
tokenises, a batched `map` that joins and cuts into blocks, one process; the copy of the text into its own
format is not counted. Ours counts reading the text from its file and reading every block once, too.
Peak memory is measured in processes of their own, over a tenth of the text and over ten times that tenth.
It counts the pages of mapped files that were read, which the system takes back when it needs them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lmlab.text.store import TokenStore
from lmlab.text.tokenizer import Tokenizer
from lmlab.text.tokenizers import WordPiece
from lmlab.text.units import Blocks


class Documents:
    """The corpus of the bench: a jsonl file of texts, read as a stream."""

    def __init__(self, path: str, times: int = 1):
        self.path, self.times = path, times

    def documents(self, split: str = "train") -> Iterator[str]:
        for _ in range(self.times):
            with open(self.path, encoding="utf-8") as file:
                yield from map(json.loads, file)

    def fingerprint(self) -> str:
        return f"{self.path} {self.times}"


def ours(corpus: Documents, tokenizer_file: str, length: int, folder: str) -> tuple[float, int]:
    """Seconds of tokenising, packing and reading every block, and tokens in blocks, by lmlab."""
    tokenizer = Tokenizer.load(tokenizer_file)
    begin = time.perf_counter()
    blocks = Blocks(TokenStore.build(corpus, tokenizer, "train", "document", folder), length)
    total = sum(len(blocks[index]) for index in range(len(blocks)))
    return time.perf_counter() - begin, total


def hugging_face(corpus: Documents, tokenizer_file: str, length: int, folder: str) -> tuple[float, int]:
    """Seconds of the two maps and tokens in blocks, by `PreTrainedTokenizerFast` as in run_mlm.py."""
    import datasets
    from transformers import PreTrainedTokenizerFast

    datasets.disable_caching()
    datasets.disable_progress_bars()
    fast = PreTrainedTokenizerFast(
        tokenizer_file=tokenizer_file,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    raw = datasets.Dataset.from_generator(
        lambda: ({"text": text} for text in corpus.documents()), cache_dir=str(Path(folder) / "raw")
    )
    begin = time.perf_counter()

    def tokenise(rows: dict) -> dict:
        return fast(rows["text"], return_special_tokens_mask=True)

    def group_texts(rows: dict) -> dict:
        joined = {name: list(chain(*values)) for name, values in rows.items()}
        total = len(joined["input_ids"]) // length * length
        return {name: [v[i : i + length] for i in range(0, total, length)] for name, v in joined.items()}

    files = [str(Path(folder) / name) for name in ("tokens.arrow", "blocks.arrow")]
    tokens = raw.map(tokenise, batched=True, remove_columns=["text"], cache_file_name=files[0])
    blocks = tokens.map(group_texts, batched=True, cache_file_name=files[1])
    return time.perf_counter() - begin, len(blocks) * length


def timed(side: str, corpus: Documents, tokenizer_file: str, length: int) -> tuple[float, int]:
    """Seconds and tokens of one side, with nothing cached."""
    with tempfile.TemporaryDirectory() as folder:
        return (ours if side == "lmlab" else hugging_face)(corpus, tokenizer_file, length, folder)


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB.

    `ru_maxrss` is no substitute on Linux: it starts with that of the process that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1024**2 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def report_memory(arguments: argparse.Namespace, path: str, tokenizer_file: str) -> None:
    """Print the peak memory of both sides, each over one tenth of the text and all of it."""
    with tempfile.TemporaryDirectory() as folder:
        tenth = Path(folder) / "tenth.jsonl"
        size, wanted = 0, Path(path).stat().st_size / 10
        with open(path, encoding="utf-8") as file, open(tenth, "w", encoding="utf-8") as out:
            while size < wanted and (line := file.readline()):
                size += out.write(line)
        for side in ("lmlab", "transformers"):
            peaks = []
            for times in (1, 10):
                command = [
                    sys.executable,
                    __file__,
                    "--memory-of",
                    side,
                    str(tenth),
                    str(times),
                    tokenizer_file,
                ]
                command += ["--length", str(arguments.length)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                peaks.append(json.loads(done.stdout.splitlines()[-1]))
            print(
                f"peak memory  {side:12}  {size / 1e6:7.1f} MB of text: {peaks[0]['peak']:6.0f} MB   "
                f"{size / 1e5:7.1f} MB of text: {peaks[1]['peak']:6.0f} MB   "
                f"(growth {peaks[1]['peak'] - peaks[0]['peak']:+.0f} MB)"
            )


def documents_of(arguments: argparse.Namespace, cache: str) -> tuple[str, Iterator[str]]:
    """Name and documents of the text to use."""
    from lmlab.text import corpora, pydocs

    books = Path(os.environ.get("LMLAB_DATA", ""), "english-books")
    if arguments.text:
        is_plain = arguments.text.endswith((".txt", ".txt.gz", ".md"))
        kind = corpora.Text if is_plain else corpora.Local
        extra = {"document": "blank_line"} if is_plain else {}
        return arguments.text, kind(path=arguments.text, cache_dir=cache, **extra).documents("train")
    if os.environ.get("LMLAB_DATA") and books.is_dir():
        return "english-books", corpora.Local(path=str(books), cache_dir=cache).documents("train")
    return "pydocs", pydocs.PyDocs(cache_dir=cache).documents("train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", help="file with the text")
    parser.add_argument("--length", type=int, default=128, help="tokens of a block")
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=2, help="runs of each side, in turn; the best counts")
    parser.add_argument("--no-memory", action="store_true", help="leave out the measurement of memory")
    parser.add_argument("--memory-of", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"

    if arguments.memory_of:
        side, path, times, tokenizer_file = arguments.memory_of
        _, total = timed(side, Documents(path, int(times)), tokenizer_file, arguments.length)
        print(json.dumps({"peak": peak_memory(), "tokens": total}))
        return

    with tempfile.TemporaryDirectory() as folder:
        name, documents = documents_of(arguments, folder)
        path, tokenizer_file = str(Path(folder) / "text.jsonl"), str(Path(folder) / "tokenizer.json")
        with open(path, "w", encoding="utf-8") as file:
            characters = sum(len(text) for text in documents if file.write(json.dumps(text) + "\n"))
        corpus = Documents(path)
        WordPiece(vocab_size=arguments.vocab_size).train(corpus.documents()).save(tokenizer_file)
        print(f"text: {name}, {characters / 1e6:.1f} M characters; WordPiece, {os.cpu_count()} cores")
        best: dict[str, float] = {}
        for _ in range(arguments.repeats):
            for side in ("lmlab", "transformers"):
                seconds, total = timed(side, corpus, tokenizer_file, arguments.length)
                best[side] = min(seconds, best.get(side, seconds))
                print(f"{side:12}  {seconds:7.2f} s   {total / seconds / 1e6:6.2f} M tokens/s   {total} tokens")
        print(f"ratio  {best['transformers'] / best['lmlab']:.2f}  (target: at least 1.5)")
        if not arguments.no_memory:
            report_memory(arguments, path, tokenizer_file)


if __name__ == "__main__":
    main()
