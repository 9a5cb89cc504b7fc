"""How a trained run reads new texts to which it says an answer."""

from dataclasses import dataclass

from rnnlab.data.text_reader import TextReader


@dataclass(frozen=True, eq=False)
class PairReader(TextReader):
    """Texts, one a line or a row, to each of which a sequence is said."""

    def describe(self) -> str:
        return (
            f"texts, read by {self.unit}\n"
            f"  text: a line a text; empty lines are left out\n"
            f"  CSV, Parquet: a row a text, column '{self.text_column}'\n"
            f'  JSON lines: {{"{self.text_column}": "…"}} or "…"\n'
            "  --stream: a line a text"
        )
