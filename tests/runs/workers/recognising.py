"""The face swap worker with stand-ins for its models, whatever digests are published for the real ones.

`python -m tests.runs.workers.recognising`
"""

from gpu_tasks.contract.manifest import manifest
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.runtime.serving import serve
from gpu_tasks.settings import WeightSettings
from gpu_tasks.weights import WeightStore
from tests.facefusion.clips import unpinned

if __name__ == "__main__":
    store = WeightStore(WeightSettings().weights, unpinned(), acknowledged=frozenset(manifest().licences))
    serve(FaceSwap(NeuralSwap(store, FaceSwapSettings())))
