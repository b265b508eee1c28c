"""Z -> mu mu from generation to a merged AOD: prodchain chain run examples/my_first_chain.py"""

from prodchain.flows import chain, evgen, merge, reco, sim


@chain(name="my-zmumu", project="mc26_13p6TeV", number=700001, physics="Zmumu")
def my_zmumu(tag: str = "v1", events: int = 800, jobs: int = 4):
    """Z bosons to muon pairs; a new tag makes new datasets."""
    ev = evgen(events=events, jobs=jobs, job_config="Zmumu")
    hits = sim(ev)
    aod = reco(hits)
    merge(aod, files_per_job=2)
