import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseHocon } from './parse-hocon.ts'

describe('parseHocon', () => {
  it('reads a config as authors write it', () => {
    expect(
      parseHocon(`
        # a comment
        format_version = 2 // another
        server { heart_beat_timeout: 60.5 }
        workflows = [
          {
            id = controller
            path = "nvflare.app_common.workflows.fedavg.FedAvg"
            args { num_rounds = 3, "min clients" : 2, wait = -1e3 }
          }
        ]
        components: [],
        executors = [ { tasks = [train, "*"] }, { tasks = ["a"], } ]
        server.extra.deep = true
        a.b = 1
        a { c = null }
        quoted."x.y" = """three "quotes"\n here"""
        text = two words and (more)
      `),
    ).toEqual({
      format_version: 2,
      server: { heart_beat_timeout: 60.5, extra: { deep: true } },
      workflows: [
        {
          id: 'controller',
          path: 'nvflare.app_common.workflows.fedavg.FedAvg',
          args: { num_rounds: 3, 'min clients': 2, wait: -1000 },
        },
      ],
      components: [],
      executors: [{ tasks: ['train', '*'] }, { tasks: ['a'] }],
      a: { b: 1, c: null },
      quoted: { 'x.y': 'three "quotes"\n here' },
      text: 'two words and (more)',
    })
  })

  it('reads whatever JSON says, as JSON does', () => {
    // HOCON has no key "" and takes "__proto__" for nobody's own.
    const value = fc.jsonValue({ noUnicodeString: false, maxDepth: 4 } as object)
    fc.assert(
      fc.property(fc.dictionary(fc.string(), value), (object) => {
        const text = JSON.stringify(object)
        if (text.includes('"__proto__"')) return
        expect(parseHocon(text)).toEqual(JSON.parse(text))
        expect(parseHocon(JSON.stringify(object, undefined, 2))).toEqual(JSON.parse(text))
      }),
    )
  })

  it.each([
    ['include "other.conf"', 1, 'include'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: HOCON's own syntax
    ['a = 1\nb = ${a}', 2, 'substitution'],
    ['a += 1', 1, '"+="'],
    ['a = [1] [2]', 1, 'joining'],
    ['a = {b = 1} {c = 2}', 1, 'joining'],
    ['a = "x" y', 1, 'follows'],
    ['a = x "y"', 1, 'joining'],
    ['a', 1, '"="'],
    ['a =', 1, 'value is missing'],
    ['a = [1', 1, 'missing'],
    ['a = {b = 1', 1, 'missing'],
    ['{a = 1} b', 1, 'follows'],
    ['a = "x', 1, 'quote'],
    ['a = """x', 1, '"""'],
    ['a = "\\x"', 1, 'escape'],
    ['__proto__ = 1', 1, '__proto__'],
    ['a."__proto__".b = 1', 1, '__proto__'],
    ['= 1', 1, 'key'],
    ['[1] 2', 1, 'follows'],
    [`a = ${'['.repeat(100)}`, 1, 'levels'],
  ])('refuses %j with its line', (text, line, reason) => {
    expect(() => parseHocon(text)).toThrow(
      expect.objectContaining({
        code: 'ERR_CONFIG_FORMAT',
        message: expect.stringMatching(
          new RegExp(`^line ${line}: .*${reason.replaceAll(/["+]/g, '.')}`),
        ),
      }),
    )
  })

  it('throws nothing else, whatever the text', () => {
    const piece = fc.constantFrom(
      'a',
      '{',
      '}',
      '[',
      ']',
      '=',
      ':',
      ',',
      '\n',
      '"',
      '#',
      '//',
      ' ',
      '.',
      '$',
      '\\',
      '1',
      '"""',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(piece).map((pieces) => pieces.join('')),
          fc.string(),
        ),
        (text) => {
          try {
            parseHocon(text)
          } catch (error) {
            expect(error).toMatchObject({ code: 'ERR_CONFIG_FORMAT' })
          }
        },
      ),
      { numRuns: 1000 },
    )
  })
})
