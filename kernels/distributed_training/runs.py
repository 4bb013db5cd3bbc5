"""What a training run is to the models of time and memory: a row of numbers, from names that a planner uses.

A run is a model (``layers``, ``hidden``, ``heads``, ``seq``, ``vocab`` and what `model_of` tells), a batch
(``global_batch``, ``micro_batch`` sequences), the devices (``tp`` tensor-parallel, ``pp`` pipeline stages of ``chunks``
each, ``dp`` replicas, of which ``ep`` share the experts of a layer), and how memory is saved (``recompute``,
``seq_parallel``, ``zero_stage``, and where the optimizer's states, the parameters and the activations are: ``offload``,
``offload_params``, ``offload_activations``). Texts are kept as places in the lists below, so that compiled code sees
numbers only.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ironlake.udf.engine import table
from ironlake.udf.engine.declaration import closest

from .checks import above_zero
from .clusters import Cluster, find_cluster

if TYPE_CHECKING:
    import pyarrow as pa

SCHEDULES = ("1f1b", "interleaved_1f1b", "gpipe", "chimera", "zb_h1")
RECOMPUTE = ("none", "selective", "full")
OFFLOAD = ("none", "cpu", "nvme")
ZERO_STAGES = (0, 1, 2, 3)
#: Where each of these is, of `OFFLOAD`.
PLACES = ("offload", "offload_params", "offload_activations")
_CHOICES = {"schedule": SCHEDULES, "recompute": RECOMPUTE, **dict.fromkeys(PLACES, OFFLOAD)}
#: What a model is; without ``ffn``, ``kv_heads`` these are ``4 * hidden`` and ``heads``.
_MODEL: dict[str, Any] = {
    "layers": None, "hidden": None, "heads": None, "seq": 2048, "vocab": 51200, "ffn": None, "kv_heads": None,
    "gated": False, "experts": 1, "experts_per_token": 1,
}  # fmt: skip
_DEFAULTS: dict[str, Any] = {
    **_MODEL, "global_batch": None, "micro_batch": 1, "tp": 1, "pp": 1, "dp": 1, "ep": 1, "chunks": 1, "schedule": None,
    "recompute": "full", "seq_parallel": False, "zero_stage": 0, "offload": "none", "offload_params": None,
    "offload_activations": "none",
}  # fmt: skip
_SWITCHES = ("seq_parallel", "gated")
#: Counts that may be 0.
_FROM_ZERO = ("zero_stage",)

#: A run as compiled code sees it.
RUN = np.dtype([(name, np.float64) for name in _DEFAULTS])
_GIB = 2.0**30
_CLUSTER = "selene_a100"
#: What compiled code knows of a cluster: its column, the unit, and the offloading that cannot do without it.
_FACTS = {
    "peak_flops": ("peak_tflops_fp16", 1e12, "none"), "achievable_flops": ("achievable_tflops", 1e12, ""),
    "hbm_bytes": ("hbm_gib", _GIB, "none"), "hbm_bytes_s": ("hbm_gbps", 1e9, "none"),
    "gpus_per_node": ("gpus_per_node", 1, "none"), "intra_bytes_s": ("intra_gbps", 1e9, "none"),
    "inter_bytes_s": ("inter_gbps_per_gpu", 1e9, "none"), "latency_s": ("latency_s", 1, "none"),
    "cpu_bytes": ("cpu_gib", _GIB, "cpu"), "cpu_link_bytes_s": ("cpu_link_gbps", 1e9, "cpu"),
    "nvme_bytes": ("nvme_gib", _GIB, "nvme"), "nvme_bytes_s": ("nvme_gbps", 1e9, "nvme"),
}  # fmt: skip
#: A cluster as compiled code sees it, in bytes, seconds and FLOP/s; what is not known is NaN.
MACHINE = np.dtype([(name, np.float64) for name in _FACTS])
_MODELS = Path(__file__).with_name("models.csv")


@table
def training_models() -> pa.Table:
    """Tell the models that functions on distributed training know by name.

    Returns
    -------
    TABLE
        ``name`` VARCHAR, ``layers``, ``hidden``, ``heads``, ``seq``, ``vocab``, ``ffn`` (width of the feed-forward
        network), ``kv_heads`` (heads of keys and values) BIGINT, ``gated`` BOOLEAN (whether that network has a gate),
        ``experts``, ``experts_per_token`` (such networks of a layer, and those that work for a token) BIGINT,
        ``source`` VARCHAR.

    References
    ----------
    The papers that ``source`` names.

    Examples
    --------
    SELECT name, layers, hidden FROM training_models();
    """
    import pyarrow as pa

    return pa.Table.from_pylist(list(_models().values()))


@functools.cache
def _models() -> dict[str, dict[str, Any]]:
    with _MODELS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts: dict[str, Any] = {"name": str, "source": str, "gated": lambda text: text == "true"}
    return {row["name"]: {name: texts.get(name, int)(text) for name, text in row.items()} for row in rows}


def model_of(model: Any) -> dict[str, Any]:
    """The sizes of a model that is given by its name or as a STRUCT: what `training_models` tells of one.

    Raises
    ------
    ValueError
        If there is no such model, or a size is missing, unknown or no whole number.
    """
    names = tuple(_MODEL)
    if isinstance(model, str):
        if model not in _models():
            raise ValueError(f"argument model: there is no {model!r}{closest(model, _models())}")
        return {name: _models()[model][name] for name in names}
    if not isinstance(model, Mapping):
        raise ValueError(f"argument model must be a name or a STRUCT of {', '.join(names)}, got {model!r}")
    for name in model:
        if name not in names:
            raise ValueError(f"argument model has {name!r}{closest(name, names)}")
    sizes = {name: default if model.get(name) is None else model[name] for name, default in _MODEL.items()}
    for name, size in sizes.items():
        if name in _SWITCHES:
            _number("model." + name, size)
        elif size is not None:
            _check_count("model." + name, size)
        elif name not in ("ffn", "kv_heads"):
            raise ValueError(f"argument model has no {name!r}; expected a STRUCT of {', '.join(names)}")
    return sizes


def run_of(values: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """A run, from its values by name; what is left out has its default.

    Raises
    ------
    ValueError
        If a value is missing or not what it has to be, or the values do not fit together.
    """
    run = np.zeros(1, RUN)
    filled = {name: values.get(name) if values.get(name) is not None else _DEFAULTS[name] for name in _DEFAULTS}
    for name, value in filled.items():
        run[0][name] = _number(name, value)
    for name in ("layers", "hidden", "heads", "global_batch"):
        if filled[name] is None:
            raise ValueError(f"argument {name} is missing")
    _follow(run)
    check_run(run[0])
    return run


def _follow(runs: np.ndarray[Any, Any]) -> None:
    """Fill what follows from other values of a run where it was left out."""
    stage_3 = runs["zero_stage"] == ZERO_STAGES[-1]
    for name, value in (
        ("schedule", np.where(runs["chunks"] > 1, 1, 0)),
        ("ffn", 4 * runs["hidden"]),
        ("kv_heads", runs["heads"]),
        ("offload_params", np.where(stage_3, runs["offload"], 0)),
    ):
        runs[name] = np.where(np.isnan(runs[name]), value, runs[name])


def _number(name: str, value: Any) -> float:
    """A value of a run as a number."""
    if value is None:
        return np.nan
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise ValueError(f"argument {name} is {value!r}; expected one of {', '.join(_CHOICES[name])}")
        return float(_CHOICES[name].index(value))
    if name.removeprefix("model.") in _SWITCHES:
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"argument {name} must be true or false, got {value!r}")
        return float(value)
    _check_count(name, value)
    if name == "zero_stage" and value not in ZERO_STAGES:
        raise ValueError(f"argument zero_stage is {value}; expected one of {', '.join(map(str, ZERO_STAGES))}")
    return float(value)


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, str):
        raise ValueError(
            f"argument {name} is the text {value!r}; expected a number, such as {name} := {value}::INTEGER"
        )
    least = 0 if name in _FROM_ZERO else 1
    if isinstance(value, bool) or not value == value or value < least or value != int(value) or value > 1e15:
        raise ValueError(f"argument {name} must be a whole number of at least {least}, got {value}")


def check_run(run: Any) -> None:
    """Refuse a run whose numbers do not fit together.

    Raises
    ------
    ValueError
        With the rule that is broken, and what would do.
    """
    layers, pp, chunks, dp, tp = (int(run[name]) for name in ("layers", "pp", "chunks", "dp", "tp"))
    batch, micro, heads, schedule = (
        int(run["global_batch"]), int(run["micro_batch"]), int(run["heads"]), SCHEDULES[int(run["schedule"])],
    )  # fmt: skip
    if layers % (pp * chunks):
        near = [each for each in range(1, layers + 1) if layers % (each * chunks) == 0]
        told = f"the nearest pp is {min(near, key=lambda each: abs(each - pp))}" if near else "use fewer chunks"
        raise ValueError(
            f"arguments layers, pp and chunks: {layers} layers over {pp} * {chunks} leave a remainder of "
            f"{layers % (pp * chunks)}; {told}, or give stages of unequal size to pipeline_schedule"
        )
    for name in ("heads", "kv_heads"):
        if int(run[name]) % tp:
            raise ValueError(
                f"arguments {name} and tp: {int(run[name])} {name} cannot be split over tp {tp}; expected a divisor"
            )
    if heads % run["kv_heads"]:
        raise ValueError(
            f"arguments heads and kv_heads: {heads} heads cannot share {int(run['kv_heads'])} kv_heads; expected a "
            "divisor"
        )
    _check_experts(int(run["experts"]), int(run["experts_per_token"]), int(run["ep"]), dp)
    if run["offload_params"] > 0 and run["zero_stage"] < ZERO_STAGES[-1]:
        raise ValueError(
            f"argument offload_params is {OFFLOAD[int(run['offload_params'])]!r} with zero_stage "
            f"{int(run['zero_stage'])}; expected zero_stage 3, which shards the parameters"
        )
    if batch % (dp * micro):
        legal = divisors(batch // dp) if batch % dp == 0 else []
        told = f"micro_batch {', '.join(map(str, legal))}" if legal else f"a dp of {divisors(batch)}"
        raise ValueError(
            f"arguments global_batch, dp and micro_batch: {batch} sequences are no multiple of {dp} * {micro}; "
            f"expected {told}"
        )
    _check_schedule(schedule, pp, chunks, batch // (dp * micro))


def _check_experts(experts: int, per_token: int, ep: int, dp: int) -> None:
    """Refuse experts that cannot be chosen or spread so."""
    if per_token > experts:
        raise ValueError(f"argument experts_per_token is {per_token}; expected at most the {experts} experts")
    if experts % ep or dp % ep:
        legal = [each for each in divisors(dp) if experts % each == 0]
        raise ValueError(
            f"argument ep is {ep}; expected a divisor of both dp {dp} and experts {experts}: "
            f"{', '.join(map(str, legal))}"
        )


def _check_schedule(schedule: str, pp: int, chunks: int, micro_batches: int) -> None:
    """Refuse stages and micro-batches that a schedule does not take."""
    if schedule == "interleaved_1f1b" and pp > 1 and micro_batches % pp:
        raise ValueError(
            f"argument schedule: interleaved_1f1b needs micro_batches (global_batch / dp / micro_batch) that are a "
            f"multiple of pp {pp}, got {micro_batches}; the next multiple is {-(-micro_batches // pp) * pp}"
        )
    if schedule != "interleaved_1f1b" and chunks > 1:
        raise ValueError(
            f"argument chunks is {chunks}; only schedule 'interleaved_1f1b' has more than 1, not {schedule}"
        )
    if schedule == "chimera" and (pp < 2 or pp % 2 or micro_batches % pp):
        raise ValueError(
            f"argument schedule: chimera needs an even pp of at least 2 and micro_batches that are a multiple of it, "
            f"got pp {pp} and {micro_batches} micro-batches"
        )


def check_devices(gpus: int, tp: int, pp: int, dp: int) -> None:
    """Refuse devices that are not all used, or not there.

    Raises
    ------
    ValueError
        With the product and factors that would do.
    """
    if tp * pp * dp == gpus:
        return
    legal = [(t, p, gpus // t // p) for t in divisors(gpus) for p in divisors(gpus // t)]
    nearest = sorted(legal, key=lambda each: sum(abs(np.log(a / b)) for a, b in zip(each, (tp, pp, dp), strict=True)))
    told = ", ".join(f"{t}*{p}*{d}" for t, p, d in nearest[:3])
    raise ValueError(
        f"arguments tp, pp, dp and gpus: {tp} * {pp} * {dp} = {tp * pp * dp} devices, but gpus is {gpus}; the nearest "
        f"that would do are {told}"
    )


def divisors(number: int) -> list[int]:
    """The divisors of a number, ascending; none of 0."""
    return [each for each in range(1, number + 1) if number % each == 0] if number > 0 else []


def machine_of(cluster: Cluster, *places: str) -> np.ndarray[Any, Any]:
    """A cluster in the units of compiled code, for runs that keep something in places of `OFFLOAD`.

    Raises
    ------
    ValueError
        If it lacks a fact that a step needs, or one is not above 0.
    """
    machine = np.full(1, np.nan, MACHINE)
    for name, (column, unit, needed) in _FACTS.items():
        value = getattr(cluster, column)
        if value is not None or needed in ("none", *places) or (needed == "cpu" and "nvme" in places):
            machine[0][name] = cluster.need(column) * unit
            if not machine[0][name] > 0:
                raise ValueError(f"argument cluster: {column} of {cluster.name!r} must be above 0, got {value}")
    return machine


def columns_to_machines(columns: Mapping[str, pa.Array], rows: int) -> np.ndarray[Any, Any]:
    """The clusters of rows, from the Arrow columns ``cluster`` and those of `training_clusters` that are there.

    Raises
    ------
    ValueError
        If a cluster is not known, or lacks a fact that every step needs.
    """
    machines = np.zeros(rows, MACHINE)
    names = columns["cluster"].fill_null(_CLUSTER).to_numpy(zero_copy_only=False) if "cluster" in columns else None
    for name in [_CLUSTER] if names is None else sorted(set(names)):
        machines[... if names is None else names == name] = machine_of(find_cluster(name, None))
    for name, (column, unit, _) in _FACTS.items():
        if column in columns:
            values = floats(columns[column])
            machines[name] = np.where(np.isnan(values), machines[name], values * unit)
            above_zero(**{column: machines[name]})
    return machines


def columns_to_runs(columns: Mapping[str, pa.Array], rows: int) -> np.ndarray[Any, Any]:
    """Runs, from Arrow columns by name; what is left out or NULL has its default.

    Raises
    ------
    ValueError
        As `run_of`.
    """
    runs = np.zeros(rows, RUN)
    for name, default in _DEFAULTS.items():
        values = _column(name, columns[name]) if name in columns else np.full(rows, np.nan)
        runs[name] = np.where(np.isnan(values), _number(name, default), values)
    if "dp" not in columns and "gpus" in columns:
        runs["dp"] = floats(columns["gpus"]) / (runs["tp"] * runs["pp"])
    _follow(runs)
    for row in np.flatnonzero(~_fits(runs))[:1]:
        run_of({name: _name(name, runs[row][name]) for name in _DEFAULTS})
    return runs


def _column(name: str, values: pa.Array) -> np.ndarray[Any, Any]:
    """A column of a run as numbers, NaN for NULL."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name in _CHOICES:
        for value in pc.unique(values).to_pylist():
            _number(name, value)
        return floats(pc.index_in(values, pa.array(_CHOICES[name])))
    return floats(values)


def _fits(runs: np.ndarray[Any, Any]) -> Any:
    """Which runs have numbers that `run_of` takes."""
    fits = np.ones(len(runs), bool)
    for name in _DEFAULTS:
        whole = runs[name] == np.floor(runs[name])
        fits &= whole & (runs[name] >= (0 if name in _FROM_ZERO or name in _SWITCHES or name in _CHOICES else 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        micro_batches = runs["global_batch"] / (runs["dp"] * runs["micro_batch"])
        fits &= (runs["layers"] % (runs["pp"] * runs["chunks"]) == 0) & (runs["heads"] % runs["tp"] == 0)
        fits &= (runs["kv_heads"] % runs["tp"] == 0) & (runs["heads"] % runs["kv_heads"] == 0)
        fits &= (runs["experts"] % runs["ep"] == 0) & (runs["dp"] % runs["ep"] == 0)
        fits &= runs["experts_per_token"] <= runs["experts"]
        fits &= (runs["offload_params"] == 0) | (runs["zero_stage"] == ZERO_STAGES[-1])
        fits &= (micro_batches == np.floor(micro_batches)) & (runs["zero_stage"] <= ZERO_STAGES[-1])
        uneven = micro_batches % runs["pp"] != 0
    interleaved, chimera = runs["schedule"] == 1, runs["schedule"] == 3
    fits &= ~(interleaved & (runs["pp"] > 1) & uneven) & (interleaved | (runs["chunks"] == 1))
    return fits & ~(chimera & (uneven | (runs["pp"] % 2 == 1)))


def _name(name: str, number: float) -> Any:
    """The value that a number of a run stands for."""
    if np.isnan(number):
        return None
    if name in _CHOICES:
        return _CHOICES[name][int(number)]
    return bool(number) if name in _SWITCHES else float(number)


def floats(values: pa.Array) -> np.ndarray[Any, Any]:
    """Numbers of any type as DOUBLE, NaN for NULL."""
    import pyarrow as pa

    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False))
