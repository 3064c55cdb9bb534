"""Two sides against each other: results folders, revisions, and the commit between them."""
