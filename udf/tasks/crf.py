"""Linear-chain conditional random fields: labels for the tokens of a sequence."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numba import njit

from ironlake.udf.engine import relation, scalar

from .crf_kernels import (
    WIDEST_RANGE,
    backward,
    forward,
    relative,
    sequence_score,
    transition_factors,
    viterbi,
)
from .crf_lookup import hash_table
from .crf_model import CrfModel, label_numbers, state_scores, transitions_of
from .crf_training import Loss, dot, encoded, lbfgs, sgd

# ------------------------------------------------------------------------------------------------------------- training


@relation
def crf_fit(
    tokens: list[list[str]] | list[str],
    labels: list[str],
    *,
    method: Literal["lbfgs", "sgd"] = "lbfgs",
    l2: float = 1.0,
    epochs: int = 100,
    tolerance: float = 1e-6,
    step_size: float | Literal["auto"] = "auto",
    decay: float = 0.9,
    seed: int = 0,
    threads: int = 0,
    on_null: Literal["error", "skip"] = "error",
) -> CrfModel | None:
    """Train a linear-chain conditional random field; a row is a sequence.

    It minimises ``-sum log p(labels | tokens) + l2 |w|^2`` over a weight for every attribute and label and for every
    pair of labels that follow each other. ``l2`` is CRFsuite's ``c2``, and half the lambda of the paper.

    Parameters
    ----------
    tokens : the attributes of every token, such as ``['word=the', 'capital']``, or one attribute per token. One that
        occurs twice in a token counts twice.
    labels : of every token.
    method : L-BFGS on the whole gradient, or incremental gradient descent, a step per sequence in shuffled order.
    l2 : weight of the penalty.
    epochs : most iterations of L-BFGS, or passes of gradient descent.
    tolerance : training ends when an epoch changes the loss by at most this share of it; L-BFGS also when no component
        of the gradient is larger.
    step_size : of gradient descent in the first epoch; ``'auto'`` tries powers of 2 on 300 sequences.
    decay : factor of the step size from epoch to epoch.
    seed : of the shuffles of gradient descent.
    threads : that compute the gradient for L-BFGS; 0 for one per core. The result does not depend on it.
    on_null : whether a row in which the tokens or the labels are NULL is an error or left out.

    Returns
    -------
    STRUCT
        A model (`CrfModel`), or NULL if there is no token to learn from.

    Raises
    ------
    InvalidInputException
        If a row has not as many labels as tokens, a token, an attribute or a label is NULL, or training diverged.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.
    Lafferty, McCallum, Pereira: Conditional Random Fields, ICML 2001, section 3.

    Examples
    --------
    SELECT crf_fit(tokens, labels, {'l2': 0.1}) AS model
    FROM (VALUES ([['the'], ['old', 'adj']], ['D', 'A']), ([['dogs'], ['the']], ['N', 'D'])) t(tokens, labels);
    """
    _check_options(l2, epochs, tolerance, step_size, decay, seed, threads)
    sequences, label_names, attribute_names = encoded(tokens, labels, on_null)
    if not len(sequences.labels):
        return None
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        in_parallel = map if threads == 1 else pool.map
        loss = Loss(sequences, len(attribute_names), len(label_names), l2, in_parallel)
        if method == "lbfgs":
            fit = lbfgs(loss, epochs, tolerance)
        else:
            fit = sgd(loss, epochs, tolerance, step_size, decay, seed)
    state, transitions = loss.split(fit.weights)
    return CrfModel(
        "crf",
        label_names.to_pylist(),
        attribute_names.to_pylist(),
        list(state),
        list(transitions),
        hash_table(attribute_names),
        l2 * dot(fit.weights, fit.weights) - fit.loss,
        len(sequences.starts) - 1,
        len(fit.history),
        fit.stop_reason == "tolerance",
        fit.stop_reason,
        fit.history,
    )


def _check_options(
    l2: float, epochs: int, tolerance: float, step_size: Any, decay: float, seed: int, threads: int
) -> None:
    for name, value in {"l2": l2, "tolerance": tolerance, "seed": seed, "threads": threads}.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"option {name} must be at least 0, got {value}")
    if epochs < 1:
        raise ValueError(f"option epochs must be at least 1, got {epochs}")
    if step_size != "auto" and not 0 < step_size < math.inf:
        raise ValueError(f"option step_size must be above 0, got {step_size}")
    if not 0 < decay <= 1:
        raise ValueError(f"option decay must be above 0 and at most 1, got {decay}")


# ----------------------------------------------------------------------------------------------------------- prediction


@njit
def _filtered(scores: Any, transitions: Any) -> Any:
    """Turn state scores into ``u``: ``log Z``, and what else `backward` needs."""
    factors, into, highest = transition_factors(transitions)
    if math.isnan(highest):
        raise ValueError("argument model has transition weights that differ by more than", WIDEST_RANGE)
    filtered, scales = np.empty(scores.shape), np.empty(len(scores))
    log_z = relative(scores) + forward(scores, into, highest, filtered, scales)
    return log_z, factors, filtered, scales


@scalar(boundscheck=False)
def crf_label(model: CrfModel, tokens: list[list[str]] | list[str]) -> list[str]:
    """Label the tokens of a sequence: the labels that are most probable together (Viterbi).

    Parameters
    ----------
    model : as `crf_fit` returns it.
    tokens : the attributes of every token, or one attribute per token; those that the model does not know are ignored.

    Returns
    -------
    VARCHAR[]
        A label for every token; NULL if an argument is NULL. Ties go to the first of the model's labels.

    Raises
    ------
    InvalidInputException
        If a token or an attribute is NULL, or the model is none of `crf_fit`.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.
    Viterbi: Error bounds for convolutional codes, IEEE Transactions on Information Theory 13 (1967).

    Examples
    --------
    SELECT crf_label(model, ['the', 'dog']) AS labels
    FROM (SELECT crf_fit(['the', 'dog', 'barks'], ['D', 'N', 'V']) AS model);
    """
    path = viterbi(state_scores(model, tokens), transitions_of(model))
    names = [model.labels[label] for label in range(len(model.labels))]
    return [names[label] for label in path]


@scalar(boundscheck=False)
def crf_log_likelihood(model: CrfModel, tokens: list[list[str]] | list[str], labels: list[str]) -> float:
    """The logarithm of the probability that a model gives to the labels of a sequence.

    Parameters
    ----------
    model : as `crf_fit` returns it.
    tokens : the attributes of every token, or one attribute per token; those that the model does not know are ignored.
    labels : of every token, out of the model's.

    Returns
    -------
    DOUBLE
        At most 0, which is that of a sequence without tokens; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If there are not as many labels as tokens, the model does not know a label, a token, an attribute or a label is
        NULL, or the model is none of `crf_fit`.

    References
    ----------
    Lafferty, McCallum, Pereira: Conditional Random Fields, ICML 2001, section 3.

    Examples
    --------
    SELECT crf_log_likelihood(model, ['the', 'dog'], ['D', 'N']) AS log_likelihood
    FROM (SELECT crf_fit(['the', 'dog', 'barks'], ['D', 'N', 'V']) AS model);
    """
    if len(labels) != len(tokens):
        raise ValueError("argument labels has", len(labels), "labels, argument tokens has", len(tokens), "tokens")
    scores, transitions = state_scores(model, tokens), transitions_of(model)
    score = sequence_score(scores, transitions, label_numbers(model, labels))
    return min(score - _filtered(scores, transitions)[0], 0.0)  # rounding may leave a little more


@scalar(boundscheck=False)
def crf_marginals(model: CrfModel, tokens: list[list[str]] | list[str]) -> list[list[float]]:
    """The probability of every label at every token of a sequence, whatever the labels of the others are.

    Parameters
    ----------
    model : as `crf_fit` returns it.
    tokens : the attributes of every token, or one attribute per token; those that the model does not know are ignored.

    Returns
    -------
    DOUBLE[][]
        For every token the probabilities of the model's ``labels``, in their order; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If a token or an attribute is NULL, or the model is none of `crf_fit`.

    References
    ----------
    Lafferty, McCallum, Pereira: Conditional Random Fields, ICML 2001, section 3.

    Examples
    --------
    SELECT model.labels, crf_marginals(model, ['the', 'dog']) AS probabilities
    FROM (SELECT crf_fit(['the', 'dog', 'barks'], ['D', 'N', 'V']) AS model);
    """
    scores = state_scores(model, tokens)
    _, factors, filtered, scales = _filtered(scores, transitions_of(model))
    backward(scores, factors, filtered, scales, np.zeros(factors.shape))
    return scores
