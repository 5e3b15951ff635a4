import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkTrainerCommand } from './trainer-command.ts'

const files = new Set(['custom/train.py', 'custom/sub/train.js', 'config/x.py', 'custom/-c'])
const runtimes = new Set(['node', 'python3'])

describe('checkTrainerCommand', () => {
  it.each([
    [['python3', 'custom/train.py', '--lr', '0.1'], 'python3', 'custom/train.py', ['--lr', '0.1']],
    ['node custom/sub/train.js  --x -c', 'node', 'custom/sub/train.js', ['--x', '-c']],
    // As stock's exporter writes it: the option is dropped, the site sets its own.
    [['python3', '-u', 'custom/train.py', '-u'], 'python3', 'custom/train.py', ['-u']],
    // Nothing has a meaning to a shell.
    [
      'node custom/sub/train.js $(id) ; `x` > y',
      'node',
      'custom/sub/train.js',
      ['$(id)', ';', '`x`', '>', 'y'],
    ],
    [['node', 'custom/sub/train.js', ''], 'node', 'custom/sub/train.js', ['']],
  ])('takes %j apart', (command, runtime, script, args) => {
    expect(checkTrainerCommand(command, { runtimes, files })).toEqual({
      ok: true,
      command: { runtime, script, args },
    })
  })

  it.each([
    [['/usr/bin/python3', 'custom/train.py'], 'command-runtime', 'is a path'],
    [['./python3', 'custom/train.py'], 'command-runtime', 'is a path'],
    [['..\\python3', 'custom/train.py'], 'command-runtime', 'is a path'],
    [['sh', 'custom/train.py'], 'command-runtime', 'starts other programs'],
    [['bash', '-c', 'python3 custom/train.py'], 'command-runtime', 'starts other programs'],
    [['BASH', 'custom/train.py'], 'command-runtime', 'starts other programs'],
    [['env', 'python3', 'custom/train.py'], 'command-runtime', 'starts other programs'],
    [['sudo', 'custom/train.py'], 'command-runtime', 'starts other programs'],
    [['ruby', 'custom/train.py'], 'command-runtime', 'it has node, python3'],
    [['-x', 'custom/train.py'], 'command-runtime', 'cannot be the name'],
    [['', 'custom/train.py'], 'command-runtime', 'cannot be the name'],
    [['python3', '-c', 'import os'], 'command-option', 'the site'],
    [['python3', '-m', 'custom.train'], 'command-option', 'the site'],
    [['python3', '-u', '-c', 'x'], 'command-option', 'the site'],
    [['python3', '-ucustom/train.py'], 'command-option', 'the site'],
    [['node', '-u', 'custom/sub/train.js'], 'command-option', 'the site'],
    [['node', '--import', 'custom/sub/train.js'], 'command-option', 'the site'],
    [['python3', '-u'], 'command-script', 'names no script'],
    [['python3', 'train.py'], 'command-script', 'below custom/'],
    [['python3', 'custom'], 'command-script', 'below custom/'],
    [['python3', 'config/x.py'], 'command-script', 'below custom/'],
    [['python3', '/custom/train.py'], 'command-script', 'below custom/'],
    [['python3', 'custom/../config/x.py'], 'command-script', '".."'],
    [['python3', './custom/train.py'], 'command-script', 'below custom/'],
    [['python3', 'custom/./train.py'], 'command-script', '".."'],
    [['python3', 'custom//train.py'], 'command-script', '".."'],
    [['python3', 'custom/missing.py'], 'command-script', 'not in the app'],
    [['python3'], 'command-format', 'list of 2'],
    [[], 'command-format', 'list of 2'],
    ['', 'command-format', 'list of 2'],
    [undefined, 'command-format', 'list of 2'],
    [{ 0: 'python3' }, 'command-format', 'list of 2'],
    [['python3', 7], 'command-format', 'list of 2'],
    [['python3', 'custom/train.py', 'a\0b'], 'command-format', 'control'],
    ['python3 custom/train.py\nid', 'command-format', 'control'],
    [['python3', 'custom/train.py', 'x'.repeat(40_000)], 'command-format', 'list of 2'],
    [['python3', 'custom/train.py', ...Array(600).fill('x')], 'command-format', 'list of 2'],
  ])('refuses %j', (command, code, reason) => {
    expect(checkTrainerCommand(command, { runtimes, files })).toEqual({
      ok: false,
      code,
      reason: expect.stringContaining(reason),
    })
  })

  it('takes any runtime that is no shell where the site is not known yet', () => {
    expect(checkTrainerCommand('julia custom/train.py', { files }).ok).toBe(true)
    expect(checkTrainerCommand('zsh custom/train.py', { files }).ok).toBe(false)
  })

  it('accepts only a listed runtime and an existing script, whatever comes', () => {
    const word = fc.oneof(
      fc.string(),
      fc.constantFrom('python3', 'node', '-u', 'sh', 'custom/train.py', 'custom/-c', '..', '-c'),
    )
    fc.assert(
      fc.property(fc.oneof(fc.array(word), fc.string(), fc.anything()), (command) => {
        const check = checkTrainerCommand(command, { runtimes, files })
        if (check.ok) {
          expect(runtimes).toContain(check.command.runtime)
          expect(files).toContain(check.command.script)
        } else expect(check.reason).not.toBe('')
      }),
      { numRuns: 500 },
    )
  })
})
