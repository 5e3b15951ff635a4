"""Submits a job through the FLARE API. Prints the job's id as JSON."""

import json
import sys

from nvflare.fuel.flare_api.flare_api import new_secure_session


def main(user: str, kit: str, job_folder: str):
    session = new_secure_session(user, kit)
    try:
        print(json.dumps({"data": {"job_id": session.submit_job(job_folder)}}))
    finally:
        session.close()


main(*sys.argv[1:])
