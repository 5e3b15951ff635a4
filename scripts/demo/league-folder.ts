import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'

/** Copies the example's project file with ports that are free on this machine. @returns its path */
export async function writeProjectFile(example: string, folder: string): Promise<string> {
  const port = await freePort()
  const text = await readFile(join(example, 'project.yml'), 'utf8')
  const path = join(folder, 'project.yml')
  await writeFile(
    path,
    text.replace(/^(\s*(?:fed_learn_port|admin_port)\s*:\s*)\d+/gm, `$1${port}`),
  )
  return path
}

/** A loopback port that nobody listens on now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}

/** The server of a demo is nobody else's business: it listens on the loopback interface only. */
export async function listenOnLoopback(kit: string): Promise<void> {
  await changeSettings(kit, { listen_host: '127.0.0.1' })
}

/** What the admin of a site does whose machine cannot confine trainers as new kits ask for. */
export async function acceptConfinement(kit: string, minimum: string): Promise<void> {
  await changeSettings(kit, { confinement: { minimum } })
}

async function changeSettings(kit: string, change: Record<string, unknown>): Promise<void> {
  const text = await readFile(join(kit, 'local', 'hanse.json.default'), 'utf8')
  await writeLocal(kit, 'hanse.json', { ...JSON.parse(text), ...change })
}

/** What the admin of a site does to let jobs use its data. */
export async function grantDataset(kit: string, name: string, path: string): Promise<void> {
  await writeLocal(kit, 'datasets.json', { format_version: 1, datasets: { [name]: { path } } })
}

async function writeLocal(kit: string, name: string, value: unknown): Promise<void> {
  await mkdir(join(kit, 'local'), { recursive: true })
  await writeFile(join(kit, 'local', name), `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 })
}
