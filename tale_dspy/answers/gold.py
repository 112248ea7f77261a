"""The gold of a GSM8K row, whole."""

import re
from decimal import Decimal

from tale_dspy.answers.normalize import ascii_twin
from tale_dspy.errors import DataError


def gold_from_gsm8k(answer: object) -> str:
    """Return the gold of a GSM8K row as the shortest plain decimal.

    GSM8K-Zero rows are read alike. The authors' loader cuts `2,125` to `2` and `1.5` to `1` (14 golds of GSM8K test, 65
    of GSM8K-Zero); this one keeps the whole value: `... #### 2,125` gives `2125`, 48.0 gives `48`, 1.5 stays `1.5`.

    Args:
        answer: The row's answer: text whose last `####` is followed by the gold (or the gold alone), or a number.

    Raises:
        DataError: If there is no value: None, a bool, nothing after `####`, an infinite number.
    """
    if isinstance(answer, int | float | Decimal) and not isinstance(answer, bool):
        return _shortest_decimal(answer)
    gold = answer.rpartition("####")[2].strip() if isinstance(answer, str) else ""
    if not gold:
        raise DataError(f"a GSM8K answer must be a number, or text with the gold after ####, got {answer!r:.80}")
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", ascii_twin(gold))


def _shortest_decimal(answer: int | float | Decimal) -> str:
    # Decimal(1.1) would be the binary fraction next to 1.1.
    number = Decimal(str(answer)) if isinstance(answer, float) else Decimal(answer)
    if not number.is_finite():
        raise DataError(f"a GSM8K answer must be a finite number, got {answer!r}")
    plain = format(number, "f") if number else "0"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
