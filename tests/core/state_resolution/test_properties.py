"""What holds of every resolution, whatever the history."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.core.state_resolution import auth_chains, resolve
from homeserver.core.state_resolution.auth_chains import AuthChains
from homeserver.core.state_resolution.conflicts import distinct, divide
from homeserver.core.state_resolution.ordering import mainline_ordering, reverse_topological_power_ordering
from homeserver.core.state_resolution.steps import EventPool
from tests.core.state_resolution.definitions import Definitions
from tests.core.state_resolution.driver import Loader, resolved, resolved_by_difference
from tests.core.state_resolution.histories import History, histories

quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
any_history = st.sampled_from(["1", "2", "6", "11", "12"]).flatmap(histories)


@pytest.mark.parametrize("version", ["2", "11", "12"])
def test_is_what_the_definitions_say(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # So small that the rest of the state, and who cites whom, is asked for in these small rooms too.
    monkeypatch.setattr(auth_chains, "_SAMPLE", 1)

    @quick
    @given(histories(version))
    def check(history: History) -> None:
        expected = Definitions(history.events, history.state_sets, v2_1=version == "12").resolution()
        for citing in (False, True):
            assert resolved(history.rules, history.state_sets, history.events, citing=citing) == expected

    check()


@pytest.mark.parametrize("version", ["2", "12"])
@pytest.mark.parametrize("citing", [False, True])
def test_full_conflicted_set_is_the_defined_one(
    version: str, citing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth_chains, "_SAMPLE", 1)

    @quick
    @given(histories(version))
    def check(history: History) -> None:
        state_sets = distinct(history.state_sets)
        if len(state_sets) > 1:
            chains = AuthChains(EventPool(), divide(state_sets))
            steps = chains.full_conflicted_set(subgraph=version == "12", citing=citing)
            found = Loader(history.events).drive(steps)
            expected = Definitions(history.events, state_sets, v2_1=version == "12")
            assert found == expected.full_conflicted_set

    check()


@quick
@given(histories("2") | histories("12"), st.data())
def test_orders_are_the_defined_ones(history: History, data: st.DataObject) -> None:
    defined = Definitions(history.events, [], v2_1=False)
    pool = EventPool()
    pool.events = dict(history.events)
    some = data.draw(st.sets(st.sampled_from(sorted(history.events))))
    ordered = reverse_topological_power_ordering(pool, some)
    assert [event.event_id for event in ordered] == defined.power_ordering(some)

    levels = sorted(i for i, event in history.events.items() if event.type == "m.room.power_levels")
    start = data.draw(st.none() | st.sampled_from(levels))
    power_levels = history.events[start] if start is not None else None
    by_mainline = Loader(history.events).drive(mainline_ordering(pool, power_levels, some))
    assert [event.event_id for event in by_mainline] == defined.mainline_ordering(start, some)


@quick
@given(any_history, st.randoms(use_true_random=False))
def test_order_and_repetition_of_the_sets_do_not_matter(history: History, random: st.DataObject) -> None:
    expected = resolved(history.rules, history.state_sets, history.events)
    shuffled = history.state_sets * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert resolved(history.rules, shuffled, history.events) == expected


@pytest.mark.parametrize("version", ["1", "2", "11", "12"])
def test_what_differs_is_enough(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth_chains, "_SAMPLE", 1)

    @quick
    @given(histories(version), st.booleans(), st.data())
    def check(history: History, citing: bool, data: st.DataObject) -> None:
        state_sets = distinct(history.state_sets)
        hidden = data.draw(st.sets(st.sampled_from(sorted(history.events)), max_size=2))
        if len(state_sets) > 1:
            parts = (history.rules, state_sets, history.events, hidden)
            found, _ = resolved_by_difference(*parts, citing=citing)
            assert found == resolved(*parts, citing=citing)

    check()


@quick
@given(any_history)
def test_what_all_sets_share_stays(history: History) -> None:
    result = resolved(history.rules, history.state_sets, history.events)
    shared = set.intersection(*(set(state.items()) for state in history.state_sets))
    assert shared <= result.items()
    candidates = {key for state in history.state_sets for key in state}
    if history.rules.version == "1":
        assert result.keys() <= candidates


@quick
@given(any_history)
def test_equal_sets_are_their_own_resolution(history: History) -> None:
    state = history.state_sets[0]
    loader = Loader(history.events)
    assert loader.drive(resolve(history.rules, [state, dict(state), state])) == state
    assert loader.requests == []
    result = resolved(history.rules, history.state_sets, history.events)
    assert resolved(history.rules, [result, result], history.events) == result


@quick
@given(any_history)
def test_more_than_asked_for_changes_nothing(history: History) -> None:
    class Generous(Loader):
        def answer(self, request: object) -> dict[str, object]:  # type: ignore[override]
            return dict(self.events)

    steps = resolve(history.rules, history.state_sets)
    assert Generous(history.events).drive(steps) == resolved(
        history.rules, history.state_sets, history.events
    )


@quick
@given(any_history, st.data())
def test_missing_events_do_no_harm(history: History, data: st.DataObject) -> None:
    hidden = data.draw(st.sets(st.sampled_from(sorted(history.events))))
    result = resolved(history.rules, history.state_sets, history.events, hidden)
    shared = set.intersection(*(set(state.items()) for state in history.state_sets))
    assert shared <= result.items()
    assert not {event_id for key, event_id in result.items() if (key, event_id) not in shared} & hidden or (
        history.rules.version == "1"
    )


@quick
@given(any_history)
def test_no_event_is_asked_for_twice(history: History) -> None:
    loader = Loader(history.events, hidden=sorted(history.events)[::3])
    loader.drive(resolve(history.rules, history.state_sets))
    assert len(loader.asked) == len(set(loader.asked))
