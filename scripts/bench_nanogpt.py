"""`experiment=nanogpt_cpu` against nanoGPT's own way of taking a step, in one run on one machine.

    LMLAB_DATA=data python scripts/bench_nanogpt.py
    python scripts/bench_nanogpt.py corpus.path=shakespeare.txt

nanoGPT's recipe for a CPU: 4 layers, 4 heads, 128 wide, 64 characters, 12 sequences a step, 2,000 steps. The other
side here is that recipe in plain PyTorch and fp32 (fused attention, fused AdamW, clipping), as nanoGPT writes it; it
stands in for nanoGPT, which is no package. Prints the time of a step of both sides and our validation loss over the
whole validation text (nanoGPT: 1.88 to 1.89).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

LAYERS, HEADS, WIDTH, BLOCK, BATCH, VOCABULARY = 4, 4, 128, 64, 12, 65
TURNS, STEPS = 3, 300


def main() -> None:
    theirs = [plain_steps() for _ in range(TURNS)]
    with tempfile.TemporaryDirectory() as folder:
        summary = run_experiment(folder, sys.argv[1:])
    theirs += [plain_steps() for _ in range(TURNS)]
    ours = summary["train_seconds"] / summary["steps"]
    print(f"plain PyTorch: {1e3 * sorted(theirs)[TURNS]:.1f} ms a step (best {1e3 * min(theirs):.1f})")
    print(f"lmlab:         {1e3 * ours:.1f} ms a step, the whole loop with its batches and reports")
    print(f"validation loss after {summary['steps']:,} steps: {summary['metrics']['loss']:.4f}")


def run_experiment(folder: str, words: list[str]) -> dict:
    """The summary of the real command."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    if data := os.environ.get("LMLAB_DATA"):
        environment["LMLAB_DATA"] = str(Path(data).absolute())
    command = [sys.executable, "-m", "lmlab", "pretrain", "experiment=nanogpt_cpu", "hydra.run.dir=run", *words]
    done = subprocess.run(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(Path(folder, "run", "summary.json").read_text())


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.qkv(self.norm1(x)).split(WIDTH, dim=2)
        q, k, v = (part.view(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH, bias=False)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(BLOCK))
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x)).view(-1, VOCABULARY), targets.view(-1))


def plain_steps() -> float:
    """Seconds of a step, batches drawn at random from a long text as nanoGPT draws them."""
    torch.manual_seed(0)
    data = torch.randint(0, VOCABULARY, (1_000_000,))
    model = Plain()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True)

    def step() -> None:
        starts = torch.randint(len(data) - BLOCK, (BATCH,))
        ids = torch.stack([data[i : i + BLOCK] for i in starts])
        targets = torch.stack([data[i + 1 : i + BLOCK + 1] for i in starts])
        model(ids, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(20):
        step()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - start) / STEPS


if __name__ == "__main__":
    main()
