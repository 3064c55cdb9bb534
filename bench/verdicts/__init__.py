"""From a result and what was expected of it to a verdict."""
