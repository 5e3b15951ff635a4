import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseNpy } from '@hanse/tensor'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { runHanse } from '../test/support/hanse.ts'
import { InteropLeague, LEAD, SERVER } from './support/interop-league.ts'
import { type MixedJobOptions, mixedModel, writeMixedJob } from './support/mixed-job.ts'

const stock = inject('stock')
const JOB: MixedJobOptions = { name: 'means', rounds: 2, python: ['site-1'], typescript: [] }

let league: InteropLeague
let folder: string
/** A finished job. */
let job: string
beforeAll(async () => {
  if (stock === null) return
  league = await InteropLeague.start({
    stock,
    kits: 'stock',
    server: 'stock',
    sites: { 'site-1': 'stock', 'site-2': 'hanse' },
  })
  folder = await writeMixedJob(league.folder, JOB)
}, 120_000)
afterAll(() => league?.[Symbol.asyncDispose]())

const hanse = (...args: string[]) =>
  runHanse([...args, '--json', '--as', league.kit(LEAD)], league.env)

describe.skipIf(stock === null)(
  '`hanse` against a FLARE server, with a kit of its provisioner',
  () => {
    it('`job submit`, `job wait`', async () => {
      const submitted = await hanse('job', 'submit', folder)
      job = String(submitted.json?.['job'])
      const { code, json, stderr } = await hanse('job', 'wait', job, '--timeout', '120')
      expect(code, stderr).toBe(0)
      expect(json).toEqual({ job, status: 'FINISHED:COMPLETED' })
    }, 180_000)

    it('`job list` shows who submitted a job', async () => {
      const { json } = await hanse('job', 'list')
      expect(json?.['jobs']).toMatchObject([
        { job, name: 'means', status: 'FINISHED:COMPLETED', submitter: LEAD },
      ])
    }, 60_000)

    it('`status`', async () => {
      const { code, json, stdout } = await hanse('status')
      expect(code, stdout).toBe(0)
      expect(json).toMatchObject({
        server: { name: SERVER, project: 'interop_league', runningJobs: [] },
        sites: [
          { name: 'site-1', connected: true },
          { name: 'site-2', connected: true },
        ],
        jobs: [{ job, submitter: LEAD }],
      })
    }, 60_000)

    it('`job show`, `job download`', async () => {
      expect((await hanse('job', 'show', job)).json).toMatchObject({
        name: 'means',
        submitter_name: LEAD,
      })
      const { json } = await hanse('job', 'download', job, '--out', join(league.folder, 'out'))
      const file = join(String(json?.['folder']), 'workspace', 'models', 'server.npy')
      const model = parseNpy(new Uint8Array(await readFile(file)))
      expect([...model.data].map(Number)).toEqual(mixedModel(JOB))
    }, 60_000)

    it('`job clone`, `job abort`, `job delete`', async () => {
      const { json } = await hanse('job', 'clone', job)
      const clone = String(json?.['job'])
      expect((await hanse('job', 'abort', clone)).code).toBe(0)
      const waited = await hanse('job', 'wait', clone, '--timeout', '120')
      expect(waited.json?.['status']).toMatch(/^FINISHED:/)
      expect((await hanse('job', 'delete', clone)).code).toBe(0)
      expect((await hanse('job', 'show', clone)).code).not.toBe(0)
    }, 180_000)

    it('what only a Hanse server can do is refused with that reason', async () => {
      const { code, json } = await hanse('revoke', 'site-2')
      expect(code).toBe(1)
      expect(JSON.stringify(json)).toContain('it may be a FLARE server')
    }, 60_000)
  },
)
