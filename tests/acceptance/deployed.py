"""Starting a deployed chain as Prefect's own command line does."""

import json
import re
import subprocess
import sys
from pathlib import Path

from .system import System


def run_deployment(system: System, **parameters: object) -> str:
    """Start ``zmumu/production`` on the worker; the id of its flow run."""
    port = json.loads((system.home / "run" / "prefect.json").read_text())["port"]
    words = [word for key, value in parameters.items() for word in ("-p", f"{key}={json.dumps(value)}")]
    environment = system.environment | {
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(system.home / "prefect"),
        "DO_NOT_TRACK": "1",
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("prefect"), "deployment", "run", "zmumu/production", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", done.stdout)
    assert found is not None, done.stdout
    return found[0]
