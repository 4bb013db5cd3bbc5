"""Conditional random fields beside python-crfsuite: training with L-BFGS on one thread and on two, decoding on one.

python benchmarks/crf.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pycrfsuite
from harness import Benchmark

import ironlake.udf.tasks.crf  # noqa: F401 - the functions

SEQUENCES, MEAN_TOKENS, LABELS, WORDS, EPOCHS = 2000, 19, 5, 5000, 50


def sentences() -> tuple[list[list[list[str]]], list[list[str]]]:
    """Sentences of a hidden Markov model: the word, its neighbours, its ending, its length and a constant."""
    random = np.random.default_rng(0)
    follows = random.dirichlet(np.full(LABELS, 0.3), LABELS)
    emits = random.dirichlet(np.full(WORDS, 0.02), LABELS)
    tokens, labels = [], []
    for _ in range(SEQUENCES):
        length = 1 + random.poisson(MEAN_TOKENS - 1)
        label, words, names = random.integers(LABELS), [], []
        for _ in range(length):
            label = random.choice(LABELS, p=follows[label])
            words.append(f"{random.choice(WORDS, p=emits[label]) * 7919:06d}")
            names.append(f"L{label}")
        around = ["BOS", *words, "EOS"]
        tokens.append(
            [
                [
                    f"w={word}",
                    f"w-1={around[at]}",
                    f"w+1={around[at + 2]}",
                    f"end={word[-2:]}",
                    f"start={word[:2]}",
                    "bias",
                ]
                for at, word in enumerate(words)
            ]
        )
        labels.append(names)
    return tokens, labels


def main() -> None:
    """Run the comparison."""
    tokens, labels = sentences()
    count = sum(map(len, tokens))
    connection = duckdb.connect()
    connection.register("arrow_sentences", pa.table({"tokens": tokens, "labels": labels}))
    connection.execute("CREATE TABLE sentences AS FROM arrow_sentences")
    trainer, file = crfsuite(tokens, labels), str(Path(tempfile.mkdtemp()) / "model.crfsuite")

    def ours(threads: int, query: str) -> object:
        connection.execute(f"SET threads = {threads}")
        return connection.execute(query).fetchall()

    def fit(threads: int, epochs: int = EPOCHS) -> object:
        options = {"epochs": epochs, "tolerance": 0, "threads": threads}
        return ours(threads, f"SELECT crf_fit(tokens, labels, {options}).loglik FROM sentences")

    # CRFsuite has read the sentences before; what is timed of ours contains that.
    cases = {
        "crfsuite lbfgs": lambda: trainer.train(file),
        "crf_fit, 1 thread": lambda: fit(1),
        "crf_fit, 2 threads": lambda: fit(2),
    }
    Benchmark(f"CRF training: token-iterations, {count} tokens, {EPOCHS} iterations", count * EPOCHS, cases).run(3)
    show_iterations_alone(trainer, file, fit, count)

    trainer.set_params({"max_iterations": 2000})
    trainer.train(file)
    tagger = pycrfsuite.Tagger()
    tagger.open(file)
    options = {"epochs": 2000, "tolerance": 1e-12}
    connection.execute(f"CREATE TABLE models AS SELECT crf_fit(tokens, labels, {options}) AS model FROM sentences")
    decode = "SELECT sum(len(crf_label(model, tokens))) FROM sentences, models"
    cases = {
        "crfsuite Tagger.tag": lambda: [tagger.tag(sentence) for sentence in tokens],
        "crf_label, 1 thread": lambda: ours(1, decode),
    }
    Benchmark("CRF decoding: tokens", count, cases).run(7)
    show_agreement(connection, tagger, tokens)


def show_iterations_alone(trainer: pycrfsuite.Trainer, file: str, fit: Callable[..., object], count: int) -> None:
    """What further iterations cost: the difference of calls with few and with many of them."""

    def peer(iterations: int) -> None:
        trainer.set_params({"max_iterations": iterations})
        trainer.train(file)

    few, many = EPOCHS // 5, EPOCHS
    cases = {
        **{f"crfsuite, {epochs}": lambda epochs=epochs: peer(epochs) for epochs in (few, many)},
        **{f"crf_fit, 1 thread, {epochs}": lambda epochs=epochs: fit(1, epochs) for epochs in (few, many)},
    }
    seconds = list(Benchmark("CRF training: fewer and more iterations", 0, cases).run(5).values())
    theirs, ours = (later - sooner for sooner, later in (seconds[:2], seconds[2:]))
    rates = [f"{count * (many - few) / difference / 1e6:.1f}" for difference in (theirs, ours)]
    print(f"iterations alone: crfsuite {rates[0]}, crf_fit {rates[1]} M tokens/s, {theirs / ours:.1f} times")


def crfsuite(tokens: list[list[list[str]]], labels: list[list[str]]) -> pycrfsuite.Trainer:
    """A trainer of the same model: weights for pairs that do not occur, too, and no early end."""
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params({"c2": 1.0, "max_iterations": EPOCHS, "epsilon": 1e-12, "delta": 1e-12})
    trainer.set_params({"feature.possible_states": True, "feature.possible_transitions": True})
    for sentence, names in zip(tokens, labels, strict=True):
        trainer.append(sentence, names)
    return trainer


def show_agreement(
    connection: duckdb.DuckDBPyConnection, tagger: pycrfsuite.Tagger, tokens: list[list[list[str]]]
) -> None:
    """Print how close the two trained models are."""
    weights = tagger.info().state_features
    labels, attributes, state = connection.execute(
        "SELECT model.labels, model.attributes, model.state_weights FROM models"
    ).fetchall()[0]
    differences = [
        abs(weight - weights.get((attribute, label), 0))
        for attribute, row in zip(attributes, state, strict=True)
        for label, weight in zip(labels, row, strict=True)
    ]
    ours = connection.execute("SELECT crf_label(model, tokens) FROM sentences, models").fetchall()
    same = np.concatenate([np.equal(mine, tagger.tag(each)) for (mine,), each in zip(ours, tokens, strict=True)])
    print(f"largest difference of a state weight {max(differences):.1e}, equal labels {same.mean():.3%}")


if __name__ == "__main__":
    main()
