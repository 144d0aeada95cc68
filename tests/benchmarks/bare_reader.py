"""The least that can answer GET /status: FastAPI, redis.asyncio, one GET. `python -m tests.benchmarks.bare_reader`."""

import os
import sys

import uvicorn
from fastapi import FastAPI
from fastapi.responses import Response
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["JOBSTORE_REDIS_URL"], max_connections=16)


@app.get("/status/{task_id}")
async def status(task_id: str) -> Response:
    return Response(await redis.get(f"ff:task:{task_id}"), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
