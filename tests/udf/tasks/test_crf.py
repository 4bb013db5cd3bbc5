"""Conditional random fields: against sums over all labellings, and what rows and options do."""

import itertools
import re

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import check_grad, minimize
from scipy.special import logsumexp

import ironlake.udf.tasks.crf  # noqa: F401 - declares the functions
from ironlake.udf.engine.sqltypes import struct_of, to_arrow
from ironlake.udf.tasks import crf_training
from ironlake.udf.tasks.crf_model import CrfModel
from ironlake.udf.tasks.crf_lookup import hash_table
from ironlake.udf.tasks.crf_training import Loss, encoded

MODEL = to_arrow(struct_of(CrfModel))


def model_table(labels, attributes, state, transitions, **changed):
    """A table with one model that was not trained."""
    model = CrfModel(
        "crf", labels, attributes, np.array(state, float).tolist(), np.array(transitions, float).tolist(),
        hash_table(pa.array(attributes, pa.string())), 0.0, 0, 0, True, "tolerance", [],
    )  # fmt: skip
    return pa.table({"m": pa.array([model._asdict() | changed], MODEL)})


def score_table(scores, transitions, **changed):
    """A model under which tokens [['0'], ['1'], ...] have these state scores; its labels are '0', '1', ..."""
    length, count = np.shape(scores)
    return model_table(list(map(str, range(count))), list(map(str, range(length))), scores, transitions, **changed)


def tokens_of(length):
    return "[" + ", ".join(f"['{t}']" for t in range(length)) + "]::VARCHAR[][]"


def all_scores(scores, transitions):
    """Every labelling and its score."""
    length, count = np.shape(scores)
    found = {}
    for labels in itertools.product(range(count), repeat=length):
        state = sum(scores[t][label] for t, label in enumerate(labels))
        found[labels] = state + sum(transitions[k][l] for k, l in itertools.pairwise(labels))
    return found


def dataset(sequences, seed, labels=4, words=30, noise=0.35):
    """Sentences of a hidden Markov model with clear transitions and unclear words: tokens, labels."""
    random = np.random.default_rng(seed)
    follows = random.dirichlet(np.full(labels, 0.2), labels)
    tokens, names = [], []
    for _ in range(sequences):
        state, row, row_names = random.integers(labels), [], []
        for _ in range(random.integers(1, 25)):
            state = random.choice(labels, p=follows[state])
            said = state if random.random() > noise else random.integers(labels)
            word = said + labels * random.integers(words // labels)
            row.append([f"word={word}", f"kind={word % 3}"])
            row_names.append(f"L{state}")
        tokens.append(row)
        names.append(row_names)
    return tokens, names


def table(tokens, labels):
    return pa.table(
        {"tokens": pa.array(tokens, pa.list_(pa.list_(pa.string()))), "labels": pa.array(labels, pa.list_(pa.string()))}
    )


def loss_of(tokens, labels, l2):
    rows = table(tokens, labels)
    sequences, names, attributes = encoded(rows["tokens"].combine_chunks(), rows["labels"].combine_chunks(), "error")
    return Loss(sequences, len(attributes), len(names), l2)


def fit(con, rows, options="{}"):
    con.register("rows", rows)
    call = "crf_fit(tokens, labels)" if options == "{}" else f"crf_fit(tokens, labels, {options})"
    return con.execute(f"SELECT {call} FROM rows").fetchall()[0][0]


def flat(model):
    return np.concatenate([np.ravel(model["state_weights"]), np.ravel(model["transition_weights"])])


# ------------------------------------------------------------------------------------------------------------ inference


def test_published_check_values(one):
    one.register("model", score_table([[1, 0.5], [0.2, 1.3], [0.7, 0.1]], [[0.3, -0.2], [0.1, 0.4]]))
    labels, likelihood = one.execute(
        f"SELECT crf_label(m, {tokens_of(3)}), crf_log_likelihood(m, {tokens_of(3)}, ['1', '1', '0']) FROM model"
    ).fetchall()[0]
    assert labels == ["1", "1", "0"]
    assert (0.5 + 1.3 + 0.7 + 0.4 + 0.1) - likelihood == pytest.approx(4.509806712434985, abs=1e-14)


@given(
    seed=st.integers(0, 10**6),
    length=st.integers(0, 5),
    count=st.integers(1, 3),
    size=st.sampled_from([0.1, 1.0, 30.0]),
    state_size=st.sampled_from([1.0, 1e4]),
)
def test_against_all_labellings(one, seed, length, count, size, state_size):
    random = np.random.default_rng(seed)
    scores = random.standard_normal((length, count)) * size * state_size
    transitions = random.standard_normal((count, count)) * size
    every = all_scores(scores, transitions)
    log_z = logsumexp(list(every.values()))
    given_labels = tuple(random.integers(count, size=length))
    one.register("model", score_table(scores, transitions))
    names = "[" + ", ".join(f"'{label}'" for label in given_labels) + "]::VARCHAR[]"
    labels, likelihood, marginals = one.execute(
        f"SELECT crf_label(m, x), crf_log_likelihood(m, x, {names}), crf_marginals(m, x) "
        f"FROM model, (SELECT {tokens_of(length)} AS x)"
    ).fetchall()[0]
    assert every[tuple(map(int, labels))] == pytest.approx(max(every.values()), rel=1e-12)
    assert likelihood <= 0
    assert likelihood == pytest.approx(every[given_labels] - log_z, rel=1e-10, abs=1e-10 + 1e-14 * abs(log_z))
    expected = np.zeros((length, count))
    for labelling, score in every.items():
        expected[np.arange(length), labelling] += np.exp(score - log_z)
    assert np.reshape(marginals, (length, count)) == pytest.approx(expected, abs=1e-10)


def test_ties_go_to_the_first_label(one):
    one.register("model", score_table(np.zeros((4, 3)), np.zeros((3, 3))))
    assert one.execute(f"SELECT crf_label(m, {tokens_of(4)}) FROM model").fetchall()[0][0] == ["0"] * 4


def test_long_sequences_neither_overflow_nor_underflow(one):
    one.register("model", score_table([[2.0, 1.0]], [[3.0, 0.0], [0.0, 3.0]]))
    likelihood = one.execute(
        "SELECT crf_log_likelihood(m, [['0'] FOR x IN range(20000)], ['0' FOR x IN range(20000)]) FROM model"
    ).fetchall()[0][0]
    step = np.exp([2.0, 1.0]) * np.exp([[3.0, 0.0], [0.0, 3.0]])
    values, vectors = np.linalg.eig(step)
    ends = (np.exp([2.0, 1.0]) @ vectors) * (np.linalg.inv(vectors) @ np.ones(2))
    top = np.argmax(values)
    log_z = 19999 * np.log(values[top]) + np.log(ends[top])
    assert 20000 * 2 + 19999 * 3 - likelihood == pytest.approx(log_z, rel=1e-11)


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), unique=True, max_size=40))
def test_every_attribute_is_found_and_no_other(one, texts):
    weights = [[float(position + 1) / 10, 0.0] for position in range(len(texts))]
    one.register("model", model_table(["a", "b"], texts, np.reshape(weights, (len(texts), 2)), np.zeros((2, 2))))
    one.register("asked", pa.table({"x": pa.array([[[text]] for text in [*texts, "not " * 6]])}))
    query = "SELECT crf_marginals(m, x)[1][1] FROM model, asked"
    got = [row[0] for row in one.execute(query).fetchall()]
    assert got == pytest.approx([1 / (1 + np.exp(-row[0])) for row in weights] + [0.5])


def test_attributes_add_up_and_unknown_ones_are_ignored(one):
    one.register("model", score_table([[1.0, 0.0], [0.0, 3.0]], np.zeros((2, 2))))
    got = one.execute("SELECT crf_marginals(m, [['0', '0', 'unknown'], ['1', '0'], []]) FROM model").fetchall()[0][0]
    assert np.array(got)[:, 0] == pytest.approx(1 / (1 + np.exp([-2.0, 2.0, 0.0])))


# ------------------------------------------------------------------------------------------------------------- training


@given(seed=st.integers(0, 10**6), count=st.integers(1, 3), l2=st.sampled_from([0.0, 0.5]))
def test_gradient_against_all_labellings(seed, count, l2):
    """The gradient is E[F] - F + 2 l2 w with the expectation over every labelling of every sequence."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 5, 3)
    tokens = [[[f"a{a}" for a in random.integers(3, size=random.integers(3))] for _ in range(n)] for n in [4, *lengths]]
    labels = [
        [f"l{l}" for l in [*range(count), *[0] * 4][:4]],
        *([f"l{l}" for l in random.integers(count, size=n)] for n in lengths),
    ]
    loss = loss_of(tokens, labels, l2)
    weights = random.standard_normal(loss.size)
    state, transitions = loss.split(weights)
    names = sorted({attribute for row in tokens for token in row for attribute in token})
    expected_loss, expected = l2 * weights @ weights, 2 * l2 * weights
    for row, row_labels in zip(tokens, labels, strict=True):
        numbers = [[names.index(attribute) for attribute in token] for token in row]
        scores = np.reshape([state[token].sum(axis=0) for token in numbers], (len(row), count))
        every = all_scores(scores, transitions)
        log_z = logsumexp(list(every.values()))
        told = tuple(int(label[1:]) for label in row_labels)
        expected_loss += log_z - every[told]
        for labelling, score in every.items():
            share = np.exp(score - log_z) - (labelling == told)
            in_state, in_transitions = loss.split(expected)
            for token, label in zip(numbers, labelling, strict=True):
                np.add.at(in_state, (token, label), share)
            for before, label in itertools.pairwise(labelling):
                in_transitions[before, label] += share
    value, gradient = loss(weights)
    assert value == pytest.approx(expected_loss, rel=1e-10)
    assert gradient == pytest.approx(expected, abs=1e-10)


def test_gradient_against_differences():
    loss = loss_of(*dataset(20, 1), 0.1)
    weights = np.random.default_rng(0).standard_normal(loss.size) * 0.3
    assert check_grad(lambda w: loss(w)[0], lambda w: loss(w)[1], weights, epsilon=1e-6) < 1e-3


@pytest.mark.parametrize("l2", [0.01, 1.0])
def test_lbfgs_ends_where_the_gradient_vanishes(one, l2):
    tokens, labels = dataset(150, 2)
    model = fit(one, table(tokens, labels), f"{{'l2': {l2}, 'tolerance': 0, 'epochs': 1000}}")
    loss = loss_of(tokens, labels, l2)
    value, gradient = loss(flat(model))
    assert np.abs(gradient).max() < 1e-4
    best = minimize(loss, np.zeros(loss.size), jac=True, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-8})
    assert value == pytest.approx(best.fun, rel=1e-9)
    history = model["loss_history"]
    assert history[-1] == pytest.approx(value, rel=1e-12)
    assert sorted(history, reverse=True) == history
    assert model["stop_reason"] == "line_search"  # rounding leaves nothing lower
    assert (model["epochs"], model["n"]) == (len(history), 150)


@pytest.mark.parametrize("l2", [0.01, 1.0])
def test_the_default_tolerance_is_close_to_the_optimum(one, l2):
    tokens, labels = dataset(150, 2)
    options = f"{{'l2': {l2}, 'epochs': 500}}"
    model = fit(one, table(tokens, labels), options)
    loss = loss_of(tokens, labels, l2)
    best = minimize(loss, np.zeros(loss.size), jac=True, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-8})
    assert model["loss_history"][-1] == pytest.approx(best.fun, rel=1e-3)
    assert (model["converged"], model["stop_reason"]) == (True, "tolerance")
    likelihood = one.execute(
        "SELECT sum(crf_log_likelihood(m, tokens, labels)) "
        f"FROM rows, (SELECT crf_fit(tokens, labels, {options}) AS m FROM rows)"
    ).fetchall()[0][0]
    assert likelihood == pytest.approx(model["loglik"], rel=1e-10)


def test_transitions_beat_independent_classification(one):
    """The words are ambiguous, the order of the labels is not: neighbours tell what a word alone cannot."""
    tokens, labels = dataset(900, 3)
    one.register("learned", table(tokens[:600], labels[:600]))
    one.register("asked", table(tokens[600:], labels[600:]))
    right, alone = one.execute(
        """
        WITH models AS (SELECT crf_fit(tokens, labels) AS m FROM learned),
        singles AS (SELECT crf_fit([token], [label]) AS m
                    FROM (SELECT unnest(tokens) AS token, unnest(labels) AS label FROM learned)),
        words AS (SELECT unnest(labels) AS label, unnest(crf_label(models.m, tokens)) AS mine,
                         unnest([crf_label(singles.m, [token])[1] FOR token IN tokens]) AS single
                  FROM asked, models, singles)
        SELECT avg((mine = label)::INTEGER), avg((single = label)::INTEGER) FROM words
        """
    ).fetchall()[0]
    assert right > alone + 0.05
    assert alone > 0.5


def test_gradient_descent_comes_close_to_the_optimum(one):
    rows = table(*dataset(300, 4))
    best = fit(one, rows)
    descended = fit(one, rows, "{'method': 'sgd', 'epochs': 60}")
    small = fit(one, rows, "{'method': 'sgd', 'epochs': 5, 'step_size': 0.01, 'decay': 1}")
    assert best["loglik"] / 300 > descended["loglik"] / 300 - 0.05
    assert descended["loss_history"][-1] < 1.02 * best["loss_history"][-1]
    assert small["epochs"] == len(small["loss_history"]) == 5
    assert small["stop_reason"] == "epochs"
    assert not small["converged"]
    assert small == fit(one, rows, "{'method': 'sgd', 'epochs': 5, 'step_size': 0.01, 'decay': 1}")
    assert small != fit(one, rows, "{'method': 'sgd', 'epochs': 5, 'step_size': 0.01, 'decay': 1, 'seed': 7}")


def test_one_step_of_gradient_descent_is_the_gradient(one):
    """From zero weights, one sequence: w = step (F - E[F]), then the proximal step of l2 |w|^2."""
    tokens, labels = [[["a", "b"], ["b"], ["a", "a"]]], [["x", "y", "x"]]
    model = fit(one, table(tokens, labels), "{'method': 'sgd', 'epochs': 1, 'step_size': 0.5, 'l2': 0.2}")
    loss = loss_of(tokens, labels, 0.0)
    _, gradient = loss(np.zeros(loss.size))
    assert flat(model) == pytest.approx(-0.5 * gradient / (1 + 2 * 0.5 * 0.2), abs=1e-12)


def test_threads_do_not_change_the_model(one, monkeypatch):
    monkeypatch.setattr(crf_training, "_BLOCK_ENTRIES", 100)
    rows = table(*dataset(200, 5))
    models = [fit(one, rows, f"{{'epochs': 8, 'threads': {threads}}}") for threads in (1, 2, 0)]
    assert models[0] == models[1] == models[2]
    assert models[0]["epochs"] == 8


# ----------------------------------------------------------------------------------------------------- rows and errors


@pytest.mark.parametrize("threads", [1, 2])
def test_a_model_for_every_group(threads):
    tokens, labels = dataset(60, 6)
    with duckdb.connect(config={"threads": threads}) as con:
        con.register("rows", table(tokens, labels).append_column("k", pa.array([i % 3 for i in range(60)])))
        models = con.execute("SELECT k, crf_fit(tokens, labels) FROM rows GROUP BY k ORDER BY k").fetchall()
        for key, model in models:
            alone = fit(con, table(tokens[key::3], labels[key::3]))
            assert model["n"] == 20
            assert model["loglik"] == pytest.approx(alone["loglik"], rel=1e-4)


def test_tokens_of_a_single_attribute(one):
    nested, single = one.execute(
        "SELECT crf_fit([[w] FOR w IN x], y), crf_fit(x, y) FROM (VALUES (['the', 'dog'], ['D', 'N']), (['it'], ['P'])) t(x, y)"
    ).fetchall()[0]
    assert nested == single
    assert single["attributes"] == ["dog", "it", "the"]
    assert single["labels"] == ["D", "N", "P"]
    labels = one.execute(
        "SELECT crf_label(m, ['the', 'dog', 'cat']), crf_label(m, []::VARCHAR[]) "
        "FROM (SELECT crf_fit(['the', 'dog', 'runs'], ['D', 'N', 'V']) AS m)"
    ).fetchall()[0]
    assert labels == (["D", "N", "V"], [])


def test_groups_with_nothing_to_learn(con):
    empty = "[]::VARCHAR[][]"
    assert con.execute(f"SELECT crf_fit({empty}, []::VARCHAR[]) WHERE false").fetchall() == [(None,)]
    assert con.execute(f"SELECT crf_fit({empty}, []::VARCHAR[])").fetchall() == [(None,)]
    skipped = "SELECT crf_fit(NULL::VARCHAR[][], ['a'], {'on_null': 'skip'})"
    assert con.execute(skipped).fetchall() == [(None,)]


def test_degenerate_sequences(one):
    rows = table([[], [["a"]], [[], []]], [[], ["only"], ["only", "only"]])
    for method in ("lbfgs", "sgd"):
        model = fit(one, rows, f"{{'method': '{method}'}}")
        assert model["labels"] == ["only"]
        assert (model["n"], model["loglik"], model["converged"]) == (3, 0.0, True)
        assert not flat(model).any()
    bare = fit(one, table([[[], []]], [["x", "y"]]))
    assert bare["attributes"] == bare["state_weights"] == []
    assert bare["transition_weights"][0][1] > 0


def test_null_rows_are_refused_or_skipped(one):
    rows = table([[["a"]], None, [["b"]]], [["x"], ["y"], None])
    with pytest.raises(duckdb.Error, match="crf_fit: the tokens or the labels of a row are NULL"):
        fit(one, rows)
    model = fit(one, rows, "{'on_null': 'skip'}")
    assert (model["n"], model["labels"], model["attributes"]) == (1, ["x"], ["a"])


@pytest.mark.parametrize(
    ("tokens", "labels", "message"),
    [
        ([[["a"]], [["a"], ["b"]]], [["x"], ["x"]], "crf_fit: row 2 has 2 tokens and 1 labels"),
        ([[["a"]], [["a"], None]], [["x"], ["x", "y"]], "crf_fit: row 2 has a NULL token"),
        ([[], [["a"], ["b", None]]], [[], ["x", "y"]], "crf_fit: row 2 has a NULL attribute"),
        ([[["a"], ["a"]]], [["x", None]], "crf_fit: row 1 has a NULL label"),
    ],
)
def test_wrong_rows_are_told(one, tokens, labels, message):
    with pytest.raises(duckdb.Error, match=message):
        fit(one, table(tokens, labels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{'l2': -1}", "option l2 must be at least 0, got -1"),
        ("{'tolerance': -1}", "option tolerance must be at least 0"),
        ("{'threads': -1}", "option threads must be at least 0"),
        ("{'seed': -1}", "option seed must be at least 0"),
        ("{'epochs': 0}", "option epochs must be at least 1, got 0"),
        ("{'step_size': 0}", "option step_size must be above 0, got 0"),
        ("{'step_size': 'fast'}", "option 'step_size' is 'fast'"),
        ("{'decay': 2}", "option decay must be above 0 and at most 1, got 2"),
        ("{'method': 'newton'}", "option 'method' is 'newton'"),
        ("{'c2': 1}", "unknown option 'c2'"),
        ("{'method': 'sgd', 'step_size': 1e6, 'l2': 0}", "training diverged with step_size 1000000.0; try 125000.0"),
    ],
)
def test_wrong_options_are_told(one, options, message):
    with pytest.raises(duckdb.Error, match=f"crf_fit: {message}"):
        fit(one, table(*dataset(30, 7)), options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("crf_label(m, [['0'], NULL])", "a list has a NULL at position 2 of 2"),
        ("crf_label(m, [['0', NULL]])", "a list has a NULL at position 2 of 2"),
        ("crf_log_likelihood(m, [['0']], ['0', '1'])", "argument labels has 2 labels, argument tokens has 1 tokens"),
        ("crf_log_likelihood(m, [['0']], ['9'])", "a label that the model does not know at position 1"),
        (
            "crf_marginals(struct_update(m, transition_weights := [[0, 301], [0, 0]]::DOUBLE[][]), [['0']])",
            "transition weights that differ by more than 300",
        ),
    ],
)
def test_wrong_calls_are_told(one, call, message):
    one.register("model", score_table([[1.0, 0.0]], np.zeros((2, 2))))
    with pytest.raises(duckdb.Error, match=message):
        one.execute(f"SELECT {call} FROM model").fetchall()


FORGED = [
    ("task := 'logistic'", "argument model is of the task logistic and must be one of crf_fit"),
    ("labels := []::VARCHAR[]", "argument model has no labels"),
    ("labels := ['a']", "argument model has 1 labels and 2 transition_weights"),
    ("attributes := ['0', '1']", "argument model has 2 attributes and 1 state_weights"),
    ("attributes := []::VARCHAR[]", "argument model has 0 attributes and 1 state_weights"),
    ("state_weights := []::DOUBLE[][]", "argument model has 1 attributes and 0 state_weights"),
    ("state_weights := [[1.0]]", "argument model has 2 labels, but 1 weights of an attribute"),
    ("state_weights := [[1.0, 2, 3]]", "argument model has 2 labels, but 3 weights of an attribute"),
    ("state_weights := [[1, NULL]]::DOUBLE[][]", "argument model has a NULL among the weights of attribute 1"),
    ("state_weights := [NULL]::DOUBLE[][]", "argument model has no weights of attribute 1"),
    ("state_weights := [['nan', '0']]::DOUBLE[][]", "argument model has weights that are no finite numbers"),
    ("state_weights := [['inf', '0']]::DOUBLE[][]", "argument model has weights that are no finite numbers"),
    ("transition_weights := []::DOUBLE[][]", "argument model has 2 labels and 0 transition_weights"),
    ("transition_weights := [[0, 0], [0]]::DOUBLE[][]", "argument model has 2 labels, but 1 transition weights of a label"),
    ("transition_weights := [[0, 0], [0, 0, 0]]::DOUBLE[][]", "argument model has 2 labels, but 3 transition weights"),
    ("transition_weights := [['0', '0'], ['nan', '0']]::DOUBLE[][]", "argument model has weights that are no finite numbers"),
    ("lookup := []::BIGINT[]", "argument model has a lookup of 0 numbers; that of crf_fit has a power of 2, at least 2"),
    ("lookup := [0, -1, 0]", "argument model has a lookup of 3 numbers"),
    ("lookup := [0, -1, 0, -1, 0, -1]", "argument model has a lookup of 6 numbers"),
    ("lookup := [m.lookup[CASE WHEN m.lookup[2] = 0 THEN 1 ELSE 3 END], 1]", "argument model has position 1 in its lookup, but 1 attributes"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), FORGED)
def test_forged_models_are_told(one, change, message):
    """Lists that do not fit each other never lead outside of them."""
    one.register("model", score_table([[1.0, 0.0]], np.zeros((2, 2))))
    one.execute(f"CREATE OR REPLACE TEMP TABLE forged AS SELECT struct_update(m, {change}) AS m FROM model")
    for call in ("crf_label(m, [['0']])", "crf_marginals(m, ['0'])", "crf_log_likelihood(m, [['0']], ['1'])"):
        with pytest.raises(duckdb.Error, match=re.escape(message)):
            one.execute(f"SELECT {call} FROM forged").fetchall()


def test_a_forged_lookup_finds_nothing_wrong(one):
    """Without a free place a search ends after all; what a negative position means is that a place is free."""
    one.register("model", score_table([[1.0, 0.0]], np.zeros((2, 2))))
    for lookup in ("[0, 0, 1, 0]", "[5, -7, 6, -9223372036854775808]"):
        query = f"SELECT crf_marginals(struct_update(m, lookup := {lookup}::BIGINT[]), ['unknown']) FROM model"
        assert one.execute(query).fetchall() == [([[0.5, 0.5]],)]


def test_null_arguments_give_null(one):
    one.register("model", score_table([[1.0, 0.0]], np.zeros((2, 2))))
    query = "SELECT crf_label(m, NULL::VARCHAR[][]), crf_marginals(m, NULL::VARCHAR[][]), crf_log_likelihood(m, [['0']], NULL) FROM model"
    assert one.execute(query).fetchall() == [(None, None, None)]
