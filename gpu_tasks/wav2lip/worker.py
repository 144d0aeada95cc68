"""`python -m gpu_tasks.wav2lip.worker`: the lip-sync endpoint's program."""

from gpu_tasks.runtime.serving import serve
from gpu_tasks.settings import WeightSettings
from gpu_tasks.wav2lip.pipeline import LipSync
from gpu_tasks.weights import open_weights

if __name__ == "__main__":
    serve(LipSync(open_weights(WeightSettings())))
