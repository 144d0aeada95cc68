"""What an API is to `Account`: which requests make, change, remove and list our resources, and what they tell.

RunPod's REST v1 has templates beside endpoints; v2 keeps image and environment inside the endpoint. The plan knows both
as two resources; a dialect says with which requests that is done, and None where another request does it along.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from deployments.fleet.resources import Found, Kind, Resource


class Listing(NamedTuple):
    """Where a list is, and under which name of the answer; an answer without one is the list itself."""

    path: str
    query: Mapping[str, str]
    wrapped_in: str | None = None


class Write(NamedTuple):
    """One request that changes something."""

    method: str
    path: str
    body: Mapping[str, Any]


class Known(NamedTuple):
    """Ids of what is there, and all that is wanted, by kind and name."""

    ids: Mapping[tuple[Kind, str], str]
    wanted: Mapping[tuple[Kind, str], Resource]


class Dialect(Protocol):
    """One version of the API."""

    listings: Mapping[Kind, Listing]

    def read(self, answers: Mapping[Kind, list[dict[str, Any]]]) -> tuple[Found, ...]:
        """Return what the lists hold, with names in the place of ids."""
        ...

    def as_told(self, wanted: Sequence[Resource]) -> tuple[Resource, ...]:
        """Return what is wanted in the words in which the API tells what is there, so that both can be compared."""
        ...

    def creating(self, resource: Resource, known: Known) -> Write | None:
        """Return the request that makes a resource."""
        ...

    def updating(self, id_: str, resource: Resource, known: Known) -> Write | None:
        """Return the request that brings a resource to what is wanted."""
        ...

    def deleting(self, id_: str, kind: Kind) -> str | None:
        """Return the path of what is removed."""
        ...
