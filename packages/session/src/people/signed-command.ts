import { type Clock, type JsonObject, messageOf } from '@hanse/contract'
import type { ProofSigner, ProofVerifier, ProvenIdentity } from '../login/proofs.ts'
import { SessionError } from '../session-error.ts'

/** Where and for whom a command is meant. */
export interface CommandScope {
  /** Name of the project. */
  readonly league: string
  /** Common name of the server's certificate. */
  readonly server: string
}

/** A command with its person's own signature: whoever acts on it can see for itself that the person gave it. */
export interface SignedCommand extends CommandScope {
  readonly person: string
  /** As it was given: name, job or targets, arguments. */
  readonly command: string
  /** SHA-256 over the JSON of what went with it, hexadecimal. */
  readonly metaDigest: string
  readonly nonce: string
  /** Ms since the epoch. */
  readonly signedAt: number
  /** PEM, leaf first. */
  readonly certificateChain: string
  /** Base64. */
  readonly signature: string
}

/** Header of a command, from a person to the server and on to sites. */
export const SIGNED_COMMAND_HEADER = 'hanse_signed_command'

/** Member of the metadata of a clone: the signed command that ordered it, for the sites that are to run it. */
export const CLONE_COMMAND_KEY = 'hanse_clone_command'

const TEXTS = [
  'league',
  'server',
  'person',
  'command',
  'metaDigest',
  'nonce',
  'certificateChain',
  'signature',
] as const
const MAX_CHARACTERS = 256 * 1024
/** How far from now a signature may be: clocks differ, and commands take their time. */
const MAX_AGE_MS = 300_000
const MAX_REMEMBERED = 100_000
const encoder = new TextEncoder()

/** Signs a command for the server of `scope` and the sites that it asks. */
export async function signCommand(
  {
    command,
    meta,
    ...scope
  }: CommandScope & { readonly command: string; readonly meta: JsonObject },
  signer: ProofSigner,
  clock: Clock,
): Promise<SignedCommand> {
  const unsigned = {
    league: scope.league,
    server: scope.server,
    person: signer.name,
    command,
    metaDigest: await digestOf(meta),
    nonce: crypto.randomUUID(),
    signedAt: clock.now(),
    certificateChain: signer.certificateChain,
  }
  const signature = (await signer.sign(signedText(unsigned))).toBase64()
  return { ...unsigned, signature }
}

/** SHA-256 over the JSON of `meta`, hexadecimal. */
export async function digestOf(meta: JsonObject): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', encoder.encode(JSON.stringify(meta)))
  return new Uint8Array(digest).toHex()
}

export function writeSignedCommand(signed: SignedCommand): string {
  return JSON.stringify(signed)
}

/** @returns `undefined` for anything that is no signed command; whether its signature holds is another question */
export function readSignedCommand(text: unknown): SignedCommand | undefined {
  if (typeof text !== 'string' || text.length > MAX_CHARACTERS) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const members = new Map<string, unknown>(Object.entries(value))
  const signedAt = members.get('signedAt')
  if (typeof signedAt !== 'number' || TEXTS.some((key) => typeof members.get(key) !== 'string'))
    return undefined
  const of = (key: (typeof TEXTS)[number]): string => String(members.get(key))
  return {
    league: of('league'),
    server: of('server'),
    person: of('person'),
    command: of('command'),
    metaDigest: of('metaDigest'),
    nonce: of('nonce'),
    signedAt,
    certificateChain: of('certificateChain'),
    signature: of('signature'),
  }
}

export interface CommandVerifierComponents {
  readonly verifier: ProofVerifier
  readonly clock: Clock
}

/** Checks signed commands at one place, each once. */
export class CommandVerifier {
  readonly #components: CommandVerifierComponents
  readonly #scope: CommandScope
  /** What was taken, and until when a copy of it would still be fresh. Insertion order is about the order of time. */
  readonly #taken = new Map<string, number>()

  constructor(components: CommandVerifierComponents, scope: CommandScope) {
    this.#components = components
    this.#scope = scope
  }

  /**
   * Takes a command as its person's, once.
   * @param use what it is taken for, where one command has several effects at this place
   * @throws {SessionError} `ERR_COMMAND_PROOF`
   */
  async take(signed: SignedCommand, use = ''): Promise<ProvenIdentity> {
    const now = this.#components.clock.now()
    if (Math.abs(now - signed.signedAt) > MAX_AGE_MS)
      throw proofError(
        `it was signed ${Math.round((now - signed.signedAt) / 1000)} s ago; at most ${MAX_AGE_MS / 1000} s may be between the clocks`,
      )
    const identity = await verifyCommand(signed, this.#scope, this.#components.verifier)
    // Only what is genuine is remembered: nobody else can fill the memory.
    this.#remember(`${signed.person}\n${signed.nonce}\n${use}`, now)
    return identity
  }

  #remember(key: string, now: number): void {
    for (const [taken, until] of this.#taken) {
      if (until > now) break
      this.#taken.delete(taken)
    }
    if (this.#taken.has(key)) throw proofError('it was taken before')
    if (this.#taken.size >= MAX_REMEMBERED)
      throw proofError('too many commands came within a few minutes')
    this.#taken.set(key, now + 2 * MAX_AGE_MS)
  }
}

/**
 * Whether a command is its person's and for this server; not when it was given, nor how often it was used.
 * @throws {SessionError} `ERR_COMMAND_PROOF`
 */
export async function verifyCommand(
  signed: SignedCommand,
  scope: CommandScope,
  verifier: ProofVerifier,
): Promise<ProvenIdentity> {
  if (signed.league !== scope.league || signed.server !== scope.server)
    throw proofError(`it was given to '${signed.server}' of '${signed.league}'`)
  try {
    return await verifier.verify({
      certificateChain: signed.certificateChain,
      expectedName: signed.person,
      usage: 'client',
      signed: signedText(signed),
      signature: Uint8Array.fromBase64(signed.signature),
    })
  } catch (cause) {
    throw proofError(messageOf(cause), cause)
  }
}

function signedText(command: Omit<SignedCommand, 'signature'>): Uint8Array {
  // JSON of an array of texts can be read in one way only.
  return encoder.encode(
    JSON.stringify([
      'hanse command 1',
      command.league,
      command.server,
      command.person,
      command.command,
      command.metaDigest,
      command.nonce,
      command.signedAt,
    ]),
  )
}

function proofError(why: string, cause?: unknown): SessionError {
  return new SessionError(
    'ERR_COMMAND_PROOF',
    `the signature of the command does not count: ${why}`,
    {},
    { cause },
  )
}
