"""`next_release.py MODULE:FUNCTION ...`: runs one of our programs as if the draft engine had other code by now."""

import sys
from importlib import import_module

from gpu_tasks.contract.jobs import Engine
from gpu_tasks.contract.manifest import manifest

RELEASE = "next"

# The processes of the CPU pool import this file again under another name.
if __name__ == "__main__":
    stages = manifest().engines[Engine.DRAFT]
    stages.update({stage: entry.model_copy(update={"code_revision": RELEASE}) for stage, entry in stages.items()})
    _, program, *arguments = sys.argv
    sys.argv = [program, *arguments]
    module, _, function = program.partition(":")
    getattr(import_module(module), function)()
