"""Columns hold what the records say."""

import numpy as np
from column_rows import records, rows_of

from tale_dspy.runs.columns import columns_of


def test_columns_say_what_the_records_say() -> None:
    for row, record in zip(rows_of(columns_of(records())), records(), strict=True):
        assert row == {name: getattr(record, name) for name in row}


def test_all_places_in_their_order_are_the_columns_themselves() -> None:
    columns = columns_of(records())
    assert columns.take(np.arange(len(columns))) is columns
    turned = columns.take(np.arange(len(columns))[::-1])
    assert rows_of(turned) == rows_of(columns)[::-1]
