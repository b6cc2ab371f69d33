"""The phases of a BatchJob and the conditions that each one has. One table; the docs repeat it.

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


def is_terminal(status: BatchJobStatus | None) -> bool:
    """Whether the BatchJob has ended; nothing changes it any more."""
    return status is not None and status.phase in TERMINAL
