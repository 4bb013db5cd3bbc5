"""The examples in PySpark's own docstrings give what they show when they run on ours."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyspark", minversion="4.3.0")
sys.path.append(str(Path(__file__).parent))

import pyspark_doctests
from ironlake.rdd import SparkContext

#: Examples of what is a JVM's.
OF_A_JVM = {
    "conf.SparkConf": "sets a variable through py4j's object behind the settings",
}
EXAMPLES = pyspark_doctests.examples()


@pytest.fixture(scope="module")
def contexts() -> Iterator[pyspark_doctests.Contexts]:
    with pytest.MonkeyPatch.context() as patch, pyspark_doctests.Contexts() as found:
        patch.setitem(
            os.environ, "PYTHONHASHSEED", "0"
        )  # PySpark's portable_hash, which is one of the examples, wants it
        yield found


@pytest.mark.parametrize("test", EXAMPLES, ids=[test.name for test in EXAMPLES])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_examples(test, contexts):
    result = contexts.run(test)
    assert SparkContext._active_spark_context is contexts._context
    if test.name in OF_A_JVM:
        assert result.failed, f"{test.name} passes: take it off the list"
    else:
        assert not result.failed, result.output


def test_there_are_as_many_examples_as_in_4_3():
    assert len(EXAMPLES) == 150
    assert len(EXAMPLES) - len(OF_A_JVM) >= 145
