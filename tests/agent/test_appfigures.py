"""`appfigures.py`: what processes tell, checked, bounded and put together by service."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_agent import appfigures as module
from memwatch_agent.appfigures import Ledger, parsed


def told(name="orders", kind="counter", series=(((), 1.0),), labels=(), combine="sum", **more):
    return {
        "name": name,
        "kind": kind,
        "about": "About.",
        "labels": list(labels),
        "combine": combine,
        "buckets": [],
        "series": [[list(key), value] for key, value in series],
        **more,
    }


def page(*families):
    return parsed({"families": list(families), "next": None, "dropped": 0})


def rows(ledger):
    return {
        (family.name, *key): value[0] if len(value) == 1 else value
        for family in ledger.together()
        for key, value in family.series.items()
    }


def test_workers_of_a_service_are_one_row():
    """Counters and histograms add up, gauges are put together as the app asked for."""
    ledger = Ledger()
    for worker, value in (("a", 2.0), ("b", 5.0)):
        ledger.take(
            worker,
            "shop",
            page(
                told(series=[((), value)]),
                told("depth", "gauge", [((), value)], combine="max"),
                told("room", "gauge", [((), value)], combine="min"),
                told("size", "gauge", [((), value)]),
                told("wait", "histogram", [((), [value, 1, 0, value])], buckets=[0.1, 0.5]),
            ),
        )
    ledger.take("c", "mail", page(told()))

    assert rows(ledger) == {
        ("orders", "shop"): 7.0,
        ("orders", "mail"): 1.0,
        ("depth", "shop"): 5.0,
        ("room", "shop"): 2.0,
        ("size", "shop"): 7.0,
        ("wait", "shop"): (7.0, 2.0, 0.0, 7.0),
    }


def test_a_counter_never_goes_back_when_a_worker_is_replaced():
    """What an ended worker had counted stays; its gauges go."""
    ledger = Ledger()
    ledger.take("a", "shop", page(told(series=[((), 10.0)]), told("size", "gauge")))
    ledger.take("b", "shop", page(told(series=[((), 1.0)])))
    ledger.keep({"b"})

    assert rows(ledger) == {("orders", "shop"): 11.0}
    ledger.take("a", "shop", page(told(series=[((), 12.0)])))
    assert rows(ledger) == {("orders", "shop"): 13.0, ("size", "shop"): 1.0}


def test_many_ended_workers_cost_no_more_than_one(monkeypatch):
    """Beyond the last ones they are one sum."""
    monkeypatch.setattr(module, "MAX_ENDED", 3)
    ledger = Ledger()
    for number in range(50):
        ledger.take(f"w{number}", "shop", page(told()))
        ledger.keep(())

    assert len(ledger._ended) == 3
    assert rows(ledger) == {("orders", "shop"): 50.0}


def test_a_page_replaces_what_it_names_and_leaves_the_rest():
    """A row that is on another page of the same look does not vanish."""
    ledger = Ledger()
    ledger.take("a", "shop", page(told(labels=["x"], series=[(("1",), 1.0), (("2",), 1.0)])))
    ledger.take("a", "shop", page(told(labels=["x"], series=[(("2",), 5.0)])))

    assert rows(ledger) == {("orders", "shop", "1"): 1.0, ("orders", "shop", "2"): 5.0}


def test_services_may_differ_in_labels_but_not_in_kind():
    """Labels are joined, a missing one is empty; another kind of the same name is left out."""
    ledger = Ledger()
    ledger.take("a", "a", page(told(labels=["x"], series=[(("1",), 1.0)])))
    ledger.take("b", "b", page(told(labels=["y"], series=[(("2",), 2.0)])))
    ledger.take("c", "c", page(told("orders", "gauge")))
    [family] = ledger.together()

    assert family.labels == ("x", "y")
    assert family.series == {("a", "1", ""): (1.0,), ("b", "", "2"): (2.0,)}


def test_an_agent_s_rows_are_bounded(monkeypatch):
    """Neither a process nor all of them can make a scrape grow without end."""
    monkeypatch.setattr(module, "MAX_PROCESS_SERIES", 20)
    monkeypatch.setattr(module, "MAX_SERIES", 50)
    ledger = Ledger()
    for number in range(10):
        many = [((f"{number}-{row}",), 1.0) for row in range(15)]
        ledger.take(f"p{number % 4}", f"s{number % 4}", page(told(labels=["x"], series=many)))

    assert len(rows(ledger)) == 50
    assert max(len(one.families["orders"].series) for one in ledger._living.values()) == 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Bad name"},
        {"name": 'x"} 1\nx{a="'},
        {"name": None},
        {"kind": "summary"},
        {"labels": ["le"]},
        {"labels": ["service"]},
        {"labels": ["a b"]},
        {"labels": ["a", "b", "c", "d", "e", "f"]},
        {"labels": None},
        {"combine": "mean"},
        {"combine": "last"},
        {"combine": []},
        {"buckets": [2, 1]},
        {"buckets": [float("nan")]},
        {"buckets": list(range(30))},
    ],
)
def test_a_family_that_is_wrong_is_left_out(wrong):
    """Each word of a hook is checked; the other families stay."""
    assert [family.name for family in page({**told(), **wrong}, told("other"))] == ["other"]


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        [[], "1"],
        [[], True],
        [[], float("inf")],
        [[], 10**400],
        [["x"], 1],
        [[1], 1],
        [[], [1]],
    ],
)
def test_a_row_that_is_wrong_is_left_out(row):
    """A value that is no number and labels that do not fit."""
    [family] = page({**told(), "series": [row, [[], 2]]})

    assert family.series == {(): (2.0,)}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*told(), "families", "x"]), inner, max_size=6)
    ),
    max_leaves=20,
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["families", "next"]), JSON))
def test_any_json_is_taken(told_page):
    """Whatever a stranger's process says, nothing raises."""
    ledger = Ledger()
    ledger.take("a", "shop", parsed(told_page))
    ledger.together()
