"""Programs over RDDs, as text-books have them; they use PySpark's interface alone and run on its RDDs, too."""

from .kmeans import kmeans
from .logistic_regression import logistic_regression
from .pagerank import pagerank
from .pregel import Pregel, connected_components, shortest_paths
from .text_search import count_words, search, template_counts

__all__ = [
    "Pregel", "connected_components", "count_words", "kmeans", "logistic_regression", "pagerank", "search",
    "shortest_paths", "template_counts",
]  # fmt: skip
