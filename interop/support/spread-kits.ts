import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface SpreadParticipant {
  readonly name: string
  readonly type: 'server' | 'client' | 'admin'
  readonly org: string
  readonly role?: string
}

export interface SpreadLeague {
  readonly name: string
  readonly port: number
  readonly participants: readonly SpreadParticipant[]
}

/** Runs `nvflare …` and gives the answer's data. @throws when it fails */
type RunTool = (...args: string[]) => Promise<unknown>

/** Name of the server in such leagues: that of its host. */
export const SPREAD_SERVER = 'localhost'

/**
 * Makes kits as places that trust nobody with their keys do: each asks, the project's admin approves, each packages
 * its own (`nvflare cert`, `nvflare package`).
 */
export async function makeSpreadKits(
  nvflare: RunTool,
  folder: string,
  out: string,
  { name, port, participants }: SpreadLeague,
): Promise<void> {
  const work = join(folder, 'requests')
  await mkdir(work, { recursive: true })
  const profile = join(work, 'profile.yml')
  await writeFile(
    profile,
    `name: ${name}
scheme: tcp
connection_security: mtls
server:
  host: ${SPREAD_SERVER}
  fed_learn_port: ${port}
  admin_port: ${port}
`,
  )
  const ca = join(work, 'ca')
  await nvflare('cert', 'init', '--profile', profile, '-o', ca)
  const fingerprint = await fingerprintOf(join(ca, 'rootCA.pem'))
  for (const { name: participant, type, org, role } of participants) {
    const definition = join(work, `${participant}.yml`)
    await writeFile(
      definition,
      `name: ${name}
participants:
  - { name: ${participant}, type: ${type}, org: ${org}${role === undefined ? '' : `, role: ${role}`} }
`,
    )
    const request = join(work, participant)
    const signed = join(work, `${participant}.signed.zip`)
    await nvflare('cert', 'request', '-p', definition, '--out', request)
    const zip = join(request, `${participant}.request.zip`)
    await nvflare('cert', 'approve', zip, '-c', ca, '--profile', profile, '--out', signed)
    const trust = ['--request-dir', request, '--fingerprint', fingerprint]
    await nvflare('package', signed, ...trust, '-w', out)
  }
}

/** SHA-256 over the certificate itself, in hexadecimal. */
async function fingerprintOf(pemFile: string): Promise<string> {
  const pem = await readFile(pemFile, 'utf8')
  const body = pem.replaceAll(/-----[^-]+-----|\s/g, '')
  return createHash('sha256').update(Buffer.from(body, 'base64')).digest('hex')
}
