"""A worker without the SDK: it speaks only what dispatch needs of the protocol, and starts a job at once."""

import asyncio
import os
import time

import aiohttp


async def main() -> None:
    """Take, reply with the time of the take, and take again."""
    worker = os.environ["RUNPOD_POD_ID"]
    take = os.environ["RUNPOD_WEBHOOK_GET_JOB"].replace("$ID", worker) + "&job_in_progress=0"
    done = os.environ["RUNPOD_WEBHOOK_POST_OUTPUT"].replace("$RUNPOD_POD_ID", worker)
    headers = {"Authorization": os.environ["RUNPOD_AI_API_KEY"]}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            try:
                async with session.get(take) as answer:
                    job = await answer.json() if answer.status == 200 else None
            except aiohttp.ClientError:
                # As the SDK does, which outlives a service that is away.
                await asyncio.sleep(0.2)
                continue
            if job:
                output = {"begun": time.time()}
                await asyncio.sleep(job["input"].get("seconds", 0))
                await session.post(done.replace("$ID", job["id"]), json={"output": output})


asyncio.run(main())
