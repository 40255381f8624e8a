"""The places of a verdict get their originals, where an agent can tell them."""

from memwatch_controller.errors import TargetEndedError
from memwatch_controller.model import SourcePlace
from memwatch_controller.sources import asking, name_originals


def verdict(*places):
    """A verdict's document with one suspect a place."""
    return {
        "suspects": [
            {"where": place and {"script": place[0], "line": place[1], "column": place[2]}}
            for place in places
        ]
    }


async def test_originals_are_added():
    """Each place whose script may be compiled is asked for, and gets what is told of it."""
    asked = []

    async def originals(target_id, places):
        asked.append((target_id, list(places)))
        return [SourcePlace("/app/src/shop.ts", 6, 8), None]

    made = verdict(
        ("/app/dist/shop.js", 1, 0), ("/app/dist/cart.mjs", 2, 5), ("/app/shop.py", 3, 1), None
    )
    await name_originals(made, "t-1", originals)

    first, second, third, fourth = (suspect["where"] for suspect in made["suspects"])
    assert first["original"] == {"script": "/app/src/shop.ts", "line": 6, "column": 8}
    assert "original" not in second
    assert "original" not in third
    assert fourth is None
    places = [SourcePlace("/app/dist/shop.js", 1, 1), SourcePlace("/app/dist/cart.mjs", 2, 5)]
    assert asked == [("t-1", places)]


async def test_nothing_to_ask():
    """Without a verdict, a target or a script nobody is asked."""

    async def originals(target_id, places):
        raise AssertionError

    await name_originals(None, "t-1", originals)
    await name_originals(verdict(("/app/shop.js", 1, 1)), "", originals)
    await name_originals(verdict(("/app/shop.py", 1, 1), ("/app/a.js", 0, 0)), "t-1", originals)


async def test_target_that_has_ended():
    """A target that is gone leaves the verdict as it is."""

    class Nobody:
        def get(self, id):
            raise TargetEndedError(id)

        def address_of(self, target):
            raise AssertionError

        async def resolve_sources(self, address, target_id, places):
            raise AssertionError

    made = verdict(("/app/shop.js", 1, 1))
    await name_originals(made, "t-1", asking(Nobody(), Nobody()))
    assert "original" not in made["suspects"][0]["where"]
