"""Fetches the additional components of a job with the FLARE API. Prints one JSON object: names, and texts by name."""
import json
import os
import sys

from nvflare.fuel.flare_api.flare_api import new_secure_session


def main(user: str, kit: str, job_id: str):
    session = new_secure_session(user, kit)
    try:
        names = session.list_job_components(job_id)
        folder = session.download_job_components(job_id)
    finally:
        session.close()
    texts = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as file:
            texts[name] = file.read()
    print(json.dumps({"names": names, "texts": texts}))


if __name__ == "__main__":
    main(*sys.argv[1:])
