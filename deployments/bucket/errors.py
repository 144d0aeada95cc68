"""What can go wrong with the bucket's own set-up."""

from deployments.fleet.errors import DeployError


class BucketError(DeployError):
    """The bucket cannot be prepared; the sentence names the variable or the permission, and the fix."""
