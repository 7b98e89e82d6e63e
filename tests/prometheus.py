"""Reads /metrics as Prometheus does."""

from prometheus_client.parser import text_string_to_metric_families

TOKEN = "only-for-the-tests-of-metrics"


class Samples:
    """One scrape's samples, by their name and the values of their labels."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.kinds = {family.name: family.type for family in families}
        self.values = {
            (sample.name, *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    def __getitem__(self, key: str | tuple[str, ...]) -> float:
        return self.values[key if isinstance(key, tuple) else (key,)]

    def names(self) -> set[str]:
        return {name for name, *_ in self.values}

    def labelled(self, name: str) -> dict[str, float]:
        """The samples of a metric with one label, by its values."""
        return {key[1]: value for key, value in self.values.items() if key[0] == name}
