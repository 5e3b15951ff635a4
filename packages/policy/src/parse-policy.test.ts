import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { categoryOf, commandsOf } from './command-category.ts'
import { parsePolicy } from './parse-policy.ts'

const vectors = JSON.parse(
  readFileSync(new URL('../../../vectors/policies/authz_cases.json', import.meta.url), 'utf8'),
) as {
  cases: { label: string; permissions: unknown; load_error?: string }[]
  bad_files: { file: unknown; load_error: string }[]
  command_categories: Record<string, string>
}

/** The part of stock's text before it names Python types. */
const stem = (text: string) => text.split(/ type - | but got|: expect/)[0] ?? text

describe('parsePolicy', () => {
  it.each(vectors.bad_files.map(({ file, load_error }) => [load_error, file] as const))(
    'refuses as stock does: %s',
    (error, file) => {
      expect(() => parsePolicy(JSON.stringify(file))).toThrow(stem(error))
    },
  )

  it.each(
    vectors.cases
      .filter(({ load_error }) => load_error !== undefined)
      .map(({ label, permissions, load_error }) => [label, permissions, load_error ?? ''] as const),
  )('refuses the condition as stock does: %s', (_, permissions, error) => {
    const text = JSON.stringify({ format_version: '1.0', permissions })
    expect(() => parsePolicy(text)).toThrow(stem(error))
  })

  it('names the place of a bad condition', () => {
    const text = '{"format_version":"1.0","permissions":{"lead":{"view":["any","x:y"]}}}'
    expect(() => parsePolicy(text)).toThrow(
      expect.objectContaining({
        code: 'ERR_POLICY_CONDITION',
        message: expect.stringContaining('/permissions/lead/view'),
      }),
    )
  })

  it('warns of what nothing reads', () => {
    const policy = parsePolicy(
      '{"format_version":"1.0","extra":1,"permissions":{"Lead":{"submit_jobs":"any"},"lead ":{"view":"any"}}}',
    )
    expect(policy.warnings).toEqual([
      expect.stringContaining('/extra'),
      expect.stringContaining('submit_jobs'),
      expect.stringContaining('given twice'),
    ])
    expect(policy.roles.get('lead')?.rights.has('submit_jobs')).toBe(true)
    expect(policy.roles.get('lead')?.rights.has('list_jobs')).toBe(true)
  })

  it('refuses a text that is too long before parsing it', () => {
    expect(() => parsePolicy(' '.repeat(1_048_577))).toThrow(
      expect.objectContaining({ code: 'ERR_POLICY_FORMAT' }),
    )
  })
})

describe('command categories', () => {
  it('are the recorded ones', () => {
    for (const [command, category] of Object.entries(vectors.command_categories)) {
      expect(categoryOf(command)).toBe(category)
      expect(commandsOf(category)).toContain(command)
    }
    const recorded = Object.keys(vectors.command_categories).toSorted()
    const ours = [...new Set(Object.values(vectors.command_categories))].flatMap(commandsOf)
    expect(ours.toSorted()).toEqual(recorded)
  })
})
