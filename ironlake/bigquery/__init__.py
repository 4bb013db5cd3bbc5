"""BigQuery ML's statements on DuckDB: ``CREATE MODEL``, ``ML.PREDICT``, ``ML.EVALUATE`` and their like.

A model is a table of its own name with one row: the trained STRUCT, and the SQL that makes features from its input
columns. A query's ``ML`` functions become subqueries on such tables; the rest of the statement is translated from
BigQuery's dialect. Models are trained to the optimum (`newton_fit`, `lbfgs_fit`, `elastic_net_fit`), so the options
of BigQuery's gradient descent are accepted and change nothing.
"""

from __future__ import annotations

import duckdb


def bqml(statement: str, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation | None:
    """Run a statement in BigQuery ML's dialect.

    Parameters
    ----------
    statement : str
        ``CREATE [OR REPLACE] MODEL [IF NOT EXISTS] m OPTIONS (...) AS SELECT ...``, ``DROP MODEL [IF EXISTS] m``, or a
        query in which ``ML.PREDICT(MODEL m, ...)``, ``ML.EVALUATE``, ``ML.CONFUSION_MATRIX``, ``ML.WEIGHTS``,
        ``ML.FEATURE_INFO`` and ``ML.TRAINING_INFO`` may stand wherever a table may.
    connection : duckdb.DuckDBPyConnection, optional
        Where to run it; by default DuckDB's own connection.

    Returns
    -------
    duckdb.DuckDBPyRelation
        Of a query; None for other statements. ``ML.PREDICT`` gives ``predicted_<label>``, for classes also
        ``predicted_<label>_probs``, a list of ``{label, prob}``, most probable first, and the input's columns.

    Raises
    ------
    ValueError
        If the statement or one of its options is not valid.
    ModuleNotFoundError
        If sqlglot is not installed.

    Notes
    -----
    Model types are LINEAR_REG and LOGISTIC_REG. Numeric columns are standardised while training, and a NULL in one is
    the mean; columns of text and booleans are encoded as one number per category, NULL being one, and a category that
    training did not see is all zeros. ``L1_REG`` and ``L2_REG`` weigh the penalties on each row's loss.

    Examples
    --------
    >>> ironlake.bqml("CREATE MODEL m OPTIONS(MODEL_TYPE='LOGISTIC_REG', INPUT_LABEL_COLS=['y']) AS SELECT * FROM rows")
    >>> ironlake.bqml("SELECT predicted_y FROM ML.PREDICT(MODEL m, TABLE rows)")
    """
    try:
        import sqlglot
        from sqlglot import exp
    except ModuleNotFoundError:
        raise ModuleNotFoundError("ironlake.bqml needs sqlglot: pip install 'ironlake[bqml]'") from None
    from .calls import table_name, with_calls, without_calls
    from .create import create
    from .model import Model

    con = connection or duckdb.default_connection()
    words = statement.rstrip("; \n").split()
    if [word.upper() for word in words[:2]] == ["DROP", "MODEL"]:
        exists = "IF EXISTS " if [word.upper() for word in words[2:4]] == ["IF", "EXISTS"] else ""
        con.execute(f"DROP TABLE {exists}{table_name(words[-1])}")
        return None
    text, calls = without_calls(statement)
    try:
        trees = sqlglot.parse(text, dialect="bigquery")
    except sqlglot.errors.SqlglotError as error:
        message = str(error).replace("\x1b[4m", "").replace("\x1b[0m", "")
        raise ValueError(f"bqml: {message}") from None
    if len(trees) != 1 or trees[0] is None:
        raise ValueError(f"bqml: expected one statement, got {len(trees)}")
    tree = trees[0]
    if isinstance(tree, exp.Create) and tree.kind == "MODEL":
        if tree.expression is None:
            raise ValueError("bqml: CREATE MODEL needs AS SELECT ... behind its options")
        create(con, tree, with_calls(con, tree.expression, calls, Model.load))
        return None
    return con.sql(with_calls(con, tree, calls, Model.load))
