"""Words that several descriptions use."""


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``: a number with its noun, which is given in the plural."""
    one = noun.removesuffix("es") if noun.endswith("sses") else noun.removesuffix("s")
    return f"{number:,} {one if number == 1 else noun}"


def missing_values(number: int, done: str) -> str:
    """What is odd about values that are missing, and what is done about it."""
    return f"{counted(number, 'values')} {'is' if number == 1 else 'are'} missing: {done}"
