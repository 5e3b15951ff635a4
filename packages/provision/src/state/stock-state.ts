import { readFile } from 'node:fs/promises'
import { messageOf } from '@hanse/contract'
import { type Certificate, type PrivateKey, parseCertificates, parsePrivateKey } from '@hanse/pki'
import { z } from 'zod'
import { ProvisionError } from '../provision-error.ts'

/** A stock provisioner's CA and what it issued; participants' private keys are left where they are. */
export interface StockState {
  readonly root: Certificate
  readonly caKey: PrivateKey
  /** By participant. */
  readonly certificates: ReadonlyMap<string, Certificate>
}

const stockSchema = z
  .object({ root_cert: z.string(), root_pri_key: z.string() })
  .catchall(z.object({ cert: z.string() }))

/**
 * Reads stock's `state/cert.json` (`spec/provision.md` §4.1), so that a league can go on under the same root.
 * @returns `undefined` if there is no such file
 * @throws {ProvisionError} `ERR_STATE`
 */
export async function readStockState(path: string): Promise<StockState | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw new ProvisionError('ERR_STATE', `${path} cannot be read: ${messageOf(cause)}`)
  }
  try {
    const { root_cert, root_pri_key, ...participants } = stockSchema.parse(JSON.parse(text))
    const root = parseCertificates(root_cert, 'root_cert', 1)[0]!
    const caKey = parsePrivateKey(root_pri_key, 'root_pri_key')
    if (!root.isCa || !caKey.matches(root.publicKey))
      throw new ProvisionError('ERR_STATE', 'root_pri_key is not the key of the CA in root_cert')
    const certificates = Object.entries(participants).flatMap(([name, { cert }]) => {
      const [certificate] = parseCertificates(cert, name)
      return certificate?.commonName === name && certificate.isSignedBy(root.publicKey)
        ? [[name, certificate] as const]
        : []
    })
    return { root, caKey, certificates: new Map(certificates) }
  } catch (error) {
    // Without the cause: a parser's message could quote the file, which is full of private keys.
    throw new ProvisionError(
      'ERR_STATE',
      `${path} is not a readable state of the stock provisioner${error instanceof ProvisionError ? `: ${error.message}` : ''}`,
    )
  }
}
