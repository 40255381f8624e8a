"""The leak corpus, end to end: every leak the first suspect with exact counts, no false verdict."""

from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.heap.corpus import outcomes, programs

pytestmark = pytest.mark.timeout(900)  # all programs run at once, on what cores there are


@pytest.fixture(scope="module")
def outcome_of():
    """Gives a program's outcome; all programs are started when the first is asked for."""
    with ProcessPoolExecutor(outcomes.WORKERS) as pool:
        running = outcomes.started("node", pool) | outcomes.started("python", pool)

        def ask(program):
            if program.name not in running:
                pytest.skip(f"no {program.runtime} to take snapshots of is installed")
            return running[program.name].result()

        yield ask


def cases(*verdicts):
    every = programs.programs("node") + programs.programs("python")
    chosen = [program for program in every if program.verdict in verdicts]
    return pytest.mark.parametrize("program", chosen, ids=lambda program: program.name)


@cases("leaking")
def test_a_leak_is_the_first_suspect_with_the_exact_count(program, outcome_of):
    """Holder, kind, class, number and source line are right, from three snapshots and from two."""
    outcome = outcome_of(program)
    for verdict, snapshots in ((outcome.verdict, 3), (outcome.of_two, 2)):
        assert verdict.verdict == "leaking"
        for truth, suspect in zip(program.suspects, verdict.suspects, strict=False):
            assert outcomes.fits(program, truth, suspect, snapshots) == []
        assert len(verdict.suspects) >= len(program.suspects)


@cases("not leaking", "growing, not sure")
def test_what_does_not_leak_is_not_called_a_leak(program, outcome_of):
    """Bounds, turnover, warm-up and garbage are cleared; two snapshots may leave it open."""
    outcome = outcome_of(program)
    assert outcome.verdict.verdict == program.verdict
    if program.verdict_of_two != "any":
        assert outcome.of_two.verdict == program.verdict_of_two
