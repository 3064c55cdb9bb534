"""How fast a row is, against the straightforward way and against the machine."""
