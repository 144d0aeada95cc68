"""What must be right before the first change: keys, quota and images are asked for first, nothing is half applied."""

from collections.abc import Iterable, Sequence

from deployments.fleet.declaration import Declaration
from deployments.fleet.errors import PreflightError
from deployments.fleet.images import ImageRegistry
from deployments.fleet.planning import endpoints_in, templates_in
from deployments.fleet.resources import Endpoint, Found, Resource


def check_quota(declaration: Declaration, wanted: Sequence[Resource], found: Iterable[Found]) -> None:
    """Count the workers of all endpoints of the account: RunPod's quota is over their sum, ours or not.

    Raises:
        PreflightError: The declared maximum does not fit.
    """
    ours = endpoints_in(wanted)
    names = {endpoint.name for endpoint in ours}
    others = [one.resource for one in found if isinstance(one.resource, Endpoint) and one.resource.name not in names]
    declared, other = sum(one.workers_max for one in ours), sum(one.workers_max for one in others)
    if declared + other > declaration.worker_quota:
        beside = (
            f" beside {other} of other endpoints ({', '.join(sorted(one.name for one in others))})" if other else ""
        )
        raise PreflightError(
            f"The declaration asks for {declared} workers{beside}, but worker_quota is {declaration.worker_quota}; "
            "lower workers.max, or raise the account's quota (it grows with the balance) and then worker_quota."
        )


def check_images(wanted: Sequence[Resource], registry: ImageRegistry) -> None:
    """Ask for every image.

    Raises:
        PreflightError: An image is not there, or its registry does not answer.
    """
    for image in sorted({template.image for template in templates_in(wanted)}):
        registry.check(image)
