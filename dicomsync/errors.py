"""The errors an operator can act on: what happened, what did not happen, and what to do next."""


class DicomsyncError(Exception):
    """An error told to a person without a traceback: `message`, then `hint`; `exit_code` is the command's.

    Neither text ever holds a patient's data, a path, a UID, server text or a secret unless the
    person who runs the command gave it on the command line or in the config.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageProblem(DicomsyncError):
    """The command line or the config asks for something that cannot be done.

    `for_logs` says it in one line without a path, or any other value a person gave.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", for_logs: str = "it cannot be used") -> None:
        super().__init__(message, hint=hint)
        self.for_logs = for_logs


class LedgerProblem(DicomsyncError):
    """The ledger cannot be used: nothing goes on the wire."""


class LedgerDamaged(LedgerProblem):
    """The ledger is not what it was: damaged, emptied, gone or replaced. A start moves it aside.

    `why` is one of `ledger.guard.WORDS`.
    """

    def __init__(self, message: str, *, hint: str = "", why: str = "damaged") -> None:
        super().__init__(message, hint=hint)
        self.why = why


class DeletionsFrozen(DicomsyncError):
    """Mirrored deletions of a folder have stopped: nothing of it is deleted unless a person says so."""

    exit_code = 22


class LedgerInUse(LedgerProblem):
    """Another process owns the ledger."""

    exit_code = 73


class ArchiveProblem(DicomsyncError):
    """The archive cannot be used as it is now; what is due stays due."""

    exit_code = 5


class SecretProblem(ArchiveProblem):
    """A credential cannot be had, or a proxy does not take it; the archive was sent nothing."""


class NoAnswer(ArchiveProblem):
    """A request ended without an answer to it.

    `sent_bytes` counts the body bytes the HTTP layer took; 0 proves that the archive has nothing of
    it, anything else proves nothing (the same error comes before and after the body: servers differ).
    """

    def __init__(self, why: str, message: str, *, sent_bytes: int = 0, total_bytes: int = 0) -> None:
        super().__init__(message)
        self.why = why  # unreachable | broken | timeout | local
        self.sent_bytes = sent_bytes
        self.total_bytes = total_bytes


class BadAnswer(ArchiveProblem):
    """An answer came, and it is not what DICOMweb promises: not to be parsed, too large, or foreign."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Refused(ArchiveProblem):
    """The archive answered, and the answer is no: `status` is HTTP's, `hint` says what to do about it.

    `retry_after_seconds` is what the archive asked for, 0 to 3600, or None if it did not say.
    """

    def __init__(
        self, message: str, *, hint: str = "", status: int, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class NotThere(Refused):
    """404 or 410 to one resource: the archive does not have it, or (410) has it no longer.

    A wrong base URL gives a 404 as well, so that alone it never proves that an instance is absent.
    """
