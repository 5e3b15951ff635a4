"""A site of the league, with its own kit and the stock package, that sends what it should not. Prints one JSON object."""
import json
import os
import sys

from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.cellnet.net_agent import NetAgent
from nvflare.fuel.sec.authn import set_add_auth_headers_filters
from nvflare.fuel.utils import fobs
from nvflare.private.admin_defs import Message as AdminMessage
from nvflare.private.defs import CellMessageHeaderKeys, ClientType, new_cell_message
from nvflare.private.fed.authenticator import Authenticator
from nvflare.private.fed.utils.fed_utils import nvflare_fobs_initialize


class Forged:
    def __init__(self, text="touch /tmp/should-never-be"):
        self.text = text


def main(kit: str, name: str, victim: str, job_id: str):
    nvflare_fobs_initialize()
    fobs.register_data_classes(Forged)
    startup = os.path.join(kit, "startup")
    with open(os.path.join(startup, "fed_client.json")) as file:
        config = json.load(file)
    server = config["servers"][0]
    credentials = {
        "ca_cert": os.path.join(startup, "rootCA.pem"),
        "client_cert": os.path.join(startup, "client.crt"),
        "client_key": os.path.join(startup, "client.key"),
    }
    cell = Cell(
        fqcn=name,
        root_url=f"{server['service']['scheme']}://{server['service']['target']}",
        secure=True,
        credentials=credentials,
        create_internal_listener=False,
        auth_identity_map={"server": server["identity"]},
    )
    NetAgent(cell)
    cell.start()
    context = FLContext()
    context.set_prop("__identity_name__", name, private=False, sticky=True)
    token, signature, ssid, _ = Authenticator(
        cell=cell,
        project_name=server["name"],
        client_name=name,
        client_type=ClientType.REGULAR,
        expected_sp_identity=server["identity"],
        secure_mode=True,
        root_cert_file=credentials["ca_cert"],
        private_key_file=credentials["client_key"],
        cert_file=credentials["client_cert"],
        msg_timeout=10.0,
        retry_interval=1.0,
    ).authenticate(context, Signal())
    set_add_auth_headers_filters(cell, name, token, signature, ssid)

    lies = {}

    def lie(message):
        for key, value in lies.items():
            message.set_header(key, value)

    cell.core_cell.add_outgoing_request_filter(channel="*", topic="*", cb=lie)

    def say(target, channel, topic, payload, headers=None, **lying):
        lies.clear()
        lies.update(lying)
        all_headers = {CellMessageHeaderKeys.PROJECT_NAME: server["name"], **(headers or {})}
        reply = cell.send_request(
            target=target,
            channel=channel,
            topic=topic,
            request=new_cell_message(all_headers, payload),
            timeout=8.0,
            optional=True,
        )
        code = reply.get_header(MessageHeaderKey.RETURN_CODE)
        return f"{code}: {reply.get_header(MessageHeaderKey.ERROR, '')}"

    shutdown = AdminMessage(topic="train.shutdown", body="")
    failure = {"job_id": job_id, "code": 103, "reason": "forged"}
    said = {
        "honest": say("server", "task", "heart_beat", Shareable()),
        "unknown_type": say("server", "task", "heart_beat", Forged()),
        "unknown_type_streamed": say("server", "hci_channel", "command", Forged()),
        "another_name": say(
            "server", "task", "heart_beat", Shareable(), **{CellMessageHeaderKeys.CLIENT_NAME: victim}
        ),
        "another_token": say(
            "server", "task", "heart_beat", Shareable(), **{CellMessageHeaderKeys.TOKEN: "forged"}
        ),
        "as_server": say(victim, "admin", "admin", shutdown, **{MessageHeaderKey.ORIGIN: "server"}),
        "command": say(victim, "admin", "admin", shutdown),
        "to_job": say(f"server.{job_id}", "server_command", "get_task", Shareable()),
        "failure_of_others": say("server", "task", "report_job_failure", failure),
        "command_of_a_person": say("server", "hci_channel", "command", '{"data": []}'),
        "goodbye_of_others": say(
            "server", "cellnet.channel", "bye", None, **{MessageHeaderKey.ORIGIN: victim}
        ),
        "still_honest": say("server", "task", "heart_beat", Shareable()),
    }
    print(json.dumps(said), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
