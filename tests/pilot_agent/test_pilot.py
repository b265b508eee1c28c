"""A pilot as a process, against a real server, with real payloads and files."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from prodchain.pilot_agent.messages import JobSpec

from .conftest import PilotProcess, gone, put
from .other_end import LOSE, TOKEN, Broker

Start = Callable[..., PilotProcess]
Make = Callable[..., JobSpec]

REPORT = """{"exitCode": %d, "exitAcronym": "%s", "exitMsg": "%s",
  "files": {"output": [{"subFiles": [{"name": "out.root", "file_guid": "6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b",
  "nentries": 7}]}]}, "resource": {"transform": {"processedEvents": 9}}}"""


def left_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def running(broker: Broker, *pid_files: Path) -> list[int]:
    """Wait until the payload runs and has written its process ids."""
    broker.wait_for(lambda: "running" in broker.states())
    broker.wait_for(lambda: all(path.exists() and path.read_text().endswith("\n") for path in pid_files))
    return [int(path.read_text()) for path in pid_files]


def test_a_job_runs_and_its_outputs_are_stored_before_it_is_finished(
    broker: Broker, start_pilot: Start, make_job: Make, storage: Path
) -> None:
    given = put(storage, "in.root", b"events " * 1000)
    script = f"cat in.root in.root > out.root; echo hello from $PWD; sleep 0.5\ncat > jobReport.json <<.\n{REPORT}\n."
    broker.jobs = [make_job(script % (0, "OK", "OK"), outputs=("out.root",), inputs=[given])]
    pilot = start_pilot("--once")
    assert pilot.wait() == 0, pilot.said
    assert broker.states() == ["starting", "running", "holding", "finished"]
    (stored,) = broker.final.outputs
    assert (storage / "ab/cd/out.root").read_bytes() == b"events " * 2000
    assert (stored.lfn, stored.bytes, stored.events) == ("out.root", 14000, 7)
    assert stored.guid == "6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b"
    assert broker.final.metrics["wall_s"] > 0.4
    assert broker.final.metrics["events"] == 9
    assert broker.log().startswith("hello from ")
    assert left_in(storage) == ["ab/cd/out.root", "in.root"]
    assert left_in(pilot.work) == []


def test_jobs_follow_one_another_each_with_a_new_request(broker: Broker, start_pilot: Start, make_job: Make) -> None:
    broker.jobs = [make_job("true", job=1), make_job("false", job=2), make_job("true", job=3)]
    assert start_pilot("--max-jobs", "3").wait() == 0
    assert [broker.states(job)[-1] for job in (1, 2, 3)] == ["finished", "failed", "finished"]
    assert len({ask.request for ask in broker.asked}) == 3


def test_an_output_that_is_missing_fails_the_job_and_leaves_nothing(
    broker: Broker, start_pilot: Start, make_job: Make, storage: Path
) -> None:
    broker.jobs = [make_job("echo 1 > a.root", outputs=("a.root", "b.root"))]
    assert start_pilot("--once").wait() == 1
    assert broker.final.error == "output b.root is missing"
    assert broker.final.exit_code == 0
    assert left_in(storage) == []


def test_an_output_that_cannot_be_stored_takes_the_others_back(
    broker: Broker, start_pilot: Start, make_job: Make, storage: Path
) -> None:
    (storage / "file").write_text("no folder")
    job = make_job("echo 1 > a; echo 2 > b", outputs=("a", "b"))
    job.outputs[1].url = f"file://{storage}/file/b"
    broker.jobs = [job]
    assert start_pilot("--once").wait() == 1
    assert broker.final.error.startswith("output b: Not a directory (file://")
    assert left_in(storage) == ["file"]


def test_a_failed_payload_tells_its_exit_code_and_what_its_report_says(
    broker: Broker, start_pilot: Start, make_job: Make
) -> None:
    report = REPORT % (15, "TRF_NOEVENTS", "skipEvents is beyond the last event")
    broker.jobs = [make_job(f"cat > jobReport.json <<.\n{report}\n.\nexit 15", outputs=("out.root",))]
    pilot = start_pilot("--once", "--keep-work")
    assert pilot.wait() == 1
    said = "payload failed with exit code 15 (TRF_NOEVENTS: skipEvents is beyond the last event)"
    assert (broker.final.state, broker.final.error, broker.final.exit_code) == ("failed", said, 15)
    assert broker.states() == ["starting", "running", "failed"]
    assert left_in(pilot.work) == ["failed-job-1/jobReport.json", "failed-job-1/payload.log"]


def test_a_kill_from_the_broker_stops_the_payload(broker: Broker, start_pilot: Start, make_job: Make) -> None:
    broker.jobs = [make_job("sleep 60")]
    broker.commands["running"] = "kill"
    assert start_pilot("--once").wait() == 1
    assert (broker.final.state, broker.final.error) == ("failed", "because the test says so")
    assert broker.final.exit_code is None


def test_a_payload_that_ignores_the_kill_is_killed_hard(
    broker: Broker, start_pilot: Start, make_job: Make, tmp_path: Path
) -> None:
    broker.jobs = [make_job(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done")]
    pilot = start_pilot("--once")
    (pid,) = running(broker, tmp_path / "pid")
    broker.commands["running"] = "kill"
    assert pilot.wait() == 1
    assert gone(pid)


def test_a_discard_while_the_payload_runs_ends_it_without_a_final_report(
    broker: Broker, start_pilot: Start, make_job: Make
) -> None:
    broker.jobs = [make_job("sleep 60")]
    broker.commands["running"] = "discard"
    pilot = start_pilot("--once")
    assert pilot.wait() == 1
    assert broker.states() == ["starting", "running"]
    assert "discarded: because the test says so" in pilot.said


def test_a_discard_of_a_finished_job_deletes_its_outputs(
    broker: Broker, start_pilot: Start, make_job: Make, storage: Path
) -> None:
    broker.jobs = [make_job("echo 1 > a; echo 2 > b", outputs=("a", "b"))]
    broker.commands["finished"] = "discard"
    assert start_pilot("--once").wait() == 1
    assert broker.states()[-1] == "finished"
    assert left_in(storage) == []


def test_a_payload_over_its_wall_time_is_stopped(broker: Broker, start_pilot: Start, make_job: Make) -> None:
    broker.jobs = [make_job("sleep 60", walltime_s=1)]
    assert start_pilot("--once").wait() == 1
    assert broker.final.error == "payload was over its wall time of 1 s"


def test_a_damaged_input_fails_the_job_before_it_runs(
    broker: Broker, start_pilot: Start, make_job: Make, storage: Path
) -> None:
    given = put(storage, "in.root", b"what the catalog knows")
    (storage / "in.root").write_bytes(b"what the disk\0has now.")
    broker.jobs = [make_job("echo must not run", inputs=[given])]
    assert start_pilot("--once").wait() == 1
    assert broker.final.error.startswith("input in.root is damaged: 22 bytes, adler32 ")
    assert broker.states() == ["starting", "failed"]


def test_a_broker_that_is_away_for_a_while_costs_nothing(broker: Broker, start_pilot: Start, make_job: Make) -> None:
    broker.jobs = [make_job("echo one; sleep 2; echo two; echo 1 > out", outputs=("out",))]
    pilot = start_pilot("--once")
    broker.wait_for(lambda: "running" in broker.states())
    broker.stop()
    time.sleep(3)
    broker.start()
    assert pilot.wait() == 0, pilot.said
    assert broker.final.state == "finished"
    assert broker.log() == "one\ntwo\n"


def test_a_lease_that_is_surely_lost_ends_the_payload_and_the_pilot_goes_on(
    broker: Broker, start_pilot: Start, make_job: Make, tmp_path: Path
) -> None:
    broker.jobs = [make_job(f"echo $$ > {tmp_path}/pid; sleep 60", lease_s=1.0), make_job("true", job=2)]
    pilot = start_pilot("--max-jobs", "2")
    (pid,) = running(broker, tmp_path / "pid")
    broker.stop()
    broker.wait_for(lambda: gone(pid))
    broker.start()
    assert pilot.wait() == 0, pilot.said
    assert broker.states(1) == ["starting", "running"]
    assert broker.states(2)[-1] == "finished"


def test_an_answer_that_is_lost_brings_the_same_job_under_the_same_request(
    broker: Broker, start_pilot: Start, make_job: Make
) -> None:
    broker.jobs = [make_job("true", job=1), make_job("true", job=2)]
    broker.mishaps["acquire"] = [LOSE]
    assert start_pilot("--once").wait() == 0
    assert [ask.request for ask in broker.asked] == [broker.asked[0].request] * 2
    assert broker.states(1)[-1] == "finished"
    assert broker.states(2) == []


def test_a_final_report_whose_answer_is_lost_is_repeated(broker: Broker, start_pilot: Start, make_job: Make) -> None:
    broker.jobs = [make_job("echo 1 > out", outputs=("out",))]
    broker.mishaps["finished"] = [LOSE, 503]
    assert start_pilot("--once").wait() == 0
    first, second = [update for update in broker.updates if update.state == "finished"]
    assert first == second


def test_a_refused_token_ends_the_pilot_with_4(broker: Broker, start_pilot: Start) -> None:
    broker.token = "another"
    pilot = start_pilot()
    assert pilot.wait() == 4
    assert "the token is expired (renew it)" in pilot.said


def test_a_renewed_token_is_taken_up_while_a_job_runs(
    broker: Broker, start_pilot: Start, make_job: Make, token_file: Path
) -> None:
    broker.jobs = [make_job("sleep 1")]
    pilot = start_pilot("--once")
    broker.wait_for(lambda: "running" in broker.states())
    broker.token = "renewed"
    time.sleep(1)
    token_file.write_text("renewed")
    assert pilot.wait() == 0, pilot.said
    assert broker.final.state == "finished"


def test_a_server_that_cannot_be_reached_ends_the_pilot_with_5(broker: Broker, start_pilot: Start) -> None:
    broker.stop()
    pilot = start_pilot("--give-up-s", "1")
    assert pilot.wait() == 5
    assert "no contact with the broker" in pilot.said


def test_a_pilot_that_is_killed_takes_all_of_its_payload_with_it(
    broker: Broker, start_pilot: Start, make_job: Make, tmp_path: Path
) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/leader; wait"
    broker.jobs = [make_job(script)]
    pilot = start_pilot()
    pids = running(broker, tmp_path / "leader", tmp_path / "child")
    assert not any(gone(pid) for pid in pids)
    os.killpg(pilot.process.pid, signal.SIGKILL)
    broker.wait_for(lambda: all(gone(pid) for pid in pids))
    next_pilot = start_pilot("--idle-s", "0.1")
    assert next_pilot.wait() == 0
    assert left_in(pilot.work) == [], "the next pilot clears the dead one's work directory away"


def test_sigterm_reports_the_job_failed_and_leaves(broker: Broker, start_pilot: Start, make_job: Make) -> None:
    broker.jobs = [make_job("sleep 60"), make_job("true", job=2)]
    pilot = start_pilot()
    broker.wait_for(lambda: "running" in broker.states())
    pilot.process.terminate()
    assert pilot.wait(5) == 0
    assert (broker.final.state, broker.final.error) == ("failed", "pilot was stopped")
    assert len(broker.jobs) == 1


def test_sigterm_without_a_job_leaves_at_once(broker: Broker, start_pilot: Start) -> None:
    pilot = start_pilot("--idle-s", "0")
    broker.wait_for(lambda: broker.asked)
    pilot.process.terminate()
    assert pilot.wait(5) == 0


def test_a_pilot_leaves_when_there_is_no_work(broker: Broker, start_pilot: Start) -> None:
    pilot = start_pilot("--idle-s", "1.5")
    assert pilot.wait() == 0
    assert "no work for" in pilot.said
    assert 1 <= len(broker.asked) <= 4


def test_the_payload_sees_nothing_of_the_token(broker: Broker, start_pilot: Start, make_job: Make) -> None:
    broker.jobs = [make_job("env; pwd; readlink /proc/self/fd/0; ls -l /proc/self/fd")]
    pilot = start_pilot("--once")
    assert pilot.wait() == 0
    text = broker.log()
    variables = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert not [name for name in variables if name.startswith("PRODCHAIN")]
    assert variables["HOME"] == variables["TMPDIR"]
    assert variables["HOME"].endswith("/job-1")
    assert "/dev/null" in text
    assert TOKEN not in text
    assert "socket:" not in text
    assert TOKEN not in pilot.said


def test_a_long_log_comes_whole_and_in_pieces(broker: Broker, start_pilot: Start, make_job: Make) -> None:
    broker.jobs = [make_job("i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done")]
    assert start_pilot("--once").wait() == 0
    assert broker.log() == "".join(f"line {number}\n" for number in range(30000))
    assert max(len(update.log.encode()) for update in broker.updates) <= 64_000


def test_a_report_that_the_broker_rejects_becomes_a_failure(
    broker: Broker, start_pilot: Start, make_job: Make, storage: Path
) -> None:
    broker.jobs = [make_job("echo 1 > out", outputs=("out",))]
    broker.mishaps["finished"] = [409]
    assert start_pilot("--once").wait() == 1
    assert broker.final.state == "failed"
    assert broker.final.error == "the broker rejected the report: HTTP 409 Not now: the test says so"
    assert left_in(storage) == []
