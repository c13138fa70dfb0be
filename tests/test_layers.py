"""Imports only go down. Walks every import statement under src/fairway."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "fairway"

# Bottom first. A package may import from lower rows and from itself, never from its own row or above.
LAYERS = [
    {"errors", "settings", "tensors"},
    {"kernels", "text", "registry", "builtin"},
    {"formats"},
    {"models"},
    {"quantize", "proof"},
    {"convert"},
    {"engine", "autoquantize"},
    {"runtimes"},
    {"map", "tune"},
    {"fleet", "server"},
    {"console", "deploy", "report"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported_packages(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            names = [node.module or ""]
            if node.module == "fairway":
                names = [f"fairway.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("fairway.")}
    return found - {"__version__"}


MODULES = sorted(p for p in SOURCE.rglob("*.py") if p.parent != SOURCE or p.stem != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_only_go_down(path: Path) -> None:
    package = package_of(path)
    assert package in LEVEL, f"{package} has no layer: add it to LAYERS and to docs/concepts/architecture.md"
    for other in imported_packages(path) - {package}:
        same_bottom_row = LEVEL[other] == LEVEL[package] == 0
        assert LEVEL[other] < LEVEL[package] or same_bottom_row, f"{path.name}: {package} imports {other}"


def test_folders_are_at_most_two_deep() -> None:
    deep = [p for p in SOURCE.rglob("*.py") if len(p.relative_to(SOURCE).parts) > 3]
    assert deep == []


def test_tests_share_helpers_and_not_each_other() -> None:
    """What two tests need lies in a file that holds no test."""
    folder = Path(__file__).parent
    found = [
        f"{path.relative_to(folder)}: {line}"
        for path in folder.rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if line.startswith(("from test_", "import test_", "from tests"))
    ]
    assert found == []
