"""Fuzzed calls of every declared function; run as a script, prints how many were made and how many raised.

Usage: fuzz.py CALLS SEED
"""

import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import faulthandler

faulthandler.enable()

import frontdoor  # noqa: F401
import declared_functions  # noqa: F401
import duckdb

from ironlake.udf import engine
from ironlake.udf.tasks.linear import LinearTask

# SQL of its own; files of its own; a list of 1,000 numbers is a model with 1,000 states.
LEAVE_OUT = {"run_query", "lake_scan", "kalman_filter", "kalman_smooth", "kalman_loglik"}
LEAVE_OUT |= {
    "linear_regression_fit",
    "ridge_fit",
    "lasso_fit",
    "elastic_net_fit",
    "matrix_factorization_fit",
    "predict_rating",
    "recommend",
    "train",
    "softmax_fit",
    "lbfgs_fit",
    "newton_fit",
    "crf_fit",
    "crf_label",
    "crf_log_likelihood",
    "crf_marginals",
}
LEAVE_OUT |= {"portfolio_optimize", "portfolio_weights", "multiclass_metrics"}  # seconds to compile each overload
ONE_OF_THE_TASKS = "logistic_fit"  # they differ in one formula, and each overload takes seconds to compile

VALUES = (
    """
NULL|0|1|-1|3|255|256|-129|2147483648|9223372036854775807|18446744073709551615::UBIGINT|170141183460469231731687303715884105727
0.5|1e308|-1e308|'nan'::DOUBLE|'inf'::DOUBLE|'nan'::FLOAT|1.5::DECIMAL(18,3)|true|false|''|'a'|'héλ😀'|repeat('x', 300)|'auto'
'{"k": 1}'|'{'|'\\x00\\xFF'::BLOB|date '2020-02-29'|'infinity'::DATE|timestamp '2020-01-01 00:00:00'|time '12:00:00'|interval 3 days
'00000000-0000-0000-0000-000000000000'::UUID|'101'::BIT|[]|[1]|[1, NULL]|[NULL]|[1.5, 2.5]|[1.5, 2.5]::FLOAT[]|[1.5, 2.5]::FLOAT[2]
[1, NULL]::FLOAT[2]|['a', 'b']|[[1], []]|[[1.0], NULL]|[true]|['nan'::DOUBLE]|[1e39]|range(1000)|{'a': 1}|{'k': 1}|{'k': NULL}
{'step_size': 0.1}|{'a': {'b': [1]}}|MAP {'k': 1}|MAP {1: 2}|{'epochs': 1000000000}|x|x::VARCHAR|[x]|[x, x]::FLOAT[2]|{'k': x}
array_value(1, 2)|'small'::ENUM('small', 'big')|NULL::DOUBLE|NULL::FLOAT[]|NULL::STRUCT(k INTEGER)|union_value(k := 1)|row(1, 2)
(SELECT logistic_fit(i > 2, [i], {'step_size': 0.1}) FROM range(5) t(i))
{'task': 'logistic', 'coefficients': [1.0], 'intercept': 0.5, 'classes': [0.0, 1.0], 'n': 1, 'epochs': 1, 'converged': false, 'stop_reason': '', 'loss': 0.0, 'loss_history': [0.0], 'step': 1, 'degenerate': false, 'warning': ''}
{'task': 'logistic', 'coefficients': []::FLOAT[], 'intercept': 0.5, 'classes': []::DOUBLE[], 'n': 1, 'epochs': 1, 'converged': false, 'stop_reason': '', 'loss': 0.0, 'loss_history': []::DOUBLE[], 'step': 1, 'degenerate': false, 'warning': ''}
{'task': NULL, 'coefficients': NULL, 'intercept': NULL, 'classes': NULL, 'n': 1, 'epochs': 1, 'converged': false, 'stop_reason': '', 'loss': 0.0, 'loss_history': NULL, 'step': 1, 'degenerate': false, 'warning': ''}
""".replace("\n", "|")
    .strip("|")
    .split("|")
)

#: Values of the right kind for a parameter's type, so that a good part of the calls reaches the function.
FITTING = {
    "DOUBLE": ["0.5", "x", "1", "NULL", "'nan'::DOUBLE"], "BIGINT": ["x", "3", "-1", "0", "NULL"], "VARCHAR": ["'a'", "x::VARCHAR", "''"],
    "BOOLEAN": ["x > 1", "true", "NULL"], "LIST": ["[x, 1]", "[0.5]", "[]", "[1, NULL]", "NULL"], "ARRAY": ["[x, 1]::FLOAT[2]"],
    "STRUCT": [value for value in VALUES if "task" in value or "logistic_fit" in value],
}  # fmt: skip


def value(random, types=()):
    if types and random.random() < 0.8:
        fitting = FITTING.get(random.choice(types).name)
        if fitting:
            return random.choice(fitting)
    return random.choice(VALUES)


def options(random, declaration):
    kind = random.random()
    if kind < 0.1:
        return value(random)
    names = [option.name for option in declaration.options]
    fields = {}
    for _ in range(random.choice([0, 1, 1, 1, 2, 3])):
        option = random.choice(declaration.options)
        name = option.name if random.random() < 0.9 else random.choice(["kk", names[0] + "s", "", "é", "x y", "'"])
        choices = ["'" + choice + "'" for choice in option.choices] + ["1", "2", "0", "-1", "0.5", "true", "'auto'"]
        fields[name] = random.choice(choices) if random.random() < 0.7 else value(random)
    pairs = [("'" + name.replace("'", "''") + "'", item) for name, item in fields.items()]
    text = ", ".join(f"{name}: {item}" for name, item in pairs)
    return f"MAP {{{text}}}" if kind < 0.15 else f"{{{text}}}" if pairs else "{'k': 1}"


def call(random, declaration):
    parameters = list(declaration.parameters)
    count = len(parameters) if random.random() < 0.85 else random.randrange(len(parameters) + 3)
    if declaration.kind == "table":
        terms = [value(random, p.types) for p in parameters if p.required] if random.random() < 0.9 else [value(random)]
        for parameter in parameters:
            if not parameter.required and random.random() < 0.5:
                name = parameter.name if random.random() < 0.9 else random.choice(["nope", parameter.name + "s"])
                small = (
                    random.choice(["0", "1", "3", "-1", "NULL"])
                    if random.random() < 0.7
                    else value(random, parameter.types)
                )
                terms.append(
                    f"{name} {random.choice([':=', '=>'])} {small}".replace("x", "1")
                    if "x" in small
                    else f"{name} := {small}"
                )
        return f"SELECT count(*) FROM (FROM {declaration.name}({', '.join(terms)}) LIMIT 5000)"
    terms = [value(random, parameters[at].types if at < len(parameters) else ()) for at in range(count)]
    if declaration.options and random.random() < 0.6:
        terms.append(options(random, declaration))
    call_ = f"{declaration.name}({', '.join(terms)})"
    rows = f"FROM range({random.choice([0, 1, 2, 3, 5, 70])}) t(x)"
    if declaration.kind == "scalar":
        return f"SELECT {call_} {rows}"
    form = random.random()
    if form < 0.1:
        return f"SELECT {call_} OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) {rows}"
    if form < 0.2:
        return f"SELECT {declaration.name}(DISTINCT {', '.join(terms)}) {rows}"
    return f"SELECT {call_} {rows}" + (" GROUP BY x % 2" if form < 0.4 else "")


def main(calls, seed):
    chance = random.Random(seed)
    # With more threads DuckDB finishes groups apart from each other, and after an error in one it forgets the others.
    grouped, con = (duckdb.connect(config={"threads": threads}) for threads in (1, 2))
    declarations = [
        each
        for each in engine.declarations.values()
        if each.name not in LEAVE_OUT
        and not each.body.__module__.endswith("procedures")  # they write where a path says
        and (each.name == ONE_OF_THE_TASKS or not (isinstance(each.body, type) and issubclass(each.body, LinearTask)))
    ]
    raised, last = 0, Path(tempfile.gettempdir()) / f"ironlake-fuzz-{seed}.sql"
    for _ in range(calls):
        query = call(chance, chance.choice(declarations))
        # What is being run stands in a file, so that a crash tells its query.
        last.write_text(query)
        try:
            (grouped if "GROUP BY" in query else con).execute(query).fetchmany(3)
        except duckdb.InternalException as error:
            raise SystemExit(f"internal error of DuckDB\n{query}\n{error}") from None
        except duckdb.Error:
            raised += 1
        except BaseException as error:
            raise SystemExit(f"{type(error).__name__}: {error}\n{query}") from None
    grouped.close()
    con.close()
    print(f"{calls} calls, {raised} raised, {engine.live_arrays()} arrays left")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
