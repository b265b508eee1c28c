"""The monitor: pages over the broker's views, each of them also a JSON document (``?json``)."""
