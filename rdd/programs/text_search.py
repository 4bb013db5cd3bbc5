"""Searching text, and mining logs that stay in memory.

Source: Zaharia and others: Resilient Distributed Datasets, NSDI (2012), section 2.2.1: errors of a log are kept, and
asked one question after the other.
"""

from __future__ import annotations

import re
from operator import add
from typing import Any


def search(lines: Any, pattern: str) -> Any:
    """The lines in which a regular expression is found, with their numbers, from 0 on.

    Parameters
    ----------
    lines : RDD of str
        The lines of a text.
    pattern : str
        A regular expression, as the module `re` has them.

    Returns
    -------
    RDD of (int, str)

    Raises
    ------
    re.error
        The pattern is none.

    Examples
    --------
    >>> log = sc.parallelize(["INFO start", "ERROR php: disk", "ERROR mysql: down"])
    >>> search(log, "^ERROR.*mysql").collect()
    [(2, 'ERROR mysql: down')]
    """
    found = re.compile(pattern).search
    return lines.zipWithIndex().filter(lambda line: found(line[0]) is not None).map(lambda line: (line[1], line[0]))


def count_words(lines: Any, pattern: str = r"\w+") -> Any:
    """How often each word occurs.

    Parameters
    ----------
    lines : RDD of str
        The lines of a text.
    pattern : str
        A regular expression for a word.

    Returns
    -------
    RDD of (str, int)

    Examples
    --------
    >>> sorted(count_words(sc.parallelize(["to be or", "not to be"])).collect())
    [('be', 2), ('not', 1), ('or', 1), ('to', 2)]
    """
    words = re.compile(pattern).findall
    return lines.flatMap(words).map(lambda word: (word, 1)).reduceByKey(add)


def template_counts(lines: Any, pattern: str = r"0x[0-9a-fA-F]+|\d+(?:\.\d+)*") -> Any:
    """How many lines are alike but for numbers: the messages of a log, and how often each was written.

    Parameters
    ----------
    lines : RDD of str
        The lines of a log.
    pattern : str
        A regular expression for what differs between lines that are alike; ``*`` stands for it in the result.

    Returns
    -------
    RDD of (str, int)
        The most frequent message first; of equally frequent ones in the order of their texts.

    Examples
    --------
    >>> template_counts(sc.parallelize(["job 1 took 20 s", "job 2 took 7 s", "disk full"])).collect()
    [('job * took * s', 2), ('disk full', 1)]
    """
    replace = re.compile(pattern).sub
    counts = lines.map(lambda line: (replace("*", line), 1)).reduceByKey(add)
    return counts.sortBy(lambda message: (-message[1], message[0]))
