import pytest

from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.config import Config
from tests.fakes.kubernetes import FakeKubernetes


@pytest.fixture
def fake():
    """A fake API server, running."""
    with FakeKubernetes() as running:
        yield running


class Naps:
    """Stands for sleep: remembers how long, and does not."""

    def __init__(self):
        self.taken = []

    async def __call__(self, seconds):
        self.taken.append(seconds)


@pytest.fixture
def naps():
    return Naps()


@pytest.fixture
async def client(fake, naps):
    """A client of the fake that never sleeps."""
    async with Client(Config(fake.url, namespace="shop"), {}, naps) as made:
        yield made
