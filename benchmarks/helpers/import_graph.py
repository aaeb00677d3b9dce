"""Source files and the imports among them, read without running anything."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Module:
    """A source file of a package; `path` is relative to the root of the checkout."""

    path: Path
    text: str
    import_root: Path
    """Folder that Python imports the package from, relative to the root of the checkout."""

    @property
    def is_init(self) -> bool:
        """Whether the file makes its folder a package."""
        return self.path.name == "__init__.py"

    @property
    def name(self) -> str:
        """The name under which the file is imported."""
        inside = self.path.relative_to(self.import_root)
        return ".".join(inside.parent.parts if self.is_init else inside.with_suffix("").parts)

    @property
    def package(self) -> str:
        """The package that holds the file, which its relative imports start from."""
        return self.name if self.is_init else self.name.rpartition(".")[0]

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the file."""
        return self.text.splitlines()

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """The nodes of its syntax tree."""
        return list(ast.walk(ast.parse(self.text)))


def read_package(root: Path, package: str) -> list[Module]:
    """Read all source files of a folder, which is a package or holds one."""
    import_root = Path() if (root / package / "__init__.py").exists() else Path(package)
    paths = sorted((root / package).rglob("*.py"))
    return [Module(path.relative_to(root), path.read_text(encoding="utf-8"), import_root) for path in paths]


def import_graphs(modules: list[Module]) -> tuple[Graph, Graph]:
    """Return the imports among the modules: those that run, and those under `if TYPE_CHECKING:`."""
    names = {module.name for module in modules}
    runs: Graph = {name: set() for name in names}
    for_types: Graph = {name: set() for name in names}
    for module in modules:
        guarded = {id(node) for node in type_checking_nodes(module)}
        for node in module.nodes:
            graph = for_types if id(node) in guarded else runs
            graph[module.name] |= imported_modules(module, node, names) - {module.name}
    return runs, for_types


def type_checking_nodes(module: Module) -> Iterator[ast.AST]:
    for node in module.nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for statement in node.body:
                yield from ast.walk(statement)


def imported_modules(module: Module, node: ast.AST, names: set[str]) -> set[str]:
    """Return the known modules that a statement imports.

    `from package import name` imports the submodule of that name, or else the package.
    """
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & names
    if not isinstance(node, ast.ImportFrom):
        return set()
    package = module.package.split(".")
    parent = package[: len(package) + 1 - node.level] if node.level else []
    source = ".".join([*parent, *([node.module] if node.module else [])])
    inside = {f"{source}.{alias.name}" for alias in node.names}
    return (inside if inside <= names else inside | {source}) & names


def merged(graph: Graph, other: Graph) -> Graph:
    return {name: graph[name] | other[name] for name in graph}


def count_cycles(graph: Graph) -> int:
    return sum(len(component) > 1 for component in components(graph))


def longest_chain(graph: Graph) -> int:
    """Return the number of modules on the longest path over the components."""
    longest: dict[str, int] = {}
    for component in components(graph):
        below = {target for name in component for target in graph[name]} - component
        length = len(component) + max((longest[name] for name in below), default=0)
        longest |= dict.fromkeys(component, length)
    return max(longest.values())


def components(graph: Graph) -> list[frozenset[str]]:
    """Return the strongly connected components, each after those that it imports."""
    reached = {name: reachable(name, graph) for name in graph}
    found = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    # A component reaches more modules than any other component that it imports.
    return sorted(found, key=lambda component: len(reached[min(component)]))


def reachable(name: str, graph: Graph) -> set[str]:
    """Return the modules that a module imports, itself and indirect ones included."""
    reached, waiting = {name}, [name]
    while waiting:
        new = graph[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached
