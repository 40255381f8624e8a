"""Keeps the webhook's certificate: in a secret that its replicas share, and in its configuration.

Each replica looks once a minute. Who finds something due renews it, under the secret's resource
version: of several the API server lets one through, and the others take what that one wrote. The
configuration is told an authority before a leaf of it is shown.
"""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from memwatch_controller.cluster import resources
from memwatch_controller.cluster.client import Client, PatchKind
from memwatch_controller.cluster.errors import (
    ClusterConflictError,
    ClusterError,
    ClusterExistsError,
    ClusterInvalidError,
    ClusterNotFoundError,
)
from memwatch_controller.injection.certificates import Keeping, Kept, Pair, renewed
from memwatch_controller.rounds import rounds

#: How often the secret and the configuration are looked at.
LOOK_SECONDS = 60.0

#: The same while there is no certificate to serve with.
FIRST_SECONDS = 3.0

#: Replicas that write at the same time let each other through: one wins each round.
_MAX_ROUNDS = 10

_log = structlog.get_logger()


class Keeper:
    """Keeps one webhook's certificate."""

    def __init__(
        self,
        client: Client,
        keeping: Keeping,
        files: tuple[Path, Path],
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Args: `files` are the certificate and the key that the server reads."""
        self._client = client
        self._keeping = keeping
        self._files = files
        self._now = now
        self._sleep = sleep
        self._written: Pair | None = None

    async def first(self) -> None:
        """Returns when there is a certificate to serve with, however long the cluster is away."""
        while not await self._looked():
            await self._sleep(FIRST_SECONDS)

    async def run(self) -> None:
        """Looks again and again."""
        await self._sleep(LOOK_SECONDS)
        await rounds("keep the webhook's certificate", self._looked, LOOK_SECONDS, self._sleep)

    async def look(self) -> None:
        """Renews what is due, tells the configuration, and writes the server's files.

        The configuration is read before the secret and changed only as it was then: who read an
        older secret cannot take back what a newer one had told it.

        Raises:
            ClusterError: secret or configuration cannot be read or written.
        """
        for _ in range(_MAX_ROUNDS):
            configuration = await self._client.get(resources.WEBHOOKS, self._keeping.configuration)
            kept = await self._kept()
            if kept is not None and await self._told(configuration, kept.bundle):
                self._write(kept.leaf)
                return
        raise ClusterError(
            f"keep the certificate in secret '{self._keeping.secret}'",
            f"somebody changed it, or the configuration, {_MAX_ROUNDS} times in between",
        )

    async def _looked(self) -> bool:
        try:
            await self.look()
        except (ClusterError, OSError) as error:
            _log.error("cannot keep the webhook's certificate", cause=str(error))
            return False
        return True

    async def _kept(self) -> Kept | None:
        """What the replicas agree on; None where another one wrote at the same time."""
        secret = await self._secret()
        found = Kept.of_secret(secret.get("data") or {})
        kept = renewed(found, self._keeping.names, self._now())
        if kept != found:
            try:
                await self._save({**secret, "data": kept.secret_data()})
            except (ClusterConflictError, ClusterExistsError):
                return None
            _log.info("certificate renewed", secret=self._keeping.secret)
        return kept

    async def _secret(self) -> dict[str, Any]:
        """The secret, or an empty one to be created."""
        keeping = self._keeping
        try:
            return await self._client.get(resources.SECRETS, keeping.secret, keeping.namespace)
        except ClusterNotFoundError:
            return {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": keeping.secret, "namespace": keeping.namespace},
                "type": "Opaque",
            }

    async def _save(self, secret: dict[str, Any]) -> None:
        keeping = self._keeping
        if secret["metadata"].get("resourceVersion"):
            await self._client.replace(resources.SECRETS, keeping.secret, secret, keeping.namespace)
        else:
            await self._client.create(resources.SECRETS, secret, keeping.namespace)

    async def _told(self, configuration: Mapping[str, Any], bundle: bytes) -> bool:
        """Has the API server trust the authorities; False where the configuration has changed."""
        patch = trusting(configuration, base64.b64encode(bundle).decode("ascii"))
        if not patch:
            return True
        name = self._keeping.configuration
        try:
            await self._client.patch(resources.WEBHOOKS, name, patch, kind=PatchKind.JSON)
        except (ClusterConflictError, ClusterInvalidError) as error:
            _log.info("configuration has changed, looking again", cause=str(error))
            return False
        _log.info("configuration told who signs", configuration=name)
        return True

    def _write(self, leaf: Pair) -> None:
        """Writes the server's files where they differ; the key first, for its owner alone.

        A server that looks in between finds a pair that does not match, and looks again.
        """
        if leaf == self._written:
            return
        certificate, key = self._files
        for path, content in ((key, leaf.key), (certificate, leaf.certificate)):
            path.parent.mkdir(parents=True, exist_ok=True)
            half = path.with_name(path.name + ".half")
            half.unlink(missing_ok=True)
            with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            half.rename(path)
        self._written = leaf


def trusting(configuration: Mapping[str, Any], bundle: str) -> list[dict[str, Any]]:
    """The JSON patch that puts a bundle (base64) into every webhook; none where it is there.

    It holds for the configuration as it was read only.
    """
    changes = [
        {"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": bundle}
        for number, webhook in enumerate(configuration.get("webhooks") or [])
        if (webhook.get("clientConfig") or {}).get("caBundle") != bundle
    ]
    version = configuration["metadata"]["resourceVersion"]
    same = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    return [same, *changes] if changes else []
