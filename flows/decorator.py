"""``@chain``: a function that calls steps becomes a Prefect flow that runs them side by side."""

import functools
import inspect
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.flows import Flow

from .cancel import kill_tasks_of_run
from .definition import Definition
from .facets import Facets
from .run import Run


def chain(
    *,
    name: str,
    project: str,
    number: int,
    physics: str,
    tag: str = "v1",
    description: str | None = None,
) -> Callable[[Callable[..., Any]], Flow[..., Any]]:
    """Make a flow of a function, plain or async, whose body calls steps.

    ``project``, ``number``, ``physics`` and ``tag`` are the parts of the names of its datasets; a parameter of the
    function with one of these names takes its place. Parameters with types become the form in Prefect's pages.
    """

    def decorate(function: Callable[..., Any]) -> Flow[..., Any]:
        definition = Definition(name, function, Facets(project, number, physics, tag))

        @functools.wraps(function)
        async def run_chain(*args: Any, **kwargs: Any) -> list[str] | State[Any]:
            return await Run(definition, UUID(str(runtime.flow_run.id))).drive(*args, **kwargs)

        run_chain.definition = definition  # type: ignore[attr-defined]
        parameters = inspect.signature(function).parameters
        return flow(
            name=name,
            description=description,
            flow_run_name=f"{name}-{{tag}}" if "tag" in parameters else f"{name}-{tag}",
            on_cancellation=[kill_tasks_of_run],
            persist_result=False,
        )(run_chain)

    return decorate
