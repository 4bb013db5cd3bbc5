"""A recommendation model (DLRM) in NumPy: its forward pass, gradients, and stochastic gradient descent.

Arrays have a row per sample of a batch. Embeddings of all tables stand in one matrix, a table's rows behind those of
the table before; only the rows that a batch looked up change.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np


@dataclass
class Network:
    """Layers with ReLU between them.

    Attributes
    ----------
    layers : list of (weights, biases), weights being (outputs, inputs), all of float32.
    """

    layers: list[tuple[Any, Any]]

    @classmethod
    def random(cls, sizes: list[int], random: np.random.Generator) -> Network:
        """Layers drawn as DLRM draws them: by the sizes on both sides."""
        layers = []
        for before, after in pairwise(sizes):
            weights = random.normal(0, np.sqrt(2 / (before + after)), (after, before))
            layers.append((weights.astype(np.float32), random.normal(0, np.sqrt(1 / after), after).astype(np.float32)))
        return cls(layers)

    def forward(self, values: Any, *, ends_linear: bool) -> list[Any]:
        """What each layer gives, the input first."""
        found = [values]
        for index, (weights, biases) in enumerate(self.layers):
            values = values @ weights.T + biases
            if not (ends_linear and index == len(self.layers) - 1):
                values = np.maximum(values, 0)
            found.append(values)
        return found

    def backward(self, found: list[Any], gradient: Any, step: float, *, ends_linear: bool) -> Any:
        """Take a step along the gradient of the outputs; answers that of the inputs."""
        for index in range(len(self.layers) - 1, -1, -1):
            if not (ends_linear and index == len(self.layers) - 1):
                gradient = gradient * (found[index + 1] > 0)
            weights, biases = self.layers[index]
            before = gradient @ weights
            weights -= step * (gradient.T @ found[index])
            biases -= step * gradient.sum(0)
            gradient = before
        return gradient


@dataclass
class Dlrm:
    """A model.

    Attributes
    ----------
    bottom, top : Network
    embeddings : (rows of all tables, dim) of float32.
    """

    bottom: Network
    top: Network
    embeddings: Any

    @classmethod
    def random(cls, bottom: list[int], top: list[int], table_rows: Any, random: np.random.Generator) -> Dlrm:
        """A model to begin with; embeddings are even draws within one over the root of the table's rows."""
        bounds = np.repeat(1 / np.sqrt(table_rows), table_rows)[:, None]
        embeddings = (random.uniform(-1, 1, (int(table_rows.sum()), bottom[-1])) * bounds).astype(np.float32)
        return cls(Network.random(bottom, random), Network.random(top, random), embeddings)

    def train(self, dense: Any, rows: Any, labels: Any, step: float) -> float:
        """Take a step on a batch; answers the sum of its losses before.

        Parameters
        ----------
        dense : (samples, features) of float32.
        rows : (samples, tables), rows of ``embeddings``.
        labels : (samples,) 0 or 1.
        step : size of the step along the mean gradient.
        """
        below = self.bottom.forward(dense, ends_linear=False)
        vectors = np.concatenate([below[-1][:, None], self.embeddings[rows]], 1)
        pairs = np.tril_indices(vectors.shape[1], -1)
        products = (vectors @ vectors.transpose(0, 2, 1))[:, pairs[0], pairs[1]]
        above = self.top.forward(np.concatenate([below[-1], products], 1), ends_linear=True)
        scores = above[-1][:, 0].astype(np.float64)
        losses = np.logaddexp(0, scores) - labels * scores
        error = ((np.exp(-np.logaddexp(0, -scores)) - labels) / len(labels)).astype(np.float32)
        seen = self.top.backward(above, error[:, None], step, ends_linear=True)
        symmetric = np.zeros((len(labels), vectors.shape[1], vectors.shape[1]), np.float32)
        symmetric[:, pairs[0], pairs[1]] = symmetric[:, pairs[1], pairs[0]] = seen[:, vectors.shape[2] :]
        gradients = symmetric @ vectors
        below_gradient = gradients[:, 0] + seen[:, : vectors.shape[2]]
        self.bottom.backward(below, below_gradient, step, ends_linear=False)
        np.subtract.at(self.embeddings, rows, step * gradients[:, 1:])
        return float(losses.sum())
