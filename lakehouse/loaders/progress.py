"""What training programs print while they train: Vowpal Wabbit and scikit-learn.

Sources: Vowpal Wabbit, ``vowpalwabbit/core/src/shared_data.cc``; scikit-learn, ``verbose`` of `SGDClassifier`,
`SGDRegressor`, `MLPClassifier` and `MLPRegressor`.
"""

from __future__ import annotations

from ..schema import quote_text
from .loader import PLACE, PROBLEM, RUN, Loader, Reading

_NUMBER = r"([-+]?[0-9.]+(?:e[-+]?\d+)?|nan|inf|-nan|-inf|n\.a\.)"
#: average loss, loss since the last line, examples so far, their weight, label, prediction, features; h: held out.
_VW_LINE = rf"^\s*{_NUMBER}\s+{_NUMBER}\s+(\d+)\s+[-+0-9.e]+\s+(\S+)\s+(\S+)\s+(\d+)(\s+h)?\s*$"
_VW_BEGINS = r"^\s*(?:\d+\.\d{6}|n\.a\.)\s+[\d.n]"


def vw_rows(reading: Reading, trace: str) -> str:
    """A row per line of the progress table; losses are those since the line before."""
    names = "['average_loss', 'since_last', 'step', 'label', 'prediction', 'features', 'held_out']"
    return f"""
        SELECT file, {RUN} AS run, {RUN} AS run_id, step, step - coalesce(lag(step) OVER lines, 0) AS rows,
            row_number() OVER lines AS epoch, label, prediction, features,
            TRY_CAST(average_loss AS DOUBLE) AS average_loss,
            CASE WHEN held_out = '' THEN TRY_CAST(since_last AS DOUBLE) END AS loss,
            CASE WHEN held_out != '' THEN TRY_CAST(since_last AS DOUBLE) END AS val_loss,
            file || ', line ' || number AS {PLACE},
            CASE WHEN step IS NULL THEN 'this is no whole line of progress: ' || text END AS {PROBLEM}
        FROM (
            SELECT file, number, text, found.* REPLACE (TRY_CAST(found.step AS BIGINT) AS step)
            FROM (
                SELECT *, regexp_extract(text, {quote_text(_VW_LINE)}, {names}) AS found
                FROM (SELECT * REPLACE (rtrim(text, E'\\r') AS text) FROM {reading.lines()})
            ) WHERE found.step != '' OR regexp_matches(text, {quote_text(_VW_BEGINS)})
        )
        WINDOW lines AS (PARTITION BY file ORDER BY number) ORDER BY file, number"""


def sklearn_rows(reading: Reading, trace: str) -> str:
    """A row per epoch or iteration; ``run_id`` counts the fits, where a log has several."""

    def number(pattern: str) -> str:
        return f"max(TRY_CAST(nullif(regexp_extract(text, {quote_text(pattern + _NUMBER)}, 1), '') AS DOUBLE))"

    began = r"^-- Epoch (\d+)|^Iteration (\d+), loss = "
    return f"""
        WITH parts AS (
            SELECT *, count(*) FILTER (epoch IS NOT NULL) OVER before AS part,
                count(*) FILTER (epoch = 1) OVER before AS fit
            FROM (
                SELECT *, TRY_CAST(nullif(regexp_extract(text, {quote_text(began)}, 1)
                    || regexp_extract(text, {quote_text(began)}, 2), '') AS INTEGER) AS epoch
                FROM {reading.lines()}
            ) WINDOW before AS (PARTITION BY file ORDER BY number ROWS UNBOUNDED PRECEDING)
        ),
        epochs AS (
            SELECT file, fit, part, max(epoch) AS epoch, min(number) AS number, {number("T: ")}::BIGINT AS step,
                coalesce({number("Avg. loss: ")}, {number(", loss = ")}) AS loss, {number("Norm: ")} AS norm,
                {number("Validation score: ")} AS validation_score, {number("Total training time: ")} AS total,
                bool_or(text LIKE 'Convergence after%') OR bool_or(text LIKE '%Stopping.%') AS converged
            FROM parts WHERE part > 0 GROUP BY ALL
        )
        SELECT file, {RUN} AS run, {RUN} || CASE WHEN max(fit) OVER (PARTITION BY file) > 1 THEN '#' || fit ELSE '' END
                AS run_id,
            epoch, step, loss, step - coalesce(lag(step) OVER fits, 0) AS rows, norm, validation_score,
            total - coalesce(lag(total) OVER fits, 0) AS seconds,
            CASE WHEN converged THEN 'tolerance' END AS stop_reason,
            file || ', line ' || number AS {PLACE},
            CASE WHEN loss IS NULL THEN 'epoch ' || epoch || ' has no loss' END AS {PROBLEM}
        FROM epochs WINDOW fits AS (PARTITION BY file, fit ORDER BY part) ORDER BY file, number"""


VW = Loader("vw", vw_rows, {"training_runs": {}})
SKLEARN = Loader("sklearn", sklearn_rows, {"training_runs": {}})
