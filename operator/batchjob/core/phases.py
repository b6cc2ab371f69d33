"""The phases of a BatchJob: which conditions each one has, and which may follow. One table; the docs repeat it.

The conditions are the truth and the phase their summary. kstatus reads Reconciling and Stalled: `Reconciling` is True
only until the spec is accepted, so that `flux --wait` and `helm --wait` do not hang for a long run; `Stalled` is True
where somebody has to do something. Exactly one of Complete and Failed is True in the end.
"""

from typing import Final

from batchjob.api.status import BatchJobStatus, ConditionType, Phase

_Q, _R, _ST, _SU, _C, _F = ConditionType  # in the order of the status

# (phase, does it stall) → the conditions that are True; every other one is False. No entry: cannot be.
CONDITIONS: Final[dict[tuple[Phase, bool], frozenset[ConditionType]]] = {
    (Phase.PENDING, False): frozenset({_R}),
    (Phase.PENDING, True): frozenset({_ST}),
    (Phase.QUEUED, False): frozenset({_Q}),
    (Phase.RUNNING, False): frozenset(),
    (Phase.RUNNING, True): frozenset({_ST}),
    (Phase.SUSPENDED, False): frozenset({_SU}),
    (Phase.SUSPENDED, True): frozenset({_ST, _SU}),
    (Phase.FINALIZING, False): frozenset(),
    (Phase.FINALIZING, True): frozenset({_ST}),
    (Phase.SUCCEEDED, False): frozenset({_C}),
    (Phase.FAILED, True): frozenset({_ST, _F}),
    (Phase.CANCELLED, False): frozenset({_F}),
}

TERMINAL: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED})

_NOT_STARTED: Final = frozenset({Phase.PENDING, Phase.QUEUED, Phase.SUSPENDED, Phase.RUNNING}) | TERMINAL
_STARTED: Final = frozenset({Phase.RUNNING, Phase.FINALIZING, Phase.SUSPENDED}) | TERMINAL

# Phase → what may follow. A suspended BatchJob may not have begun, so it may go back to waiting.
# Running → Queued: only where Kueue takes the pods back. Finalizing → Running: only where the store was lost and the
# run begins again.
MOVES: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.PENDING: _NOT_STARTED,
    Phase.QUEUED: _NOT_STARTED,
    Phase.SUSPENDED: _NOT_STARTED | _STARTED,
    Phase.RUNNING: _STARTED | {Phase.QUEUED},
    Phase.FINALIZING: _STARTED,
    Phase.SUCCEEDED: frozenset({Phase.SUCCEEDED}),
    Phase.FAILED: frozenset({Phase.FAILED}),
    Phase.CANCELLED: frozenset({Phase.CANCELLED}),
}


def is_terminal(status: BatchJobStatus | None) -> bool:
    """Whether the BatchJob has ended; nothing changes it any more."""
    return status is not None and status.phase in TERMINAL
