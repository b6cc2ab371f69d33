"""The store's users, one a run: which there are, and the credentials that the runs' Secrets hold.

The store forgets its users at a restart, and the operator its memory at its own: both are made again from the Secrets,
which are the truth.
"""

import secrets
from contextlib import suppress
from typing import Any, NamedTuple

from batchjob.api.queue import RateLimit
from batchjob.api.run import RUN_FILE, STORE_FILE, Run, StoreAccess
from batchjob.controller.informer import controller_uid
from batchjob.controller.manifests import build_secret, decode, encode, secret_name
from batchjob.core.cache import cache_name
from batchjob.core.rates import keys_of
from batchjob.errors import AlreadyExists, Forbidden, NameTaken, NotFound
from batchjob.kube import SECRETS, Kube
from batchjob.store import Store, user_name


class Credentials(NamedTuple):
    """What a run's Secret says."""

    password: str
    run: Run
    version: str | None = None  # of the Secret, where it was read


class Users:
    """The store's users."""

    def __init__(self, kube: Kube, store: Store, access: StoreAccess) -> None:
        """`access`: the way of worker pods to the store, to which each run adds its own login."""
        self._kube = kube
        self._store = store
        self._way = access
        self._passwords: dict[str, str] = {}  # by uid: a Secret that was deleted comes back as it was
        self.present: set[str] = set()  # uids, as the store last said
        self.dismissed: set[str] = set()  # uids of BatchJobs that have ended, whose Secret and user we removed
        self._told: dict[str, list[RateLimit]] = {}  # the limits of the queue that a run's Secret names, by uid

    async def refresh(self) -> set[str]:
        """Ask the store which users there are."""
        self.present = await self._store.user_names()
        return self.present

    async def admit(self, run: Run) -> None:
        """See that the run's Secret is there, tells of this epoch and these limits, and that the store knows its user.

        Of limits that have gone the rates stay open to it, as far as the Secret named them until now: pods that run
        hear of the change some time later.
        """
        credentials = await self._secret(run)
        reads = await self._readable(run, credentials.run.parent_uid)
        rates = keys_of(run) | keys_of(credentials.run)
        if credentials.run.rate_limits != run.rate_limits:
            news = credentials.run.model_copy(update={"rate_limits": run.rate_limits})
            credentials = await self._rewrite(news, credentials, credentials.version)
        await self._store.grant(run.uid, credentials.password, reads=reads, rates=rates, cache=cache_name(run))
        self._passwords[run.uid] = credentials.password
        self._told[run.uid] = run.rate_limits
        self.present.add(run.uid)

    async def _readable(self, run: Run, said: str | None) -> str | None:
        """The run that the Secret names, if we know it or it is of the same namespace: its editor may name any."""
        if said is None or said == run.parent_uid:
            return said
        owner = await self._store.created_for(said)
        return said if owner and owner.startswith(f"{run.namespace}/") else None

    def have_told(self, uid: str, limits: list[RateLimit]) -> bool:
        """Whether the run's Secret names these limits of its queue; False where we have not looked yet."""
        return self._told.get(uid) == limits

    def clear(self) -> None:
        """We lead no longer: what Secrets say is another replica's to change."""
        self._passwords.clear()
        self._told.clear()
        self.present.clear()
        self.dismissed.clear()

    async def has_secret(self, namespace: str, name: str, uid: str) -> bool:
        """Whether the Secret of this BatchJob's run is there."""
        try:
            await self._kube.get(SECRETS, namespace, secret_name(name, uid))
        except NotFound:
            return False
        return True

    async def dismiss(self, namespace: str, secret: str, uid: str) -> None:
        """Remove the Secret, if it is the run's, then the user: as long as that is there, the Secret may be too."""
        with suppress(NotFound):
            found = await self._kube.get(SECRETS, namespace, secret)
            if controller_uid(found) == uid:
                await self._kube.delete(SECRETS, namespace, secret, uid=found["metadata"]["uid"])
        await self.revoke(uid)
        self.dismissed.add(uid)

    async def revoke(self, uid: str) -> None:
        """Remove the user."""
        await self._store.revoke(uid)
        self._passwords.pop(uid, None)
        self._told.pop(uid, None)
        self.present.discard(uid)
        self.dismissed.discard(uid)

    async def _secret(self, run: Run) -> Credentials:
        """The Secret is made, and read only where that is refused: most runs have none yet."""
        name = secret_name(run.name, run.uid)
        fresh = Credentials(self._password(run), run)
        try:
            await self._kube.create(SECRETS, run.namespace, build_secret(run, self._access(run, fresh)))
        except (AlreadyExists, Forbidden) as refused:  # forbidden it may be by a quota that it fills itself
            try:
                found = await self._kube.get(SECRETS, run.namespace, name)
            except NotFound:
                raise refused from None
        else:
            return fresh
        if controller_uid(found) != run.uid:
            raise NameTaken(
                f"Secret {name} exists and belongs to somebody else; this BatchJob needs that name. "
                "Delete the Secret, or create the BatchJob under another name."
            )
        credentials = _read(found)
        if credentials and credentials.run.epoch == run.epoch:
            return credentials
        return await self._rewrite(run, credentials, found["metadata"]["resourceVersion"])

    async def _rewrite(self, run: Run, old: Credentials | None, version: str | None) -> Credentials:
        """Another epoch, or somebody emptied or broke the Secret. Pods that run read a new password by themselves.

        Conflict where somebody has changed it since it was read, at that version.
        """
        credentials = Credentials(old.password if old else self._password(run), run)
        data = {RUN_FILE: encode(run), STORE_FILE: encode(self._access(run, credentials))}
        name = secret_name(run.name, run.uid)
        await self._kube.patch(SECRETS, run.namespace, name, {"data": data}, resource_version=version)
        return credentials

    def _password(self, run: Run) -> str:
        return self._passwords.get(run.uid) or secrets.token_urlsafe(32)

    def _access(self, run: Run, credentials: Credentials) -> StoreAccess:
        login = {"username": user_name(run.uid), "password": credentials.password}
        return self._way.model_copy(update=login)


def _read(secret: dict[str, Any]) -> Credentials | None:
    try:
        access = StoreAccess.model_validate_json(decode(secret, STORE_FILE))
        run = Run.model_validate_json(decode(secret, RUN_FILE))
    except ValueError:  # pydantic's errors are ValueErrors
        return None
    return Credentials(access.password, run, secret["metadata"]["resourceVersion"]) if access.password else None
