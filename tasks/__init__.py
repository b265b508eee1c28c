"""Prefect tasks: the steps of chains. Each hands its work to the broker and follows it."""
