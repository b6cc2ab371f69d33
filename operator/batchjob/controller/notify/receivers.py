"""Telling one receiver of one thing: what it takes is read (Secrets, certificates), then it is told by its door.

Whatever is wrong with what the user wrote is a sentence with its field and the way out, in the delivery's message, and
is tried again like a receiver that is away: a Secret may come. Nothing of it touches the run.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from batchjob.api.notifications import Delivery, DeliveryState, Notification
from batchjob.api.notify import Mail, Webhook
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.notify.destinations import Destinations, trusting
from batchjob.controller.notify.mails import Server, build_mail, send
from batchjob.controller.notify.notices import Outcome, build_body, encode_body, receiver_of
from batchjob.controller.notify.webhooks import build_headers, post
from batchjob.errors import ConfigurationError, KubernetesError, NotFound
from batchjob.kube import CONFIG_MAPS, SECRETS, Kube, Resource


class Receivers:
    """Whoever is to be told."""

    def __init__(self, kube: Kube, destinations: Destinations, smtp: Server | None) -> None:
        """`smtp`: the mail server for whoever names none."""
        self._kube = kube
        self._destinations = destinations
        self._smtp = smtp

    async def tell(self, job: BatchJob, notice: Notification, delivery: Delivery) -> Outcome:
        """One attempt to tell the receiver of a delivery."""
        try:
            match receiver_of(job.spec.notify, delivery):
                case place, Webhook() as webhook:
                    return await self._call(job, notice, webhook, f"spec.notify.{place}")
                case _, Mail() as mail:
                    return await self._mail(job, notice, mail, delivery.to)
                case _:
                    said = "the receiver that was there is in the spec no more"
                    return Outcome(DeliveryState.FAILED, f"spec.notify.{delivery.to}: {said}")
        except ConfigurationError as error:
            return Outcome(DeliveryState.PENDING, str(error))

    async def _call(self, job: BatchJob, notice: Notification, webhook: Webhook, field: str) -> Outcome:
        namespace, body = job.metadata.namespace, encode_body(build_body(job, notice))
        ref, bundle, authorities = webhook.secret_ref, webhook.ca_bundle_ref, None
        with _at(f"{field}.caBundleRef"):
            if bundle:
                authorities = await self._value(CONFIG_MAPS, namespace, bundle.name, bundle.key)
            context = trusting(authorities)
        with _at(f"{field}.secretRef"):
            secrets = await self._value(SECRETS, namespace, ref.name, ref.key)
            headers = build_headers(secrets, notice.id, datetime.now(UTC), body)
        with _at(f"{field}.url"):
            return await post(self._destinations.of(namespace), webhook.url, headers, body, context)

    async def _mail(self, job: BatchJob, notice: Notification, mail: Mail, to: str) -> Outcome:
        server = await self._server(job)
        message = build_mail(build_body(job, notice), notice, to, server.sender, mail.to)
        with _at("spec.notify.smtp.host"):
            return await send(self._destinations.of(job.metadata.namespace), server, message)

    async def _server(self, job: BatchJob) -> Server:
        smtp, login = job.spec.notify.smtp if job.spec.notify else None, None
        if smtp is None:
            if self._smtp is None:
                raise ConfigurationError(
                    "spec.notify.email: there is no mail server. Set spec.notify.smtp, or have whoever runs the "
                    "operator name one for all (smtp.host of the chart)"
                )
            return self._smtp
        if ref := smtp.credentials_secret_ref:
            with _at("spec.notify.smtp.credentialsSecretRef"):
                namespace = job.metadata.namespace
                user = await self._value(SECRETS, namespace, ref.name, "SMTP_USERNAME")
                login = user, await self._value(SECRETS, namespace, ref.name, "SMTP_PASSWORD")
        return Server(smtp.host, smtp.port, smtp.tls, smtp.sender, login, trusted=False)

    async def _value(self, resource: Resource, namespace: str, name: str, key: str) -> str:
        """The text of one key. ConfigurationError, without the text."""
        what = f"{resource.kind} {name}"
        try:
            found = (await self._kube.get(resource, namespace, name)).get("data") or {}
        except NotFound:
            raise ConfigurationError(f"there is no {what} in namespace {namespace}. Create it") from None
        except KubernetesError as error:
            raise ConfigurationError(f"{what} cannot be read: {error}") from None
        if key not in found:
            has = ", ".join(sorted(found)[:10]) or "none"
            raise ConfigurationError(f"{what} has no key {key}; its keys: {has}")
        if resource is not SECRETS:
            return str(found[key])
        try:
            return base64.b64decode(found[key]).decode()
        except ValueError:
            raise ConfigurationError(f"key {key} of {what} is no text") from None


@contextmanager
def _at(field: str) -> Iterator[None]:
    """What is wrong in here is wrong with this field."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{field}: {error}") from None
