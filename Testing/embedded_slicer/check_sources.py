"""Check what the stand-ins of the host offer against the sources of what they stand for.

    python Testing/embedded_slicer/check_sources.py SLICER CTK PYTHONQT

takes three source checkouts (PYTHONQT: github.com/MeVisLab/pythonqt) and the lists `gui/members.json` and
`views/members.json`. A list maps each stand-in to `{"source": "Slicer Base/…/file.h", "members": ["a", "b"]}`; `source`
may be a list of files. In C++ a member counts only where PythonQt can see it: a property, signal, public slot or public
Q_INVOKABLE method.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

LISTS = [Path(__file__).parent / half / "members.json" for half in ("gui", "views")]


def cpp_members(text: str) -> set[str]:
    """Return what PythonQt sees of a C++ header: names of properties, signals, public slots and invokable methods."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", "", text)
    names = set(re.findall(r"Q_PROPERTY\s*\(\s*[\w:<>, ]+?[\s*&]+(\w+)\s+READ", text))
    names |= set(re.findall(r"Q_INVOKABLE[^;{]*?(\w+)\s*\(", text))
    section = ""
    for part in re.split(r"\b((?:public|protected|private)(?:\s+(?:slots|Q_SLOTS))?|signals|Q_SIGNALS)\s*:(?!:)", text):
        if re.fullmatch(r"(public|protected|private)(\s+(slots|Q_SLOTS))?|signals|Q_SIGNALS", part):
            section = " ".join(part.split())
        elif section in ("public slots", "public Q_SLOTS", "signals", "Q_SIGNALS"):
            names |= set(re.findall(r"[\w>*&]\s+[*&]?(\w+)\s*\([^;{]*\)", part))
    # Decorators name the static methods that they add `static_<class>_<method>`.
    return names | {match[1] for name in names if (match := re.fullmatch(r"static_[A-Za-z0-9]+_(\w+)", name))}


def python_members(text: str) -> set[str]:
    """Return the functions, classes, attributes and named attributes of a Python source."""
    names = set(re.findall(r"\b(?:def|class)\s+(\w+)", text))
    names |= set(re.findall(r"^\s*(?:self\.)?(\w+)\s*(?::[^=\n]+)?=(?!=)", text, flags=re.MULTILINE))
    return names | set(re.findall(r"checkedSetAttr\(\w+, \"(\w+)\"", text))


def xml_members(text: str) -> set[str]:
    """Return the classes of PythonQt's type system."""
    return set(re.findall(r"<(?:object|value|interface|namespace)-type\s+name=\"(\w+)\"", text))


def members(path: Path) -> set[str]:
    """Return what a source file, or the files of a folder, offer."""
    if path.is_dir():
        return set().union(*(members(file) for file in sorted(path.glob("typesystem_*.xml"))))
    text = path.read_text(encoding="utf-8", errors="replace")
    return {".py": python_members, ".xml": xml_members}.get(path.suffix, cpp_members)(text)


def missing(listed: dict[str, dict], roots: dict[str, Path]) -> list[str]:
    """Return what is listed but not in the sources, as "class.member (source)".

    Args:
        listed: as in a `members.json`.
        roots: checkout by its name in `source`.
    """
    problems = []
    for name, entry in listed.items():
        sources = entry["source"] if isinstance(entry["source"], list) else [entry["source"]]
        found: set[str] = set()
        for source in sources:
            root, _, file = source.partition(" ")
            path = roots[root] / file
            if path.exists():
                found |= members(path)
            else:
                problems.append(f"{name}: there is no {source}")
        problems += [f"{name}.{member} ({', '.join(sources)})" for member in entry["members"] if member not in found]
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Check both lists; the exit code is 1 if anything listed is not in the sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("Slicer", "CTK", "PythonQt"):
        parser.add_argument(name, type=Path, help=f"source checkout of {name}")
    roots = vars(parser.parse_args(arguments))
    problems, count = [], 0
    for path in LISTS:
        if path.exists():
            listed = json.loads(path.read_text(encoding="utf-8"))
            problems += missing(listed, roots)
            count += sum(len(entry["members"]) for entry in listed.values())
    print("\n".join([*problems, f"{count} members listed, {len(problems)} not in the sources"]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
