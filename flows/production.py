"""The standard chains, as they are deployed (prefect.yaml).

Written as a physicist's own file would be, imports included: it may be copied and changed.
"""

from prodchain.flows import chain, evgen, merge, reco, sim


@chain(name="zmumu", project="mc26_13p6TeV", number=700001, physics="Zmumu")
def zmumu(tag: str = "v1", events: int = 800, jobs: int = 4) -> None:
    """Z bosons to muon pairs at 13.6 TeV: generation, simulation, reconstruction, merging.

    Args:
        tag: the last field of the datasets' names; a new tag makes new datasets
        events: events to generate
        jobs: jobs of the generation; each makes one file, and each file one job of the next steps
    """
    ev = evgen(events=events, jobs=jobs, job_config="Zmumu")
    hits = sim(ev)
    aod = reco(hits)
    merge(aod, files_per_job=2)
