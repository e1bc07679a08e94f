"""Cast matrices by least squares, for all exits at once, in one pass over the text (Din et al. 2023).

The cast of layer l is a matrix A, without intercept, from the final-normed state x_l of a position to the normed state
y of the last layer at the same position: it minimizes sum |A x_l - y|^2 + ridge |A|^2. Only the normal equations, X'X
and X'Y, are kept, so memory does not grow with the number of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autocontrastive_gen.foundation.errors import InputError


class NormalEquations:
    """X'X and X'Y of every exit, summed in float64.

    ``gram`` and ``cross`` are (exits, d, d). Those of two texts add up to those of both together.
    """

    def __init__(self, layers: tuple[int, ...], width: int, device: torch.device | str = "cpu") -> None:
        self.layers = tuple(layers)
        self.gram = torch.zeros(len(layers), width, width, dtype=torch.float64, device=device)
        self.cross = torch.zeros_like(self.gram)
        self.rows = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, states: Mapping[int, Tensor], final: Tensor) -> None:
        """Add n positions: ``states[layer]`` and ``final`` are (n, d).

        Products of 16-bit states are formed in float32, which holds each of them exactly, and those of wider states in
        float64. Within one call they are summed in that type; the sums of the calls are added in float64.
        """
        dtype = torch.float32 if final.dtype in (torch.bfloat16, torch.float16) else torch.float64
        target = final.to(dtype)
        for i, layer in enumerate(self.layers):
            inputs = states[layer].to(dtype)
            self.gram[i] += inputs.T @ inputs
            self.cross[i] += inputs.T @ target
        self.rows += len(final)

    def solve(self, damping: float) -> dict[int, Tensor]:
        """The cast (d, d) of every layer in float32, applied as ``x @ matrix.T``, the convention of ``nn.Linear``.

        Args:
            damping: the ridge, relative to the mean of the diagonal of X'X.

        Raises:
            InputError: there are too few positions to determine a matrix.
        """
        if not self.rows:
            raise InputError("cast: there is no position to fit on; give at least one block of training text")
        return {layer: self._solve(i, damping) for i, layer in enumerate(self.layers)}

    def _solve(self, i: int, damping: float) -> Tensor:
        ridge = damping * self.gram[i].diagonal().mean()
        system = self.gram[i] + ridge * torch.eye(self.gram.shape[-1], dtype=torch.float64, device=self.gram.device)
        factor, info = torch.linalg.cholesky_ex(system)
        if info.item():
            raise InputError(
                f"cast: damping = {damping}: {int(self.rows)} positions do not determine the {len(system)} x "
                f"{len(system)} cast of layer {self.layers[i]}; raise it (0.001 as a rule) or tokens"
            )
        return torch.cholesky_solve(self.cross[i], factor).T.float().contiguous()

    def state_dict(self) -> dict[str, Tensor]:
        """The sums themselves, to store them or to add them up over processes."""
        return {"gram": self.gram, "cross": self.cross, "rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from stored sums."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
