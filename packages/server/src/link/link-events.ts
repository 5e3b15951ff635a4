import type { AuditEvent } from '@hanse/audit'
import type { Misdeed, RefusedPeer } from '@hanse/cellnet'
import type { Connection } from '@hanse/contract'
import type { RefusedHandshake } from '@hanse/driver-tcp'
import type { Applicant } from '@hanse/session'

/** Puts a refusal into the record; what repeats is counted. */
export type RecordRefusal = (event: AuditEvent) => void

export function handshakeEvent({
  remoteAddress,
  peerName = 'unknown',
  reason,
  text,
}: RefusedHandshake): AuditEvent {
  return {
    actor: { name: peerName, origin: hostOf(remoteAddress) },
    act: 'connect',
    outcome: 'refused',
    code: `handshake-${reason}`,
    text,
  }
}

export function refusedPeerEvent({ fqcn, code, reason, connection }: RefusedPeer): AuditEvent {
  return {
    actor: actorOf(connection, fqcn),
    act: 'connect',
    target: fqcn,
    outcome: 'refused',
    code: code.replaceAll('_', '-'),
    text: reason,
  }
}

export function misdeedEvent({ fqcn, code, reason, connection }: Misdeed): AuditEvent {
  return {
    actor: actorOf(connection, fqcn === '' ? 'unknown' : fqcn),
    act: 'protocol',
    target: fqcn === '' ? undefined : fqcn,
    outcome: 'refused',
    code: code.replaceAll('_', '-'),
    text: reason,
  }
}

export function loginEvent({ kind, identity, cell, software }: Applicant): AuditEvent {
  return {
    actor: {
      name: identity.name,
      org: identity.organization,
      role: identity.role,
      fingerprint: identity.fingerprint,
    },
    act: 'login',
    target: cell,
    outcome: 'accepted',
    code: 'allowed',
    text: `${kind} logged in`,
    facts: { software },
  }
}

function actorOf({ peerName, info }: Connection, otherwise: string): AuditEvent['actor'] {
  return {
    name: peerName ?? otherwise,
    fingerprint: info.peerFingerprint,
    origin: hostOf(info.remoteAddress),
  }
}

/** The port says nothing of who it is, and would make each attempt another kind. */
function hostOf(address: string): string {
  return address.replace(/:\d+$/, '')
}
