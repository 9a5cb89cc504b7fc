"""By which names columns are known."""

import re
from collections.abc import Sequence

from rnnlab.start.description import Column

TIMES = (
    "date", "datetime", "timestamp", "time", "ds", "day", "month", "week", "quarter", "year", "period", "t", "step",
)  # fmt: skip
"""Names of a time, the likeliest first."""
COUNTED = (
    "t", "step", "time", "timestamp", "ts", "year", "period", "day", "week", "month", "hour", "minute", "second",
    "epoch", "seconds", "unix", "unix_time", "datetime", "date",
)  # fmt: skip
"""Names of a column of whole numbers that is one."""
SINCE_1970 = ("timestamp", "time", "datetime", "date", "ts", "ds", "t", "epoch", "unix", "ms", "millis", "created")
"""Words in the names of columns whose large numbers count since 1970, however far apart they are."""
HOURS = ("hr", "hour", "hours", "h")
"""Names of a column that is the hour of a date in another column."""
UNNAMED = ("column 1", "index", "unnamed: 0")
"""Names of a column that a program wrote without being asked."""
NAMES = (
    "unique_id", "series", "series_id", "id", "store", "shop", "item", "product", "sku", "station", "sensor", "device",
    "country", "city", "region", "state", "site", "ticker", "symbol", "meter", "customer", "user", "household", "name",
    "machine", "engine", "vehicle", "battery", "patient", "subject",
)  # fmt: skip
"""Names of the column that tells series apart."""
TARGETS = (
    "target", "y", "value", "values", "ot", "sales", "units", "demand", "load", "consumption", "cnt", "count", "close",
    "adj close", "price", "revenue", "visitors", "passengers", "traffic", "quantity", "amount", "volume", "power",
    "usage", "orders", "turnover",
)  # fmt: skip
"""Names of what is forecast, the likeliest first."""
CLASSES = (
    "label", "labels", "class", "classes", "target", "category", "species", "sentiment", "intent", "topic", "language",
    "lang", "genre", "polarity", "activity", "y", "tag", "type", "spam", "emotion", "rating", "stars", "diagnosis",
    "outcome", "result", "condition", "kind", "gesture", "failed", "failure", "fault", "faulty", "defect", "defective",
    "broken", "anomaly", "anomalous", "healthy", "disease", "status",
)  # fmt: skip
"""Names of a class."""
TEXTS = (
    "text", "sentence", "review", "message", "content", "body", "utterance", "tweet", "comment", "document", "title",
    "headline", "description", "question", "name", "word", "sms", "input",
)  # fmt: skip
"""Names of a text."""
PARTS = {"year": 0, "quarter": 4, "month": 12, "week": 52, "day": 0, "weekday": 7, "hour": 24, "minute": 60}
"""Columns that together are a date, and the period of each where it turns over."""
KNOWN_AHEAD = (
    "holiday", "promo", "promotion", "price", "weekday", "weekend", "dayofweek", "day_of_week", "event", "open", "snap",
    "school",
)  # fmt: skip
"""Words in the names of columns that are known in advance."""
FLAGS = ("open",)
"""Those of them that are known in advance where a column has 0 and 1 alone, and something else where not."""
PLACES = ("lat", "lon", "lng", "latitude", "longitude")
ID = re.compile(r"(?:^|[^a-z])(?:id|no|nr|num|number|code|key)$|Id$|ID$|Nr$", re.IGNORECASE)
"""The end of the name of a column of numbers that are names."""
OPPOSITES = (
    {"pos", "neg"}, {"positive", "negative"}, {"spam", "ham"}, {"true", "false"}, {"yes", "no"}, {"good", "bad"},
    {"fake", "real"}, {"toxic", "clean"},
)  # fmt: skip
"""Names of files that are classes."""


def first(names: Sequence[str]) -> str | None:
    """The first of them, if there is one."""
    return names[0] if names else None


def second(names: Sequence[str]) -> str | None:
    """The second of them, if there is one."""
    return names[1] if len(names) > 1 else None


def lower(name: str) -> str:
    """A name without spaces around it and without capitals."""
    return name.strip().lower()


def rank(name: str, names: Sequence[str]) -> int:
    """The place of a name among those that are likely; one that only holds such a word comes after all of them."""
    small = lower(name)
    if small in names:
        return names.index(small)
    words = re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    inside = [number for number, known_name in enumerate(names) if len(known_name) > 1 and known_name in words]
    return len(names) - 1 if inside else len(names)


def is_known_ahead(column: Column) -> bool:
    """Whether the numbers of a column are known in advance, by what it is called; a price may be the market's."""
    words = {word for word in KNOWN_AHEAD if word in lower(column.name)} - {"price"}
    return bool(words if column.kind == "flag" else words.difference(FLAGS))


def is_id(column: Column) -> bool:
    """Whether whole numbers may be names, by what they are called."""
    return column.low >= 0 and (rank(column.name, NAMES) < len(NAMES) or bool(ID.search(column.name)))
