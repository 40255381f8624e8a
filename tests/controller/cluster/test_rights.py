import pytest

from memwatch_controller.cluster.rights import RIGHTS, Mode, rules_of


def test_every_mode_has_its_rules_and_none_without_it():
    """The table is complete, and no mode leaves nothing."""
    assert set(RIGHTS) == set(Mode)
    empty = rules_of([])
    assert (empty.services, empty.own, empty.cluster) == ((), (), ())


def test_modes_add_up_without_repeating():
    """Two modes that read pods make one rule for pods; each resource stands once."""
    rules = rules_of([Mode.LOOKUP, Mode.ATTACH, Mode.DETACH])
    names = [rule["resources"][0] for rule in rules.services]
    assert len(names) == len(set(names))
    pods = next(rule for rule in rules.services if rule["resources"] == ["pods"])
    assert pods["verbs"] == ["get", "list", "watch", "patch", "delete"]


@pytest.mark.parametrize("mode", list(Mode))
def test_no_mode_may_read_secrets_of_services_or_run_commands(mode):
    """The rights that would give a cluster away are in no mode."""
    rules = rules_of([mode])
    told = {name for rule in (*rules.services, *rules.cluster) for name in rule["resources"]}
    assert not told & {"secrets", "pods/exec", "pods/attach", "pods/portforward", "*"}
    verbs = {
        verb for rule in (*rules.services, *rules.own, *rules.cluster) for verb in rule["verbs"]
    }
    assert "*" not in verbs
    assert not verbs & {"escalate", "bind", "impersonate"}
