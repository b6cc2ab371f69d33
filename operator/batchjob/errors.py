"""The errors of BatchJob. Each is translated at the door it comes through, so that nobody catches a library's.

BatchJobError
├── ConfigurationError        settings or mounted files that cannot work; the same start would fail again
├── NotLeading                it was not sent, since another replica may lead by now
├── NameTaken                 a name that a run needs belongs to an object that is not ours
├── ProcessorUnopened         its `open` raised something; what it needs may come back
├── QueryError                a search that cannot be understood; the message names the place
│   └── CursorError           the place to go on from is none of this search
├── StoreError
│   ├── StoreUnavailable      the store did not answer; worth another try
│   │   └── StoreFull         it has no memory left for what was to be written
│   ├── StoreNotReady         NOAUTH: the operator has not prepared the store (again) yet
│   │   └── ScriptsUnknown     NOSCRIPT: it has not loaded our scripts, or is of another version than ours
│   ├── StoreDamaged          something but BatchJob wrote into the keys of the run
│   ├── RunGone               the store does not know the run: deleted, or its memory was lost
│   └── LeaseLost             another worker holds what we thought was ours; nothing was changed
├── SourceError
│   ├── InvalidSource         the source can be read and is wrong; the message names line and field
│   │   └── BadItem            one record of it is; the others may be fine
│   ├── SourceTooLarge        it has more than the queue allows
│   ├── SourceChanged         it is not the source that the run began with
│   └── SourceUnreachable     the source cannot be read now
├── ResultsError              results cannot be written
└── KubernetesError
    ├── NotFound              404
    ├── AlreadyExists         409 on create
    ├── Conflict              409 on a precondition
    ├── Gone                  410: list again
    ├── Invalid               400, 422: the object is wrong
    ├── Forbidden             403, or refused by a webhook with whatever code
    └── ApiUnavailable        401 (the token is read again), 429, 5xx, or no answer in time
        └── WebhookUnavailable  one that somebody put before the API does not answer it
"""


class BatchJobError(Exception):
    """Anything that BatchJob raises on purpose."""


class ConfigurationError(BatchJobError):
    """Settings or mounted files that cannot work; the message says which and what to do."""


class NotLeading(BatchJobError):
    """A write that was not sent, since another replica may lead by now."""


class NameTaken(BatchJobError):
    """A name that a run needs belongs to an object that is not ours."""


class ProcessorUnopened(BatchJobError):
    """The processor's `open` raised what it should not; the message says what."""


class QueryError(BatchJobError):
    """A search cannot be understood: what is wrong there and what would be right; `offset` is the place, from 0."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


class CursorError(QueryError):
    """The cursor is none that this search, by this owner, has given out."""


class StoreError(BatchJobError):
    """The store refused or failed."""


class StoreUnavailable(StoreError):
    """The store did not answer; worth another try."""


class StoreFull(StoreUnavailable):
    """The store has no memory left for what was to be written; worth another try once somebody made room."""


class StoreDamaged(StoreError):
    """What the store holds of the run makes no sense: something but BatchJob wrote into its keys."""


class StoreNotReady(StoreError):
    """The store lacks our scripts or our user; the operator makes both again."""


class ScriptsUnknown(StoreNotReady):
    """The store lacks our scripts: it was restarted, or the operator is of another version and loads other ones."""


class RunGone(StoreError):
    """The store does not know the run: it was deleted, or the store's memory was lost."""


class LeaseLost(StoreError):
    """Another worker holds what we thought was ours; nothing was changed."""


class SourceError(BatchJobError):
    """The source of items cannot be used."""


class InvalidSource(SourceError):
    """The source can be read and is wrong; the message names line and field."""


class BadItem(InvalidSource):
    """One record of the source is wrong; the others may be fine."""


class SourceTooLarge(SourceError):
    """The source has more than the queue allows; the message names the limit."""


class SourceChanged(SourceError):
    """The source is not what the run began with."""


class SourceUnreachable(SourceError):
    """The source cannot be read now; `lasts` where only somebody can mend that, and waiting hardly helps."""

    def __init__(self, message: str, *, lasts: bool = False) -> None:
        super().__init__(message)
        self.lasts = lasts


class ResultsError(BatchJobError):
    """Results cannot be written; `lasts` where only somebody can mend that, and waiting hardly helps."""

    def __init__(self, message: str, *, lasts: bool = False) -> None:
        super().__init__(message)
        self.lasts = lasts


class KubernetesError(BatchJobError):
    """The Kubernetes API refused or failed; `status` is the HTTP status, 0 for no answer."""

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotFound(KubernetesError):
    """404."""


class AlreadyExists(KubernetesError):
    """409 on create: the name is taken."""


class Conflict(KubernetesError):
    """409: the object changed since it was read."""


class Gone(KubernetesError):
    """410: the resource version is too old; list again."""


class Invalid(KubernetesError):
    """400 or 422: the object is wrong; `causes` are fields and what is wrong with each, where the server named them."""

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", causes: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message, status=status, reason=reason)
        self.causes = causes


class Forbidden(KubernetesError):
    """403, or a webhook refused it with whatever code."""


class ApiUnavailable(KubernetesError):
    """401, 429, 5xx, or no answer in time; `retry_after_seconds` where the server named it."""

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, status=status, reason=reason)
        self.retry_after_seconds = retry_after_seconds


class WebhookUnavailable(ApiUnavailable):
    """A webhook that the API server has to ask does not answer; the message names it."""
