"""The web page of a context shows what it does."""

import urllib.error
import urllib.request

import pytest

from ironlake.rdd import SparkConf, SparkContext


def fetched(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def test_page():
    with SparkContext("local[2]", "a <page>") as sc:
        url = sc.uiWebUrl
        assert url == sc.uiWebUrl
        assert url.startswith("http://127.0.0.1:")
        before = fetched(url)
        assert "<h1>a &lt;page&gt;</h1>" in before
        assert "SUCCEEDED" not in before
        sc.setJobGroup("group", "what is <done>")
        rdd = sc.parallelize([("a", 1), ("b", 2)], 2).cache()
        assert rdd.reduceByKey(max).count() == 2
        page = fetched(url)
        assert "<td>group</td><td>what is &lt;done&gt;</td><td>SUCCEEDED</td>" in page
        assert f"<tr><td>{rdd.id()}</td><td>2</td>" in page
        for stage in sc.statusTracker().getJobInfo(0).stageIds:
            info = sc.statusTracker().getStageInfo(stage)
            assert f"<tr><td>{info.stageId}</td><td>{info.name}</td><td>2</td><td>0</td>" in page
    with pytest.raises(urllib.error.URLError):
        fetched(url)


def test_no_page_where_none_is_wanted():
    with SparkContext("local[2]", conf=SparkConf().set("spark.ui.enabled", False)) as sc:
        assert sc.uiWebUrl is None
