"""A step of your own: any program on a site's PATH, described by how it is called.

{inputs} (file names joined by commas), {output}, {events}, {skip}, {seed}, {number} and {first_event} are filled in
for each job; every other field, like {columns} here, is an option of the step.
"""

from prodchain.flows import Step, chain

count = Step(
    "count",
    command=["sh", "-c", "cat $(echo {inputs} | tr , ' ') | wc -c | cut -c1-{columns} > {output}"],
    format="TXT",
    defaults={"files_per_job": 5, "columns": 20, "memory_mb": 200},
)


@chain(name="count-bytes", project="user.me", number=700001, physics="Zmumu")
def count_bytes(source: str = "mc26_13p6TeV.700001.Zmumu.merge.AOD.v1", tag: str = "v1"):
    """Count the bytes of the files of a dataset that exists already."""
    count(source)
