"""The real lip-sync worker of another release: it speaks a contract that is one version older, or newer."""

import os
import runpy

import gpu_tasks.contract.jobs as contract

# Before anything reads it: `reading` compares jobs with what it finds here.
contract.CONTRACT_VERSION += int(os.environ["RELEASE_STEP"])

runpy.run_module("gpu_tasks.wav2lip.worker", run_name="__main__")
