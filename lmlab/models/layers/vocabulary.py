"""From hidden states to a distribution over the vocabulary, and the cross-entropy of it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Rows are taken together as long as their logits number at most this many: 64 MiB in bf16.
MAX_LOGITS = 2**25


class _VocabularyCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of hidden @ weight' + bias, with the gradients computed in the same pass.

    The logits (N, V) are the largest array of a small language model. Here they are written once and turned in place
    into probabilities and then into their own gradient, instead of being kept for a later backward pass.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
        rows = max(1, MAX_LOGITS // weight.shape[0])
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden)
        row_starts = torch.arange(min(rows, len(labels)), device=hidden.device) * weight.shape[0]
        grad_weight = grad_bias = None
        for chunk, chunk_labels, out in zip(
            hidden.split(rows), labels.split(rows), grad_hidden.split(rows), strict=True
        ):
            logits = F.linear(chunk, weight, bias)
            grad = torch.softmax(logits, dim=-1, out=logits)
            flat, at_label = grad.view(-1), chunk_labels + row_starts[: len(chunk)]
            probabilities = flat[at_label]
            total -= probabilities.float().clamp_min(torch.finfo(torch.float32).tiny).log().sum()
            flat.index_copy_(0, at_label, probabilities - 1)  # scatter_ would copy the whole array twice
            torch.mm(grad, weight, out=out)
            if grad_weight is None:
                grad_weight = grad.T @ chunk
                grad_bias = grad.sum(0) if bias is not None else None
            else:
                grad_weight.addmm_(grad.T, chunk)
                if bias is not None:
                    grad_bias += grad.sum(0)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = (saved * grad.to(saved.dtype) if saved is not None else None for saved in ctx.saved_tensors)
        return (*grads, None)


class VocabularyHead(nn.Module):
    """Scores every token of the vocabulary by a matrix that is usually the token embedding itself.

    Args:
        weight: (V, E), tied to the embedding or the head's own.
        bias: whether there is a bias per token (BERT: yes; GPT-2, T5: no).
        transform: applied to the hidden states first, (N, H) -> (N, E), or None.
        scale: factor on the transformed hidden states (T5 with tied embeddings: H ** -0.5).
        more_columns: (V, M), a further part of the matrix, (V, E + M) in all: the head's own where the embedding is
            narrower than what it is to score (MobileBERT), or None.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        bias: bool = False,
        transform: nn.Module | None = None,
        scale: float = 1.0,
        more_columns: nn.Parameter | None = None,
    ):
        super().__init__()
        self.weight = weight
        self.more_columns = more_columns
        self.bias = nn.Parameter(torch.zeros(weight.shape[0])) if bias else None
        self.transform = transform
        self.scale = scale

    def forward(self, hidden: Tensor, tokens: Tensor | None = None) -> Tensor:
        """(..., H) -> logits (..., V), or (..., N) of some `tokens` (N,) alone."""
        matrix, bias = self._matrix(), self.bias
        if tokens is not None:
            matrix, bias = matrix[tokens], None if bias is None else bias[tokens]
        return F.linear(self._transformed(hidden), matrix, bias)

    def cross_entropy(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, summed over the N rows of `hidden` (N, H) with their `labels` (N,)."""
        if not torch.is_grad_enabled():
            return self.score(hidden, labels)[0]
        return _VocabularyCrossEntropy.apply(self._transformed(hidden), self._matrix(), self.bias, labels)

    @torch.no_grad()
    def score(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy, from logits in fp32, and the number of rows whose best token is the label."""
        hidden, matrix = self._transformed(hidden), self._matrix()
        rows = max(1, MAX_LOGITS // len(matrix))
        loss = torch.zeros((), dtype=torch.float64, device="cpu" if hidden.device.type == "mps" else hidden.device)
        num_correct = torch.zeros((), dtype=torch.int64, device=hidden.device)
        for chunk, chunk_labels in zip(hidden.split(rows), labels.split(rows), strict=True):
            logits = F.linear(chunk, matrix, self.bias).float()
            loss += F.cross_entropy(logits, chunk_labels, reduction="sum").to(loss.device)
            num_correct += (logits.argmax(-1) == chunk_labels).sum()
        return loss, num_correct

    @torch.no_grad()
    def sample(self, hidden: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw a token for each row of `hidden` (N, H) from its distribution: (N,).

        One uniform number a row is looked up among the summed probabilities; `torch.multinomial` draws one for every
        token of the vocabulary, which took a quarter of an ELECTRA step.
        """
        hidden, matrix = self._transformed(hidden), self._matrix()
        rows = max(1, MAX_LOGITS // len(matrix))
        drawn = []
        for chunk in hidden.split(rows):
            cumulated = F.linear(chunk, matrix, self.bias).float().softmax(dim=-1).cumsum(dim=-1)
            point = torch.rand(len(chunk), 1, generator=generator, device=hidden.device) * cumulated[:, -1:]
            drawn.append(torch.searchsorted(cumulated, point, right=True).clamp_max_(len(matrix) - 1))
        return torch.cat(drawn).squeeze(1)

    def _matrix(self) -> Tensor:
        return self.weight if self.more_columns is None else torch.cat([self.weight, self.more_columns], dim=1)

    def _transformed(self, hidden: Tensor) -> Tensor:
        if self.transform is not None:
            hidden = self.transform(hidden)
        return hidden * self.scale if self.scale != 1.0 else hidden
