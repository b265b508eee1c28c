"""Finding the chain that somebody names: ``FILE[:name]`` or ``module:name``."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from prefect.flows import Flow

from .definition import Definition
from .errors import BadChain, NoSuchChain

Chain = Flow[..., Any]


def definition_of(chain: Chain) -> Definition:
    definition = getattr(chain.fn, "definition", None)
    if not isinstance(definition, Definition):
        raise BadChain(
            f"{chain.name} is a flow but no chain", object=chain.name, hint="decorate its function with @chain"
        )
    return definition


def load(reference: str) -> Chain:
    """The chain; BadChain names file and line if its file does not load."""
    where, _, name = reference.rpartition(":") if ":" in reference else (reference, "", "")
    if Path(where).suffix == ".py" or Path(where).exists():
        return _pick(_import_file(Path(where).absolute()), name, where)
    return _pick(_import_module(where), name, where)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise NoSuchChain(f"there is no file {path}", object=str(path), hint="give the path of a Python file")
    name = f"chain_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadChain(f"{path} is no Python file", object=str(path), hint="its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    # As for `python FILE`: modules beside the file can be imported. Registered by name, since dataclasses and
    # pydantic look a class's module up there.
    sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise bad_chain(error, path) from error
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            hint = "give FILE.py[:name] or MODULE:name"
            raise NoSuchChain(f"there is no file or module {name}", object=name, hint=hint) from error
        raise BadChain(f"{name} cannot be imported: {error}", object=name, hint="install what it needs") from error
    except Exception as error:
        spec = importlib.util.find_spec(name)
        raise bad_chain(error, Path(spec.origin if spec and spec.origin else name)) from error


def bad_chain(error: Exception, path: Path) -> BadChain:
    """The error as one about the chain's file: the innermost line of that file that led to it."""
    line, text = _line_of(error, path)
    where = f"{path}:{line}" if line else str(path)
    hint = getattr(error, "hint", None)
    if hint is not None:  # one of ours: says by itself what is wrong
        return BadChain(f"{where}: {getattr(error, 'message', error)}", object=where, hint=hint)
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    hint = f"look at: {text.strip()}" if text else "look at that line"
    return BadChain(f"{where}: {type(error).__name__}: {message}", object=where, hint=hint)


def _line_of(error: Exception, path: Path) -> tuple[int | None, str]:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno, error.text or ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (frames[-1].lineno, frames[-1].line or "") if frames else (None, "")


def _pick(module: ModuleType, name: str, where: str) -> Chain:
    chains = {
        variable: value
        for variable, value in vars(module).items()
        if isinstance(value, Flow) and isinstance(getattr(value.fn, "definition", None), Definition)
    }
    if name:
        for variable, value in chains.items():
            if name in (variable, value.name, value.fn.__name__):
                return value
    elif len({id(value) for value in chains.values()}) == 1:
        return next(iter(chains.values()))
    found = f"it has {', '.join(sorted(chains))}" if chains else "it has none"
    hint = f"name one of them: {where}:{min(chains)}" if chains else "decorate a function with @chain(...)"
    message = f"no chain {name} in {where}; {found}" if name else f"which chain of {where}? {found}"
    raise NoSuchChain(message, object=where, hint=hint)
