"""What a task asks for now: its request, with what the scouts taught and what people ordered since."""

from .models import Task
from .requests import TaskRequest


def ask_of(task: Task) -> TaskRequest:
    """Changes win over sizing, sizing over the request; each was checked when it came."""
    return TaskRequest.model_validate(task.request | task.sizing | task.changes)
