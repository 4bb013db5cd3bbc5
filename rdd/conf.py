"""Settings of a context."""

from __future__ import annotations

from collections.abc import Iterable


class SparkConf:
    """Settings by name, as PySpark's; those that mean nothing on one machine are kept and not looked at.

    Parameters
    ----------
    loadDefaults, _jvm, _jconf
        Accepted for PySpark's sake.
    """

    def __init__(self, loadDefaults: bool = True, _jvm: object = None, _jconf: object = None) -> None:
        self._settings: dict[str, str] = {}

    def set(self, key: str, value: object) -> SparkConf:
        """Set one."""
        self._settings[key] = _text(value)
        return self

    def setIfMissing(self, key: str, value: object) -> SparkConf:
        """Set one unless it is set."""
        self._settings.setdefault(key, _text(value))
        return self

    def setMaster(self, value: str) -> SparkConf:
        """Set where tasks run: ``local``, ``local[4]``, ``local[*]``, or ``local[4,2]`` with two tries for each."""
        return self.set("spark.master", value)

    def setAppName(self, value: str) -> SparkConf:
        """Set the name of the program."""
        return self.set("spark.app.name", value)

    def setSparkHome(self, value: str) -> SparkConf:
        """Accepted for PySpark's sake."""
        return self.set("spark.home", value)

    def setExecutorEnv(
        self, key: str | None = None, value: str | None = None, pairs: Iterable[tuple[str, str]] | None = None
    ) -> SparkConf:
        """Set environment variables of the worker processes."""
        if (key is not None) == (pairs is not None):
            raise RuntimeError("Either pass one key-value pair or a list of pairs")
        for name, content in pairs or [(str(key), str(value))]:
            self.set(f"spark.executorEnv.{name}", content)
        return self

    def setAll(self, pairs: Iterable[tuple[str, object]]) -> SparkConf:
        """Set several."""
        for key, value in pairs:
            self.set(key, value)
        return self

    def get(self, key: str, defaultValue: str | None = None) -> str | None:
        """One setting, or the default."""
        return self._settings.get(key, defaultValue)

    def getAll(self) -> list[tuple[str, str]]:
        """All settings."""
        return list(self._settings.items())

    def contains(self, key: str) -> bool:
        """Whether one is set."""
        return key in self._settings

    def toDebugString(self) -> str:
        """All settings, a line each."""
        return "\n".join(f"{key}={value}" for key, value in sorted(self._settings.items()))

    def number(self, key: str, default: float) -> float:
        """A setting that is a number, of seconds or bytes if it has a unit.

        Raises
        ------
        ValueError
            It is none.
        """
        text = self._settings.get(key)
        if text is None:
            return default
        digits = text.strip().lower().rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = text.strip().lower()[len(digits) :]
        try:
            return float(digits) * _UNITS[unit]
        except (ValueError, KeyError):
            raise ValueError(f"SparkConf: {key} is {text!r}; expected a number, such as 3, 100ms or 512m") from None

    def copy(self) -> SparkConf:
        """The same settings, apart."""
        return SparkConf().setAll(self._settings.items())


_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "b": 1.0}
_UNITS |= {unit + end: 1024.0**power for power, unit in enumerate("kmgt", 1) for end in ("", "b")}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
