"""`python -m gpu_tasks.wav2lip.worker`: the lip-sync endpoint's program."""

from gpu_tasks.runtime.serving import serve
from gpu_tasks.wav2lip.pipeline import LipSync

if __name__ == "__main__":
    serve(LipSync())
