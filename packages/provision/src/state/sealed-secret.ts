import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  randomBytes,
  scrypt,
  timingSafeEqual,
} from 'node:crypto'
import { promisify } from 'node:util'
import { z } from 'zod'
import { ProvisionError } from '../provision-error.ts'

const derive = promisify<string, Uint8Array, number, object, Buffer>(scrypt)

/** What each guess at a passphrase costs: 64 MiB and about a fifth of a second. */
const PASSPHRASE_COST = 2 ** 16
/** Nobody guesses 256 random bits, whatever a guess costs: the least that is read. */
const RANDOM_KEY_COST = 2 ** 14
const BLOCK_SIZE = 8
const PARALLELISM = 1
const MAX_COST = 2 ** 20

const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`))

/** How a secret lies in the state file: AES-256-GCM under a key from a passphrase (scrypt). */
export const sealedSecretSchema = z.strictObject({
  cipher: z.literal('aes-256-gcm'),
  kdf: z.literal('scrypt'),
  cost: z.int().min(RANDOM_KEY_COST).max(MAX_COST),
  block_size: z.literal(BLOCK_SIZE),
  parallelism: z.literal(PARALLELISM),
  salt: hex(16),
  nonce: hex(12),
  tag: hex(16),
  data: z.base64().max(1_000_000),
})

export type SealedSecret = z.infer<typeof sealedSecretSchema>

/** A key from a passphrase that was right: opens the secret and makes codes over the rest of the state. */
export interface StateKey {
  /** HMAC-SHA-256 of `text`, hexadecimal. */
  code(text: string): string
  /** Compares without telling by time how much fits. */
  verifyCode(text: string, code: string): boolean
}

/**
 * Encrypts `secret` under `passphrase` with a fresh salt.
 * @param passphrase of a person, or the text of 32 random bytes, which `isRandom` says
 * @param context bound to the secret: it opens with the same text only
 */
export async function sealSecret(
  secret: string,
  { passphrase, isRandom }: { readonly passphrase: string; readonly isRandom: boolean },
  context: string,
): Promise<{ readonly sealed: SealedSecret; readonly key: StateKey }> {
  const salt = randomBytes(16)
  const nonce = randomBytes(12)
  const cost = isRandom ? RANDOM_KEY_COST : PASSPHRASE_COST
  const keys = await deriveKeys(passphrase, salt, cost)
  const cipher = createCipheriv('aes-256-gcm', keys.encryption, nonce)
  cipher.setAAD(Buffer.from(context))
  const data = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
  return {
    sealed: {
      cipher: 'aes-256-gcm',
      kdf: 'scrypt',
      cost,
      block_size: BLOCK_SIZE,
      parallelism: PARALLELISM,
      salt: salt.toString('hex'),
      nonce: nonce.toString('hex'),
      tag: cipher.getAuthTag().toString('hex'),
      data: data.toString('base64'),
    },
    key: stateKey(keys.authentication),
  }
}

/** @throws {ProvisionError} `ERR_PASSPHRASE_WRONG` */
export async function openSecret(
  sealed: SealedSecret,
  passphrase: string,
  context: string,
): Promise<{ readonly secret: string; readonly key: StateKey }> {
  const keys = await deriveKeys(passphrase, Buffer.from(sealed.salt, 'hex'), sealed.cost)
  const decipher = createDecipheriv(
    'aes-256-gcm',
    keys.encryption,
    Buffer.from(sealed.nonce, 'hex'),
  )
  decipher.setAAD(Buffer.from(context))
  decipher.setAuthTag(Buffer.from(sealed.tag, 'hex'))
  try {
    const secret = Buffer.concat([
      decipher.update(Buffer.from(sealed.data, 'base64')),
      decipher.final(),
    ]).toString('utf8')
    return { secret, key: stateKey(keys.authentication) }
  } catch {
    throw new ProvisionError(
      'ERR_PASSPHRASE_WRONG',
      "the CA's key does not open: the passphrase is wrong, or the state file was damaged",
    )
  }
}

async function deriveKeys(passphrase: string, salt: Uint8Array, cost: number) {
  const master = await derive(passphrase.normalize('NFC'), salt, 32, {
    N: cost,
    r: BLOCK_SIZE,
    p: PARALLELISM,
    maxmem: 256 * cost * BLOCK_SIZE,
  })
  const part = (purpose: string) => Buffer.from(hkdfSync('sha256', master, salt, purpose, 32))
  return { encryption: part('encryption'), authentication: part('authentication') }
}

function stateKey(secret: Uint8Array): StateKey {
  const code = (text: string) => createHmac('sha256', secret).update(text).digest('hex')
  return {
    code,
    verifyCode: (text, given) => {
      const expected = Buffer.from(code(text))
      const actual = Buffer.from(given)
      return expected.length === actual.length && timingSafeEqual(expected, actual)
    },
  }
}
