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


def causes_of(error: BaseException) -> list[BaseException]:
    """The exception, the one it arose from, and so on."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    return causes
