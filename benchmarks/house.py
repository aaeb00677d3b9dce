"""Measure how the source code and the user pages are built, and compare two checkouts.

`python benchmarks/house.py [ROOT]` prints a table for a checkout (default: the one that holds this script).
`--against OTHER_ROOT` adds the figures of another checkout, and `--json` prints all figures as JSON.

How the measures are defined:

- Modules exclude `__init__.py`, except in the import graph and in the lengths of files.
- A room is a folder directly below a package, with everything in it, or a module directly below the package.
- The order of rooms comes from a TOML file, by default ROOT/tests/contract/rooms.toml. It has one table per
  package: `[aammodel] order = ["commands", "api", ...]`, from top to bottom. A nested list is one level. An
  import goes up if its target stands above its source. Without an order the table shows "-".
- Imports inside functions count. Imports under `if TYPE_CHECKING:` are counted apart. The longest chain of
  imports is counted in modules, and a cycle on it counts with all its modules.
- A function starts at its `def` and ends with its last line. Parameters include *args and **kwargs, but not
  self or cls. Functions in a folder called commands are counted apart, since their parameters are options.
- Public functions and classes, nested ones included, are those whose own name begins with no underscore.
- Attribute docstrings are strings that follow an assignment in a module or a class.
- Comment lines hold only a comment. Their fraction is taken of the lines that are not blank.
- Repeated blocks are runs of six or more lines that occur earlier too. Indentation, imports, blank lines and
  comments are ignored.
- The files that a new loss would change cannot be computed. They are approximated by the files that know an
  existing loss: those with a name or a string (docstrings excluded) that matches `--loss-names`. The default
  is the loss of the masked bases.
- Prose is README.md and docs/*.md without experiments.md and rules.md, stripped of code, tables, headings and
  addresses of links.
"""

import argparse
import ast
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median_low

from helpers.import_graph import (
    Graph,
    Module,
    count_cycles,
    import_graphs,
    longest_chain,
    merged,
    read_package,
)
from helpers.paths import ROOT

PACKAGES = ("schemas", "aamprep", "aammodel")
LOSS_NAMES = "nucleotide|masked_token"
ROOMS_FILE = "tests/contract/rooms.toml"
SHORT_FILE = 60
REPEATED_LINES = 6
DOCSTRING_STARTS = {"Of": "Of", "What": "What", "Give": "Gives?", "Tell": "Tells?"}
PAGES_LEFT_OUT = ("experiments.md", "rules.md")
WORDS_OF_PROSE = {
    "semicolons": ";",
    '"what"': r"\bwhat\b",
    '"that", "which", "whose"': r"\b(that|which|whose)\b",
    '"you", "your"': r"\byour?\b",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
Orders = Mapping[str, list]
Figures = dict[str, float | None]


# Files and functions


def measure_files(modules: list[Module]) -> Figures:
    folders = Counter(module.path.parent for module in modules if not module.is_init)
    direct = Counter(module.package for module in modules if not module.is_init and "." not in module.package)
    lengths = sorted(len(module.lines) for module in modules)
    return {
        "files": len(modules),
        "lines": sum(lengths),
        "modules directly in the package folder": max(direct.values()),
        "most modules in one folder": max(folders.values()),
        "file length: median": median_low(lengths),
        "file length: 90 % are at most": percentile_90(lengths),
        "file length: longest": lengths[-1],
        f"files under {SHORT_FILE} lines": sum(length < SHORT_FILE for length in lengths),
    }


def measure_functions(modules: list[Module]) -> Figures:
    functions = [(m, node) for m in modules for node in m.nodes if isinstance(node, Function)]
    lengths = sorted(length_of(function) for _, function in functions)
    in_commands: list[int] = []
    elsewhere: list[int] = []
    for module, function in functions:
        group = in_commands if "commands" in module.path.parts else elsewhere
        group.append(num_parameters(function.args))
    return {
        "function length: 90 % are at most": percentile_90(lengths),
        "function length: longest": lengths[-1],
        "most parameters of a command": max(in_commands, default=None),
        "most parameters of another function": max(elsewhere, default=None),
    }


def length_of(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def num_parameters(arguments: ast.arguments) -> int:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    num_named = sum(argument.arg not in ("self", "cls") for argument in named)
    return num_named + (arguments.vararg is not None) + (arguments.kwarg is not None)


def percentile_90(values: list[int]) -> int:
    """Return the smallest of the sorted values that 90 % of them do not exceed."""
    return values[-(-9 * len(values) // 10) - 1]


def count_repeated_blocks(modules: list[Module]) -> int:
    """Count maximal runs of windows of lines that occurred before, in the same file or another."""
    seen: set[tuple[str, ...]] = set()
    num_blocks = 0
    for module in modules:
        lines = lines_to_compare(module)
        windows = [tuple(lines[i : i + REPEATED_LINES]) for i in range(len(lines) - REPEATED_LINES + 1)]
        was_repeated = False
        for window in windows:
            is_repeated = window in seen
            num_blocks += is_repeated and not was_repeated
            was_repeated = is_repeated
            seen.add(window)
    return num_blocks


def lines_to_compare(module: Module) -> list[str]:
    imports = [node for node in module.nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    left_out = {i for node in imports for i in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    lines = [line.strip() for i, line in enumerate(module.lines, start=1) if i not in left_out]
    return [line for line in lines if line and not line.startswith("#")]


# Imports


def measure_imports(modules: list[Module], orders: Orders) -> Figures:
    graph, for_types = import_graphs(modules)
    rooms = {module.name: room_of(module) for module in modules}
    room_graph: Graph = {room: set() for room in rooms.values()}
    for name, targets in graph.items():
        room_graph[rooms[name]] |= {rooms[target] for target in targets} - {rooms[name]}
    level = levels(orders)
    ordered = [room for room in room_graph if room.split("/")[0] in orders and "__init__" not in room]
    return {
        "rooms": len(room_graph),
        "imports between rooms": sum(map(len, room_graph.values())),
        "imports between rooms that go up": count_up(room_graph, level) if ordered else None,
        "rooms missing from the order": sum(room not in level for room in ordered) if ordered else None,
        "imports between modules": sum(map(len, graph.values())),
        "imports for types only": sum(map(len, for_types.values())),
        "cycles of modules": count_cycles(graph),
        "cycles of modules, with imports for types": count_cycles(merged(graph, for_types)),
        "cycles of rooms": count_cycles(room_graph),
        "longest chain of imports (modules)": longest_chain(graph),
    }


def room_of(module: Module) -> str:
    return "/".join(module.path.relative_to(module.import_root).with_suffix("").parts[:2])


def levels(orders: Orders) -> dict[str, int]:
    """Map each room to its level, counted from the top."""
    return {
        f"{package}/{room}": level
        for package, order in orders.items()
        for level, rooms in enumerate(order)
        for room in ([rooms] if isinstance(rooms, str) else rooms)
    }


def count_up(room_graph: Graph, level: Mapping[str, int]) -> int:
    return sum(
        level[target] < level[source]
        for source, targets in room_graph.items()
        for target in targets
        if source in level and target in level and source.split("/")[0] == target.split("/")[0]
    )


# Documentation


def measure_documentation(modules: list[Module]) -> Figures:
    nodes = [node for module in modules for node in module.nodes]
    public = [node for node in nodes if isinstance(node, Definition) and not node.name.startswith("_")]
    texts = [text for module in modules for text in docstrings(module)]
    lines = [line.strip() for module in modules for line in module.lines if line.strip()]
    loops = [node for node in nodes if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension)]
    starts = {
        f'docstrings that begin with "{word}"': sum(bool(re.match(rf"{pattern}\b", text)) for text in texts)
        for word, pattern in DOCSTRING_STARTS.items()
    }
    return {
        "public definitions with a docstring (%)": percent(
            sum(ast.get_docstring(node) is not None for node in public), len(public)
        ),
        "comment lines (%)": percent(sum(line.startswith("#") for line in lines), len(lines)),
        **starts,
        "loops with a variable called one": sum("one" in names_in(loop.target) for loop in loops),
    }


def docstrings(module: Module) -> Iterator[str]:
    """Yield the docstrings of the module, its classes, functions and attributes."""
    for node in module.nodes:
        if isinstance(node, ast.Module | Definition):
            yield ast.get_docstring(node) or ""
        if isinstance(node, ast.Module | ast.ClassDef):
            yield from attribute_docstrings(node.body)


def attribute_docstrings(body: list[ast.stmt]) -> Iterator[str]:
    for before, node in pairwise(body):
        value = node.value if isinstance(node, ast.Expr) else None
        text = value.value if isinstance(value, ast.Constant) else None
        if isinstance(text, str) and isinstance(before, ast.Assign | ast.AnnAssign):
            yield text.strip()


def names_in(node: ast.AST) -> set[str]:
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}


def percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


# Files that a new loss would change


def count_loss_files(modules: list[Module], pattern: str) -> int:
    return sum(any(re.search(pattern, text) for text in names_and_strings(module)) for module in modules)


def names_and_strings(module: Module) -> Iterator[str]:
    docstring_ids = {id(node.value) for node in module.nodes if isinstance(node, ast.Expr)}
    for node in module.nodes:
        if id(node) not in docstring_ids:
            fields = ("id", "attr", "arg", "name", "value")
            yield from (text for field in fields if isinstance(text := getattr(node, field, None), str))


# Pages for users


def measure_pages(root: Path) -> Figures:
    pages = [page for page in sorted((root / "docs").glob("*.md")) if page.name not in PAGES_LEFT_OUT]
    prose = "\n".join(prose_of(page.read_text(encoding="utf-8")) for page in [root / "README.md", *pages])
    num_words = len(re.findall(r"[A-Za-z][A-Za-z'-]*", prose))
    rates = {
        f"{word} per 1,000 words": round(1000 * len(re.findall(pattern, prose, re.IGNORECASE)) / num_words, 1)
        for word, pattern in WORDS_OF_PROSE.items()
    }
    return {"words of prose": num_words, **rates}


def prose_of(page: str) -> str:
    """Return the running text of a Markdown page."""
    without_blocks = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    without_code = re.sub(r"`[^`]*`", "", without_blocks)
    without_addresses = re.sub(r"\]\([^)]*\)", "]", without_code)
    return "\n".join(
        line for line in without_addresses.splitlines() if not line.lstrip().startswith(("#", "|"))
    )


# All figures of a checkout, and the table


def measure(root: Path, rooms_file: Path | None, loss_names: str) -> dict[str, Figures]:
    """Return the figures of each package, of all packages together, and of the pages."""
    orders = read_orders(rooms_file or root / ROOMS_FILE)
    packages = {package: read_package(root, package) for package in PACKAGES}
    packages["all"] = [module for modules in packages.values() for module in modules]
    measures: list[Callable[[list[Module]], Figures]] = [
        measure_files,
        measure_functions,
        lambda modules: measure_imports(modules, orders),
        measure_documentation,
        lambda modules: {"repeated blocks": count_repeated_blocks(modules)},
        lambda modules: {"files that know the loss": count_loss_files(modules, loss_names)},
    ]
    figures = {
        package: {name: value for each in measures for name, value in each(modules).items()}
        for package, modules in packages.items()
    }
    return figures | {"pages": measure_pages(root)}


def read_orders(path: Path) -> Orders:
    if not path.exists():
        return {}
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: table["order"] for name, table in tables.items() if "order" in table}


def print_table(figures: dict[str, Figures], other: dict[str, Figures] | None) -> None:
    """Print a column for each package; with another checkout, a second column beside each."""
    for columns in ([*PACKAGES, "all"], ["pages"]):
        print_row("", [title for column in columns for title in ([column, "other"] if other else [column])])
        for name in figures[columns[0]]:
            sides = [figures, other] if other else [figures]
            print_row(name, [format_figure(side[column][name]) for column in columns for side in sides])
        print()


def print_row(label: str, cells: list[str]) -> None:
    print(f"{label:<44}" + "".join(f"{cell:>10}" for cell in cells))


def format_figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = ROOT
    parser.add_argument("root", nargs="?", type=Path, default=here, help="checkout to measure")
    parser.add_argument("--against", type=Path, help="another checkout to compare with")
    parser.add_argument("--rooms", type=Path, help="order of rooms (default: that of each checkout)")
    parser.add_argument("--loss-names", default=LOSS_NAMES, help="regular expression (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    for root in filter(None, (options.root, options.against)):
        if not all((root / package).is_dir() for package in PACKAGES):
            parser.error(f"{root} is not a checkout: it needs the folders {', '.join(PACKAGES)}")
    figures = measure(options.root, options.rooms, options.loss_names)
    other = measure(options.against, options.rooms, options.loss_names) if options.against else None
    if options.json:
        print(json.dumps({"figures": figures, "other": other} if other else figures, indent=2))
    else:
        print_table(figures, other)


if __name__ == "__main__":
    main()
