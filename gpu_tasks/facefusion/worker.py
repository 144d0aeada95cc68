"""`python -m gpu_tasks.facefusion.worker`: the face swap endpoint's program."""

from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.runtime.serving import serve

if __name__ == "__main__":
    serve(FaceSwap())
