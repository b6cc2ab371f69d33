"""Who asks, as Kubernetes would name them: its RBAC decides, and one human is one owner on both ways in. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

MAX_NAME: Final = 253  # of spec.owner
RESERVED: Final = "system:"  # names of Kubernetes' own; an issuer or a key that hands one out would make administrators
AUTHENTICATED: Final = "system:authenticated"  # the group of everybody who signed in, as the API server adds it
MOST_GROUPS: Final = 500
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # it becomes a part of a path


class Unauthenticated(Exception):
    """The token is none that we trust; the sentence says why, and tells no secret."""

    is_guess = True  # somebody may be trying tokens out: it counts


class Identity(NamedTuple):
    """Who asks."""

    name: str  # the owner of what they make
    groups: tuple[str, ...] = (AUTHENTICATED,)
    namespace: str | None = None  # where what they make goes; None: the gateway's default
    uid: str = ""


class ClaimRules(NamedTuple):
    """How claims become a name: as the API server's own OIDC settings have it, or people are two owners."""

    issuer: str
    username_claim: str = "sub"
    username_prefix: str | None = None  # None: the issuer and #, but nothing for email, as the API server does
    groups_claim: str | None = None
    groups_prefix: str = ""
    namespace_claim: str | None = None

    def identity(self, claims: Mapping[str, Any]) -> Identity:
        """The identity that claims tell of; Unauthenticated where they tell of none."""
        name = _text(claims, self.username_claim)
        if not name:
            raise Unauthenticated(f"the token has no claim {self.username_claim}, which names the user")
        if self.username_claim == "email" and claims.get("email_verified", True) is not True:
            raise Unauthenticated("the token's email has not been verified by its issuer")
        groups = claims.get(self.groups_claim, ()) if self.groups_claim else ()
        listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        named = [self.groups_prefix + group for group in listed if isinstance(group, str)]
        namespace = _text(claims, self.namespace_claim) if self.namespace_claim else ""
        if namespace and not _NAMESPACE.fullmatch(namespace):
            raise Unauthenticated(f"the token's claim {self.namespace_claim} is not the name of a namespace")
        return checked(Identity(self._prefix() + name, tuple(named), namespace or None))

    def _prefix(self) -> str:
        if self.username_prefix is not None:
            return self.username_prefix
        return "" if self.username_claim == "email" else f"{self.issuer}#"


def checked(identity: Identity) -> Identity:
    """An identity that no issuer and no key can make Kubernetes' own; in the group of all who signed in."""
    if identity.name.startswith(RESERVED):
        raise Unauthenticated(f"user names that begin with {RESERVED} are Kubernetes' own, and no token may carry one")
    if len(identity.name) > MAX_NAME:
        raise Unauthenticated(f"the user name has more than {MAX_NAME} characters, and so can own nothing")
    groups = [group for group in identity.groups if group and not group.startswith(RESERVED)]
    return identity._replace(groups=(*groups[:MOST_GROUPS], AUTHENTICATED))


def _text(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    return value if isinstance(value, str) else ""
