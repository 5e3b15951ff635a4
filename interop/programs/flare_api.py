"""What a user of the FLARE API does with a job: submit, watch, download. Prints one JSON object."""
import json
import sys

from nvflare.fuel.flare_api.api_spec import InvalidJobDefinition, JobNotFound
from nvflare.fuel.flare_api.flare_api import new_secure_session


def main(user: str, kit: str, job_folder: str, bad_job_folder: str, destination: str):
    seen = []

    def watch(_session, _job_id, job_meta, *_args, **_kwargs):
        seen.append(job_meta["status"])
        return True

    session = new_secure_session(user, kit)
    try:
        info = session.get_system_info()
        job_id = session.submit_job(job_folder)
        code = session.monitor_job(job_id, timeout=60, poll_interval=0.5, cb=watch)
        meta = session.get_job_meta(job_id)
        result = session.download_job_result(job_id, destination)
        jobs = session.list_jobs(limit=1, reverse=True)
        try:
            session.submit_job(bad_job_folder)
            bad_job = "accepted"
        except InvalidJobDefinition as error:
            bad_job = str(error)
        try:
            session.get_job_meta("00000000-0000-4000-8000-000000000000")
            missing_job = "found"
        except JobNotFound:
            missing_job = "JobNotFound"
    finally:
        session.close()
    print(
        json.dumps(
            {
                "clients": sorted(client.name for client in info.client_info),
                "server_status": info.server_info.status,
                "job_id": job_id,
                "monitor": code.name,
                "seen": seen,
                "status": meta["status"],
                "submitter": meta["submitter_name"],
                "newest": jobs[0]["job_id"],
                "result": result,
                "bad_job": bad_job,
                "missing_job": missing_job,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
