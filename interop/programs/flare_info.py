"""What a user of the FLARE API learns of a running job. Prints one JSON object."""
import json
import sys

from nvflare.fuel.flare_api.api_spec import JobNotRunning
from nvflare.fuel.flare_api.flare_api import new_secure_session


def main(user: str, kit: str, job_id: str):
    session = new_secure_session(user, kit)
    try:
        said = {
            "stats": session.show_stats(job_id, "all"),
            "errors": session.show_errors(job_id, "all"),
        }
        session.reset_errors(job_id)
        said["errors_after_reset"] = session.show_errors(job_id, "all")
        finished = session.list_jobs(limit=1)[0]["job_id"]
        clone = session.clone_job(finished)
        session.abort_job(clone)
        session.monitor_job(clone, timeout=60, poll_interval=0.5)
        try:
            session.show_stats(clone, "server")
            said["not_running"] = "shown"
        except JobNotRunning:
            said["not_running"] = "JobNotRunning"
    finally:
        session.close()
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
