"""A chain whose simulation fits only into the large slots of SITE-B, so that inputs have to travel there."""

from prodchain.flows import chain, evgen, merge, reco, sim


@chain(name="zmumu", project="mc26_13p6TeV", number=700001, physics="Zmumu")
def zmumu(tag: str, events: int, jobs: int) -> None:
    ev = evgen(events=events, jobs=jobs, job_config="Zmumu")
    hits = sim(ev, memory_mb=3000)
    aod = reco(hits)
    merge(aod, files_per_job=2)
