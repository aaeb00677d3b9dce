"""Rooms import only rooms below them, in the order of `rooms.toml`.

The tests read the imports from the code, including those in functions and under `if TYPE_CHECKING:`.
"""

import ast
import tomllib
from collections.abc import Iterator

import pytest

from benchmarks.helpers.import_graph import (
    Graph,
    Module,
    components,
    import_graphs,
    merged,
    read_package,
    type_checking_nodes,
)
from tests.helpers.paths import ROOT

ROOMS = tomllib.loads((ROOT / "tests" / "contract" / "rooms.toml").read_text(encoding="utf-8"))
FOLDERS = {"aammodel": "aammodel", "aamprep": "aamprep", "aam_schemas": "schemas"}
PICKLES = {"cloudpickle", "dill", "joblib", "pickle", "shelve"}
PRINTING_ROOMS = ("aammodel.cli", "aammodel.commands", "aamprep.cli", "aamprep.commands")
PRINTING_MODULES = ("aam_schemas.common.cli", "aam_schemas.common.program")
"""Modules that print for the commands."""

MODULES = {package: read_package(ROOT, folder) for package, folder in FOLDERS.items()}
ALL_MODULES = [module for modules in MODULES.values() for module in modules]
TEST_MODULES = read_package(ROOT, "tests")


def imports_of(package: str) -> Graph:
    """Return the imports among the modules of a package, including those for types."""
    return merged(*import_graphs(MODULES[package]))


def room_of(name: str) -> str:
    """Return the room of a module. The package itself is the front door, above all rooms."""
    return [*name.split("."), "front door"][1]


def levels_of(package: str) -> dict[str, int]:
    """Map each room to its level, counted from the top."""
    levels = [[rooms] if isinstance(rooms, str) else rooms for rooms in ROOMS[package]["order"]]
    return {room: level for level, rooms in enumerate([["front door"], *levels]) for room in rooms}


def foreign_imports(module: Module) -> Iterator[tuple[str, bool]]:
    """Yield each package that a module imports, and whether the import is deferred or for types only."""
    functions = [node for node in module.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    deferred = {id(node) for function in functions for node in ast.walk(function)}
    deferred |= {id(node) for node in type_checking_nodes(module)}
    for node in module.nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], id(node) in deferred) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], id(node) in deferred


def is_in(name: str, parents: tuple[str, ...] | list[str]) -> bool:
    """Return whether a module is one of the given modules, or inside one of them."""
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


@pytest.mark.parametrize("package", FOLDERS)
def test_every_room_has_a_level(package: str) -> None:
    rooms = {room_of(module.name) for module in MODULES[package]}
    planned = {"front door"}  # Not every package has them yet.
    assert rooms - levels_of(package).keys() == set()
    assert levels_of(package).keys() - rooms - planned == set()


def test_no_import_goes_up() -> None:
    found = [
        f"{source} -> {target}"
        for package in FOLDERS
        for source, targets in imports_of(package).items()
        for target in targets
        if room_of(source) != room_of(target)
        and levels_of(package)[room_of(source)] >= levels_of(package)[room_of(target)]
    ]
    assert found == []


@pytest.mark.parametrize("package", FOLDERS)
def test_no_modules_import_each_other_in_a_cycle(package: str) -> None:
    assert [sorted(names) for names in components(imports_of(package)) if len(names) > 1] == []


@pytest.mark.parametrize("package", ["aamprep", "aam_schemas"])
def test_a_package_never_imports_what_is_above_it(package: str) -> None:
    for module in MODULES[package]:
        assert not {name for name, _ in foreign_imports(module)} & set(ROOMS[package]["never"]), module.path


def test_aammodel_prepares_tables_in_few_modules_and_only_when_needed() -> None:
    rules = ROOMS["aammodel"]
    for module in MODULES["aammodel"]:
        for name, waits in foreign_imports(module):
            if name in rules["lazy_packages"]:
                assert waits, f"{module.path} imports {name} at once"
                assert is_in(module.name, rules["lazy_modules"]), f"{module.path} imports {name}"


def test_nothing_is_pickled() -> None:
    for module in ALL_MODULES:
        assert not {name for name, _ in foreign_imports(module)} & PICKLES, module.path
        assert "torch.load(" not in module.text or "weights_only=True" in module.text, module.path


def prints(module: Module) -> bool:
    """Return whether a module calls `print` or `say` outside of `if __name__ == "__main__":`."""
    scripts = [
        node for node in module.nodes if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
    ]
    in_scripts = {id(node) for script in scripts for node in ast.walk(script)}
    calls = [node for node in module.nodes if isinstance(node, ast.Call) and id(node) not in in_scripts]
    return any(isinstance(call.func, ast.Name) and call.func.id in ("print", "say") for call in calls)


def test_only_commands_print() -> None:
    below = [module for module in ALL_MODULES if not is_in(module.name, PRINTING_ROOMS + PRINTING_MODULES)]
    assert [module.name for module in below if prints(module)] == []


def test_tests_import_helpers_and_no_test_modules() -> None:
    for module in TEST_MODULES:
        sources = [node.module or "" for node in module.nodes if isinstance(node, ast.ImportFrom)]
        sources += [
            alias.name for node in module.nodes if isinstance(node, ast.Import) for alias in node.names
        ]
        own = [source for source in sources if source.split(".")[0] == "tests"]
        assert all(is_in(source, ["tests.helpers"]) for source in own), module.path


def test_tests_name_no_module_by_a_string_to_patch_it() -> None:
    for module in TEST_MODULES:
        for call in (node for node in module.nodes if isinstance(node, ast.Call)):
            is_patch = isinstance(call.func, ast.Attribute) and call.func.attr in ("setattr", "delattr")
            first = call.args[0] if call.args else None
            is_text = isinstance(first, ast.Constant) and isinstance(first.value, str)
            assert not (is_patch and is_text), f"{module.path}:{call.lineno}"


@pytest.mark.parametrize("package", ["aammodel", "aamprep"])
def test_folders_of_tests_mirror_rooms(package: str) -> None:
    folders = {path.name for path in (ROOT / "tests" / package).iterdir() if list(path.glob("**/test_*.py"))}
    files = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / package).glob("test_*.py")}
    assert folders | files <= levels_of(package).keys()


def test_packages_whose_shapes_are_checked_exist() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    options = settings["tool"]["pytest"]["ini_options"]["addopts"]
    checked = next(option for option in options if option.startswith("--jaxtyping-packages="))
    names = {name for name in checked.partition("=")[2].split(",") if name.startswith("aammodel")}
    assert names
    assert names <= {module.name for module in MODULES["aammodel"]}
