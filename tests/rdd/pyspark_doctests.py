"""Runs the examples in the docstrings of the installed pyspark against ironlake.rdd.

While they run every module of pyspark is replaced by one whose names are ours, so that an example that imports from
pyspark gets our classes; what we lack, it does not find.
"""

import contextlib
import doctest
import importlib
import io
import os
import sys
import tempfile
import types
from dataclasses import dataclass

#: The modules of pyspark with examples that run on a context.
MODULES = [
    "pyspark.core.rdd", "pyspark.core.context", "pyspark.accumulators", "pyspark.core.broadcast", "pyspark.core.files",
    "pyspark.conf", "pyspark.taskcontext",
]  # fmt: skip
#: Examples of formats that are Hadoop's.
HADOOP = ("Hadoop", "hadoop", "sequenceFile", "SequenceFile")


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
            live = [each for each in test.examples if not each.options.get(doctest.SKIP)]
            if live and test.globs.get("__name__") == name:
                found.append(test)
    return found


def run(test: doctest.DocTest, context) -> Result:
    """Run the examples of a docstring with a context of ours."""
    import ironlake.rdd

    session = types.SimpleNamespace(sparkContext=context)
    globs = {name: getattr(ironlake.rdd, name) for name in ironlake.rdd.__all__ if name in test.globs}
    globs |= {"sc": context, "spark": session, "__name__": "__main__", "os": os, "sys": sys}
    for example in test.examples:
        example.want = as_ours(example.want)
        if example.exc_msg and "Py4JJavaError" in example.exc_msg:
            example.exc_msg = "...\n"  # there is no JVM: the user's own error comes through
    test = doctest.DocTest(test.examples, globs, test.name, test.filename, test.lineno, test.docstring)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
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


def makes_context(test: doctest.DocTest) -> bool:
    """Whether the examples of a docstring make a context of their own."""
    return any("SparkContext(" in each.source or "SparkSession" in each.source for each in test.examples)


@contextlib.contextmanager
def replaced():
    """Every module of pyspark as one whose names are ours."""
    import ironlake.rdd

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
    import ironlake.rdd

    context = ironlake.rdd.SparkContext("local[4]", "doctests")
    context.setCheckpointDir(tempfile.mkdtemp())
    chosen = sys.argv[1:]
    passed = total = 0
    for test in examples():
        if chosen and not any(word in test.name for word in chosen):
            continue
        print(f"... {test.name}", file=sys.stderr, flush=True)
        if makes_context(test):
            context.stop()
        result = run(test, context)
        if makes_context(test):
            ironlake.rdd.SparkContext.getOrCreate().stop()
            context = ironlake.rdd.SparkContext("local[4]", "doctests")
            context.setCheckpointDir(tempfile.mkdtemp())
        total += 1
        passed += not result.failed
        if result.failed:
            print(f"FAILED {result.name}: {result.failed} of {result.tried}")
            if chosen:
                print(result.output)
    print(f"{passed} of {total} pass")
    context.stop()
