"""bench: the nineteen rows as regression checks - run, time, judge, record."""
