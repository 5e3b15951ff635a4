"""What the FLARE API says of the environment of sites. Prints one JSON list."""
import json
import sys

from nvflare.fuel.flare_api.flare_api import new_secure_session


def main(user: str, kit: str):
    session = new_secure_session(user, kit)
    try:
        envs = session.get_client_env()
    finally:
        session.close()
    print(json.dumps(sorted(envs, key=lambda env: env["site_name"])))


if __name__ == "__main__":
    main(*sys.argv[1:])
