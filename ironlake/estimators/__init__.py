"""The linear models as scikit-learn estimators, over arrays and over DuckDB relations.

They stand in pipelines and grid searches like scikit-learn's own. ``fit`` takes arrays; or a relation, an Arrow table
or a data frame together with the name of its label column, so that nothing is copied into an array first. What was
trained is in ``model_`` too, as the SQL functions return it: write it into a table, and ``predict`` in SQL takes it.
"""

from importlib.util import find_spec

if find_spec("sklearn") is None:
    raise ModuleNotFoundError("ironlake.estimators needs scikit-learn: pip install 'ironlake[sklearn]'")

from .classifiers import LogisticRegression, SGDClassifier
from .regressors import HuberRegressor, LinearRegression, PoissonRegressor, Ridge, SGDRegressor

__all__ = [
    "LogisticRegression", "SGDClassifier", "LinearRegression", "Ridge", "PoissonRegressor", "HuberRegressor",
    "SGDRegressor",
]  # fmt: skip
