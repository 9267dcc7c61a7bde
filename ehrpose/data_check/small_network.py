"""A small network of two hidden layers that learns from the data set itself what its people look like (NumPy).

Adam: Kingma and Ba, arXiv:1412.6980, with decoupled weight decay (arXiv:1711.05101). N rows, D features, O outputs.
"""

from __future__ import annotations

from typing import Callable, List, Tuple

import numpy as np

_BATCH, _RATE, _DECAY = 256, 3e-3, 0.01
_FIRST, _SECOND = 0.9, 0.999


class SmallNetwork:
    """Two hidden layers with ReLU.

    Args:
        features: D.
        hidden: Width of both hidden layers.
        outputs: O.
        seed: Seed of the weights.
    """

    def __init__(self, features: int, hidden: int, outputs: int, seed: int):
        rng = np.random.default_rng(seed)
        widths = [features, hidden, hidden, outputs]
        self.weights: List[np.ndarray] = []
        for number, (near, far) in enumerate(zip(widths, widths[1:])):
            scale = 0.0 if number == 2 else 1 / np.sqrt(near)
            self.weights += [rng.normal(0, 1, (near, far)).astype(np.float32) * np.float32(scale)]
            self.weights += [np.zeros(far, np.float32)]
        self._means = [np.zeros_like(weight) for weight in self.weights]
        self._squares = [np.zeros_like(weight) for weight in self.weights]
        self._steps = 0

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return (N, O) outputs for (N, D) float32 features."""
        return self._forward(features)[-1]

    def _forward(self, features: np.ndarray) -> List[np.ndarray]:
        layers = [features]
        for number in range(3):
            out = layers[-1] @ self.weights[2 * number] + self.weights[2 * number + 1]
            layers.append(np.maximum(out, 0) if number < 2 else out)
        return layers

    def step(self, features: np.ndarray, slope: Callable[[np.ndarray], np.ndarray], rate: float) -> None:
        """Change the weights after one batch.

        Args:
            features: (N, D) float32.
            slope: Takes the (N, O) outputs and returns the derivative of the loss by them.
            rate: Learning rate.
        """
        layers = self._forward(features)
        back = slope(layers[-1]).astype(np.float32)
        slopes: List[np.ndarray] = []
        for number in (2, 1, 0):
            slopes = [layers[number].T @ back, back.sum(axis=0), *slopes]
            if number:
                back = (back @ self.weights[2 * number].T) * (layers[number] > 0)
        self._steps += 1
        first, second = 1 - _FIRST**self._steps, 1 - _SECOND**self._steps
        for weight, mean, square, by in zip(self.weights, self._means, self._squares, slopes):
            mean += (1 - _FIRST) * (by - mean)
            square += (1 - _SECOND) * (by * by - square)
            weight -= rate * (mean / first / (np.sqrt(square / second) + 1e-8) + _DECAY * weight)


def batches(count: int, epochs: int, seed: int) -> List[Tuple[np.ndarray, float]]:
    """Return the rows and the learning rate of each batch; the rate falls along a cosine.

    Args:
        count: Number of rows.
        epochs: Number of passes.
        seed: Seed of their order.
    """
    rng = np.random.default_rng(seed)
    rows = [
        part for _ in range(epochs) for part in np.array_split(rng.permutation(count), -(-count // _BATCH))
    ]
    turn = np.pi / max(len(rows), 1)
    return [(part, _RATE * 0.5 * (1 + np.cos(turn * number))) for number, part in enumerate(rows)]


def temperature(right: np.ndarray) -> float:
    """Return the factor, 0 to 2, that makes log odds fit how often they are right.

    Args:
        right: Log odds for the true answer, as a network states them for rows that it did not learn from.
    """
    factors = np.linspace(0.0, 2.0, 81)
    losses = [float(np.logaddexp(0, -factor * right).mean()) if right.size else factor for factor in factors]
    return float(factors[int(np.argmin(losses))])
