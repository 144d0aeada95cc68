"""What GPU work has been begun, as the control plane counts it."""

import httpx

from deployments.local.addresses import StackAddresses


def jobs_begun(at: StackAddresses) -> int:
    answer = httpx.get(
        f"{at.runpod_api_base.removesuffix('/v2')}/local/counters",
        headers={"Authorization": f"Bearer {at.runpod_api_key.get_secret_value()}"},
    )
    return sum(endpoint["started"] for endpoint in answer.raise_for_status().json()["endpoints"].values())
