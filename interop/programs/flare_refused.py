"""What the FLARE API is told when it asks for what a Hanse server does not do. Prints one JSON object."""
import json
import sys

from nvflare.fuel.flare_api.flare_api import new_secure_session


def refusal(call) -> str:
    try:
        return f"done: {call()}"
    except Exception as error:
        return str(error)


def main(user: str, kit: str):
    session = new_secure_session(user, kit)
    try:
        said = {
            "ls": refusal(lambda: session.ls_target("server")),
            "cat": refusal(lambda: session.cat_target("server", file="log.txt")),
            "remove_client": refusal(lambda: session.remove_client("site-1")),
        }
    finally:
        session.close()
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
