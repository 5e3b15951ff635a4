import type { OutgoingFilter } from '@hanse/cellnet'
import { CELL_HEADER, isAtOrBelow, NO_SSID, SERVER_CELL, SERVER_JOB_NAME } from '../names.ts'

/** What a participant holds after login and adds to its messages. */
export interface Credentials {
  readonly name: string
  readonly token: string
  /** Base64. */
  readonly tokenSignature: string
  readonly ssid: string
}

/**
 * Stamps what leaves a participant toward the server, its own messages and those of its job processes, which hold
 * no token. Whatever such a process wrote under these names is replaced.
 */
export function participantStamp(
  ownCell: string,
  credentials: () => Credentials | undefined,
): OutgoingFilter {
  return ({ headers, nextHop, forwarded }) => {
    const held = credentials()
    // Before its login a participant says by itself who it is.
    if (held === undefined && !forwarded) return
    headers.delete(CELL_HEADER.clientName)
    headers.delete(CELL_HEADER.token)
    headers.delete(CELL_HEADER.tokenSignature)
    headers.delete(CELL_HEADER.ssid)
    if (held === undefined || !isAtOrBelow(nextHop, SERVER_CELL)) return
    headers.set(CELL_HEADER.clientName, held.name)
    headers.set(CELL_HEADER.token, held.token)
    headers.set(CELL_HEADER.tokenSignature, held.tokenSignature)
    headers.set(CELL_HEADER.ssid, held.ssid)
    const destination = headers.get('cn__destination')
    const crossesFamilies =
      typeof destination === 'string' &&
      !isAtOrBelow(destination, SERVER_CELL) &&
      !isAtOrBelow(destination, ownCell)
    if (crossesFamilies) headers.set(CELL_HEADER.transit, true)
  }
}

/** Signs `name + token` with the server's key; base64. */
export type TokenSigner = (name: string, token: string) => string

/** Stamps what the server and its job processes send to members; `spec/session.md` §3.1. */
export function serverStamp(sign: TokenSigner): OutgoingFilter {
  const own = { name: SERVER_CELL, token: SERVER_CELL, signature: sign(SERVER_CELL, SERVER_CELL) }
  const jobSignatures = new Map<string, string>()

  function signatureOfJob(job: string): string {
    let signature = jobSignatures.get(job)
    if (signature === undefined) {
      signature = sign(SERVER_JOB_NAME, job)
      if (jobSignatures.size >= 1024) jobSignatures.delete(jobSignatures.keys().next().value!)
      jobSignatures.set(job, signature)
    }
    return signature
  }

  return ({ headers, nextHop }) => {
    if (isAtOrBelow(nextHop, SERVER_CELL)) return
    const origin = headers.get('cn__origin')
    if (origin === SERVER_CELL) {
      headers.set(CELL_HEADER.clientName, own.name)
      headers.set(CELL_HEADER.token, own.token)
      headers.set(CELL_HEADER.tokenSignature, own.signature)
    } else if (typeof origin === 'string' && isAtOrBelow(origin, SERVER_CELL)) {
      const job = origin.split('.')[1]!
      headers.set(CELL_HEADER.clientName, SERVER_JOB_NAME)
      headers.set(CELL_HEADER.token, job)
      headers.set(CELL_HEADER.tokenSignature, signatureOfJob(job))
      headers.set(CELL_HEADER.ssid, NO_SSID)
    }
  }
}
