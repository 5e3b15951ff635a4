import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { silentLogger } from '@hanse/contract'
import { describe, expect, it, onTestFinished } from 'vitest'
import { findClientPackages } from './client-packages.ts'
import type { ConfinedProgram } from './confined-program.ts'
import { type ConfinementTools, findConfinementTools } from './confinement-tools.ts'
import {
  type ConfinedProcess,
  createTrainerLauncher,
  detectConfinement,
  failedInSetup,
} from './trainer-launcher.ts'
import { ownNodeRuntime, type TrainerRuntime } from './trainer-runtime.ts'

const packages = findClientPackages('@hanse/client', import.meta.url)
const found = findConfinementTools()
const NO_TOOLS: ConfinementTools = {
  bubblewrap: undefined,
  unshare: undefined,
  setpriv: found.setpriv,
  prlimit: found.prlimit,
  umount: undefined,
  shell: undefined,
}
// Every tool that this machine has is put to the test; without namespaces, CI must fail, not pass quietly.
const TOOLS: [string, ConfinementTools][] = [
  ['unshare', { ...found, bubblewrap: undefined }],
  ['bubblewrap', { ...found, unshare: undefined }],
]
const reports = new Map<string, Awaited<ReturnType<typeof detectConfinement>>>()
for (const [name, tools] of TOOLS) reports.set(name, await detectConfinement(tools))
const usable = TOOLS.filter(([name]) => reports.get(name)?.level === 'namespaces')
const python = await access('/usr/bin/python3').then(
  () => true,
  () => false,
)

/** A site with secrets beside what it grants, and a script to run there. */
async function makeSite(script: string, name = 'attack.ts') {
  const root = await mkdtemp(join(tmpdir(), 'hanse confinement-')) // a space: paths are never split
  onTestFinished(() => rm(root, { recursive: true, force: true }))
  const paths = {
    root,
    app: join(root, 'app'),
    data: join(root, 'data set'),
    scratch: join(root, 'scratch'),
    key: join(root, 'startup', 'client.key'),
    log: join(root, 'trainer.log'),
  }
  for (const folder of ['app/custom', 'data set', 'scratch', 'startup'])
    await mkdir(join(root, folder), { recursive: true })
  await writeFile(paths.key, 'SECRET', { mode: 0o600 })
  await writeFile(join(paths.data, 'rows.csv'), '1,2,3')
  await writeFile(join(paths.app, 'custom', name), script)
  const program = (
    args: string[],
    runtime: TrainerRuntime = ownNodeRuntime(),
  ): ConfinedProgram => ({
    runtime,
    arguments: [`custom/${name}`, ...args],
    appDirectory: paths.app,
    datasets: { rows: paths.data },
    scratchDirectory: paths.scratch,
    output: { path: paths.log },
  })
  return { paths, program }
}

async function outcome(child: ConfinedProcess): Promise<Map<string, string>> {
  const [said, exit] = await Promise.all([text(child.pipe), child.exited])
  expect(exit.errorTail.join('\n')).toBe('')
  return new Map(Object.entries(JSON.parse(said)))
}

/** Tries everything a trainer must not do; says over its pipe what happened. */
const ATTACKS = `
import { writeSync, readFileSync, writeFileSync, readdirSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
const [port, key, ppid] = process.argv.slice(2)
const results: Record<string, string> = {}
async function attempt(name: string, action: () => unknown) {
  try { results[name] = 'open: ' + String(await action()) }
  catch (error: any) { results[name] = error.permission ?? error.cause?.code ?? error.code ?? error.message }
}
const connected = (socket: net.Socket) => new Promise((resolve, reject) =>
  socket.on('connect', () => resolve('connected')).on('error', reject))
await attempt('connect', () => connected(net.connect(Number(port), '127.0.0.1')))
await attempt('listen', () => new Promise((resolve, reject) =>
  net.createServer().listen(0, () => resolve('listening')).on('error', reject)))
await attempt('fetch', () => fetch('http://127.0.0.1:' + port))
await attempt('resolve', async () => (await import('node:dns/promises')).lookup('localhost'))
await attempt('datagram', async () => {
  const socket = (await import('node:dgram')).createSocket('udp4')
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.send('x', Number(port), '127.0.0.1', (error) => (error ? reject(error) : resolve('sent')))
  })
})
await attempt('kill parent', () => process.kill(process.ppid, 'SIGTERM'))
await attempt('kill site', () => process.kill(Number(ppid), 0))
await attempt('kill all', () => process.kill(-1, 0))
await attempt('raw kill', () => (process as any)._kill(Number(ppid), 0))
await attempt('debug', () => (process as any)._debugProcess(Number(ppid)))
await attempt('database', async () => new (await import('node:sqlite')).DatabaseSync(':memory:'))
await attempt('database again', () => process.getBuiltinModule('node:sqlite'))
await attempt('database required', async () =>
  (await import('node:module')).createRequire(import.meta.url)('node:sqlite'))
await attempt('database by the back door', async () =>
  new ((await import('node:module')).default as any)._load('node:sqlite').DatabaseSync(':memory:'))
await attempt('hooks of its own', async () => (await import('node:module')).registerHooks({}))
await attempt('foreign functions', () => import('node:ffi' as string))
await attempt('child', async () => (await import('node:child_process')).execSync('id'))
await attempt('replace', () => (process as any).execve('/bin/sh', []))
await attempt('worker', async () => new (await import('node:worker_threads')).Worker('1', { eval: true }))
await attempt('addon', () => process.dlopen({ exports: {} } as any, '/lib/x.so'))
await attempt('binding', () => (process as any).binding('fs'))
await attempt('identity', () => process.setuid!(0))
await attempt('passwords', () => readFileSync('/etc/shadow'))
await attempt('key', () => readFileSync(key!))
await attempt('root', () => readdirSync('/'))
await attempt('parent environment', () => readFileSync('/proc/' + ppid + '/environ'))
await attempt('write app', () => writeFileSync('custom/x', 'x'))
await attempt('write data', () => writeFileSync(process.env.DATA + '/x', 'x'))
await attempt('environment', () => JSON.stringify(Object.keys(process.env).sort()))
await attempt('interfaces', () => Object.keys(os.networkInterfaces()).length)
await attempt('data', () => readFileSync(process.env.DATA + '/rows.csv', 'utf8'))
await attempt('scratch', () => writeFileSync(process.env.HOME + '/note', 'x'))
await attempt('client', async () => typeof (await import('@hanse/client')).init)
writeSync(3, JSON.stringify(results))
process.exit(0)
`

const DENIED_BY_NODE = {
  connect: expect.stringMatching(/^(Net|ERR_ACCESS_DENIED)$/),
  listen: 'Net',
  fetch: 'ERR_ACCESS_DENIED',
  resolve: 'ERR_ACCESS_DENIED',
  datagram: 'ERR_ACCESS_DENIED',
  'kill parent': 'Signal',
  'kill site': 'Signal',
  'kill all': 'Signal',
  'raw kill': 'Signal',
  debug: 'Signal',
  database: 'Database',
  'database again': 'Database',
  'database required': 'Database',
  'database by the back door': 'Database',
  'hooks of its own': 'Internals',
  'foreign functions': 'ForeignFunctions',
  child: 'ChildProcess',
  replace: 'Internals',
  worker: 'WorkerThreads',
  addon: 'Internals',
  binding: 'Internals',
  identity: 'Identity',
  passwords: 'FileSystemRead',
  key: 'FileSystemRead',
  root: 'FileSystemRead',
  'parent environment': 'FileSystemRead',
  'write app': 'FileSystemWrite',
  'write data': 'FileSystemWrite',
  data: 'open: 1,2,3',
  scratch: 'open: undefined',
  client: 'open: function',
}

async function attack(tools: ConfinementTools) {
  const { paths, program } = await makeSite(ATTACKS)
  await using listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as { port: number }
  const launcher = createTrainerLauncher({ logger: silentLogger, packages, tools })
  const report = await launcher.detect()
  const data = report.level === 'namespaces' ? '/data/rows' : paths.data
  const runtime = { ...ownNodeRuntime(), environment: { DATA: data } }
  const child = await launcher.launch(
    program([String(port), paths.key, String(process.pid)], runtime),
    report.level,
  )
  return { child, results: await outcome(child), paths }
}

/** Processes whose group is `group`, zombies aside. */
async function groupMembers(group: number): Promise<string[]> {
  const members: string[] = []
  for (const pid of (await readdir('/proc')).filter(Number)) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    const [state, , processGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (Number(processGroup) === group && state !== 'Z') members.push(pid)
  }
  return members
}

describe('node-permission', () => {
  it('denies a TypeScript trainer everything but its folders and its pipe', async () => {
    const { child, results, paths } = await attack(NO_TOOLS)
    expect(child.level).toBe('node-permission')
    expect(child.datasets).toEqual({ rows: paths.data })
    expect(Object.fromEntries(results)).toMatchObject(DENIED_BY_NODE)
    expect(results.get('environment')).toBe(
      'open: ["DATA","HANSE_TRAINER_PIPE","HOME","LANG","TMPDIR"]',
    )
  })
})

describe.each(usable)('namespaces by %s', (name, tools) => {
  it('denies a TypeScript trainer everything but its folders and its pipe', async () => {
    const { child, results, paths } = await attack(tools)
    expect(child.confinement).toBe(`namespaces (${name}) and node-permission`)
    expect(Object.fromEntries(results)).toMatchObject({
      ...DENIED_BY_NODE,
      key: 'ENOENT',
      interfaces: expect.stringMatching(/: [01]$/),
    })
    // bubblewrap adds PWD, which is /app.
    expect(results.get('environment')?.replace('"PWD",', '')).toBe(
      'open: ["DATA","HANSE_TRAINER_PIPE","HOME","LANG","TMPDIR"]',
    )
    expect(await readFile(join(paths.scratch, 'note'), 'utf8')).toBe('x')
  })

  it('holds without the permission model', async () => {
    // The same program, declared as something else than Node: only the namespaces are left.
    const script = `
      import { closeSync, openSync, readFileSync, writeFileSync, writeSync, readdirSync } from 'node:fs'
      import { execFileSync } from 'node:child_process'
      import net from 'node:net'
      const [port, key, ppid] = process.argv.slice(2)
      const results = {}
      const attempt = async (name, action) => {
        try { results[name] = 'open: ' + String(await action()) } catch (error) { results[name] = error.code ?? error.message }
      }
      await attempt('root', () => [...readdirSync('/'), ...readdirSync('/etc')].join(' '))
      await attempt('passwords', () => readFileSync('/etc/shadow'))
      await attempt('key', () => readFileSync(key))
      await attempt('processes', () => readdirSync('/proc').filter(Number).length)
      await attempt('kill site', () => process.kill(Number(ppid), 0))
      await attempt('connect', () => new Promise((resolve, reject) =>
        net.connect(Number(port), '127.0.0.1').on('connect', resolve).on('error', reject)))
      await attempt('capabilities', () => readFileSync('/proc/self/status', 'utf8').match(/CapEff.*|CapBnd.*|NoNewPrivs.*/g))
      await attempt('write app', () => writeFileSync('/app/x', 'x'))
      await attempt('write data', () => writeFileSync('/data/rows/x', 'x'))
      await attempt('write root', () => writeFileSync('/x', 'x'))
      await attempt('write kernel', () => closeSync(openSync('/proc/sys/kernel/core_pattern', 'r+')))
      await attempt('reboot', () => closeSync(openSync('/proc/sysrq-trigger', 'r+')))
      await attempt('old root', () => readdirSync('/.old').length)
      await attempt('first process', () => readdirSync('/proc/1/root/'))
      writeFileSync('/tmp/private', 'x'); writeFileSync('/dev/shm/private', 'x')
      writeSync(3, JSON.stringify(results))
      process.exit(0)`
    const { paths, program } = await makeSite(script, 'attack.mjs')
    await using listener = createServer().listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const { port } = listener.address() as { port: number }
    const launcher = createTrainerLauncher({ logger: silentLogger, packages, tools })
    const child = await launcher.launch(
      program([String(port), paths.key, String(process.pid)], {
        program: process.execPath,
        kind: 'other',
      }),
      'namespaces',
    )
    expect(child.confinement).toBe(`namespaces (${name})`)
    const results = await outcome(child)
    expect(Object.fromEntries(results)).toMatchObject({
      root: expect.not.stringMatching(/home|root|var|sys|startup|passwd/),
      passwords: 'ENOENT',
      key: 'ENOENT',
      processes: 'open: 2',
      'kill site': 'ESRCH',
      connect: expect.stringMatching(/ENETUNREACH|ECONNREFUSED/),
      capabilities: expect.stringMatching(/CapEff:\s0+,CapBnd:\s0+,NoNewPrivs:\s1$/),
      'write app': 'EROFS',
      'write data': 'EROFS',
      'write root': 'EROFS',
      'write kernel': 'EROFS',
      reboot: expect.stringMatching(/EROFS|ENOENT/),
    })
    expect(results.get('old root')).toMatch(/ENOENT|open: 0/)
    await expect(access('/tmp/private')).rejects.toThrow()
    await expect(access('/dev/shm/private')).rejects.toThrow()
  })

  it.runIf(python)('runs Python, and keeps it from making namespaces of its own', async () => {
    const { program } = await makeSite(
      `import os, json, ctypes
libc = ctypes.CDLL(None, use_errno=True)
made = libc.unshare(0x10000000)
os.write(3, json.dumps({"made": str(made), "rows": open("/data/rows/rows.csv").read()}).encode())`,
      'train.py',
    )
    const launcher = createTrainerLauncher({ logger: silentLogger, packages, tools })
    const runtime: TrainerRuntime = {
      program: '/usr/bin/python3',
      kind: 'other',
      options: ['-u'],
    }
    const child = await launcher.launch(program([], runtime), 'namespaces')
    expect(Object.fromEntries(await outcome(child))).toEqual({ made: '-1', rows: '1,2,3' })
  })

  it('runs a program that is a link in a granted folder', async () => {
    const { paths, program } = await makeSite(
      `import { writeSync } from 'node:fs'; writeSync(3, '{}')`,
      'plain.mjs',
    )
    const installation = join(paths.root, 'venv')
    await mkdir(installation)
    await symlink(process.execPath, join(paths.root, 'step'))
    await symlink('../step', join(installation, 'program'))
    const launcher = createTrainerLauncher({ logger: silentLogger, packages, tools })
    const runtime: TrainerRuntime = {
      program: join(installation, 'program'),
      kind: 'other',
      read: [installation],
    }
    const child = await launcher.launch(program([], runtime), 'namespaces')
    expect(await outcome(child)).toEqual(new Map())
  })

  it('ends the whole of it on kill, and names the signal', async () => {
    const { program } = await makeSite(
      `import { writeSync } from 'node:fs'; writeSync(3, 'up'); setInterval(() => {}, 1000)`,
    )
    const launcher = createTrainerLauncher({ logger: silentLogger, packages, tools })
    const child = await launcher.launch(program([]), 'namespaces')
    await once(child.pipe, 'data')
    child.kill()
    expect(await child.exited).toMatchObject({ code: null, signal: 'SIGKILL' })
  })

  it('dies with the process that started it', async () => {
    const { paths, program } = await makeSite(
      `import { readFileSync, writeSync } from 'node:fs'
       writeSync(3, 'up')
       // Neither reads its pipe nor waits for anything: nothing in here could notice the end.
       for (;;) readFileSync('/app/custom/attack.ts')`,
    )
    const starter = join(paths.root, 'starter.mjs')
    await writeFile(
      starter,
      `import { createTrainerLauncher } from '${new URL('../index.ts', import.meta.url).href}'
       const launcher = createTrainerLauncher({
         logger: { info() {} }, packages: [], tools: ${JSON.stringify(tools)},
       })
       const child = await launcher.launch(${JSON.stringify(program([]))}, 'namespaces')
       child.pipe.once('data', () => console.log(child.pid))`,
    )
    const parent = spawn(process.execPath, ['--conditions=source', starter], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [pid] = await once(parent.stdout, 'data')
    const scripts = async () => (await groupMembers(Number(pid))).length
    expect(await scripts()).toBeGreaterThan(1)
    parent.kill('SIGKILL')
    await expect.poll(scripts, { interval: 10, timeout: 5_000 }).toBe(0)
  })

  it.skipIf(!python)(
    'starts Python scripts through hanse_flare.py, as if they ran alone',
    async () => {
      const { paths, program } = await makeSite(
        `import json, os, sys, helper
os.write(3, json.dumps({"argv": sys.argv, "main": __name__, "cwd": os.getcwd(), "path": sys.path[0],
  "helper": helper.X, "read only": os.access(sys.argv[0], os.W_OK)}).encode())`,
        'attack.py',
      )
      await writeFile(join(paths.app, 'custom', 'helper.py'), 'X = 1')
      const launcher = createTrainerLauncher({ logger: silentLogger, packages, tools })
      const runtime: TrainerRuntime = { program: '/usr/bin/python3', kind: 'python' }
      const said = async (args: string[]) => {
        const child = await launcher.launch(
          { ...program([], runtime), arguments: args },
          'namespaces',
        )
        return Object.fromEntries(await outcome(child))
      }
      const expected = {
        argv: ['/app/custom/attack.py', '--x', 'a b'],
        main: '__main__',
        path: '/app/custom',
        helper: 1,
        'read only': false,
      }
      const args = ['custom/attack.py', '--x', 'a b']
      expect(await said(args)).toEqual({ ...expected, cwd: '/app' })
      expect(await said(['--in-scratch', ...args])).toEqual({ ...expected, cwd: '/scratch' })
    },
  )

  it('names the signal that ended the trainer itself', async () => {
    const { program } = await makeSite(`process.abort()`)
    const launcher = createTrainerLauncher({ logger: silentLogger, packages, tools })
    const child = await launcher.launch(program([]), 'namespaces')
    expect(await child.exited).toMatchObject({ code: null, signal: 'SIGABRT' })
  })

  it('says that the confinement failed, not the trainer', async () => {
    const { program } = await makeSite('')
    const launcher = createTrainerLauncher({ logger: silentLogger, packages, tools })
    const child = await launcher.launch(
      { ...program([]), datasets: { missing: '/nowhere at all' } },
      'namespaces',
    )
    expect(failedInSetup(await child.exited)).toBe(true)
  })
})

describe('levels', () => {
  it('can put at least one tool to the test here', () => {
    if (usable.length === 0 && !('CI' in process.env))
      console.warn('no namespaces on this machine: the strictest confinement was not tested')
    else expect(usable).not.toEqual([])
  })

  it('goes by what was found out before, and tries nothing again', async () => {
    const { program } = await makeSite('')
    const known = { level: 'node-permission', tool: undefined, shortcomings: ['known'] } as const
    const detection = Promise.resolve(known)
    const launcher = createTrainerLauncher({ logger: silentLogger, packages, detection })
    expect(await launcher.detect()).toBe(known)
    await expect(launcher.launch(program([]), 'namespaces')).rejects.toThrow('known')
  })

  it('refuses below what the site asks for, and says why', async () => {
    const { program } = await makeSite('')
    const launcher = createTrainerLauncher({ logger: silentLogger, packages, tools: NO_TOOLS })
    await expect(launcher.launch(program([]), 'namespaces')).rejects.toMatchObject({
      code: 'ERR_CONFINEMENT_LEVEL',
      message: expect.stringContaining('bubblewrap not installed'),
    })
    const other: TrainerRuntime = { program: '/usr/bin/python3', kind: 'other' }
    await expect(launcher.launch(program([], other), 'node-permission')).rejects.toMatchObject({
      code: 'ERR_CONFINEMENT_LEVEL',
      message: expect.stringContaining('"none" at most'),
    })
  })

  it.each([
    [{ appDirectory: 'relative' }],
    [{ datasets: { '../x': '/tmp' } }],
    [{ datasets: { x: 'tmp' } }],
  ])('refuses a program described as %j', async (change) => {
    const { program } = await makeSite('')
    const launcher = createTrainerLauncher({ logger: silentLogger, packages, tools: NO_TOOLS })
    await expect(launcher.launch({ ...program([]), ...change }, 'none')).rejects.toMatchObject({
      code: 'ERR_LAUNCH_OPTIONS',
    })
  })
})
