"""`python -m gpu_tasks.facefusion.worker`: the face swap endpoint's program."""

import cv2

from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.runtime.serving import serve
from gpu_tasks.settings import WeightSettings
from gpu_tasks.weights import open_weights

if __name__ == "__main__":
    # Decoding, swapping and encoding have a thread each; OpenCV's own only wait for work (a tenth more CPU, measured).
    cv2.setNumThreads(1)
    serve(FaceSwap(NeuralSwap(open_weights(WeightSettings()), FaceSwapSettings())))
