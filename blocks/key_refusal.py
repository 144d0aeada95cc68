"""Whether RunPod refuses the key: found by a flow, known to the door for a while, never probed."""

from blocks.job_store import READING_SECONDS, JobStore


async def note_key_refused(store: JobStore) -> None:
    """Tell every process of the deployment; it is forgotten after a while.

    Raises:
        JobStoreError: Redis is away.
    """
    async with store.commands() as redis:
        await redis.set(_name(store), "1", ex=READING_SECONDS)


async def is_key_refused(store: JobStore) -> bool:
    """Tell whether RunPod has refused the key lately.

    Raises:
        JobStoreError: Redis is away.
    """
    async with store.commands() as redis:
        return bool(await redis.exists(_name(store)))


def _name(store: JobStore) -> str:
    return f"{store.prefix}:runpod-key-refused"
