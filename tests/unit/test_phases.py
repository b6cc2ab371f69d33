"""The table of phases holds together."""

from batchjob.api.status import BatchJobStatus, ConditionType, Phase
from batchjob.core.phases import CONDITIONS, TERMINAL, is_terminal


def test_every_phase_has_conditions() -> None:
    assert {phase for phase, _ in CONDITIONS} == set(Phase)


def test_the_conditions_name_the_phase_up_to_running_and_finalizing() -> None:
    told = [(kinds, phase) for (phase, _), kinds in CONDITIONS.items() if phase is not Phase.FINALIZING]
    stalled = frozenset({ConditionType.STALLED})
    assert [phase for kinds, phase in told if kinds == stalled] == [Phase.PENDING, Phase.RUNNING]
    unlike = [kinds for kinds, _ in told if kinds != stalled]
    assert len(set(unlike)) == len(unlike)


def test_exactly_one_of_complete_and_failed_is_true_in_the_end_and_none_before() -> None:
    ends = {ConditionType.COMPLETE, ConditionType.FAILED}
    for (phase, _), kinds in CONDITIONS.items():
        assert len(kinds & ends) == (phase in TERMINAL)


def test_stalled_and_reconciling_exclude_each_other() -> None:
    both = {ConditionType.STALLED, ConditionType.RECONCILING}
    assert not [phase for phase, kinds in CONDITIONS.items() if both <= kinds]


def test_a_batch_job_without_a_status_has_not_ended() -> None:
    assert not is_terminal(None)
    assert is_terminal(BatchJobStatus(phase=Phase.CANCELLED))
