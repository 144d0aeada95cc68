"""What a Dockerfile copies, installs and runs, read from its own text."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployments" / "images"
_CONTINUED = re.compile(r"\\\n\s*")
_REQUIREMENTS = re.compile(r"pip install --no-deps --require-hashes -r (\S+)")


@dataclass(frozen=True)
class Instruction:
    word: str
    rest: str


@dataclass(frozen=True)
class Dockerfile:
    path: Path
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(".Dockerfile")

    def all(self, word: str) -> list[str]:
        return [each.rest for each in self.instructions if each.word == word]

    @property
    def copied(self) -> list[tuple[list[str], str]]:
        """Sources and destination of each copy out of the build context."""
        copies = [rest.split() for rest in self.all("COPY") if not rest.startswith("--from")]
        return [(parts[:-1], parts[-1]) for parts in copies]

    def is_sent(self, path: str) -> bool:
        """Whether the build is sent this file of ours: the last line of .dockerignore that matches decides."""
        lines = self.path.with_name(f"{self.path.name}.dockerignore").read_text(encoding="utf-8").splitlines()
        sent = True
        for line in (each.strip() for each in lines if each.strip() and not each.startswith("#")):
            if _pattern(line.removeprefix("!")).match(path):
                sent = line.startswith("!")
        return sent

    @property
    def requirements(self) -> list[str]:
        """The lock files that are installed: tools of the build first, the image's own last."""
        return _REQUIREMENTS.findall("\n".join(self.all("RUN")))

    @property
    def command(self) -> list[str]:
        """What the container runs."""
        return [*json.loads(self.all("ENTRYPOINT")[-1]), *json.loads(self.all("CMD")[-1])]

    @property
    def health(self) -> list[str]:
        """What Docker asks to know whether it is well."""
        words = json.loads(self.all("HEALTHCHECK")[-1].partition("CMD ")[2])
        return list(words)


def _pattern(line: str) -> re.Pattern[str]:
    """Return what a line of .dockerignore matches: a path, or everything below a folder."""
    parts = {"**/": "(?:.*/)?", "*": "[^/]*"}
    pattern = re.sub(r"\*\*/|\*|[^*]+", lambda found: parts.get(found[0]) or re.escape(found[0]), line)
    return re.compile(f"{pattern}(?:/.*)?$")


def read(path: Path) -> Dockerfile:
    text = _CONTINUED.sub(" ", path.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return Dockerfile(path, tuple(Instruction(*line.split(None, 1)) for line in lines))


def dockerfiles() -> list[Dockerfile]:
    return [read(path) for path in sorted(FOLDER.glob("*.Dockerfile"))]
