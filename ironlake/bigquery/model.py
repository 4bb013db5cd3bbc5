"""A model's table in use: the SQL that predicts with it, evaluates it, and tells what is in it."""

from __future__ import annotations

from typing import Any, NamedTuple

import duckdb

from ironlake.lakehouse.schema import quote_name, quote_text
from ironlake.udf.engine.declaration import sql_literal

from .calls import Call, table_name

#: Names for the model and its probabilities beside the columns of the user's rows.
_MODEL, _SHARE = "ironlake_model", "ironlake_probability"
_METRICS = {
    "LINEAR_REG": (
        "mean_absolute_error", "mean_squared_error", "mean_squared_log_error", "median_absolute_error", "r2_score",
        "explained_variance",
    ),
    "LOGISTIC_REG": ("precision", "recall", "accuracy", "f1_score", "log_loss", "roc_auc"),
}  # fmt: skip


class Model(NamedTuple):
    """A model's table."""

    table: str
    kind: str
    label: str
    label_type: str
    classes: list[str]
    features: str
    inputs: list[dict[str, Any]]

    @property
    def _from(self) -> str:
        """The model beside rows, under a name that no column of theirs has."""
        return f"(SELECT model AS {_MODEL} FROM {self.table})"

    @classmethod
    def load(cls, con: duckdb.DuckDBPyConnection, name: str) -> Model:
        """Read what a table says of its model.

        Raises
        ------
        ValueError
            If there is no such model.
        """
        table = table_name(name)
        try:
            found = con.execute(
                f"SELECT model_type, label, label_type, classes, features, inputs FROM {table}"
            ).fetchall()
        except (duckdb.CatalogException, duckdb.BinderException):
            found = []
        if len(found) != 1:
            raise ValueError(f"bqml: there is no model {name}; CREATE MODEL makes one")
        return cls(table, *found[0])

    def query(self, call: Call, rows: str | None) -> str:
        """The SQL of a call of an ``ML`` function."""
        match call.function:
            case "PREDICT":
                assert rows is not None
                return self.predictions(rows, call.threshold or "0.5")
            case "EVALUATE":
                if rows is None:
                    return f"SELECT unnest(evaluation) FROM {self.table}"
                return self.evaluation(rows, call.threshold or "0.5")
            case "WEIGHTS":
                return self.weights()
            case "TRAINING_INFO":
                return (
                    "SELECT 0 AS training_run, iteration - 1 AS iteration, model.loss_history[iteration] AS loss "
                    f"FROM {self.table}, LATERAL unnest(range(1, len(model.loss_history) + 1)) t(iteration) "
                    "ORDER BY iteration"
                )
            case "FEATURE_INFO":
                return (
                    'SELECT input."column" AS input, len(input.categories) AS category_count '
                    f"FROM {self.table}, LATERAL unnest(inputs) t(input)"
                )
        return self.confusion(rows, call.threshold or "0.5")

    def predictions(self, rows: str, threshold: str) -> str:
        """The rows with their predictions in front."""
        label = quote_name(f"predicted_{self.label}")
        if self.kind == "LINEAR_REG":
            return f"SELECT predict({_MODEL}, {self.features}) AS {label}, rows.* FROM ({rows}) rows, {self._from}"
        shares = quote_name(f"predicted_{self.label}_probs")
        if len(self.classes) == 2:
            negative, positive = (f"CAST({sql_literal(each)} AS {self.label_type})" for each in self.classes)
            pairs = f"[{{'prob': {_SHARE}, 'label': {positive}}}, {{'prob': 1 - {_SHARE}, 'label': {negative}}}]"
            chosen = f"CASE WHEN {_SHARE} >= {threshold} THEN {positive} ELSE {negative} END"
        else:
            name = f"CAST({_MODEL}.classes[i] AS {self.label_type})"
            pairs = f"list_transform({_SHARE}, lambda prob, i: {{'prob': prob, 'label': {name}}})"
            best = f"list_position({_SHARE}, list_max({_SHARE}))"
            chosen = f"CAST({_MODEL}.classes[{best}] AS {self.label_type})"
        listed = f"list_transform(list_sort({pairs}, 'DESC'), lambda each: {{'label': each.label, 'prob': each.prob}})"
        shared = f"SELECT rows.*, {_MODEL}, predict_proba({_MODEL}, {self.features}) AS {_SHARE}"
        return (
            f"SELECT {chosen} AS {label}, {listed} AS {shares}, * EXCLUDE ({_MODEL}, {_SHARE}) "
            f"FROM ({shared} FROM ({rows}) rows, {self._from})"
        )

    def evaluation(self, rows: str, threshold: str) -> str:
        """One row with the metrics of the model on some rows."""
        label = quote_name(self.label)
        names = _METRICS[self.kind]
        if self.kind == "LINEAR_REG":
            metrics = f"regression_metrics({label}::DOUBLE, predict({_MODEL}, {self.features}))"
        elif len(self.classes) == 2:
            positive = f"{label}::VARCHAR = {sql_literal(self.classes[1])}"
            share = f"predict_proba({_MODEL}, {self.features})"
            metrics = f"binary_metrics({positive}, {share}, {{'threshold': {threshold}}})"
        else:
            share = f"predict_proba({_MODEL}, {self.features})"
            metrics = (
                f"multiclass_metrics({label}::VARCHAR, predict({_MODEL}, {self.features}), "
                f"{{'classes': {sql_literal(self.classes)}}}, {share})"
            )
        several = len(self.classes) > 2
        columns = ", ".join(
            "NULL::DOUBLE AS roc_auc" if name == "roc_auc" and several else f"metrics.{name}" for name in names
        )
        return f"SELECT {columns} FROM (SELECT {metrics} AS metrics FROM ({rows}) rows, {self._from})"

    def evaluation_type(self) -> str:
        """The fields of the STRUCT that `evaluation` fills."""
        return ", ".join(f"{name} DOUBLE" for name in _METRICS[self.kind])

    def confusion(self, rows: str | None, threshold: str) -> str:
        """How often each label was predicted as each."""
        if self.kind != "LOGISTIC_REG" or rows is None:
            raise ValueError("bqml: ML.CONFUSION_MATRIX needs a LOGISTIC_REG model and rows to predict")
        predicted = f"{quote_name(f'predicted_{self.label}')}::VARCHAR"
        counts = ", ".join(
            f"count(*) FILTER ({predicted} = {sql_literal(each)}) AS {quote_name(each)}" for each in self.classes
        )
        label = quote_name(self.label)
        return (
            f"SELECT {label} AS expected_label, {counts} FROM ({self.predictions(rows, threshold)}) GROUP BY {label} "
            f"ORDER BY {label}"
        )

    def weights(self) -> str:
        """A row for each input with its weight, or the weights of its categories, and one for the intercept."""
        if len(self.classes) > 2:
            raise ValueError(
                "bqml: ML.WEIGHTS is for models with one score; model.coefficients has those of each class"
            )
        parts, position = [], 1
        for each in self.inputs:
            name = quote_text(each["column"])
            if each["categories"] is None:
                weight = f"model.coefficients[{position}] AS weight"
                parts.append(f"SELECT {name} AS processed_input, {weight}, NULL AS category_weights FROM {self.table}")
                position += 1
            else:
                listed = ", ".join(
                    f"{{'category': {sql_literal(category)}::VARCHAR, 'weight': model.coefficients[{position + at}]}}"
                    for at, category in enumerate(each["categories"])
                )
                weights = f"[{listed}] AS category_weights"
                parts.append(f"SELECT {name} AS processed_input, NULL AS weight, {weights} FROM {self.table}")
                position += len(each["categories"])
        parts.append(f"SELECT '__INTERCEPT__', model.intercept, NULL FROM {self.table}")
        return " UNION ALL ".join(parts)
