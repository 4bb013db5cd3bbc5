"""Runs the examples in the docstrings of the installed pyspark against ironlake.rdd.

While they run every module of pyspark is replaced by one whose names are ours, so that an example that imports from
pyspark gets our classes; what we lack, it does not find. `python tests/rdd/pyspark_doctests.py [word ...]` runs those with
one of the words in their names and shows what fails; `test_pyspark_doctests.py` runs all.
"""

import ast
import contextlib
import doctest
import importlib
import io
import os
import sys
import tempfile
import time
import types
from dataclasses import dataclass

import ironlake.rdd
from ironlake.rdd import SparkContext

#: The modules of pyspark with examples that run on a context.
MODULES = [
    "pyspark.core.rdd", "pyspark.core.context", "pyspark.accumulators", "pyspark.core.broadcast", "pyspark.core.files",
    "pyspark.conf", "pyspark.taskcontext",
]  # fmt: skip
#: Where the second half of a docstring begins that shows data frames.
FRAMES = {"taskcontext.TaskContext": "from pyspark.sql import Row"}


@dataclass
class Result:
    """How the examples of one docstring went."""

    name: str
    tried: int
    failed: int
    output: str


def examples() -> list[doctest.DocTest]:
    """The docstrings of pyspark that have examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name in MODULES:
        module = importlib.import_module(name)
        for test in finder.find(module, name.rsplit(".", 1)[-1]):
            places = [place for place, each in enumerate(test.examples) if FRAMES.get(test.name) == each.source.strip()]
            test.examples = test.examples[: places[0]] if places else test.examples
            live = [each for each in test.examples if not each.options.get(doctest.SKIP)]
            if live and test.globs.get("__name__") == name:
                found.append(test)
    return found


class Checker(doctest.OutputChecker):
    """Takes sets for equal whatever their order is, which differs from process to process."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if super().check_output(want, got, optionflags):
            return True
        try:
            return want.startswith("{") and ast.literal_eval(want) == ast.literal_eval(got)
        except (ValueError, SyntaxError):
            return False


class Contexts:
    """The context that examples share, made anew after those that make one of their own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._context: SparkContext | None = None

    def __enter__(self) -> "Contexts":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> None:
        """End the context that there is."""
        if SparkContext._active_spark_context is not None:
            SparkContext._active_spark_context.stop()
        self._context = None

    def shared(self) -> SparkContext:
        """The context."""
        if self._context is None:
            self._context = SparkContext("local[4]", "doctests")
            self._context.setCheckpointDir(self._folder.name)
        return self._context

    def run(self, test: doctest.DocTest) -> Result:
        """Run the examples of a docstring."""
        makes_one = any("SparkContext(" in each.source or "SparkSession" in each.source for each in test.examples)
        if makes_one:
            self.stop()
            result = run(test, None)
            self.stop()
            return result
        return run(test, self.shared())


def run(test: doctest.DocTest, context: SparkContext | None) -> Result:
    """Run the examples of a docstring with a context of ours."""
    session = types.SimpleNamespace(sparkContext=context)
    globs = {name: getattr(ironlake.rdd, name) for name in ironlake.rdd.__all__ if name in test.globs}
    globs |= {"sc": context, "spark": session, "__name__": "__main__", "os": os, "sys": sys}
    for example in test.examples:
        example.want = as_ours(example.want)
        if example.exc_msg and "Py4JJavaError" in example.exc_msg:
            example.exc_msg = "...\n"  # there is no JVM: the user's own error comes through
    test = doctest.DocTest(test.examples, globs, test.name, test.filename, test.lineno, test.docstring)
    runner = doctest.DocTestRunner(
        Checker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False
    )
    output = io.StringIO()
    with replaced():
        runner.run(test, out=output.write, clear_globs=False)
    return Result(test.name, runner.tries, runner.failures, output.getvalue())


def as_ours(want: str) -> str:
    """What an example prints, with our modules in place of pyspark's."""
    for theirs, ours in [
        ("pyspark.core.rdd.RDDBarrier", "ironlake.rdd.barrier.RDDBarrier"),
        ("pyspark.conf", "ironlake.rdd.conf"),
    ]:
        want = want.replace(f"<{theirs}", f"<{ours}")
    return want


@contextlib.contextmanager
def replaced():
    """Every module of pyspark as one whose names are ours."""
    before = {name: module for name, module in sys.modules.items() if name == "pyspark" or name.startswith("pyspark.")}
    names = {name: getattr(ironlake.rdd, name) for name in dir(ironlake.rdd) if not name.startswith("_")}
    for name in before:
        module = types.ModuleType(name)
        module.__dict__.update(names)
        module.__path__ = []
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name == "pyspark" or name.startswith("pyspark.")]:
            del sys.modules[name]
        sys.modules.update(before)


if __name__ == "__main__":
    words = sys.argv[1:]
    passed = total = 0
    with Contexts() as contexts:
        for test in examples():
            if words and not any(word in test.name for word in words):
                continue
            started = time.perf_counter()
            result = contexts.run(test)
            print(f"{time.perf_counter() - started:.2f} s {test.name}", file=sys.stderr, flush=True)
            total += 1
            passed += not result.failed
            if result.failed:
                print(f"FAILED {result.name}: {result.failed} of {result.tried}\n{result.output if words else ''}")
    print(f"{passed} of {total} pass")
