"""``train`` as users call it: from Python and SQL, over queries, streams and lakes, in memory and from a file."""

import io
import threading
import warnings

import duckdb
import matplotlib
import numpy as np
import pyarrow as pa
import pytest
import rich.console
from frontdoor import survives

import ironlake
from ironlake.sql import trace_schema
from ironlake.udf.training.rows import Rows, collect
from ironlake.udf.training.settings import Settings
from ironlake.udf.training.trainer import Trainer

ROWS = "SELECT sin(i) + cos(3 * i) / 4 > 0.2 AS label, [sin(i), cos(3 * i), i % 7] AS features FROM range(3000) t(i)"


@pytest.fixture
def lake(tmp_path):
    made = ironlake.open(tmp_path / "lake")
    made.write("rows", made.sql(ROWS))
    return made


# --------------------------------------------------------------------------------------------------------------- in SQL


def test_a_row_for_each_epoch(con):
    columns = con.sql(f"FROM train({ironlake_text(ROWS)}, epochs := 3, tolerance := NULL)")
    assert columns.columns == [
        "epoch", "step", "loss", "val_loss", "step_size", "gradient_norm", "rows", "seconds", "rows_per_second",
        "stop_reason", "model",
    ]  # fmt: skip
    rows = columns.fetchall()
    assert [row[0] for row in rows] == [1, 2, 3]
    assert [row[1] for row in rows] == [3000, 6000, 9000]
    assert [row[9] for row in rows] == [None, None, "epochs"]
    assert [row[10]["loss_history"] for row in rows] == [[row[2] for row in rows[:count]] for count in (1, 2, 3)]
    assert rows[2][2] < rows[0][2]
    assert all(row[3] is None and row[5] is None for row in rows)


def ironlake_text(text):
    return "'" + text.replace("'", "''") + "'"


def test_the_model_flows_into_the_next_query(con):
    con.execute(f"CREATE TABLE rows AS {ROWS}")
    accuracy = con.sql(
        """
        WITH trained AS (SELECT arg_max(model, epoch) AS model FROM train('rows', epochs := 10))
        SELECT binary_metrics(label, predict_proba(model, features)).accuracy FROM rows, trained
        """
    ).fetchall()[0][0]
    assert accuracy > 0.97


def test_nothing_is_trained_before_it_is_asked_for(con):
    con.execute("CREATE TABLE rows (label INTEGER, features DOUBLE[])")
    assert "train" in str(con.sql("EXPLAIN FROM train('rows')").fetchall()).lower()
    con.execute("PREPARE p AS SELECT count(*) FROM train('rows', epochs := 2, tolerance := NULL)")
    con.execute("INSERT INTO rows SELECT i % 2, [i] FROM range(10) t(i)")
    assert con.sql("EXECUTE p").fetchall() == [(2,)]


def test_settings_in_sql(con):
    con.execute(f"CREATE TABLE rows AS SELECT *, features[1] AS a, features[2] AS b, 2.0 AS w FROM ({ROWS})")
    con.execute("SET VARIABLE before = (SELECT arg_max(model, epoch) FROM train('rows', epochs := 1))")
    rows = con.sql(
        """
        FROM train('rows', "order" := 'mrs', buffer_rows := 100, class_weight := [1, 2], sample_weight := 'w',
                   init := getvariable('before'), validation_fraction := 0.2, gradient_norm := 0, epochs := 2)
        """
    ).fetchall()
    assert rows[0][1] > 3000
    assert all(row[3] > 0 and row[5] > 0 for row in rows)
    separate = con.sql("SELECT model FROM train('rows', features := 'a, b', epochs := 1)").fetchall()
    assert len(separate[0][0]["coefficients"]) == 2
    quantiles = [
        con.sql(
            "SELECT arg_max(model, epoch).intercept FROM train('SELECT a AS label, [b] AS features FROM rows', "
            f"model := 'quantile', epochs := 20, parameters := '{{\"quantile\": {each}}}')"
        ).fetchall()[0][0]
        for each in (0.1, 0.9)
    ]
    assert quantiles[0] < -0.3 < 0.3 < quantiles[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("'nope'", "train: .*Table with name nope does not exist"),
        ("'FROM'", "train: .*syntax error"),
        ("'rows', label := 'lab'", "train: the rows have no column 'lab'; their columns are label, features"),
        ("'rows', features := 'label'", "the column 'label' holds bool; expected a list"),
        ("'rows', features := 'text'", "train: the rows have no column 'text'"),
        ("'SELECT 1 AS label, ''a'' AS features'", "the column 'features' holds string; expected a list"),
        ("'SELECT ''a'' AS label, [1] AS features'", "the column 'label' holds string; expected numbers"),
        ("'SELECT 1 AS label, [''a''] AS features'", "the column 'features' holds string; expected numbers"),
        (
            "'SELECT 1 AS label, [1, NULL] AS features'",
            "1 of 1 rows from row 1 on have a NULL in the column 'features'",
        ),
        ("'SELECT NULL::INT AS label, [1] AS features'", "1 of 1 rows from row 1 on have a NULL in the column 'label'"),
        ("'SELECT NULL::INT AS label, [1] AS features', on_null := 'skip'", "there are no rows to train on"),
        ("'SELECT i AS label, [i] AS features FROM range(5) t(i)'", "labels must be .*; the rows have 0, 1, 2, 3, 4"),
        ("'SELECT 1 AS label, [1 / 0, 2] AS features'", "have a NULL|feature 1 of row 1 is NaN or infinite"),
        ("'SELECT 1 AS label, [2, 1e300] AS features'", "feature 2 of row 1 is NaN or infinite as a FLOAT"),
        ("'SELECT 1 AS label, range(1, 3 + i % 2) AS features FROM range(9) t(i)'", "a row has 3 features, .* have 2"),
        ("'rows', save_as := 'models'", "save_as names a table of a lake; pass lake too"),
        ("'rows', model := 'logstic'", "model is 'logstic'; did you mean 'logistic'"),
        (
            "'rows', model := 'softmax'",
            "model is 'softmax', which train does not fit; .* the SQL aggregate softmax_fit",
        ),
        ("'SELECT 1 AS label, MAP {''a'': 1.0} AS features'", "'features' holds sparse rows, .* such as logistic_fit"),
        ("'rows', epochs := 0", "epochs is 0; expected at least 1"),
        ("'rows', parameters := '{\"delta\": 1}'", "the loss of logistic has no parameter 'delta'"),
        ("'rows', parameters := 'delta'", "argument parameters is not JSON"),
    ],
)
def test_wrong_calls_are_told(con, call, message):
    con.execute(f"CREATE TABLE rows AS {ROWS}")
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"FROM train({call})").fetchall()


# ------------------------------------------------------------------------------------------------------------ in Python


def test_all_kinds_of_rows_give_the_same_model(con):
    relation = con.sql(ROWS)
    table = relation.to_arrow_table()
    arrays = con.sql(f"SELECT label::INTEGER AS label, features::FLOAT[3] AS features FROM ({ROWS})").to_arrow_table()
    columns = con.sql(f"SELECT label, features[1] AS a, features[2]::FLOAT AS b, features[3]::INT AS c FROM ({ROWS})")
    settings = {"epochs": 2, "threads": 1, "progress": False}
    models = [ironlake.train(each, **settings).model for each in (relation, table, arrays, ROWS, table.to_reader())]
    models.append(ironlake.train(table.to_batches()[0], **settings).model)
    models.append(ironlake.train(columns, features=["a", "b", "c"], **settings).model)
    assert len({tuple(model.coefficients) for model in models}) == 1


def test_a_query_may_name_its_connection(con):
    con.execute(f"CREATE TABLE mine AS {ROWS}")
    assert ironlake.train("mine", connection=con, epochs=1).model.n == 3000
    with pytest.raises(duckdb.CatalogException, match="mine"):
        ironlake.train("mine", epochs=1)


@pytest.mark.parametrize("order", ["stored", "shuffle_once", "shuffle_always", "block_shuffle", "mrs"])
def test_rows_in_a_file_are_trained_on_like_rows_in_memory(order):
    random = np.random.default_rng(0)
    features = random.standard_normal((5000, 6))
    batch = pa.record_batch({"label": features[:, 0] > 0.3, "features": features.tolist()})
    pieces = [batch.slice(start, 700) for start in range(0, 5000, 700)]
    models = []
    for buffer in (1e9, 30_000):
        rows = collect(pieces, "label", "features", None, False, buffer)
        assert rows.spilled == (buffer < 1e6)
        settings = Settings(order=order, epochs=3, threads=1, buffer_rows=900, block_rows=50, validation_fraction=0.1)
        models.append(list(Trainer("logistic", rows, settings).epochs())[-1].model)
    assert models[1].coefficients == pytest.approx(models[0].coefficients, rel=1e-4)


def test_a_file_holds_what_was_put_in():
    matrix = np.random.default_rng(0).random((1000, 4)).astype(np.float32)
    batch = pa.record_batch({"y": matrix[:, 0], "w": matrix[:, 1], "a": matrix[:, 2], "b": matrix[:, 3]})
    rows = collect([batch] * 3, "y", ["a", "b"], "w", False, 4000)
    assert rows.spilled
    assert (rows.matrix == np.concatenate([matrix] * 3)).all()
    index = np.random.default_rng(1).permutation(3000)
    taken = rows.take(index)
    assert taken.spilled
    assert (taken.matrix == rows.matrix[index]).all()
    assert len(Rows(matrix, False, 1).take(np.arange(5))) == 5


def test_rows_with_nulls_can_be_skipped():
    labels, features = [1.0, None, 0.0, 1.0, 0.0, 1.0], [[1.0], [2.0], None, [3.0], [4.0], [None]]
    table = pa.table({"label": labels, "features": features})
    with pytest.raises(ValueError, match="train: 1 of 6 rows from row 1 on have a NULL in the column 'label'"):
        ironlake.train(table)
    with pytest.raises(ValueError, match="train: 2 of 5 rows from row 1 on have a NULL in the column 'features'"):
        ironlake.train(table.filter(table["label"].is_valid()))
    arrays = pa.array(features, pa.list_(pa.float32(), 1))
    for rows in (table, table.slice(1), pa.table({"label": labels, "features": arrays})):
        assert ironlake.train(rows, on_null="skip", epochs=1).model.n == 3 - (len(rows) < 6)


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="train: unknown argument 'epoch'; did you mean 'epochs'"):
        ironlake.train(ROWS, epoch=3)
    with pytest.raises(TypeError, match="train: data is a int; expected a query"):
        ironlake.train(3)
    with pytest.raises(ValueError, match="no rows"):
        ironlake.train("CREATE TEMP TABLE nothing_here (i INTEGER)")
    with pytest.raises(ValueError, match="save_as names a table of a lake"):
        ironlake.train(ROWS, save_as="models")


@pytest.mark.skipif(not hasattr(threading, "_shutdown_locks_lock"), reason="threads end without this lock")
def test_the_garbage_collector_may_end_training_anywhere():
    """Inside the start of another thread, too, where waiting for a thread would never end."""
    survives(
        "import gc, threading\n"
        "import numpy as np\n"
        "from ironlake.udf.training.rows import Rows\n"
        "from ironlake.udf.training.settings import Settings\n"
        "from ironlake.udf.training.trainer import Trainer\n"
        "rows = Rows(np.ones((100, 4), np.float32), False, 1e9)\n"
        "trainer = Trainer('least_squares', rows, Settings(epochs=3, tolerance=None))\n"
        "epochs = trainer.epochs()\n"
        "next(epochs)\n"
        "with threading._shutdown_locks_lock:\n"
        "    del trainer, epochs\n"
        "    gc.collect()\n",
        timeout=120,
    )


def test_uneven_features_are_told():
    table = pa.table({"label": [0, 1] * 50, "features": [[i % 7, 1e-4 * (i % 3)] for i in range(100)]})
    with pytest.warns(
        UserWarning, match=r"feature 1 is of size 3\.\d+, feature 2 of size 0\.000128.* standardize = true"
    ):
        told = ironlake.train(table, step_rule="constant", step_size=0.01, epochs=1)
    assert "one step size cannot suit both" in told.model.warning
    for quiet in ({"step_rule": "constant", "step_size": 0.01, "standardize": True}, {"step_rule": "vw"}, {}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ironlake.train(table, epochs=1, **quiet)


def test_a_task_of_ones_own_can_be_trained(con):
    ironlake.task("log(cosh(dot(w, x) - y))", name="log_cosh", labels="real")
    run = ironlake.train(
        con.sql("SELECT 3 * sin(i) + 1 AS label, [sin(i)] AS features FROM range(2000) t(i)"), "log_cosh"
    )
    assert [*run.model.coefficients, run.model.intercept] == pytest.approx([3, 1], abs=0.05)


# -------------------------------------------------------------------------------------------------------- runs and logs


def test_a_run_is_logged_with_the_version_it_trained_on(lake):
    lake.write("rows", lake.sql(ROWS), mode="append")
    run = ironlake.train("SELECT * FROM rows WHERE features[3] > 2", "svm", lake=lake, save_as="models", epochs=3)
    log = lake.sql("FROM training_runs ORDER BY epoch").to_arrow_table()
    assert log.schema.names == trace_schema("training_runs").names
    assert log.num_rows == len(run.history)
    last = log.to_pylist()[-1]
    assert (last["data_table"], last["data_version"]) == ("rows", 1)
    assert (last["model_table"], last["model_version"], last["run_id"]) == ("models", 0, run.run_id)
    assert last["loss"] == run.model.loss
    model = lake.sql("SELECT model FROM models").fetchall()[0][0]
    assert model == run.model._asdict()
    assert lake.sql("SELECT predict(model, [1, 1, 1]) FROM models").fetchall()[0][0] in (0, 1)


def test_a_run_in_sql_is_logged_too(lake):
    lake.sql(f"SELECT epoch FROM train('rows', lake := '{lake.root}', save_as := 'models', epochs := 2)").fetchall()
    logged = lake.sql("SELECT data_table, data_version, task FROM training_runs").fetchall()
    assert set(logged) == {("rows", 0, "logistic")}
    assert lake.sql("SELECT count(*) FROM models").fetchall() == [(1,)]


def test_a_run_that_fails_logs_nothing(lake):
    with pytest.raises(ValueError, match="labels must be"):
        ironlake.train("SELECT features[3] AS label, features FROM rows", lake=lake, save_as="models")
    assert lake.tables() == ["rows"]


def test_a_run_can_be_looked_at(con):
    run = ironlake.train(con.sql(ROWS), epochs=3, validation_fraction=0.2)
    assert repr(run).startswith("TrainingRun('logistic', epochs=3, loss=0.")
    console = rich.console.Console(file=io.StringIO(), width=120)
    console.print(run)
    assert "loss held out" in console.file.getvalue()
    assert run._repr_html_().count("<tr>") == 4
    assert run.epochs().schema == trace_schema("training_runs")


def test_the_learning_curve(con):
    matplotlib.use("agg")
    run = ironlake.train(con.sql(ROWS), epochs=4, validation_fraction=0.2, tolerance=None)
    axes = run.plot()
    during, after = axes.get_lines()
    assert during.get_ydata().tolist() == [epoch.loss for epoch in run.history]
    assert after.get_ydata().tolist() == [epoch.val_loss for epoch in run.history]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "mean loss per row")
