"""A grid of ATLAS's size in simulated time, steered by the broker's own decisions: docs/explanation/scale.md.

What decides is the product: brokerage.decide, matching.match with its lanes and turns, recovery.rules.decide,
health.look, sizing.size, splitting. Simulated is the rest: pilots, payloads, links, what breaks, the clock.
"""
