"""What Spark's Python workers are forked from: a process that has imported the package, so that no worker has to.

Spark ends a worker whose rows it does not read to their end, as after ``first()``, and starts another for the next
task.
"""

from pyspark.daemon import manager

from . import worker  # noqa: F401

if __name__ == "__main__":
    manager()
