"""The entry of a worker process: settings, log, scratch, then the SDK's loop."""

import logging
import sys
from importlib.resources import files
from pathlib import Path

import runpod
from pydantic import ValidationError

from gpu_tasks import tracing
from gpu_tasks.runtime.execution import Workshop
from gpu_tasks.runtime.faulting import first_problem
from gpu_tasks.runtime.fitness import fitness_checks
from gpu_tasks.runtime.handler import Handler
from gpu_tasks.runtime.job_log import configure_log
from gpu_tasks.runtime.pipeline import JobT, Pipeline
from gpu_tasks.runtime.scratch import open_scratch
from gpu_tasks.settings import WorkerSettings
from gpu_tasks.storage import connect

_log = logging.getLogger(__name__)


def serve(pipeline: Pipeline[JobT]) -> None:
    """Serve jobs of one stage until the platform stops this process."""
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        sys.exit(f"The worker is not configured. {error.title}: {first_problem(error)}")
    configure_log(settings.log_level)
    tracing.set_up(f"lipswap-{pipeline.stage}", settings.otel_endpoint)
    with open_scratch(settings.scratch_root) as scratch:
        workshop = Workshop(pipeline=pipeline, store=connect(settings.r2), scratch=scratch, threads=settings.threads)
        handler = Handler(workshop, worker_id=settings.worker_id, send_progress=runpod.serverless.progress_update)
        _log.info("serving", extra={"facts": {"stage": pipeline.stage, "worker_id": settings.worker_id}})
        for check in fitness_checks(scratch.home, Path(str(files("gpu_tasks.draft").joinpath("models")))):
            runpod.serverless.register_fitness_check(check)
        runpod.serverless.start({"handler": handler.handle})
