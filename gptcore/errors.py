"""What can go wrong for the person at the keyboard: one sentence each, no traceback, exit code 2."""


class UserError(Exception):
    """An obstacle the person can remove.  Its text names the value, what is allowed and what to do next."""


class UsageError(UserError):
    """A setting, or a combination of settings, that makes no experiment."""


class AssetError(UserError):
    """A file from outside (data, vocabulary, weights) that is missing, damaged or of another shape."""


class DataError(UserError):
    """A user's own data that cannot be read as two-class texts."""


class TrainingError(UserError):
    """A training run that has no meaningful result."""
