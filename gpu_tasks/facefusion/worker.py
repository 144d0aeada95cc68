"""`python -m gpu_tasks.facefusion.worker`: the face swap endpoint's program."""

from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.runtime.serving import serve
from gpu_tasks.settings import WeightSettings
from gpu_tasks.weights import open_weights

if __name__ == "__main__":
    serve(FaceSwap(NeuralSwap(open_weights(WeightSettings()), FaceSwapSettings())))
