"""Random rows, and calls of every function over them, made from the declarations alone.

An argument is chosen by its parameter's name where the name says what is meant, and by its type otherwise.
"""

import numpy as np
import pyarrow as pa

from ironlake.udf.engine.declaration import Declaration

ROWS = 120
WORDS = ["fig", "tea", "rum", "gin"]


def rows() -> pa.Table:
    """The rows, in two groups; each column is what the parameters of its name or type get."""
    rng = np.random.default_rng(11)
    numbers = rng.normal(size=(ROWS, 3))
    lengths = rng.integers(1, 4, ROWS)
    tokens = [list(rng.choice(WORDS, length)) for length in lengths]
    return pa.table(
        {
            "place": np.arange(ROWS),
            "part": np.arange(ROWS) % 2,
            "flag": numbers[:, 0] + rng.normal(size=ROWS) > 0,
            "number": numbers @ [1.0, -2.0, 0.5] + rng.normal(size=ROWS),
            "positive": np.floor(np.exp(numbers[:, 1])),
            "share": rng.uniform(0.1, 0.9, ROWS),
            "digit": rng.integers(0, 4, ROWS),
            "other": rng.integers(0, 4, ROWS),
            "word": rng.choice(WORDS, ROWS),
            "vector": pa.array(list(numbers)),
            "digits": pa.array([list(map(int, each)) for each in rng.integers(0, 4, (ROWS, 2))]),
            "matrix": pa.array([(np.outer(each, each) + np.eye(3)).tolist() for each in numbers]),
            "tokens": pa.array(tokens, pa.list_(pa.string())),
            "labels": pa.array([[each[0] for each in row] for row in tokens], pa.list_(pa.string())),
        }
    )


#: Parameters whose name says more than their type.
_BY_NAME = {
    "label": {"BOOLEAN": "flag", "DOUBLE": "number"},
    "probability": {"DOUBLE": "share"}, "prediction": {"BIGINT": "other"}, "item": {"BIGINT": "other"},
    "dst": {"BIGINT": "other"}, "parent": {"INTEGER": "CAST(other AS INTEGER)"}, "tau": {"DOUBLE": "share"},
    "kind": {"VARCHAR": "'l1'"}, "bits": {"BIGINT": "2"}, "folds": {"BIGINT": "5"}, "k": {"BIGINT": "2"},
    "tokens": {"VARCHAR[]": "tokens"}, "labels": {"VARCHAR[]": "labels"},
    "start_ms": {"DOUBLE": "share"}, "end_ms": {"DOUBLE": "share + 1"},
}  # fmt: skip
_BY_TYPE = {
    "BOOLEAN": "flag", "BIGINT": "digit", "INTEGER": "CAST(digit AS INTEGER)", "DOUBLE": "number", "VARCHAR": "word",
    "DOUBLE[]": "vector", "BIGINT[]": "digits", "DOUBLE[][]": "matrix", "VARCHAR[]": "tokens",
}  # fmt: skip
_SIZES = {
    "layers": "24", "hidden": "2048", "heads": "16", "vocab": "51200", "seq": "2048", "batch": "8", "global_batch": "64",
    "micro_batch": "1", "tp": "1", "pp": "1", "dp": "8", "ci": "1",
}  # fmt: skip
_RUN = (
    "{" + ", ".join(f"'{name}': {size}" for name, size in _SIZES.items() if name not in ("batch", "ci", "vocab")) + "}"
)
_FUNCTIONS = {
    "poisson_fit": {"label": "digit"}, "lake_row_kept": {"vector": "CAST(NULL AS BIGINT)"},
    "stage_critical_path": {"parent": "CAST(NULL AS INTEGER)"}, "straggler_score": {"duration_ms": "share"},
    "plan_quality": {"measured": "share + 1", "predicted": "share + 1.5"}, "pipeline_schedule_csv": {"op": "'F'"},
    "training_model_fit": {"step_time_s": "share + 1", **_SIZES}, "training_step_predict": {"row": _RUN},
    "transformer_flops": _SIZES, "transformer_size": _SIZES,
    "training_days": {"params": "positive + 1", "tokens": "1e9", "gpus": "8", "flops_per_gpu": "1e14"},
    "ait_activations": _SIZES, "ait_optimizer": _SIZES, "ait_params": _SIZES,
    "bandwidth_for_efficiency": {"ait": "positive + 1", "eff": "share"},
    "zero_efficiency": {"ait": "positive + 1", "bandwidth": "1e9"},
    "collective_time": {"op": "'all_reduce'", "bytes": "positive + 1", "devices": "digit + 1", "bandwidth": "1e9"},
}  # fmt: skip


#: Options of functions whose examples have some: those functions are compiled for calls with options anyway.
_EPOCHS = {"epochs": 2}


def options(declaration: Declaration) -> dict[str, object]:
    """The options of a call."""
    return _EPOCHS if "'epochs':" in declaration.documentation.example.split(";")[0] else {}


def arguments(declaration: Declaration, models: dict[str, str], path: str) -> list[str]:
    """The required arguments of a call, in SQL that both engines read."""
    made = []
    for parameter in declaration.parameters:
        if not parameter.required:
            continue
        named = _FUNCTIONS.get(declaration.name, {}).get(parameter.name)
        known = _BY_NAME.get(parameter.name, {})
        types = [str(type_) for type_ in parameter.types]
        if parameter.name == "path":
            named = f"'{path}'"
        found = [models[type_] for type_ in types if type_ in models]
        found += [known[type_] for type_ in types if type_ in known]
        found += [_BY_TYPE[type_] for type_ in types if type_ in _BY_TYPE]
        if any(type_.startswith("MAP(VARCHAR") for type_ in types):
            found.append("{'indices': [digit % 3], 'values': [share]}")
        assert named or found, f"{declaration.name}: no column of the rows fits the argument {parameter.name} {types}"
        made.append(named or found[0])
    return made
