"""Each image without a container engine: a fresh environment, and only the files that the Dockerfile copies.

What only a GPU can use stays out: CUDA's libraries and torch, which is imported when a checkpoint asks for it.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.deploy.dockerfiles import ROOT, Dockerfile, dockerfiles
from tests.waiting import wait_until

pytestmark = [pytest.mark.images, pytest.mark.timeout(1800)]

IMAGES = dockerfiles()
COMPOSE = ROOT / "deployments" / "compose"
each_image = pytest.mark.parametrize("image", IMAGES, ids=[image.name for image in IMAGES], indirect=True)
# Megabytes without weights: issue's figures for api and page.
LARGEST = {"api": 900, "ui": 500}
# From a cache that has every package: the figure for the API.
LONGEST_SECONDS = {"api": 180.0}
_CUDA_ONLY = re.compile(r"^(nvidia-|cuda-|triton|torch==)")

# A process that finds no setting says which one it lacks: it was found, imported and began. The page lacks none.
FIRST_WORDS = {
    "api": r"R2_ENDPOINT|endpoint|JOBSTORE_REDIS_URL|PREFECT_API_URL",
    "ui": r"The page listens on",
    "wav2lip": r"endpoint|R2_",
    "facefusion": r"endpoint|R2_",
}


@dataclass(frozen=True)
class Environment:
    name: str
    python: Path
    seconds: float

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), *command],
            cwd=self.python.parents[2],
            env=self._environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def says(self, words: str, *command: str, **variables: str) -> str:
        """Start a command, and return what it has said once it says these words or has ended; it is stopped then."""
        said = self.python.parents[2] / "said.txt"
        with (
            said.open("wb") as file,
            subprocess.Popen(
                [str(self.python), *command],
                cwd=said.parent,
                env=self._environment | variables,
                stdout=file,
                stderr=file,
            ) as process,
        ):

            def has_spoken() -> bool:
                return process.poll() is not None or re.search(words, said.read_text(encoding="utf-8")) is not None

            try:
                wait_until(has_spoken, seconds=120, what=f"{self.name} has begun")
            finally:
                process.kill()
        return said.read_text(encoding="utf-8")

    @property
    def _environment(self) -> dict[str, str]:
        return {"PATH": str(self.python.parent), "HOME": str(self.python.parents[2]), "PYTHONSAFEPATH": "1"}

    def megabytes(self) -> int:
        files = [path for path in self.python.parents[1].rglob("*") if path.is_file() and not path.is_symlink()]
        return sum(path.stat().st_size for path in files) >> 20


@pytest.fixture(scope="module")
def environments() -> dict[str, Environment]:
    return {}


@pytest.fixture
def image(
    request: pytest.FixtureRequest, environments: dict[str, Environment], tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    wanted: Dockerfile = request.param
    if wanted.name not in environments:
        environments[wanted.name] = _installed(wanted, tmp_path_factory.mktemp(wanted.name))
    return environments[wanted.name]


@each_image
def test_it_is_small_and_quickly_installed(image: Environment) -> None:
    size = image.megabytes()
    print(f"{image.name}: {size} MB, installed in {image.seconds:.0f} s")  # noqa: T201  # a figure for the docs

    assert size < LARGEST.get(image.name, 2000)
    assert image.seconds < LONGEST_SECONDS.get(image.name, 600.0)


@each_image
def test_what_is_installed_fits_together(image: Environment) -> None:
    checked = image.run("-m", "pip", "check")
    problems = [line for line in checked.stdout.splitlines() if "requires torch" not in line and "nvidia" not in line]

    assert [line for line in problems if line != "No broken requirements found."] == []


@each_image
def test_its_command_starts_and_asks_for_its_settings(image: Environment) -> None:
    command = next(one for one in IMAGES if one.name == image.name).command
    assert command[0] == "python"

    # No settings at all, as a container that was started without its environment file; but any port, for the page.
    said = image.says(FIRST_WORDS[image.name], *command[1:], LIPSWAP_PAGE_PORT="0")

    assert "ModuleNotFoundError" not in said
    assert "ImportError" not in said
    assert re.search(FIRST_WORDS[image.name], said), said[-2000:]


@each_image
def test_every_module_that_it_holds_of_us_can_be_imported(image: Environment) -> None:
    if image.name != "api":
        pytest.skip("the other images hold single packages whose optional modules stay unused")
    tried = image.run("-c", "import api_shim.app, flows.worker, flows.serving, deployments.deploy, deployments.cli")

    assert tried.returncode == 0, tried.stderr[-2000:]


@each_image
def test_every_program_that_the_compose_files_run_in_it_is_there(image: Environment) -> None:
    files = [
        yaml.safe_load((COMPOSE / name).read_text(encoding="utf-8")) for name in ("compose.yaml", "compose.ha.yaml")
    ]
    services = [said for file in files for said in file["services"].values()]
    programs = {
        said["command"][0]
        for said in services
        if "command" in said and f"lipswap-{image.name}:" in said.get("image", "")
    }

    assert image.name != "api" or programs == {"lipswap", "prefect", "python"}
    assert {name for name in programs if not os.access(image.python.with_name(name), os.X_OK)} == set()


@each_image
def test_doctor_looks_at_production_in_the_image_that_is_to_do_it(image: Environment) -> None:
    if image.name != "api":
        pytest.skip("compose.yaml's doctor runs in the API's image")

    told = image.run("-m", "deployments.images.start", str(image.python.with_name("lipswap")), "doctor", "--production")

    assert told.returncode == 1
    assert "R2_ENDPOINT: Field required" in told.stderr + told.stdout


@each_image
def test_what_does_not_belong_there_is_not_there(image: Environment) -> None:
    foreign = {
        "api": ("torch", "panel", "runpod"),
        "ui": ("prefect", "torch", "runpod", "boto3", "cv2", "av"),
        "wav2lip": ("prefect", "panel", "redis"),
        "facefusion": ("prefect", "panel", "redis", "torch"),
    }[image.name]
    asked = image.run("-c", f"import importlib.util as u; print([n for n in {foreign!r} if u.find_spec(n)])")

    assert asked.stdout.strip() == "[]"


@each_image
def test_its_health_check_runs(image: Environment) -> None:
    health = next(one for one in IMAGES if one.name == image.name).health

    checked = image.run(*(re.sub(r":\d+/", ":1/", word) for word in health[1:]))

    # Nothing listens on port 1, and a worker for CUDA is not fit for a machine without.
    expected = "cannot use it here" if image.name in {"wav2lip", "facefusion"} else "Connection refused"
    assert checked.returncode == 1
    assert expected in checked.stderr, checked.stderr[-2000:]


def _installed(image: Dockerfile, folder: Path) -> Environment:
    source = folder / "src"
    for copied, destination in image.copied:
        for each in copied:
            target = source / destination / Path(each).name if destination.endswith("/") else source / destination
            target = source / destination / each if destination == "./" else target
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / each).is_dir():
                shutil.copytree(ROOT / each, target, ignore=_not_sent(image))
            else:
                shutil.copy2(ROOT / each, target)
    uv = str(Path(sys.executable).with_name("uv"))
    tools, packages = image.requirements
    environment = {**os.environ, "UV_NO_CONFIG": "0", "VIRTUAL_ENV": ""}

    def run(*command: str) -> None:
        subprocess.run(command, cwd=source, env=environment, check=True, timeout=900)

    venv = folder / "lipswap"
    build = folder / "build"
    locked = _from(source / packages, folder)

    def installed_in(there: Path) -> float:
        began = time.monotonic()
        run(uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(there))
        run(uv, "pip", "install", "--quiet", "--no-deps", "--python", str(there), *locked)
        return time.monotonic() - began

    # The first may have had to fetch packages, the second finds all of them.
    installed_in(venv)
    seconds = installed_in(folder / "again")
    shutil.rmtree(folder / "again")
    run(uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(build))
    run(uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--python", str(build), "-r", tools)
    run(
        str(build / "bin" / "pip"),
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder / "dist"),
        ".",
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    run(uv, "pip", "install", "--quiet", "--no-deps", "--python", str(venv), str(wheel))
    # From here on nothing but what was installed is there.
    shutil.rmtree(source)
    return Environment(image.name, venv / "bin" / "python", seconds)


def _not_sent(image: Dockerfile) -> Callable[[str, list[str]], set[str]]:
    """Return what `copytree` leaves out: files that the build is not sent."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        paths = {name: Path(folder, name) for name in names}
        return {
            name
            for name, path in paths.items()
            if name == "__pycache__" or (path.is_file() and not image.is_sent(path.relative_to(ROOT).as_posix()))
        }

    return ignored


def _from(lock: Path, folder: Path) -> list[str]:
    """Return the arguments for the image's lock, less what only a GPU can use."""
    text = lock.read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    kept = [block for block in blocks if not _CUDA_ONLY.match(block)]
    assert len(blocks) > len(kept) or "torch==" not in text
    path = folder / lock.name
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return ["--require-hashes", "-r", str(path)]
