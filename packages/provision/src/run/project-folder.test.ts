import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generatePrivateKey, issueRoot } from '@hanse/pki'
import { expect, it, onTestFinished } from 'vitest'
import { textEntry } from '../kit/kit-layout.ts'
import { parseProject } from '../project/parse-project.ts'
import type { MadeKit } from './make-kit.ts'
import { type PlannedKit, planKits } from './planned-kit.ts'
import { ProjectFolder } from './project-folder.ts'

const SITES = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => `site-${letter}`)
const PROJECT = `
api_version: 3
name: league
participants:
  - {name: hub.example.com, type: server, org: center}
${SITES.map((name) => `  - {name: ${name}, type: client, org: org_a}`).join('\n')}
  - {name: lead@example.org, type: admin, org: org_a, role: lead}
`

async function setUp() {
  const base = await mkdtemp(join(tmpdir(), 'hanse-folder-'))
  onTestFinished(() => rm(base, { recursive: true, force: true }))
  const planned = await planKits(parseProject(PROJECT), base)
  const certificate = issueRoot(await generatePrivateKey(), {
    commonName: 'league',
    notBefore: 0,
    notAfter: 86_400_000,
  })
  const kitOf = (plan: PlannedKit): MadeKit => ({
    ...plan,
    certificate,
    entries: new Map([['startup/name', textEntry(plan.participant.name)]]),
  })
  return { folder: await ProjectFolder.open(join(base, 'league')), planned, kitOf }
}

it('writes every kit into one new folder, and says which in the order of the plan', async () => {
  const { folder, planned, kitOf } = await setUp()
  const { prod, made } = await folder.writeKits(planned, async (plan) => kitOf(plan))
  const names = planned.map(({ participant }) => participant.name)
  expect(made.map(({ participant }) => participant.name)).toEqual(names)
  for (const name of names)
    expect(await readFile(join(folder.kitDirectory(prod, name), 'startup/name'), 'utf8')).toBe(name)
  expect((await folder.writeKits([], async (plan) => kitOf(plan))).prod).not.toBe(prod)
})

it('leaves nothing behind and makes no further kit when one of them fails', async () => {
  const { folder, planned, kitOf } = await setUp()
  const before = await readdir(folder.path)
  const begun: string[] = []
  const failing = folder.writeKits(planned, async (plan) => {
    begun.push(plan.participant.name)
    if (begun.length === 1) throw new Error('no key')
    return kitOf(plan)
  })
  await expect(failing).rejects.toThrow('no key')
  expect(begun.length).toBeLessThan(planned.length)
  expect(await readdir(folder.path)).toEqual(before)
})
